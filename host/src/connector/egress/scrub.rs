//! Finds secrets in texts, in every form in which a tracker may echo them: raw, percent-, JSON- and
//! HTML-escaped, base64 and hex. What people gave is found with each character escaped for itself, so that
//! no mixture escapes; tokens, and secrets joined with a setting, are found escaped as a whole.
//!
//! Guards against echoes, not against a tracker that conspires with a connector: who holds a secret
//! can always write it in a form that nobody foresaw.

use std::borrow::Cow;
use std::fmt::Write as _;

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};
use bytes::Bytes;
use data_encoding::{BASE64, BASE64URL, HEXLOWER};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use regex::bytes::{NoExpand, Regex, RegexBuilder};
use url::form_urlencoded;

/// What stands where a secret stood.
const MASK: &str = "[secret]";

/// Shorter pieces of an encoding, bytes, are not looked for: they would be found in every text.
const PIECE_MIN: usize = 4;
/// Of longer secrets, bytes, only the literal forms are looked for: the others would cost megabytes.
const ESCAPED_LENGTH_MAX: usize = 4 * 1024;
/// The compiled search's limit; what the secrets of one connection may need is far below.
const PROGRAM_BYTES_MAX: usize = 512 * 1024 * 1024;
/// What a search may use for its speed.
const DFA_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Searches for a set of secrets at once.
pub(super) struct Scrubber {
    secrets: Secrets,
    /// Texts that no person chose alone, in the forms in which they may be echoed as a whole: who chose
    /// them may choose what is searched too, so that takes time linear in it, whatever they are.
    others: Option<AhoCorasick>,
}

enum Secrets {
    /// There are none.
    Nothing,
    /// Every form of every one.
    Forms(Regex),
    /// They cannot be searched for: every text counts as one.
    Everything,
}

impl Scrubber {
    /// Looks for secrets that people gave, in whatever mixture of forms, and for others: tokens that a
    /// tracker gave, secrets joined with what a setting says.
    pub(super) fn new<'a>(
        secrets: impl IntoIterator<Item = &'a str>,
        others: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        Self::within(secrets, others, PROGRAM_BYTES_MAX)
    }

    fn within<'a>(
        secrets: impl IntoIterator<Item = &'a str>,
        others: impl IntoIterator<Item = &'a str>,
        program_bytes_max: usize,
    ) -> Self {
        let wholes: Vec<_> = others.into_iter().flat_map(wholes).collect();
        let mut search = AhoCorasick::builder();
        search.match_kind(MatchKind::LeftmostLongest).kind(Some(AhoCorasickKind::ContiguousNFA));
        // Its prefilter compares whole texts at each likely place: not linear any more.
        search.prefilter(false);
        match search.build(&wholes) {
            Ok(search) => {
                let secrets = Secrets::new(secrets, program_bytes_max);
                Self { secrets, others: (!wholes.is_empty()).then_some(search) }
            }
            Err(_) => Self { secrets: Secrets::Everything, others: None },
        }
    }

    /// Whether a text holds a secret.
    pub(super) fn finds(&self, text: &[u8]) -> bool {
        self.others.as_ref().is_some_and(|others| others.is_match(text)) || self.secrets.finds(text)
    }

    /// The text without secrets.
    pub(super) fn text(&self, text: String) -> String {
        match self.cleaned(text.as_bytes()) {
            Cow::Borrowed(_) => text,
            Cow::Owned(clean) => String::from_utf8_lossy(&clean).into_owned(),
        }
    }

    /// The bytes without secrets; the same bytes where there were none.
    pub(super) fn bytes(&self, bytes: Bytes) -> Bytes {
        match self.cleaned(&bytes) {
            Cow::Borrowed(_) => bytes,
            Cow::Owned(clean) => Bytes::from(clean),
        }
    }

    fn cleaned<'t>(&self, text: &'t [u8]) -> Cow<'t, [u8]> {
        let text = match &self.others {
            Some(others) if others.is_match(text) => {
                let mut clean = Vec::with_capacity(text.len());
                others.replace_all_with_bytes(text, &mut clean, |_, _, clean| {
                    clean.extend_from_slice(MASK.as_bytes());
                    true
                });
                Cow::Owned(clean)
            }
            _ => Cow::Borrowed(text),
        };
        match self.secrets.cleaned(&text) {
            Some(clean) => Cow::Owned(clean),
            None => text,
        }
    }
}

