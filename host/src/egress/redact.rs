//! Finds secrets in texts and replaces them, in every form in which a tracker may echo them: raw,
//! percent-, JSON- and HTML-escaped in every mixture, base64 and hex.
//!
//! Compares in place and builds no automaton: a search costs no memory beside the secrets, and
//! another token costs nothing. A text that would take too long to search counts as a secret.
//! Protects against echoes, not against a tracker that conspires with a connector: that can write
//! a secret in a form that nothing here searches for.

mod escapes;
mod forms;

#[cfg(test)]
mod tests;

use std::borrow::Cow;

use bytes::Bytes;

use crate::secret::Secret;

use super::answer::Answer;
use super::body::Body;
use super::{HttpError, OutboundResponse};

use forms::{Form, Found, Window};

/// Replaces each secret.
pub(super) const MASK: &str = "[secret]";

/// How many bytes of secrets may be compared for each byte of a text. An ordinary text takes less than
/// one, and more only if it consists of beginnings of a secret.
const STEPS_PER_BYTE: usize = 8;

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
    secrets: Vec<Secret>,
    /// For each byte: which secrets, in which form, may begin with it.
    begins: Vec<Vec<(usize, Form)>>,
}

/// A secret in a text, or where it cannot be said yet.
enum Search {
    None,
    At(usize, usize),
    /// From here on, the text is too short.
    UnknownFrom(usize),
    TooMuch,
}

impl Redactor {
    /// Searches for these secrets.
    pub(super) fn new<'a>(secrets: impl IntoIterator<Item = &'a Secret>) -> Self {
        let secrets: Vec<Secret> = secrets.into_iter().cloned().collect();
        if secrets.is_empty() {
            return Self { secrets, begins: Vec::new() };
        }
        let begins = (0..=u8::MAX).map(|byte| {
            let of = |(index, secret): (usize, &Secret)| {
                let secret = secret.reveal().as_bytes().to_owned();
                let forms = Form::ALL.into_iter();
                forms
                    .filter(move |form| form.may_begin_with(&secret, byte))
                    .map(move |form| (index, form))
            };
            secrets.iter().enumerate().flat_map(of).collect()
        });
        Self { begins: begins.collect(), secrets }
    }

    /// Whether a text contains a secret.
    pub(super) fn finds(&self, text: &[u8]) -> bool {
        let mut steps = budget(text);
        !matches!(self.search(Window { text, is_last: true }, 0, &mut steps), Search::None)
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

    /// Redacts the next part of a long text into `out`. Returns how many bytes of it are done: the
    /// rest must come again with what follows, unless this was the last part. `None`: the whole text
    /// counts as a secret.
    pub(super) fn part(&self, text: &[u8], is_last: bool, out: &mut Vec<u8>) -> Option<usize> {
        let (mut steps, mut done) = (budget(text), 0);
        loop {
            let (start, end) = match self.search(Window { text, is_last }, done, &mut steps) {
                Search::TooMuch => return None,
                Search::None => (text.len(), text.len()),
                Search::UnknownFrom(start) => (start, start),
                Search::At(start, end) => (start, end),
            };
            out.extend_from_slice(text.get(done..start).unwrap_or_default());
            if start == end {
                return Some(start);
            }
            out.extend_from_slice(MASK.as_bytes());
            done = end;
        }
    }

    /// The response that the guest gets: without secrets and without the headers of the
    /// connection. A body in a file was redacted on its way there.
    pub(super) fn response(&self, answer: Answer) -> OutboundResponse {
        let body = match answer.body {
            Body::Memory(bytes) => Body::Memory(self.bytes(bytes)),
            spooled @ Body::Spooled(_) => spooled,
        };
        let mut headers = Vec::with_capacity(answer.headers.len());
        for (name, value) in &answer.headers {
            let name = name.as_str();
            if self.finds(name.as_bytes()) || HOP_BY_HOP.contains(&name) {
                continue;
            }
            let value = if name == "content-length" && body.len() > 0 {
                body.len().to_string()
            } else {
                self.text(String::from_utf8_lossy(value.as_bytes()).into_owned())
            };
            headers.push((name.to_owned(), value));
        }
        OutboundResponse { status: answer.status, headers, body, held: answer.held }
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
        let mut steps = budget(text);
        match self.search(Window { text, is_last: true }, 0, &mut steps) {
            Search::None => return Cow::Borrowed(text),
            Search::TooMuch => return Cow::Owned(MASK.into()),
            Search::At(..) | Search::UnknownFrom(_) => {}
        }
        let mut redacted = Vec::with_capacity(text.len());
        match self.part(text, true, &mut redacted) {
            Some(_) => Cow::Owned(redacted),
            None => Cow::Owned(MASK.into()),
        }
    }

    /// The first secret from `from` on; of those that begin at one place, the longest.
    fn search(&self, window: Window<'_>, from: usize, steps: &mut usize) -> Search {
        if self.secrets.is_empty() {
            return Search::None;
        }
        let text = window.text.iter().enumerate().skip(from);
        for (at, byte) in text {
            let Some(begins) = self.begins.get(usize::from(*byte)) else { continue };
            let mut longest = None;
            for (secret, form) in begins {
                let Some(secret) = self.secrets.get(*secret) else { continue };
                match form.compare(secret.reveal().as_bytes(), window, at, steps) {
                    Found::No => {}
                    Found::Unknown => return Search::UnknownFrom(at),
                    Found::To(end) => longest = longest.max(Some(end)),
                    Found::TooMuch => return Search::TooMuch,
                }
            }
            if let Some(end) = longest {
                return Search::At(at, end);
            }
        }
        Search::None
    }
}

/// How many comparisons a search in this text may take.
fn budget(text: &[u8]) -> usize {
    text.len().saturating_mul(STEPS_PER_BYTE).saturating_add(1 << 16)
}
