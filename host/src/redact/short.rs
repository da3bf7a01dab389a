//! Decides where the characters of a short secret in a text count as the secret. A short secret is
//! often a common word, which a tracker also uses in names, addresses and longer words. This module
//! never changes a text.

use serde_json::Number;

use super::TextKind;
use super::escapes::decode_entity;
use super::forms::{Window, hex_digit_value};
use crate::secret::{SHORT_SECRET_CHARS, Secret};

/// Number of bytes on each side of a short secret that can show how it is used.
const CONTEXT_BYTES: usize = 256;
/// The most bytes before and after an occurrence that are read to find a number around it.
const NUMBER_BYTES_MAX: usize = 40;
/// If the name of a JSON member ends at most this many bytes after the secret, the secret counts as
/// a part of the name.
const NAME_DISTANCE_BYTES_MAX: usize = 128;

/// Maximum length of the connection's own texts that are searched for short secrets, bytes.
const OWN_TEXT_BYTES_MAX: usize = 1024;

/// A secret of fewer than [`SHORT_SECRET_CHARS`] characters.
pub(super) struct ShortSecret {
    /// The connection's own texts (its origins and settings) that contain the secret, each with the
    /// position of the secret. Where a text repeats one of them, the secret in it is not redacted.
    own_texts_with_positions: Vec<(String, usize)>,
}

impl ShortSecret {
    /// Finds a short secret in the connection's own texts. Returns `None` for a long secret.
    pub(super) fn find(secret: &Secret, own_texts: &[String]) -> Option<Self> {
        if secret.reveal().chars().count() >= SHORT_SECRET_CHARS {
            return None;
        }
        let places = |text: &String| {
            let found = text.match_indices(secret.reveal());
            found.map(|(at, _)| (text.clone(), at)).collect::<Vec<_>>()
        };
        let own_texts = own_texts.iter().filter(|text| text.len() <= OWN_TEXT_BYTES_MAX);
        Some(Self { own_texts_with_positions: own_texts.flat_map(places).collect() })
    }

    /// Returns whether the secret from `start` to `end` is a part of one of the connection's own
    /// texts, which `text` repeats there.
    fn is_in_own_text(&self, text: &[u8], start: usize, end: usize) -> bool {
        self.own_texts_with_positions.iter().any(|(own, at)| {
            let from = start.checked_sub(*at);
            let here = from.and_then(|from| text.get(from..from + own.len()));
            here == Some(own.as_bytes()) && end <= start - at + own.len()
        })
    }

    /// Returns how many bytes before and after an occurrence are needed to decide whether it is the
    /// secret.
    pub(super) fn context_bytes(&self) -> usize {
        let lengths = self.own_texts_with_positions.iter().map(|(text, _)| text.len());
        lengths.max().unwrap_or_default().max(CONTEXT_BYTES)
    }
}

/// Whether an occurrence of a short secret's characters counts as the secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ShortMatch {
    No,
    Yes,
    /// The text ends too early to decide.
    Unknown,
}

/// Decides whether the characters from `start` to `end` count as the short secret, in a text of
/// this kind.
pub(super) fn match_short(
    secret: &str,
    short: &ShortSecret,
    kind: TextKind,
    window: Window<'_>,
    (start, end): (usize, usize),
) -> ShortMatch {
    let text = window.text;
    if !window.is_last_part && text.len() - end < short.context_bytes() {
        return ShortMatch::Unknown;
    }
    let is_secret = match kind {
        TextKind::Name => false,
        TextKind::Value => {
            let (before, after) = text.split_at(end);
            let before = before.get(..start).unwrap_or_default();
            before.trim_ascii().is_empty() && after.trim_ascii().is_empty()
        }
        TextKind::ForPeople => is_word(secret, text, start, end, is_letter_beside),
        TextKind::Answer => {
            is_word(secret, text, start, end, longer_name_continues)
                && !is_name(text, start, end)
                && (!is_json_literal(secret, text, start, end) || is_quoted(text, start, end))
        }
    };
    if is_secret && !short.is_in_own_text(text, start, end) {
        ShortMatch::Yes
    } else {
        ShortMatch::No
    }
}

