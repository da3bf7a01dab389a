//! Finds secrets in texts, in every form in which a tracker may echo them: raw, percent-, JSON- and
//! HTML-escaped (each character for itself, so that no mixture escapes), base64 and hex.
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
    /// Tokens, in the forms in which they may be echoed as a whole: who chose them may choose the texts
    /// too, so looking for them takes time linear in the text, whatever they are.
    tokens: Option<AhoCorasick>,
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
    /// Looks for secrets that people gave, in whatever mixture of forms, and for tokens that a tracker gave.
    pub(super) fn new<'a>(
        secrets: impl IntoIterator<Item = &'a str>,
        tokens: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        Self::within(secrets, tokens, PROGRAM_BYTES_MAX)
    }

    fn within<'a>(
        secrets: impl IntoIterator<Item = &'a str>,
        tokens: impl IntoIterator<Item = &'a str>,
        program_bytes_max: usize,
    ) -> Self {
        let wholes: Vec<_> = tokens.into_iter().flat_map(wholes).collect();
        let mut search = AhoCorasick::builder();
        search.match_kind(MatchKind::LeftmostLongest).kind(Some(AhoCorasickKind::ContiguousNFA));
        match search.build(&wholes) {
            Ok(search) => {
                let secrets = Secrets::new(secrets, program_bytes_max);
                Self { secrets, tokens: (!wholes.is_empty()).then_some(search) }
            }
            Err(_) => Self { secrets: Secrets::Everything, tokens: None },
        }
    }

    /// Whether a text holds a secret.
    pub(super) fn finds(&self, text: &[u8]) -> bool {
        self.tokens.as_ref().is_some_and(|tokens| tokens.is_match(text)) || self.secrets.finds(text)
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
        let text = match &self.tokens {
            Some(tokens) if tokens.is_match(text) => {
                let mut clean = Vec::with_capacity(text.len());
                tokens.replace_all_with_bytes(text, &mut clean, |_, _, clean| {
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

/// A token as a whole in each form.
fn wholes(token: &str) -> Vec<Vec<u8>> {
    let percent = utf8_percent_encode(token, NON_ALPHANUMERIC).to_string();
    let form: String = form_urlencoded::byte_serialize(token.as_bytes()).collect();
    let json = serde_json::Value::from(token).to_string();
    let json = json.trim_matches('"').to_owned();
    let hex = HEXLOWER.encode(token.as_bytes());
    let mut wholes = vec![
        token.to_owned(),
        percent.to_ascii_lowercase(),
        percent,
        form,
        json.replace('/', "\\/"),
        json,
        hex.to_ascii_uppercase(),
        hex,
    ];
    let encoded = (0..3).flat_map(|offset| base64(token.as_bytes(), offset));
    wholes.extend(encoded.filter(|text| text.len() >= PIECE_MIN));
    wholes.into_iter().map(String::into_bytes).collect()
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

    /// The same escapes with lower-case digits.
    fn lower(percent: &str) -> String {
        let mut parts = percent.split('%');
        let first = parts.next().unwrap_or_default().to_owned();
        parts.fold(first, |text, part| text + "%" + &part[..2].to_lowercase() + &part[2..])
    }

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
            lower(&percent),
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
        let token = "t0ken/with+all=_-.~";
        let scrubber = Scrubber::new([SECRET], [token]);
        for form in wholes(token) {
            let text = [b"before ", form.as_slice(), b" after"].concat();
            assert!(scrubber.finds(&text));
            assert_eq!(scrubber.bytes(Bytes::from(text)), "before [secret] after");
        }
        let pair = data_encoding::BASE64.encode(format!("user:{token}:x").as_bytes());
        assert!(scrubber.finds(pair.as_bytes()) && scrubber.finds(SECRET.as_bytes()));
    }

    /// The tracker chose both. Counted in steps of the search: each byte of the text is looked at once, so
    /// a text twice as long takes twice as long, and not twice as long for each byte of the token.
    #[test]
    fn a_token_that_repeats_itself_is_looked_for_in_linear_time() {
        let token = "a".repeat(4_000);
        let scrubber = Scrubber::new([], [token.as_str()]);
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
            for echo in [secret.clone(), json, form, lower(&percent), percent] {
                let clean = scrubber.text(format!("{before}{echo}{after}"));
                prop_assert!(clean.contains(MASK), "{} in {}", echo, clean);
            }
            let pair = data_encoding::BASE64.encode(format!("{before}{secret}{after}").as_bytes());
            prop_assert!(scrubber.finds(pair.as_bytes()), "{}", pair);
        }
    }
}
