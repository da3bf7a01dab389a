//! Parts that pages share: badges, times, form fields, actions, comparisons, pages of a list.
//!
//! Each part renders itself as HTML with its texts escaped, so templates include it with `|safe`.

mod action;
mod field;
mod pager;
mod sides;
mod when;

use std::fmt;

pub(super) use action::Action;
pub(super) use field::{Control, Field, Listed};
pub(super) use pager::Pager;
pub(super) use sides::Sides;
pub(super) use when::When;

/// What a colour means. A badge also says it in words.
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

/// A short word about a state.
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
