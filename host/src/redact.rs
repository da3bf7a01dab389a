//! Finds secrets in texts and replaces them, in every form in which a tracker may echo them: raw,
//! percent-, JSON- and HTML-escaped in every mixture, base64 and hex.
//!
//! A secret of fewer than 12 characters is often a common word. It is redacted only as a whole
//! value or word, and not in the connection's own origins and settings (`redact/short.rs`).
//!
//! Compares in place and builds no automaton, so a search needs no memory besides the secrets and
//! an index of their first bytes. A text that would take too long to search counts as a secret.
//! Protects against echoes, not against a tracker that cooperates with a malicious connector: such
//! a tracker can write a secret in a form for which the redactor does not search.

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

/// The text that replaces each secret.
pub(crate) const MASK: &str = "[secret]";

/// Maximum number of comparisons with bytes of secrets, for each byte of a text. An ordinary text
/// takes less than one, and more only if it consists of beginnings of a secret.
const STEPS_PER_BYTE: usize = 8;

/// The kind of a text. It decides where in the text a short secret is redacted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TextKind {
    /// Read by people: a short secret is redacted in each place where it is a whole word.
    ForPeople,
    /// The body or a header of an answer, which the guest reads: a short secret is redacted where
    /// it is a whole word, but not in a name, in an address or in a longer key.
    Answer,
    /// One value: a short secret is redacted only if it is the whole value.
    Value,
    /// A link, a key or a name: a short secret is never redacted.
    Name,
}

/// Searches a text for a set of secrets at once.
pub(crate) struct Redactor {
    secrets: Vec<(Secret, Option<ShortSecret>)>,
    /// For each byte: the secrets, with their form, that may begin with this byte.
    begins: Vec<Vec<(usize, Form)>>,
}

/// A secret in a text, or the position from which more text is needed to decide.
enum Search {
    None,
    At(usize, usize),
    /// From this position on, the text is too short to decide.
    UnknownFrom(usize),
    TooMuch,
}

impl Redactor {
    /// Makes a redactor for these secrets. A short secret is not redacted where it is part of one
    /// of `own_texts`, the connection's own origins and settings.
    pub(crate) fn new<'a>(
        secrets: impl IntoIterator<Item = &'a Secret>,
        own_texts: &[String],
    ) -> Self {
        let secrets = secrets.into_iter().map(|it| (it.clone(), ShortSecret::of(it, own_texts)));
        let secrets: Vec<_> = secrets.collect();
        if secrets.is_empty() {
            return Self { secrets, begins: Vec::new() };
        }
        let begins = (0..=u8::MAX).map(|byte| {
            let of = |(index, (secret, short)): (usize, &(Secret, Option<ShortSecret>))| {
                let secret = secret.reveal().as_bytes().to_owned();
                let forms = if short.is_some() { &Form::WHOLE[..] } else { &Form::ALL };
                forms
                    .iter()
                    .copied()
                    .filter(move |form| form.may_begin_with(&secret, byte))
                    .map(move |form| (index, form))
            };
            secrets.iter().enumerate().flat_map(of).collect()
        });
        Self { begins: begins.collect(), secrets }
    }

    /// Returns whether a text of this kind contains a secret, or takes too long to search.
    pub(crate) fn finds(&self, kind: TextKind, text: &[u8]) -> bool {
        let window = Window { text, is_last: true };
        !matches!(self.search(window, kind, 0, &mut budget(text)), Search::None)
    }

    /// Removes every secret from a text of this kind.
    pub(crate) fn redact(&self, kind: TextKind, text: String) -> String {
        match self.redacted(text.as_bytes(), kind) {
            Cow::Borrowed(_) => text,
            Cow::Owned(redacted) => String::from_utf8_lossy(&redacted).into_owned(),
        }
    }

    /// Redacts the body of an answer.
    pub(crate) fn bytes(&self, bytes: Bytes) -> Bytes {
        match self.redacted(&bytes, TextKind::Answer) {
            Cow::Borrowed(_) => bytes,
            Cow::Owned(redacted) => Bytes::from(redacted),
        }
    }

    /// Redacts the next part of a long body into `out`, from `done` on; the bytes before `done` are
    /// already redacted and serve as context. Returns the position up to which the text is
    /// redacted. Unless this was the last part, the caller must pass the rest again with the next
    /// bytes.
    /// `None`: the whole body counts as a secret.
    pub(crate) fn part(
        &self,
        text: &[u8],
        done: usize,
        is_last: bool,
        out: &mut Vec<u8>,
    ) -> Option<usize> {
        self.redact_into(Window { text, is_last }, TextKind::Answer, done, out)
    }

    /// Returns how many redacted bytes the next part must repeat as context.
    pub(crate) fn context_bytes(&self) -> usize {
        let short = self.secrets.iter().filter_map(|(_, short)| short.as_ref());
        short.map(ShortSecret::context_bytes).max().unwrap_or_default()
    }

    fn redact_into(
        &self,
        window: Window<'_>,
        kind: TextKind,
        mut done: usize,
        out: &mut Vec<u8>,
    ) -> Option<usize> {
        let text = window.text;
        let mut steps = budget(text);
        loop {
            let (start, end) = match self.search(window, kind, done, &mut steps) {
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

    /// Masks the secrets in a text; borrowed if it contains none. Masks the whole text if the
    /// search would take too long.
    fn redacted<'t>(&self, text: &'t [u8], kind: TextKind) -> Cow<'t, [u8]> {
        let window = Window { text, is_last: true };
        match self.search(window, kind, 0, &mut budget(text)) {
            Search::None => return Cow::Borrowed(text),
            Search::TooMuch => return Cow::Owned(MASK.into()),
            Search::At(..) | Search::UnknownFrom(_) => {}
        }
        let mut redacted = Vec::with_capacity(text.len());
        match self.redact_into(window, kind, 0, &mut redacted) {
            Some(_) => Cow::Owned(redacted),
            None => Cow::Owned(MASK.into()),
        }
    }

    /// Finds the first secret at `from` or later. If several begin at the same position, finds the
    /// longest.
    fn search(&self, window: Window<'_>, kind: TextKind, from: usize, steps: &mut usize) -> Search {
        if self.secrets.is_empty() {
            return Search::None;
        }
        let text = window.text.iter().enumerate().skip(from);
        for (at, byte) in text {
            let Some(begins) = self.begins.get(usize::from(*byte)) else { continue };
            let mut longest = None;
            for (secret, form) in begins {
                let Some((secret, short)) = self.secrets.get(*secret) else { continue };
                let secret = secret.reveal();
                let end = match form.compare(secret.as_bytes(), window, at, steps) {
                    FormMatch::No => continue,
                    FormMatch::Unknown => return Search::UnknownFrom(at),
                    FormMatch::To(end) => end,
                    FormMatch::TooMuch => return Search::TooMuch,
                };
                let whole = short
                    .as_ref()
                    .map_or(ShortMatch::Yes, |it| match_short(secret, it, kind, window, (at, end)));
                match whole {
                    ShortMatch::No => {}
                    ShortMatch::Yes => longest = longest.max(Some(end)),
                    ShortMatch::Unknown => return Search::UnknownFrom(at),
                }
            }
            if let Some(end) = longest {
                return Search::At(at, end);
            }
        }
        Search::None
    }
}

/// Returns the maximum number of comparisons for a search in this text.
fn budget(text: &[u8]) -> usize {
    text.len().saturating_mul(STEPS_PER_BYTE).saturating_add(1 << 16)
}
