//! The forms in which a tracker may echo a secret. Each form is compared with the text in place, so
//! even a long secret needs no additional memory.

use super::escapes::compare_escaped;

/// The result of comparing a secret with a text at one position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FormMatch {
    No,
    /// The text ends too early to decide.
    Unknown,
    /// The secret ends before this position.
    To(usize),
    /// The comparison would exceed the allowed number of steps.
    TooMuch,
}

/// One form in which a text may contain a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// Each byte is written raw, or as a percent, JSON or HTML escape, in every mixture.
    Escaped,
    Hex,
    /// The secret is a part of a text in base64. In the text before the encoding, the secret begins
    /// this many bytes after the start of a group of three bytes.
    Base64(usize),
}

/// A part of a text in which secrets are searched for. More text may follow, unless `is_last_part`
/// is true.
#[derive(Clone, Copy)]
pub(super) struct Window<'t> {
    pub(super) text: &'t [u8],
    pub(super) is_last_part: bool,
}

impl Form {
    pub(super) const ALL: [Self; 5] =
        [Self::Escaped, Self::Hex, Self::Base64(0), Self::Base64(1), Self::Base64(2)];

    /// The forms that the search for a short secret looks for. In base64, a short secret is found
    /// only if it begins at the start of a group of three bytes.
    pub(super) const OF_SHORT_SECRETS: [Self; 3] = [Self::Escaped, Self::Hex, Self::Base64(0)];

    /// Whether the secret in this form can begin with this byte.
    pub(super) fn may_begin_with(self, secret: &[u8], byte: u8) -> bool {
        let first = secret.first().copied().unwrap_or_default();
        match self {
            Self::Escaped => {
                byte == first
                    || matches!(byte, b'%' | b'\\' | b'&')
                    || (byte == b'+' && first == b' ')
            }
            Self::Hex => hex_digit_value(byte) == Some(first >> 4),
            Self::Base64(offset) => {
                base64_digit_value(byte)
                    == Some(sextet(secret, offset, first_independent_digit(offset)))
            }
        }
    }

    /// Compares the secret with the text from `at` on. Reduces `steps_left` as it proceeds.
    pub(super) fn compare(
        self,
        secret: &[u8],
        window: Window<'_>,
        at: usize,
        steps_left: &mut usize,
    ) -> FormMatch {
        match self {
            Self::Escaped => compare_escaped(secret, window, at, steps_left),
            Self::Hex => {
                let digits = secret.iter().flat_map(|byte| [byte >> 4, byte & 15]);
                compare_digits(digits, hex_digit_value, window, at, steps_left)
            }
            Self::Base64(offset) => compare_base64(secret, offset, window, at, steps_left),
        }
    }
}

impl Window<'_> {
    pub(super) fn byte_at(&self, at: usize) -> Option<u8> {
        self.text.get(at).copied()
    }

    fn result_at_end(&self) -> FormMatch {
        if self.is_last_part { FormMatch::No } else { FormMatch::Unknown }
    }
}

/// Compares the values of digits with the text from `at` on, one digit after another. `digit_value`
/// returns the value of a byte of the text; `None` if the byte is not a digit.
fn compare_digits(
    digits: impl Iterator<Item = u8>,
    digit_value: fn(u8) -> Option<u8>,
    window: Window<'_>,
    mut at: usize,
    steps_left: &mut usize,
) -> FormMatch {
    for digit in digits {
        let Some(byte) = window.byte_at(at) else { return window.result_at_end() };
        if digit_value(byte) != Some(digit) {
            return FormMatch::No;
        }
        if *steps_left == 0 {
            return FormMatch::TooMuch;
        }
        *steps_left -= 1;
        at += 1;
    }
    FormMatch::To(at)
}

pub(super) fn hex_digit_value(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

/// Returns the value of a digit in the standard or the URL alphabet of base64.
fn base64_digit_value(byte: u8) -> Option<u8> {
    match byte {
        b'A'..=b'Z' => Some(byte - b'A'),
        b'a'..=b'z' => Some(byte - b'a' + 26),
        b'0'..=b'9' => Some(byte - b'0' + 52),
        b'+' | b'-' => Some(62),
        b'/' | b'_' => Some(63),
        _ => None,
    }
}

/// Returns the index of the first base64 digit that does not depend on the text before the secret.
fn first_independent_digit(offset: usize) -> usize {
    (offset * 8).div_ceil(6)
}

/// Returns the six bits of the base64 digit with the index `digit`. In the text before the
/// encoding, the secret is assumed to begin at `offset`, and zeros follow it.
fn sextet(secret: &[u8], offset: usize, digit: usize) -> u8 {
    let bit = (digit * 6).saturating_sub(offset * 8);
    let byte = |at: usize| u16::from(secret.get(at).copied().unwrap_or_default());
    let pair = (byte(bit / 8) << 8) | byte(bit / 8 + 1);
    u8::try_from((pair >> (10 - bit % 8)) & 63).unwrap_or_default()
}

/// Compares the base64 digits that do not depend on the text around the secret. If the encoded text
/// ends with the secret, the match includes the last digit and the padding.
fn compare_base64(
    secret: &[u8],
    offset: usize,
    window: Window<'_>,
    at: usize,
    steps_left: &mut usize,
) -> FormMatch {
    let (start, bits) = (first_independent_digit(offset), (offset + secret.len()) * 8);
    let digits = (start..bits / 6).map(|digit| sextet(secret, offset, digit));
    let mut end = match compare_digits(digits, base64_digit_value, window, at, steps_left) {
        FormMatch::To(end) => end,
        other => return other,
    };
    if end + 3 > window.text.len() && !window.is_last_part {
        return FormMatch::Unknown;
    }
    if bits % 6 != 0 {
        let last = window.byte_at(end).and_then(base64_digit_value);
        end += usize::from(last == Some(sextet(secret, offset, bits / 6)));
    }
    while window.byte_at(end) == Some(b'=') && end < at + bits / 6 + 4 {
        end += 1;
    }
    FormMatch::To(end)
}