/// A function that reads the character before or after a position. The function returns the
/// character, and the position where the character begins or ends.
type ReadNeighbour = fn(&[u8], usize) -> (u8, usize);

/// Whether the occurrence is a whole word: the word continues neither before nor after it.
/// `continues` checks one of the two ends. If the secret's character at an end is not a letter, the
/// word never continues there.
fn is_word(
    secret: &str,
    text: &[u8],
    start: usize,
    end: usize,
    continues: fn(&[u8], usize, ReadNeighbour) -> bool,
) -> bool {
    let begins_a_word = secret.bytes().next().is_none_or(is_letter);
    let ends_a_word = secret.bytes().last().is_none_or(is_letter);
    let is_continued = (begins_a_word && continues(text, start, char_before))
        || (ends_a_word && continues(text, end, char_after));
    !is_continued
}

fn is_letter_beside(text: &[u8], at: usize, next: ReadNeighbour) -> bool {
    is_letter(next(text, at).0)
}

/// Returns whether a longer word, a path, a host name or a key like `QA-1` continues at this end of
/// an occurrence.
fn longer_name_continues(text: &[u8], at: usize, next: ReadNeighbour) -> bool {
    let (byte, at) = next(text, at);
    match byte {
        b'/' => true,
        b'-' | b'.' | b'@' => is_letter(next(text, at).0),
        _ => is_letter(byte),
    }
}

/// Whether the occurrence is in the name of a JSON member, an element, an attribute or a parameter.
fn is_name(text: &[u8], start: usize, end: usize) -> bool {
    let is_tag = char_before(text, start).0 == b'<' || is_element_name(text, start);
    if is_tag || char_after(text, end).0 == b'=' {
        return true;
    }
    let rest = text.get(end..).unwrap_or_default();
    let nearby = rest.get(..rest.len().min(NAME_DISTANCE_BYTES_MAX)).unwrap_or_default();
    let Some(quote) = nearby.iter().position(|byte| *byte == b'"') else { return false };
    let after_quote = rest.get(quote + 1..).unwrap_or_default();
    let after_quote =
        after_quote.get(..after_quote.len().min(CONTEXT_BYTES - NAME_DISTANCE_BYTES_MAX));
    after_quote.unwrap_or_default().trim_ascii_start().first() == Some(&b':')
}

/// Whether the occurrence is the name of an element, perhaps with a prefix: `<issue>`,
/// `</x:issue>`.
fn is_element_name(text: &[u8], start: usize) -> bool {
    let nearby = text.get(start.saturating_sub(CONTEXT_BYTES)..start).unwrap_or_default();
    let before_prefix = nearby.strip_suffix(b":").map(|nearby| {
        let letters = nearby.iter().rev().take_while(|byte| is_letter(**byte)).count();
        nearby.get(..nearby.len() - letters).unwrap_or_default()
    });
    let nearby = before_prefix.unwrap_or(nearby);
    nearby.ends_with(b"<") || nearby.ends_with(b"</")
}

/// Whether the occurrence may be a JSON value without quotes, or a part of a number. If it were
/// replaced there, the text would no longer be valid JSON.
fn is_json_literal(secret: &str, text: &[u8], start: usize, end: usize) -> bool {
    let is_in_number = |byte: &&u8| byte.is_ascii_digit() || b"+-.eE".contains(byte);
    if !secret.as_bytes().iter().all(|byte| is_in_number(&byte)) {
        return matches!(secret, "true" | "false" | "null");
    }
    let (before, after) = (text.get(..start), text.get(end..));
    let before = before.unwrap_or_default().iter().rev().take(NUMBER_BYTES_MAX);
    let after = after.unwrap_or_default().iter().take(NUMBER_BYTES_MAX);
    let first = start - before.take_while(is_in_number).count();
    let last = end + after.take_while(is_in_number).count();
    let is_number = |text: &[u8]| serde_json::from_slice::<Number>(text).is_ok();
    text.get(first..last).is_some_and(is_number)
}

