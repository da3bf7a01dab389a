//! Finds secrets in texts, in every form in which a tracker may echo them: raw, base64, percent-,
//! JSON-escaped and hex.
//!
//! Guards against echoes, not against a tracker that conspires with a connector: who holds a secret
//! can always write it in a form that nobody foresaw.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};
use bytes::Bytes;
use data_encoding::{BASE64, BASE64URL, HEXLOWER};
use percent_encoding::{AsciiSet, CONTROLS, NON_ALPHANUMERIC, utf8_percent_encode};

/// What stands where a secret stood.
const MASK: &str = "[secret]";

/// Shorter secrets, and shorter pieces of encoded ones, are not looked for: they would be found in
/// every text.
const LENGTH_MIN: usize = 4;

/// What RFC 3986 leaves as it is, then what browsers' `encodeURIComponent`, form encoding and a URL
/// parser's query leave.
const ESCAPES: [&AsciiSet; 5] = [
    NON_ALPHANUMERIC,
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~'),
    &NON_ALPHANUMERIC
        .remove(b'-')
        .remove(b'_')
        .remove(b'.')
        .remove(b'!')
        .remove(b'~')
        .remove(b'*')
        .remove(b'\'')
        .remove(b'(')
        .remove(b')'),
    &NON_ALPHANUMERIC.remove(b'*').remove(b'-').remove(b'.').remove(b'_').remove(b' '),
    &CONTROLS.add(b' ').add(b'"').add(b'#').add(b'<').add(b'>').add(b'\''),
];

/// Searches for a set of secrets at once.
pub(super) struct Scrubber {
    forms: Option<AhoCorasick>,
}

impl Scrubber {
    /// Looks for these texts and whatever they may be echoed as.
    pub(super) fn new<'a>(secrets: impl IntoIterator<Item = &'a str>) -> Self {
        let forms: BTreeSet<Vec<u8>> = secrets
            .into_iter()
            .filter(|secret| secret.len() >= LENGTH_MIN)
            .flat_map(forms)
            .filter(|form| form.len() >= LENGTH_MIN)
            .collect();
        if forms.is_empty() {
            return Self { forms: None };
        }
        // Case is ignored so that %2f, %2F and %2f%2F are one. The contiguous automaton stays small
        // for keys of some kilobytes; building fails only past 2^31 states, which the secrets'
        // limit keeps out of reach.
        let search = AhoCorasick::builder()
            .match_kind(MatchKind::LeftmostLongest)
            .ascii_case_insensitive(true)
            .kind(Some(AhoCorasickKind::ContiguousNFA))
            .build(&forms);
        Self { forms: search.ok() }
    }

    /// Whether a text holds a secret.
    pub(super) fn finds(&self, text: &[u8]) -> bool {
        self.forms.as_ref().is_some_and(|forms| forms.is_match(text))
    }

    /// The text without secrets.
    pub(super) fn text(&self, text: String) -> String {
        match &self.forms {
            Some(forms) if forms.is_match(&text) => {
                let mut clean = String::with_capacity(text.len());
                forms.replace_all_with(&text, &mut clean, |_, _, clean| {
                    clean.push_str(MASK);
                    true
                });
                clean
            }
            _ => text,
        }
    }

    /// The bytes without secrets; the same bytes where there were none.
    pub(super) fn bytes(&self, bytes: Bytes) -> Bytes {
        match &self.forms {
            Some(forms) if forms.is_match(&bytes) => {
                let mut clean = Vec::with_capacity(bytes.len());
                forms.replace_all_with_bytes(&bytes, &mut clean, |_, _, clean| {
                    clean.extend_from_slice(MASK.as_bytes());
                    true
                });
                Bytes::from(clean)
            }
            _ => bytes,
        }
    }
}

/// Every form of one secret.
fn forms(secret: &str) -> Vec<Vec<u8>> {
    let mut forms = vec![secret.to_owned(), HEXLOWER.encode(secret.as_bytes())];
    for set in ESCAPES {
        let escaped = utf8_percent_encode(secret, set).to_string();
        forms.push(escaped.replace(' ', "+"));
        forms.push(escaped);
    }
    forms.push(secret.bytes().fold(String::new(), |text, byte| text + &format!("%{byte:02x}")));
    forms.extend(json(secret));
    forms.extend((0..3).flat_map(|offset| base64(secret.as_bytes(), offset)));
    forms.into_iter().map(String::into_bytes).collect()
}

/// As a JSON string: short escapes, with and without an escaped slash; everything beyond ASCII, or
/// what HTML might trip over, or all of it as `\u00XX`.
fn json(secret: &str) -> Vec<String> {
    let plain = |c: char| c.is_ascii() && !c.is_ascii_control();
    let short = |c: char| match c {
        '"' => Some("\\\""),
        '\\' => Some("\\\\"),
        '\n' => Some("\\n"),
        '\r' => Some("\\r"),
        '\t' => Some("\\t"),
        '\u{8}' => Some("\\b"),
        '\u{c}' => Some("\\f"),
        _ => None,
    };
    let write = |escaped: &dyn Fn(char) -> bool, slash: bool, shorts: bool| {
        let mut text = String::new();
        for c in secret.chars() {
            match short(c) {
                Some(escape) if shorts => text.push_str(escape),
                _ if c == '/' && slash => text.push_str("\\/"),
                _ if escaped(c) => unicode(&mut text, c),
                _ => text.push(c),
            }
        }
        text
    };
    let control = |c: char| c.is_ascii_control();
    let beyond = |c: char| !plain(c);
    let html = |c: char| !plain(c) || matches!(c, '<' | '>' | '&' | '\'' | '=' | '+' | '`');
    let markup = |c: char| c.is_ascii_control() || matches!(c, '<' | '>' | '&');
    vec![
        write(&control, false, true),
        write(&control, true, true),
        write(&beyond, false, true),
        write(&beyond, true, true),
        write(&html, false, true),
        write(&markup, false, true),
        write(&|c| html(c) || matches!(c, '"' | '\\' | '/'), false, false),
        write(&|_| true, false, false),
    ]
}