impl Secrets {
    fn new<'a>(secrets: impl IntoIterator<Item = &'a str>, program_bytes_max: usize) -> Self {
        let mut secrets: Vec<&str> = secrets.into_iter().collect();
        // The first form that fits is taken: what contains others comes before them.
        secrets.sort_unstable_by_key(|secret| std::cmp::Reverse(secret.len()));
        let forms: Vec<String> = secrets.into_iter().flat_map(forms).collect();
        if forms.is_empty() {
            return Self::Nothing;
        }
        let mut search = RegexBuilder::new(&forms.join("|"));
        search.unicode(false).size_limit(program_bytes_max).dfa_size_limit(DFA_BYTES_MAX);
        search.build().map_or(Self::Everything, Self::Forms)
    }

    fn finds(&self, text: &[u8]) -> bool {
        match self {
            Self::Nothing => false,
            Self::Forms(search) => search.is_match(text),
            Self::Everything => !text.is_empty(),
        }
    }

    /// `None` where there is nothing to clean.
    fn cleaned(&self, text: &[u8]) -> Option<Vec<u8>> {
        if !self.finds(text) {
            return None;
        }
        let mask = MASK.as_bytes();
        Some(match self {
            Self::Forms(search) => search.replace_all(text, NoExpand(mask)).into_owned(),
            Self::Nothing | Self::Everything => mask.to_vec(),
        })
    }
}

/// A text as a whole in each form that common encoders make of it.
fn wholes(text: &str) -> Vec<Vec<u8>> {
    let percent = utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let form: String = form_urlencoded::byte_serialize(text.as_bytes()).collect();
    let json = serde_json::Value::from(text).to_string();
    let json = json.get(1..json.len() - 1).unwrap_or_default().to_owned();
    let hex = HEXLOWER.encode(text.as_bytes());
    let mut wholes = vec![
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
    // Some escape what is special in HTML only, some all that is no letter or digit.
    let special = |c: char| matches!(c, '+' | '<' | '>' | '&' | '\'' | '"' | '\\' | '`');
    for escaped in [special as fn(char) -> bool, |c| !c.is_ascii_alphanumeric()] {
        let each = |escape: &dyn Fn(char) -> String| -> String {
            let escape = |c: char| if escaped(c) { escape(c) } else { c.to_string() };
            text.chars().map(escape).collect()
        };
        wholes.extend([
            each(&|c| units(c, |unit| format!(r"\u{unit:04x}"))),
            each(&|c| units(c, |unit| format!(r"\u{unit:04X}"))),
            each(&|c| format!("&#{};", u32::from(c))),
            each(&|c| format!("&#x{:x};", u32::from(c))),
            each(&|c| format!("&#x{:X};", u32::from(c))),
        ]);
    }
    let encoded = (0..3).flat_map(|offset| base64(text.as_bytes(), offset));
    wholes.extend(encoded.filter(|text| text.len() >= PIECE_MIN));
    wholes.into_iter().map(String::into_bytes).collect()
}

/// A character's UTF-16 units, each written so.
fn units(c: char, write: impl Fn(u16) -> String) -> String {
    c.encode_utf16(&mut [0; 2]).iter().map(|unit| write(*unit)).collect()
}

/// Percent escapes with lower-case digits, the rest as it is.
fn lower_escapes(percent: &str) -> String {
    let mut parts = percent.split('%');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| {
        let (digits, rest) = part.split_at(part.len().min(2));
        text + "%" + &digits.to_ascii_lowercase() + rest
    })
}

