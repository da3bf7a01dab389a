//! Finds secrets in texts and replaces them. A secret is found in the usual forms of an echo: raw,
//! in base64, in hex, and with every mixture of percent, JSON and HTML escapes.
//!
//! A short secret (fewer than 12 characters) may be a common word. It is redacted only where it is
//! a whole value or word, and not in the connection's own origins and settings.
//!
//! If the search of a text would take too long, the whole text counts as a secret. The redactor
//! protects against echoes, but not against a tracker that cooperates with a malicious connector:
//! such a tracker can write a secret in a form that is not searched.

mod escapes;
mod forms;
mod short;

#[cfg(test)]
mod tests;

use std::borrow::Cow;

use bytes::Bytes;

use crate::secret::Secret;

use forms::{Form, FormMatch, Window};
use short::{ShortMatch, ShortSecret, match_short};

pub(crate) const MASK: &str = "[secret]";

/// The search of a text may make this many comparisons for each byte of the text, and 65,536 more.
/// An ordinary text needs less than one for each byte.
const STEPS_PER_BYTE_MAX: usize = 8;

/// The kind of a text, which decides where in the text a short secret is redacted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TextKind {
    /// A text for people: a short secret is redacted where it is a whole word.
    ForPeople,
    /// The body or a header of an answer, which the guest reads: a short secret is redacted where
    /// it is a whole word, but not in the name of a JSON member, element, attribute or parameter,
    /// and not as a part of an address or of a key such as `QA-1`. A short secret that is a number,
    /// a part of a number, `true`, `false` or `null` is redacted only in quotes.
    Answer,
    /// A single value: a short secret is redacted only if it is the whole value.
    Value,
    /// A link, a key or a name: a short secret is never redacted.
    Name,
}

/// Searches texts for all secrets of a set at once.
pub(crate) struct Redactor {
    /// The secrets to search for; a short secret with a [`ShortSecret`].
    secrets: Vec<(Secret, Option<ShortSecret>)>,
    /// For each byte, the secrets (their indices) and forms that may begin with this byte.
    candidates_by_byte: Vec<Vec<(usize, Form)>>,
}

/// The result of a search in a text.
enum SearchResult {
    None,
    /// A secret begins and ends at these positions.
    At(usize, usize),
    /// The search found no secret before this position. The text ends too early to decide whether a
    /// secret begins at this position.
    UnknownFrom(usize),
    /// The search would take too long.
    TooMuch,
}