fn is_quoted(text: &[u8], start: usize, end: usize) -> bool {
    char_before(text, start).0 == b'"' && char_after(text, end).0 == b'"'
}

fn is_letter(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || !byte.is_ascii()
}

/// Returns the unescaped character before a position, and where this character begins. At the
/// beginning of the text, returns a space.
fn char_before(text: &[u8], at: usize) -> (u8, usize) {
    let head = text.get(..at).unwrap_or_default();
    match head {
        [.., b'%', high, low] if decode_percent(*high, *low).is_some() => {
            (decode_percent(*high, *low).unwrap_or_default(), at - 3)
        }
        [.., b'\\', b'u', a, b, c, d] if decode_utf16(&[*a, *b, *c, *d]).is_some() => {
            (decode_utf16(&[*a, *b, *c, *d]).unwrap_or_default(), at - 6)
        }
        [.., b'\\', b'n' | b'r' | b't' | b'b' | b'f'] => (b' ', at - 2),
        [.., b';'] => {
            let search_start = head.len().saturating_sub(10);
            let entity_text = head.get(search_start..).unwrap_or_default();
            let start = entity_text.iter().rposition(|byte| *byte == b'&');
            let name = start.and_then(|start| entity_text.get(start + 1..entity_text.len() - 1));
            let c = name.and_then(decode_entity).map(ascii_or_letter);
            c.zip(start).map_or((b';', at - 1), |(c, start)| (c, search_start + start))
        }
        [.., byte] => (*byte, at - 1),
        [] => (b' ', 0),
    }
}

/// Returns the unescaped character at a position, and where this character ends. At the end of the
/// text, returns a space.
fn char_after(text: &[u8], at: usize) -> (u8, usize) {
    let rest = text.get(at..).unwrap_or_default();
    match rest {
        [b'%', high, low, ..] if decode_percent(*high, *low).is_some() => {
            (decode_percent(*high, *low).unwrap_or_default(), at + 3)
        }
        [b'\\', ..] => {
            let run = rest.iter().take(CONTEXT_BYTES).take_while(|byte| **byte == b'\\').count();
            let end = at + run + 1;
            match rest.get(run..).unwrap_or_default() {
                [b'u', digits @ ..] => {
                    let digits = digits.get(..4).and_then(decode_utf16);
                    digits.map_or((b'\\', at + 1), |c| (c, end + 4))
                }
                [b'n' | b'r' | b't' | b'b' | b'f', ..] => (b' ', end),
                [byte, ..] => (*byte, end),
                [] => (b'\\', at + 1),
            }
        }
        [b'&', entity_text @ ..] => {
            let end = entity_text.iter().take(10).position(|byte| *byte == b';');
            let c = end
                .and_then(|end| entity_text.get(..end))
                .and_then(decode_entity)
                .map(ascii_or_letter);
            c.zip(end).map_or((b'&', at + 1), |(c, end)| (c, at + end + 2))
        }
        [byte, ..] => (*byte, at + 1),
        [] => (b' ', at),
    }
}

fn decode_percent(high: u8, low: u8) -> Option<u8> {
    Some(hex_digit_value(high)? << 4 | hex_digit_value(low)?)
}

/// Decodes the hex digits after `\u`, and returns their character as [`ascii_or_letter`] does.
fn decode_utf16(digits: &[u8]) -> Option<u8> {
    let mut unit = 0;
    for digit in digits {
        unit = unit << 4 | u32::from(hex_digit_value(*digit)?);
    }
    Some(char::from_u32(unit).map_or(u8::MAX, ascii_or_letter))
}

/// Returns an ASCII character unchanged. For any other character, returns a byte that counts as a
/// letter.
fn ascii_or_letter(c: char) -> u8 {
    u8::try_from(c).ok().filter(u8::is_ascii).unwrap_or(u8::MAX)
}
