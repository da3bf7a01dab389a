//! The confirmation page. It describes the effects of a change before a person makes the change.
//! Changes that are dangerous or cannot be undone have such a page.

use askama::Template;

use super::page::Layout;
use super::parts::Field;

/// A confirmation page with a form.
#[derive(Debug, Template)]
#[template(path = "console/confirm.html")]
pub(super) struct ConfirmationPage {
    pub(super) layout: Layout,
    /// The effects of the change, one sentence or two for each.
    pub(super) effects: Vec<String>,
    /// The fields in which the person sets options of the change.
    pub(super) fields: Vec<Field>,
    /// Names and values of the hidden fields.
    pub(super) hidden_fields: Vec<(&'static str, String)>,
    /// The address to which the form is sent.
    pub(super) submit_href: String,
    pub(super) button_label: &'static str,
    /// The CSS class of the button: `primary` or `danger`.
    pub(super) button_class: &'static str,
    /// The address of the link that cancels the change.
    pub(super) back_href: String,
    pub(super) back_label: String,
}
