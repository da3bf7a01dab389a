//! A button that leads to a page or makes a change. Whoever may not use it sees why.

use askama::Template;

use crate::console::frame::Visitor;
use crate::domain::Role;

/// A link or a form of one button.
#[derive(Debug, Clone, Template)]
#[template(path = "console/parts/action.html")]
pub(in crate::console) struct Action {
    label: &'static str,
    href: String,
    /// The class of the button: empty, `primary` or `danger`.
    tone: &'static str,
    /// Present if the button sends a form.
    csrf: Option<String>,
    /// Why this account may not use it.
    refused: Option<String>,
}

impl Action {
    /// A link to a page that needs this role.
    pub(in crate::console) fn link(
        visitor: &Visitor,
        role: Role,
        label: &'static str,
        href: String,
    ) -> Self {
        let refused = (!visitor.account.may(role)).then(|| format!("needs the role {role}"));
        Self { label, href, tone: "", csrf: None, refused }
    }

    /// A button that makes a change for which this role is needed.
    pub(in crate::console) fn post(
        visitor: &Visitor,
        role: Role,
        label: &'static str,
        href: String,
    ) -> Self {
        Self { csrf: Some(visitor.csrf.clone()), ..Self::link(visitor, role, label, href) }
    }

    /// An action on the whole server, which no account may use that is limited to connections.
    pub(in crate::console) fn of_whole_server(self, visitor: &Visitor) -> Self {
        let limited = visitor.account.connections.is_some();
        let refused = limited.then(|| "needs an account for all connections".to_owned());
        Self { refused: self.refused.or(refused), ..self }
    }

    /// The button that most people want.
    pub(in crate::console) fn primary(self) -> Self {
        Self { tone: "primary", ..self }
    }

    /// A button that destroys something.
    pub(in crate::console) fn danger(self) -> Self {
        Self { tone: "danger", ..self }
    }
}
