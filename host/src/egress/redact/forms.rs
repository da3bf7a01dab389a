//! The forms in which a tracker may echo a secret. Longer forms come first.

use std::fmt::Write as _;

use data_encoding::{BASE64, BASE64URL, HEXLOWER};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use url::form_urlencoded;

/// Shorter pieces of base64, bytes, are not searched for: they would be found in every text.
const BASE64_LENGTH_MIN: usize = 4;
/// Of longer secrets, bytes, only the literal forms are searched for: the others would need
/// megabytes.
const ESCAPED_LENGTH_MAX: usize = 4 * 1024;

/// A text as a whole in each form that common encoders produce.
pub(super) fn whole_forms(text: &str) -> Vec<Vec<u8>> {
    let percent = utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let form: String = form_urlencoded::byte_serialize(text.as_bytes()).collect();
    let json = serde_json::Value::from(text).to_string();
    let json = json.get(1..json.len() - 1).unwrap_or_default().to_owned();
    let hex = HEXLOWER.encode(text.as_bytes());
    let mut forms = vec![
        text.to_owned(),
        lower_escapes(&percent),
        percent,
        lower_escapes(&form),
        form,
        json.replace('/', "\\/"),
        json,
        hex.to_ascii_uppercase(),
        hex,
    ];
    // Some encoders escape what is special in HTML only, some everything but letters and digits.
    let is_escaped: [fn(char) -> bool; 2] = [is_special_in_html, |c| !c.is_ascii_alphanumeric()];
    let escape: [fn(char) -> String; 5] = [
        |c| utf16_units(c, |unit| format!(r"\u{unit:04x}")),
        |c| utf16_units(c, |unit| format!(r"\u{unit:04X}")),
        |c| format!("&#{};", u32::from(c)),
        |c| format!("&#x{:x};", u32::from(c)),
        |c| format!("&#x{:X};", u32::from(c)),
    ];
    for is_escaped in is_escaped {
        for escape in escape {
            let form = |c| if is_escaped(c) { escape(c) } else { c.to_string() };
            forms.push(text.chars().map(form).collect());
        }
    }
    forms.extend(base64_forms(text.as_bytes()));
    forms.into_iter().map(String::into_bytes).collect()
}

fn is_special_in_html(c: char) -> bool {
    matches!(c, '+' | '<' | '>' | '&' | '\'' | '"' | '\\' | '`')
}

/// The UTF-16 units of a character, each written with `write`.
fn utf16_units(c: char, write: fn(u16) -> String) -> String {
    c.encode_utf16(&mut [0; 2]).iter().map(|unit| write(*unit)).collect()
}

/// The text with its percent escapes in lower case.
pub(super) fn lower_escapes(percent: &str) -> String {
    let mut parts = percent.split('%');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| {
        let (digits, rest) = part.split_at(part.len().min(2));
        text + "%" + &digits.to_ascii_lowercase() + rest
    })
}

/// Every form of one secret, as regular expressions; each comes before those that match its
/// beginning.
pub(super) fn patterns(secret: &str) -> Vec<String> {
    let bytes = secret.as_bytes();
    let mut patterns = Vec::new();
    if bytes.len() <= ESCAPED_LENGTH_MAX {
        patterns.push(secret.chars().map(char_pattern).collect());
    } else {
        patterns.push(literal(bytes));
    }
    patterns.push(format!("(?i:{})", HEXLOWER.encode(bytes)));
    patterns.extend(base64_forms(bytes).map(|form| literal(form.as_bytes())));
    patterns
}

/// One character in every form. A backslash may be escaped itself, any number of times.
fn char_pattern(c: char) -> String {
    let raw = literal(c.encode_utf8(&mut [0; 4]).as_bytes());
    let mut percent = String::new();
    for byte in c.encode_utf8(&mut [0; 4]).bytes() {
        // Writing to a String cannot fail.
        let _ = write!(percent, "%{byte:02x}");
    }
    let mut json = String::new();
    for unit in c.encode_utf16(&mut [0; 2]) {
        let _ = write!(json, r"\\+u{unit:04x}");
    }
    let code = u32::from(c);
    let html = format!("&#0*{code};|&#x0*{code:x};");
    let special = match c {
        '"' => r#"|\\+"|&quot;"#,
        '\\' => r"|\\+",
        '/' => r"|\\+/",
        ' ' => r"|\+",
        '&' => "|&amp;",
        '<' => "|&lt;",
        '>' => "|&gt;",
        '\'' => "|&apos;",
        '\n' => r"|\\+n",
        '\r' => r"|\\+r",
        '\t' => r"|\\+t",
        '\u{8}' => r"|\\+b",
        '\u{c}' => r"|\\+f",
        _ => "",
    };
    format!("(?:(?i:{percent}|{json}|{html}){special}|{raw})")
}

/// A pattern for exactly these bytes.
fn literal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut pattern, byte| {
        let _ = write!(pattern, r"\x{byte:02x}");
        pattern
    })
}

/// What base64 makes of a secret at each offset within a group of three bytes.
fn base64_forms(secret: &[u8]) -> impl Iterator<Item = String> {
    (0..3)
        .flat_map(move |offset| base64_at(secret, offset))
        .filter(|form| form.len() >= BASE64_LENGTH_MIN)
}

/// What base64 makes, in both alphabets, of a secret that begins at an offset within a group of
/// three bytes: with padding and without, for a secret at the end of the encoded text, then the
/// part that does not depend on what follows.
fn base64_at(secret: &[u8], offset: usize) -> impl Iterator<Item = String> {
    let mut padded = vec![0; offset];
    padded.extend_from_slice(secret);
    let start = (offset * 8).div_ceil(6);
    let independent = padded.len() * 8 / 6;
    [BASE64, BASE64URL].into_iter().flat_map(move |alphabet| {
        let text = alphabet.encode(&padded);
        let unpadded = text.trim_end_matches('=').len();
        [text.len(), unpadded, independent]
            .map(|end| text.get(start..end).unwrap_or_default().to_owned())
    })
}