impl Redactor {
    /// Makes a redactor for these secrets. `own_texts` are the connection's own origins and
    /// settings. Where a text repeats one of them, a short secret in it is not redacted.
    pub(crate) fn new<'a>(
        secrets: impl IntoIterator<Item = &'a Secret>,
        own_texts: &[String],
    ) -> Self {
        let secrets = secrets
            .into_iter()
            .map(|secret| (secret.clone(), ShortSecret::find(secret, own_texts)));
        let secrets: Vec<_> = secrets.collect();
        if secrets.is_empty() {
            return Self { secrets, candidates_by_byte: Vec::new() };
        }
        let candidates_by_byte = (0..=u8::MAX).map(|byte| {
            let forms_of = |(index, (secret, short)): (usize, &(Secret, Option<ShortSecret>))| {
                let secret = secret.reveal().as_bytes().to_owned();
                let forms = if short.is_some() { &Form::OF_SHORT_SECRETS[..] } else { &Form::ALL };
                forms
                    .iter()
                    .copied()
                    .filter(move |form| form.may_begin_with(&secret, byte))
                    .map(move |form| (index, form))
            };
            secrets.iter().enumerate().flat_map(forms_of).collect()
        });
        Self { candidates_by_byte: candidates_by_byte.collect(), secrets }
    }

    /// Returns whether a text of this kind contains a secret, or takes too long to search.
    pub(crate) fn contains_secret(&self, kind: TextKind, text: &[u8]) -> bool {
        let window = Window { text, is_last_part: true };
        !matches!(self.search(window, kind, 0, &mut steps_max(text)), SearchResult::None)
    }

    /// Replaces every secret in a text of this kind by [`MASK`]. If the search would take too long,
    /// replaces the whole text.
    pub(crate) fn redact(&self, kind: TextKind, text: String) -> String {
        match self.redact_to_cow(text.as_bytes(), kind) {
            Cow::Borrowed(_) => text,
            Cow::Owned(redacted) => String::from_utf8_lossy(&redacted).into_owned(),
        }
    }

    /// Redacts the body of an answer.
    pub(crate) fn redact_bytes(&self, bytes: Bytes) -> Bytes {
        match self.redact_to_cow(&bytes, TextKind::Answer) {
            Cow::Borrowed(_) => bytes,
            Cow::Owned(redacted) => Bytes::from(redacted),
        }
    }

    /// Redacts the next part of a long body, and appends the result to `out`. The first `done`
    /// bytes of `text` were processed by an earlier call and serve only as context. Returns the
    /// position in `text` up to which the body is now processed. The caller must pass the bytes
    /// after it again, together with the next bytes. Returns `None` if the whole body counts as a
    /// secret.
    pub(crate) fn redact_part(
        &self,
        text: &[u8],
        done: usize,
        is_last_part: bool,
        out: &mut Vec<u8>,
    ) -> Option<usize> {
        self.redact_into(Window { text, is_last_part }, TextKind::Answer, done, out)
    }

    /// Returns how many of the processed bytes the next part must repeat as context.
    pub(crate) fn context_bytes(&self) -> usize {
        let short = self.secrets.iter().filter_map(|(_, short)| short.as_ref());
        short.map(ShortSecret::context_bytes).max().unwrap_or_default()
    }

    /// Searches the text from `done` on, and appends it to `out` with a mask in place of each
    /// secret. Returns the position up to which the text was processed; `None` if the search would
    /// take too long.
    fn redact_into(
        &self,
        window: Window<'_>,
        kind: TextKind,
        mut done: usize,
        out: &mut Vec<u8>,
    ) -> Option<usize> {
        let text = window.text;
        let mut steps_left = steps_max(text);
        loop {
            let (start, end) = match self.search(window, kind, done, &mut steps_left) {
                SearchResult::TooMuch => return None,
                SearchResult::None => (text.len(), text.len()),
                SearchResult::UnknownFrom(start) => (start, start),
                SearchResult::At(start, end) => (start, end),
            };
            out.extend_from_slice(text.get(done..start).unwrap_or_default());
            if start == end {
                return Some(start);
            }
            out.extend_from_slice(MASK.as_bytes());
            done = end;
        }
    }

    /// Masks the secrets in a text, or the whole text if the search would take too long.
    fn redact_to_cow<'t>(&self, text: &'t [u8], kind: TextKind) -> Cow<'t, [u8]> {
        let window = Window { text, is_last_part: true };
        match self.search(window, kind, 0, &mut steps_max(text)) {
            SearchResult::None => return Cow::Borrowed(text),
            SearchResult::TooMuch => return Cow::Owned(MASK.into()),
            SearchResult::At(..) | SearchResult::UnknownFrom(_) => {}
        }
        let mut redacted = Vec::with_capacity(text.len());
        match self.redact_into(window, kind, 0, &mut redacted) {
            Some(_) => Cow::Owned(redacted),
            None => Cow::Owned(MASK.into()),
        }
    }

    /// Finds the first secret at `from` or later. If several secrets begin at the same position,
    /// finds the longest.
    fn search(
        &self,
        window: Window<'_>,
        kind: TextKind,
        from: usize,
        steps_left: &mut usize,
    ) -> SearchResult {
        if self.secrets.is_empty() {
            return SearchResult::None;
        }
        let text = window.text.iter().enumerate().skip(from);
        for (at, byte) in text {
            let Some(candidates) = self.candidates_by_byte.get(usize::from(*byte)) else {
                continue;
            };
            let mut longest = None;
            for (secret_index, form) in candidates {
                let Some((secret, short)) = self.secrets.get(*secret_index) else { continue };
                let secret = secret.reveal();
                let end = match form.compare(secret.as_bytes(), window, at, steps_left) {
                    FormMatch::No => continue,
                    FormMatch::Unknown => return SearchResult::UnknownFrom(at),
                    FormMatch::To(end) => end,
                    FormMatch::TooMuch => return SearchResult::TooMuch,
                };
                let short_match = short.as_ref().map_or(ShortMatch::Yes, |short| {
                    match_short(secret, short, kind, window, (at, end))
                });
                match short_match {
                    ShortMatch::No => {}
                    ShortMatch::Yes => longest = longest.max(Some(end)),
                    ShortMatch::Unknown => return SearchResult::UnknownFrom(at),
                }
            }
            if let Some(end) = longest {
                return SearchResult::At(at, end);
            }
        }
        SearchResult::None
    }
}

fn steps_max(text: &[u8]) -> usize {
    text.len().saturating_mul(STEPS_PER_BYTE_MAX).saturating_add(1 << 16)
}
