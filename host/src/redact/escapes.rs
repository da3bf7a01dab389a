//! Compares escaped forms of a secret with a text: each byte is written raw, or as a percent, JSON
//! or HTML escape, in every mixture.

use super::forms::{FormMatch, Window, hex_digit_value};

/// At most this many backslashes in a row are read, and at most this many bytes of an HTML entity,
/// which may contain a number with leading zeros.
const RUN_LENGTH_MAX: usize = 64;
/// Maximum number of readings (interpretations of a text's escapes) that are followed at the same
/// time. Ordinary texts have one or two readings.
const READINGS_MAX: usize = 64;

/// Compares a secret with a text from `at` on. Follows every reading of the text's escapes.
pub(super) fn compare_escaped(
    secret: &[u8],
    window: Window<'_>,
    at: usize,
    steps_left: &mut usize,
) -> FormMatch {
    // The positions in the text that are still to be read, each with the number of bytes of the
    // secret that were found before it.
    let mut readings = vec![(at, 0)];
    let mut is_too_short = false;
    while let Some(first) = (0..readings.len()).min_by_key(|index| readings.get(*index).copied()) {
        let (at, matched) = readings.swap_remove(first);
        if matched >= secret.len() {
            return FormMatch::To(at);
        }
        if *steps_left == 0 || readings.len() > READINGS_MAX {
            return FormMatch::TooMuch;
        }
        *steps_left -= usize::from(matched > 0);
        let rest = secret.get(matched..).unwrap_or_default();
        let mut add_reading = |to: usize, bytes: usize| {
            if !readings.contains(&(to, matched + bytes)) {
                readings.push((to, matched + bytes));
            }
        };
        is_too_short |= !match_next_byte(rest, window, at, steps_left, &mut add_reading);
    }
    if is_too_short && !window.is_last_part { FormMatch::Unknown } else { FormMatch::No }
}

/// Compares the next byte of the secret with the text at `at`: unescaped, and in each escape that
/// begins there. `rest` is the part of the secret that has not been compared yet. Passes the end of
/// each match to `add_reading`. Returns whether the text was long enough to decide.
fn match_next_byte(
    rest: &[u8],
    window: Window<'_>,
    at: usize,
    steps_left: &mut usize,
    add_reading: &mut impl FnMut(usize, usize),
) -> bool {
    let Some(byte) = window.byte_at(at) else { return false };
    let expected = rest.first().copied().unwrap_or_default();
    match byte {
        b'\\' => return match_backslashes(rest, window, at, steps_left, add_reading),
        _ if byte == expected => add_reading(at + 1, 1),
        b'+' if expected == b' ' => add_reading(at + 1, 1),
        _ => {}
    }
    match byte {
        b'%' => {
            let digits = [window.byte_at(at + 1), window.byte_at(at + 2)];
            let [Some(high), Some(low)] = digits else { return false };
            let value =
                hex_digit_value(high).zip(hex_digit_value(low)).map(|(high, low)| high << 4 | low);
            if value == Some(expected) {
                add_reading(at + 3, 1);
            }
            true
        }
        b'&' => {
            let text = window.text.get(at + 1..).unwrap_or_default();
            let text = text.get(..text.len().min(RUN_LENGTH_MAX)).unwrap_or_default();
            let Some(end) = text.iter().position(|byte| *byte == b';') else {
                return text.len() == RUN_LENGTH_MAX;
            };
            *steps_left = steps_left.saturating_sub(end);
            if let Some(c) = decode_entity(text.get(..end).unwrap_or_default()) {
                match_char(c, rest, at + end + 2, add_reading);
            }
            true
        }
        _ => true,
    }
}

