//! Escaped forms of a secret: each byte raw, or escaped as percent, JSON or HTML, in every mixture.

use super::forms::{FormMatch, Window, hex_digit};

/// Maximum number of backslashes in a row, of leading zeros of a number, and of bytes of an entity.
const RUN_MAX: usize = 64;
/// Maximum number of interpretations of the text that are followed at once; ordinary texts have
/// one or two.
const READINGS_MAX: usize = 64;

/// Compares a secret with a text from `at` on, in every interpretation of the text's escapes.
pub(super) fn escaped(
    secret: &[u8],
    window: Window<'_>,
    at: usize,
    steps: &mut usize,
) -> FormMatch {
    // Positions in the text, each with the number of the secret's bytes before it.
    let mut readings = vec![(at, 0)];
    let mut unknown = false;
    while let Some(first) = (0..readings.len()).min_by_key(|index| readings.get(*index).copied()) {
        let (at, matched) = readings.swap_remove(first);
        if matched >= secret.len() {
            return FormMatch::To(at);
        }
        if *steps == 0 || readings.len() > READINGS_MAX {
            return FormMatch::TooMuch;
        }
        *steps -= usize::from(matched > 0);
        let rest = secret.get(matched..).unwrap_or_default();
        let mut read = |to: usize, bytes: usize| {
            if !readings.contains(&(to, matched + bytes)) {
                readings.push((to, matched + bytes));
            }
        };
        unknown |= !read_one(rest, window, at, steps, &mut read);
    }
    if unknown && !window.is_last { FormMatch::Unknown } else { FormMatch::No }
}

/// Reads the next byte of the secret in each way that the text allows. Returns whether the text was
/// long enough to decide.
fn read_one(
    rest: &[u8],
    window: Window<'_>,
    at: usize,
    steps: &mut usize,
    read: &mut impl FnMut(usize, usize),
) -> bool {
    let Some(byte) = window.byte(at) else { return false };
    let wanted = rest.first().copied().unwrap_or_default();
    match byte {
        b'\\' => return read_backslashes(rest, window, at, steps, read),
        _ if byte == wanted => read(at + 1, 1),
        b'+' if wanted == b' ' => read(at + 1, 1),
        _ => {}
    }
    match byte {
        b'%' => {
            let digits = [window.byte(at + 1), window.byte(at + 2)];
            let [Some(high), Some(low)] = digits else { return false };
            let value = hex_digit(high).zip(hex_digit(low)).map(|(high, low)| high << 4 | low);
            if value == Some(wanted) {
                read(at + 3, 1);
            }
            true
        }
        b'&' => {
            let text = window.text.get(at + 1..).unwrap_or_default();
            let text = text.get(..text.len().min(RUN_MAX)).unwrap_or_default();
            let Some(end) = text.iter().position(|byte| *byte == b';') else {
                return text.len() == RUN_MAX;
            };
            *steps = steps.saturating_sub(end);
            if let Some(c) = entity(text.get(..end).unwrap_or_default()) {
                read_char(c, rest, at + end + 2, read);
            }
            true
        }
        _ => true,
    }
}

/// Reads backslashes: they are literal (escaped any number of times), or they begin an escape.
fn read_backslashes(
    rest: &[u8],
    window: Window<'_>,
    at: usize,
    steps: &mut usize,
    read: &mut impl FnMut(usize, usize),
) -> bool {
    let run = backslashes(window, at);
    *steps = steps.saturating_sub(run);
    let wanted = rest.iter().take_while(|byte| **byte == b'\\').count();
    // The last backslash of the run may begin the escape that follows.
    for run in [run, run - 1] {
        if wanted > 0 && run > 0 {
            read(at + run, wanted.min(run));
        }
    }
    let Some(escape) = window.byte(at + run) else { return false };
    let end = at + run + 1;
    let c = match escape {
        b'u' => match utf16_unit(window, end) {
            Unit::None => return true,
            Unit::Unknown => return false,
            Unit::Is(high @ 0xd800..=0xdbff) => {
                let run = backslashes(window, end + 4);
                if run == 0 {
                    return window.byte(end + 4).is_some();
                }
                let low = end + 4 + run;
                match (window.byte(low), utf16_unit(window, low + 1)) {
                    (Some(b'u'), Unit::Is(unit)) => {
                        let pair = char::decode_utf16([high, unit]).next();
                        if let Some(Ok(c)) = pair {
                            read_char(c, rest, low + 5, read);
                        }
                        return true;
                    }
                    (None, _) | (_, Unit::Unknown) => return false,
                    _ => return true,
                }
            }
            Unit::Is(unit) => {
                if let Some(c) = char::from_u32(u32::from(unit)) {
                    read_char(c, rest, end + 4, read);
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
    read_char(c, rest, end, read);
    true
}

enum Unit {
    None,
    Unknown,
    Is(u16),
}

/// Reads four hex digits.
fn utf16_unit(window: Window<'_>, at: usize) -> Unit {
    let Some(digits) = window.text.get(at..at + 4) else { return Unit::Unknown };
    let digits = std::str::from_utf8(digits).ok().filter(|text| !text.starts_with('+'));
    digits.and_then(|text| u16::from_str_radix(text, 16).ok()).map_or(Unit::None, Unit::Is)
}

/// Returns the character of an HTML entity, whose name has neither `&` nor `;`.
pub(super) fn entity(name: &[u8]) -> Option<char> {
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

fn read_char(c: char, rest: &[u8], to: usize, read: &mut impl FnMut(usize, usize)) {
    let mut buffer = [0; 4];
    let bytes = c.encode_utf8(&mut buffer).as_bytes();
    if rest.starts_with(bytes) {
        read(to, bytes.len());
    }
}

/// Returns the number of backslashes that follow.
fn backslashes(window: Window<'_>, at: usize) -> usize {
    let rest = window.text.get(at..).unwrap_or_default();
    rest.iter().take(RUN_MAX).take_while(|byte| **byte == b'\\').count()
}
