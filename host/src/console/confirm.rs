//! The confirmation page, which describes the effects of a change before a person makes it.

use askama::Template;

use super::page::Layout;
use super::parts::Field;

#[derive(Debug, Template)]
#[template(path = "console/confirm.html")]
pub(super) struct ConfirmationPage {
    pub(super) layout: Layout,
    /// One or two sentences for each effect.
    pub(super) effects: Vec<String>,
    /// The options of the change.
    pub(super) fields: Vec<Field>,
    pub(super) hidden_fields: Vec<(&'static str, String)>,
    pub(super) submit_href: String,
    pub(super) button_label: &'static str,
    /// The CSS class of the button: `primary` or `danger`.
    pub(super) button_class: &'static str,
    /// The address of the link that cancels the change.
    pub(super) back_href: String,
    pub(super) back_label: String,
}
