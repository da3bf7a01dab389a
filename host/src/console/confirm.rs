//! The page before a change that is dangerous or cannot be undone: what will happen, and a button.

use askama::Template;

use super::page::Page;
use super::parts::Field;

/// A page that asks for a confirmation.
#[derive(Debug, Template)]
#[template(path = "console/confirm.html")]
pub(super) struct Confirm {
    pub(super) page: Page,
    /// Each thing that will happen.
    pub(super) effects: Vec<String>,
    /// What the person may choose.
    pub(super) fields: Vec<Field>,
    /// Values that the form sends too.
    pub(super) hidden: Vec<(&'static str, String)>,
    /// Where the form is sent.
    pub(super) action: String,
    pub(super) button: &'static str,
    /// The class of the button: `primary` or `danger`.
    pub(super) tone: &'static str,
    /// The page to return to.
    pub(super) back: String,
    pub(super) back_label: String,
}