/// Every form of one secret, as patterns; longer ones before their beginnings.
fn forms(secret: &str) -> Vec<String> {
    let bytes = secret.as_bytes();
    let mut forms = Vec::new();
    if bytes.len() <= ESCAPED_LENGTH_MAX {
        forms.push(secret.chars().map(spellings).collect());
    } else {
        forms.push(literal(bytes));
    }
    forms.push(format!("(?i:{})", HEXLOWER.encode(bytes)));
    let encoded = (0..3).flat_map(|offset| base64(bytes, offset));
    forms.extend(encoded.filter(|text| text.len() >= PIECE_MIN).map(|t| literal(t.as_bytes())));
    forms
}

/// One character in all its spellings. Backslashes may have been escaped themselves.
fn spellings(c: char) -> String {
    let raw = literal(c.encode_utf8(&mut [0; 4]).as_bytes());
    let mut percent = String::new();
    for byte in c.encode_utf8(&mut [0; 4]).bytes() {
        // Writing into a String cannot fail.
        let _ = write!(percent, "%{byte:02x}");
    }
    let mut json = String::new();
    for unit in c.encode_utf16(&mut [0; 2]) {
        let _ = write!(json, r"\\+u{unit:04x}");
    }
    let code = u32::from(c);
    let html = format!("&#0*{code};|&#x0*{code:x};");
    let own = match c {
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
    format!("(?:(?i:{percent}|{json}|{html}){own}|{raw})")
}

/// Bytes as they are.
fn literal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut pattern, byte| {
        let _ = write!(pattern, r"\x{byte:02x}");
        pattern
    })
}

