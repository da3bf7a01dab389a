//! Finds secrets in texts and replaces them, in every form in which a tracker may echo them: raw,
//! percent-, JSON- and HTML-escaped, base64 and hex.
//!
//! Secrets that people gave are found with each character escaped on its own, so that every
//! mixture is found. Tokens, and secrets joined with a setting, are found escaped as a whole.
//! Protects against echoes, not against a tracker that conspires with a connector: that can write
//! a secret in a form that nothing here searches for.

mod forms;

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::cmp::Reverse;

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};
use bytes::Bytes;
use regex::bytes::{NoExpand, Regex, RegexBuilder};

use super::exchange::Answer;
use super::{HttpError, OutboundResponse};

use forms::{patterns, whole_forms};

/// Replaces each secret.
const MASK: &str = "[secret]";

/// The limit of the compiled search; what the secrets of one connection can need is far below.
const PROGRAM_BYTES_MAX: usize = 512 * 1024 * 1024;
/// The limit of the cache that makes the search fast.
const DFA_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Headers of a response that concern its connection only; the guest does not get them.
const HOP_BY_HOP: [&str; 7] = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-connection",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Searches for a set of secrets at once.
pub(super) struct Redactor {
    secrets: Secrets,
    /// Searches for the forms of texts that a tracker or a setting chose, at least in part.
    /// Whoever chose them may also choose the text that is searched, so the time must be linear
    /// in it.
    others: Option<AhoCorasick>,
}

enum Secrets {
    /// There are none.
    Nothing,
    /// Every form of every secret.
    Forms(Regex),
    /// The search cannot be built: every text counts as a secret.
    Everything,
}

impl Redactor {
    /// Searches for `secrets` that people gave, in every mixture of forms, and for `others`:
    /// tokens that a tracker gave, secrets joined with a setting.
    pub(super) fn new<'a>(
        secrets: impl IntoIterator<Item = &'a str>,
        others: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        Self::with_limit(secrets, others, PROGRAM_BYTES_MAX)
    }

    fn with_limit<'a>(
        secrets: impl IntoIterator<Item = &'a str>,
        others: impl IntoIterator<Item = &'a str>,
        program_bytes_max: usize,
    ) -> Self {
        let forms: Vec<_> = others.into_iter().flat_map(whole_forms).collect();
        let mut search = AhoCorasick::builder();
        search.match_kind(MatchKind::LeftmostLongest).kind(Some(AhoCorasickKind::ContiguousNFA));
        // The prefilter compares whole texts at each likely place, which is not linear.
        search.prefilter(false);
        match search.build(&forms) {
            Ok(search) => {
                let secrets = Secrets::new(secrets, program_bytes_max);
                Self { secrets, others: (!forms.is_empty()).then_some(search) }
            }
            Err(_) => Self { secrets: Secrets::Everything, others: None },
        }
    }

    /// Whether a text contains a secret.
    pub(super) fn finds(&self, text: &[u8]) -> bool {
        self.others.as_ref().is_some_and(|others| others.is_match(text)) || self.secrets.finds(text)
    }

    /// The text without secrets.
    pub(super) fn text(&self, text: String) -> String {
        match self.redacted(text.as_bytes()) {
            Cow::Borrowed(_) => text,
            Cow::Owned(redacted) => String::from_utf8_lossy(&redacted).into_owned(),
        }
    }

    /// The bytes without secrets.
    pub(super) fn bytes(&self, bytes: Bytes) -> Bytes {
        match self.redacted(&bytes) {
            Cow::Borrowed(_) => bytes,
            Cow::Owned(redacted) => Bytes::from(redacted),
        }
    }

    /// The response that the guest gets: without secrets and without the headers of the
    /// connection.
    pub(super) fn response(&self, answer: Answer) -> OutboundResponse {
        let body = self.bytes(answer.body);
        let mut headers = Vec::with_capacity(answer.headers.len());
        for (name, value) in &answer.headers {
            let name = name.as_str();
            if self.finds(name.as_bytes()) || HOP_BY_HOP.contains(&name) {
                continue;
            }
            let value = if name == "content-length" && !body.is_empty() {
                body.len().to_string()
            } else {
                self.text(String::from_utf8_lossy(value.as_bytes()).into_owned())
            };
            headers.push((name.to_owned(), value));
        }
        OutboundResponse { status: answer.status, headers, body }
    }

    /// The error that the guest gets: without secrets.
    pub(super) fn error(&self, mut error: HttpError) -> HttpError {
        let (HttpError::Denied(text)
        | HttpError::Limit(text)
        | HttpError::Unreachable(text)
        | HttpError::Interrupted(text)
        | HttpError::Invalid(text)) = &mut error;
        *text = self.text(std::mem::take(text));
        error
    }

    /// Borrowed if there is no secret in the text.
    fn redacted<'t>(&self, text: &'t [u8]) -> Cow<'t, [u8]> {
        let text = match &self.others {
            Some(others) if others.is_match(text) => {
                let mut redacted = Vec::with_capacity(text.len());
                others.replace_all_with_bytes(text, &mut redacted, |_, _, redacted| {
                    redacted.extend_from_slice(MASK.as_bytes());
                    true
                });
                Cow::Owned(redacted)
            }
            _ => Cow::Borrowed(text),
        };
        match self.secrets.redacted(&text) {
            Some(redacted) => Cow::Owned(redacted),
            None => text,
        }
    }
}

impl Secrets {
    fn new<'a>(secrets: impl IntoIterator<Item = &'a str>, program_bytes_max: usize) -> Self {
        let mut secrets: Vec<&str> = secrets.into_iter().collect();
        // The first pattern that matches is used: a secret that contains another must come first.
        secrets.sort_unstable_by_key(|secret| Reverse(secret.len()));
        let patterns: Vec<String> = secrets.into_iter().flat_map(patterns).collect();
        if patterns.is_empty() {
            return Self::Nothing;
        }
        let mut search = RegexBuilder::new(&patterns.join("|"));
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

    /// `None` if there is no secret in the text.
    fn redacted(&self, text: &[u8]) -> Option<Vec<u8>> {
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