/// Compares the rest of the secret with a text that begins with backslashes. The backslashes belong
/// to the secret (escaped any number of times), or they begin an escape such as `\n`. Returns
/// whether the text was long enough to decide.
fn match_backslashes(
    rest: &[u8],
    window: Window<'_>,
    at: usize,
    steps_left: &mut usize,
    add_reading: &mut impl FnMut(usize, usize),
) -> bool {
    let run = count_backslashes(window, at);
    *steps_left = steps_left.saturating_sub(run);
    let secret_backslashes = rest.iter().take_while(|byte| **byte == b'\\').count();
    // The last backslash of the run may begin the escape that follows.
    for run in [run, run - 1] {
        if secret_backslashes > 0 && run > 0 {
            add_reading(at + run, secret_backslashes.min(run));
        }
    }
    let Some(escape) = window.byte_at(at + run) else { return false };
    let end = at + run + 1;
    let c = match escape {
        b'u' => match utf16_unit(window, end) {
            Utf16Unit::None => return true,
            Utf16Unit::Unknown => return false,
            Utf16Unit::Is(high @ 0xd800..=0xdbff) => {
                let run = count_backslashes(window, end + 4);
                if run == 0 {
                    return window.byte_at(end + 4).is_some();
                }
                let low = end + 4 + run;
                match (window.byte_at(low), utf16_unit(window, low + 1)) {
                    (Some(b'u'), Utf16Unit::Is(unit)) => {
                        let pair = char::decode_utf16([high, unit]).next();
                        if let Some(Ok(c)) = pair {
                            match_char(c, rest, low + 5, add_reading);
                        }
                        return true;
                    }
                    (None, _) | (_, Utf16Unit::Unknown) => return false,
                    _ => return true,
                }
            }
            Utf16Unit::Is(unit) => {
                if let Some(c) = char::from_u32(u32::from(unit)) {
                    match_char(c, rest, end + 4, add_reading);
                }
                return true;
            }
        },
        b'"' | b'/' | b'\'' => char::from(escape),
        b'n' => '\n',
        b'r' => '\r',
        b't' => '\t',
        b'b' => '\u{8}',
        b'f' => '\u{c}',
        _ => return true,
    };
    match_char(c, rest, end, add_reading);
    true
}

enum Utf16Unit {
    /// The next four characters are not hex digits.
    None,
    /// The text is too short to decide.
    Unknown,
    Is(u16),
}

fn utf16_unit(window: Window<'_>, at: usize) -> Utf16Unit {
    let Some(digits) = window.text.get(at..at + 4) else { return Utf16Unit::Unknown };
    let digits = std::str::from_utf8(digits).ok().filter(|text| !text.starts_with('+'));
    digits
        .and_then(|text| u16::from_str_radix(text, 16).ok())
        .map_or(Utf16Unit::None, Utf16Unit::Is)
}

/// Returns the character of an HTML entity: one with a number, or one of the five entities of XML.
/// `name` is the entity without `&` and `;`.
pub(super) fn decode_entity(name: &[u8]) -> Option<char> {
    let name = std::str::from_utf8(name).ok()?;
    let Some(number) = name.strip_prefix('#') else {
        return match name {
            "quot" => Some('"'),
            "amp" => Some('&'),
            "lt" => Some('<'),
            "gt" => Some('>'),
            "apos" => Some('\''),
            _ => None,
        };
    };
    let code = match number.strip_prefix(['x', 'X']) {
        Some(hex) => u32::from_str_radix(hex, 16),
        None => number.parse(),
    };
    code.ok().and_then(char::from_u32)
}

/// Adds a reading if the rest of the secret begins with this character. `to` is the position at
/// which the character's escape ends.
fn match_char(c: char, rest: &[u8], to: usize, add_reading: &mut impl FnMut(usize, usize)) {
    let mut buffer = [0; 4];
    let bytes = c.encode_utf8(&mut buffer).as_bytes();
    if rest.starts_with(bytes) {
        add_reading(to, bytes.len());
    }
}

fn count_backslashes(window: Window<'_>, at: usize) -> usize {
    let rest = window.text.get(at..).unwrap_or_default();
    rest.iter().take(RUN_LENGTH_MAX).take_while(|byte| **byte == b'\\').count()
}