/// What base64 makes of a secret that begins at an offset within a group of three bytes, in both
/// alphabets: to its end, where it stands last, then the part that is the same whatever follows.
fn base64(secret: &[u8], offset: usize) -> impl Iterator<Item = String> {
    let mut padded = vec![0; offset];
    padded.extend_from_slice(secret);
    let first = (offset * 8).div_ceil(6);
    let certain = padded.len() * 8 / 6;
    [BASE64, BASE64URL].into_iter().flat_map(move |alphabet| {
        let text = alphabet.encode(&padded);
        let last = text.trim_end_matches('=').len();
        [text.len(), last, certain].map(|end| text.get(first..end).unwrap_or_default().to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECRET: &str = "p/ä\"s+s w&rd~1";

    #[test]
    fn an_echo_is_found_in_every_form() {
        let scrubber = Scrubber::new([SECRET], []);
        let standard = data_encoding::BASE64.encode(SECRET.as_bytes());
        let percent = utf8_percent_encode(SECRET, NON_ALPHANUMERIC).to_string();
        for echo in [
            SECRET.to_owned(),
            serde_json::to_string(SECRET).unwrap(),
            r#"p\/\u00e4\"s+s w&rd~1"#.to_owned(),
            r#"p/\u00E4\"s\u002Bs w\u0026rd~1"#.to_owned(),
            "p%2F%C3%A4%22s%2Bs+w%26rd%7E1".to_owned(),
            "p%2f%c3%a4%22s%2bs%20w%26rd~1".to_owned(),
            url::Url::parse(&format!("http://a/?{SECRET}")).unwrap().to_string(),
            lower_escapes(&percent),
            r#"p\/ä\u0022s+s w&rd~1"#.to_owned(),
            r#"p\\\/ä\\\"s+s w&amp;rd~1"#.to_owned(),
            "p&#47;&#xE4;&quot;s+s&#32;w&amp;rd~1".to_owned(),
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
        let scrubber = Scrubber::new(["s3cr3t-t0ken"], []);
        for user in ["", "u", "us", "usr", "user"] {
            let text = data_encoding::BASE64.encode(format!("{user}:s3cr3t-t0ken:x").as_bytes());
            let clean = scrubber.text(text.clone());
            assert!(clean.contains(MASK), "{user}: {text}");
        }
    }

    #[test]
    fn what_holds_no_secret_stays_as_it_is() {
        let scrubber = Scrubber::new(["s3cr3t-t0ken"], []);
        assert_eq!(scrubber.text("abc s3cr3t".to_owned()), "abc s3cr3t");
        assert!(!scrubber.finds(b"abc"));
        assert_eq!(Scrubber::new([], []).bytes(Bytes::from_static(b"x")), "x");
    }

    #[test]
    fn a_token_is_found_as_a_whole_in_each_form_beside_a_secret() {
        let scrubber = Scrubber::new([SECRET], ["AbC+dEf/GhI==-x.Y_z~Q"]);
        for form in [
            "AbC+dEf/GhI==-x.Y_z~Q",
            "AbC%2BdEf%2FGhI%3D%3D-x.Y_z%7EQ",
            "AbC%2bdEf%2fGhI%3d%3d-x.Y_z%7eQ",
            "AbC%2BdEf%2FGhI%3D%3D%2Dx%2EY%5Fz%7EQ",
            "AbC%2bdEf%2fGhI%3d%3d%2dx%2eY%5fz%7eQ",
            r"AbC+dEf\/GhI==-x.Y_z~Q",
            r"AbC\u002BdEf/GhI==-x.Y_z~Q",
            r"AbC\u002bdEf/GhI==-x.Y_z~Q",
            r"AbC\u002bdEf\u002fGhI\u003d\u003d\u002dx\u002eY\u005fz\u007eQ",
            "AbC&#43;dEf/GhI==-x.Y_z~Q",
            "AbC&#x2B;dEf/GhI==-x.Y_z~Q",
            "QWJDK2RFZi9HaEk9PS14Lllfen5R",
            "4162432b6445662f4768493d3d2d782e595f7a7e51",
        ] {
            let clean = scrubber.text(format!("before {form} after"));
            assert_eq!(clean, "before [secret] after", "{form}");
        }
        let pair = data_encoding::BASE64.encode(b"user:AbC+dEf/GhI==-x.Y_z~Q:x");
        assert!(scrubber.finds(pair.as_bytes()) && scrubber.finds(SECRET.as_bytes()));
    }

    /// What chose the token may choose the text: at each of its letters the search is nearly over. A
    /// search that began anew at each would take half a minute, and this test with it.
    #[test]
    fn a_text_made_to_be_searched_for_slowly_is_not() {
        let (token, pair) = ("a".repeat(4_000), "a".repeat(4_000) + ":s3cr3t/+");
        let scrubber = Scrubber::new([], [token.as_str(), pair.as_str()]);
        let near = ("a".repeat(3_999) + "b").repeat(2_000);
        assert_eq!(scrubber.text(near.clone()), near);
    }

    #[test]
    fn what_cannot_be_searched_for_hides_every_text() {
        let scrubber = Scrubber::within([SECRET], [], 10);
        assert!(scrubber.finds(b"a"));
        assert_eq!(scrubber.text("a".to_owned()), MASK);
        assert_eq!(scrubber.bytes(Bytes::from_static(b"a")), MASK);
    }

    proptest! {
        #[test]
        fn no_secret_gets_through(
            secret in "[ -~]{4,40}|\\PC{4,12}",
            before in "[a-z:]{0,5}",
            after in "[a-z:]{0,5}",
        ) {
            let scrubber = Scrubber::new([secret.as_str()], []);
            let json = serde_json::to_string(&secret).unwrap();
            let json = json[1..json.len() - 1].to_owned();
            let form: String = url::form_urlencoded::byte_serialize(secret.as_bytes()).collect();
            let percent = utf8_percent_encode(&secret, NON_ALPHANUMERIC).to_string();
            for echo in [secret.clone(), json, form, lower_escapes(&percent), percent] {
                let clean = scrubber.text(format!("{before}{echo}{after}"));
                prop_assert!(clean.contains(MASK), "{} in {}", echo, clean);
            }
            let pair = data_encoding::BASE64.encode(format!("{before}{secret}{after}").as_bytes());
            prop_assert!(scrubber.finds(pair.as_bytes()), "{}", pair);
        }
    }
}
