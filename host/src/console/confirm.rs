//! The confirmation page. It says what a change will do before a person makes the change. It is
//! used for changes that are dangerous or cannot be undone.

use askama::Template;

use super::page::Page;
use super::parts::Field;

/// A confirmation page with a form.
#[derive(Debug, Template)]
#[template(path = "console/confirm.html")]
pub(super) struct Confirm {
    pub(super) page: Page,
    /// The effects of the change, one sentence or two for each.
    pub(super) effects: Vec<String>,
    /// The options that the person can set before the change.
    pub(super) fields: Vec<Field>,
    /// Names and values of the hidden fields.
    pub(super) hidden: Vec<(&'static str, String)>,
    /// The address to which the form is sent.
    pub(super) action: String,
    pub(super) button: &'static str,
    /// The class of the button: `primary` or `danger`.
    pub(super) tone: &'static str,
    /// The address of the link that cancels the change.
    pub(super) back: String,
    pub(super) back_label: String,
}
