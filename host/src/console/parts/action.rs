//! A button that opens a page or makes a change. If the account may not use it, the button is
//! disabled, and the page shows the reason.

use askama::Template;

use crate::console::frame::Visitor;
use crate::domain::Role;

/// A link, or a form that consists of one button.
#[derive(Debug, Clone, Template)]
#[template(path = "console/parts/action.html")]
pub(in crate::console) struct Action {
    label: &'static str,
    href: String,
    /// The class of the button: empty, `primary` or `danger`.
    tone: &'static str,
    /// The CSRF token if the button sends a form; `None` if it is a link.
    csrf: Option<String>,
    /// The reason why this account may not use the button.
    refused: Option<String>,
}

impl Action {
    /// A link to a page that only accounts with this role may use.
    pub(in crate::console) fn link(
        visitor: &Visitor,
        role: Role,
        label: &'static str,
        href: String,
    ) -> Self {
        let refused = (!visitor.account.may(role)).then(|| format!("needs the role {role}"));
        Self { label, href, tone: "", csrf: None, refused }
    }

    /// A button that makes a change. Only accounts with this role may use it.
    pub(in crate::console) fn post(
        visitor: &Visitor,
        role: Role,
        label: &'static str,
        href: String,
    ) -> Self {
        Self { csrf: Some(visitor.csrf.clone()), ..Self::link(visitor, role, label, href) }
    }

    /// Marks an action on the whole server. Accounts that are limited to some connections may not
    /// use it.
    pub(in crate::console) fn for_all_connections(self, visitor: &Visitor) -> Self {
        let is_limited = visitor.account.connections.is_some();
        let refused = is_limited.then(|| "needs an account for all connections".to_owned());
        Self { refused: self.refused.or(refused), ..self }
    }

    /// Highlights the button as the usual choice.
    pub(in crate::console) fn primary(self) -> Self {
        Self { tone: "primary", ..self }
    }

    /// Marks a button that deletes something.
    pub(in crate::console) fn danger(self) -> Self {
        Self { tone: "danger", ..self }
    }
}