fn unicode(text: &mut String, c: char) {
    for unit in c.encode_utf16(&mut [0; 2]) {
        // Writing into a String cannot fail.
        let _ = write!(text, "\\u{unit:04x}");
    }
}

/// What base64 makes of a secret that begins at an offset within a group of three bytes, in both
/// alphabets: the part that is the same whatever stands around it, and the rest where it stands last.
fn base64(secret: &[u8], offset: usize) -> impl Iterator<Item = String> {
    let mut padded = vec![0; offset];
    padded.extend_from_slice(secret);
    let first = (offset * 8).div_ceil(6);
    let certain = padded.len() * 8 / 6;
    [BASE64, BASE64URL].into_iter().flat_map(move |alphabet| {
        let text = alphabet.encode(&padded);
        let last = text.trim_end_matches('=').len();
        [certain, last, text.len()].map(|end| text.get(first..end).unwrap_or_default().to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECRET: &str = "p/ä\"s+s w&rd~1";

    #[test]
    fn an_echo_is_found_in_every_form() {
        let scrubber = Scrubber::new([SECRET]);
        let standard = data_encoding::BASE64.encode(SECRET.as_bytes());
        let percent = utf8_percent_encode(SECRET, NON_ALPHANUMERIC).to_string();
        for echo in [
            SECRET.to_owned(),
            SECRET.to_uppercase().replace('Ä', "ä"),
            serde_json::to_string(SECRET).unwrap(),
            r#"p\/\u00e4\"s+s w&rd~1"#.to_owned(),
            r#"p/\u00E4\"s\u002Bs w\u0026rd~1"#.to_owned(),
            "p%2F%C3%A4%22s%2Bs+w%26rd%7E1".to_owned(),
            "p%2f%c3%a4%22s%2bs%20w%26rd~1".to_owned(),
            url::Url::parse(&format!("http://a/?{SECRET}")).unwrap().to_string(),
            percent.to_lowercase(),
            percent,
            standard,
            data_encoding::BASE64URL_NOPAD.encode(SECRET.as_bytes()),
            HEXLOWER.encode(SECRET.as_bytes()).to_uppercase(),
        ] {
            let clean = scrubber.text(format!("before {echo} after"));
            assert!(clean.contains(MASK), "{echo} stayed in {clean}");
            assert!(clean.starts_with("before ") && clean.ends_with(" after"), "{clean}");
            assert_eq!(scrubber.bytes(Bytes::from(echo.clone())), scrubber.text(echo));
        }
    }

    #[test]
    fn base64_is_found_inside_longer_texts_at_any_offset() {
        let scrubber = Scrubber::new(["s3cr3t-t0ken"]);
        for user in ["", "u", "us", "usr", "user"] {
            let text = data_encoding::BASE64.encode(format!("{user}:s3cr3t-t0ken:x").as_bytes());
            let clean = scrubber.text(text.clone());
            assert!(clean.contains(MASK), "{user}: {text}");
        }
    }

    #[test]
    fn what_holds_no_secret_stays_as_it_is() {
        let scrubber = Scrubber::new(["abc", "s3cr3t-t0ken"]);
        assert_eq!(scrubber.text("abc s3cr3t".to_owned()), "abc s3cr3t");
        assert!(!scrubber.finds(b"abc"));
        assert_eq!(Scrubber::new([]).bytes(Bytes::from_static(b"x")), "x");
    }

    proptest! {
        #[test]
        fn no_secret_gets_through(
            secret in "[ -~]{4,40}|\\PC{4,12}",
            before in "[a-z:]{0,5}",
            after in "[a-z:]{0,5}",
        ) {
            let scrubber = Scrubber::new([secret.as_str()]);
            let json = serde_json::to_string(&secret).unwrap();
            let json = json[1..json.len() - 1].to_owned();
            let form: String = url::form_urlencoded::byte_serialize(secret.as_bytes()).collect();
            let percent = utf8_percent_encode(&secret, NON_ALPHANUMERIC).to_string();
            for echo in [secret.clone(), json, form, percent.to_lowercase(), percent] {
                let clean = scrubber.text(format!("{before}{echo}{after}"));
                prop_assert!(clean.contains(MASK), "{} in {}", echo, clean);
            }
            let pair = data_encoding::BASE64.encode(format!("{before}{secret}{after}").as_bytes());
            prop_assert!(scrubber.finds(pair.as_bytes()), "{}", pair);
        }
    }
}
