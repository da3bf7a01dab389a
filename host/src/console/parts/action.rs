//! A button that opens a page or makes a change. If the account may not use it, the button is
//! disabled, and the reason is beside it.

use askama::Template;

use crate::console::frame::Visitor;
use crate::domain::Role;

/// A link to a page, or a form without fields that makes a change.
#[derive(Debug, Clone, Template)]
#[template(path = "console/parts/action.html")]
pub(in crate::console) struct Action {
    label: &'static str,
    /// The address of the page, or the address to which the form is sent.
    href: String,
    /// The CSS class of the button: empty, `primary` or `danger`.
    button_class: &'static str,
    /// The CSRF token if the button sends a form; `None` if the button is a link.
    csrf_token: Option<String>,
    /// The reason why this account may not use the button; `None` if it may.
    refusal_reason: Option<String>,
}

impl Action {
    /// Makes a link that needs this role or a higher one.
    pub(in crate::console) fn link(
        visitor: &Visitor,
        role: Role,
        label: &'static str,
        href: String,
    ) -> Self {
        let refusal_reason = (!visitor.account.may(role)).then(|| format!("needs the role {role}"));
        Self { label, href, button_class: "", csrf_token: None, refusal_reason }
    }

    /// Makes a button for a change that needs this role or a higher one.
    pub(in crate::console) fn post(
        visitor: &Visitor,
        role: Role,
        label: &'static str,
        href: String,
    ) -> Self {
        Self {
            csrf_token: Some(visitor.csrf_token.clone()),
            ..Self::link(visitor, role, label, href)
        }
    }

    /// Disables the button for an account that is limited to some connections.
    pub(in crate::console) fn for_all_connections(self, visitor: &Visitor) -> Self {
        let is_limited = visitor.account.connections.is_some();
        let refusal_reason = is_limited.then(|| "needs an account for all connections".to_owned());
        Self { refusal_reason: self.refusal_reason.or(refusal_reason), ..self }
    }

    /// Highlights the button as the usual choice.
    pub(in crate::console) fn primary(self) -> Self {
        Self { button_class: "primary", ..self }
    }

    /// Marks a button that deletes something.
    pub(in crate::console) fn danger(self) -> Self {
        Self { button_class: "danger", ..self }
    }
}
