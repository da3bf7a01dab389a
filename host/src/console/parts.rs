//! Building blocks of pages, such as badges, times and form fields.
//!
//! Each building block renders itself as HTML and escapes its texts, so templates include it with
//! `|safe`.

mod action;
mod field;
mod pager;
mod sides;
mod when;

use std::fmt;

pub(super) use action::Action;
pub(super) use field::{Control, Field, FoundValues};
pub(super) use pager::Pager;
pub(super) use sides::TextComparison;
pub(super) use when::RelativeTime;

/// The meaning of a badge's colour. A badge also has a text, because not everybody can see colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tone {
    Ok,
    Warn,
    Bad,
    Info,
    Muted,
}

impl fmt::Display for Tone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Bad => "bad",
            Self::Info => "info",
            Self::Muted => "muted",
        })
    }
}

/// A short text on a coloured background, such as the state of a defect.
#[derive(Debug, Clone, askama::Template)]
#[template(source = r#"<span class="badge {{ tone }}">{{ text }}</span>"#, ext = "html")]
pub(super) struct Badge {
    pub(super) tone: Tone,
    pub(super) text: String,
}

impl Badge {
    pub(super) fn new(tone: Tone, text: impl Into<String>) -> Self {
        Self { tone, text: text.into() }
    }
}
