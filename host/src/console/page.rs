//! The layout that all pages have in common.

use askama::Template;
use axum::Extension;
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse as _, Response};

use crate::domain::{Account, OutcomeCode, Role};
use crate::http::problem::Problem;

use super::flash::Flash;
use super::theme::Theme;
use crate::http::assets;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Section {
    Overview,
    Connections,
    Events,
    Defects,
    Connectors,
    Accounts,
    Audit,
}

#[derive(Debug)]
pub(super) struct NavItem {
    pub(super) section: Section,
    pub(super) href: &'static str,
    pub(super) label: &'static str,
    /// The SVG path of the icon, in a drawing of 24 by 24 units.
    pub(super) icon: &'static str,
}

const NAV_ITEMS: &[NavItem] = &[
    NavItem {
        section: Section::Overview,
        href: "/",
        label: "Overview",
        icon: "M4 19V9M10 19V5M16 19v-7M22 19H2",
    },
    NavItem {
        section: Section::Connections,
        href: "/connections",
        label: "Connections",
        icon: "M9 7H7a5 5 0 0 0 0 10h2M15 7h2a5 5 0 0 1 0 10h-2M8 12h8",
    },
    NavItem {
        section: Section::Events,
        href: "/events",
        label: "Events",
        icon: "M4 6h16M4 12h16M4 18h10",
    },
    NavItem {
        section: Section::Defects,
        href: "/defects",
        label: "Defects",
        icon: "M12 9v4M12 16.5v.5M12 3.5l9 16H3z",
    },
    NavItem {
        section: Section::Connectors,
        href: "/connectors",
        label: "Connectors",
        icon: "M4 8l8-4 8 4v8l-8 4-8-4zM4 8l8 4 8-4M12 12v8",
    },
    NavItem {
        section: Section::Accounts,
        href: "/accounts",
        label: "Accounts",
        icon: "M12 12a4 4 0 1 0 0-8 4 4 0 0 0 0 8M4 20c1.5-3.5 4.5-5 8-5s6.5 1.5 8 5",
    },
    NavItem {
        section: Section::Audit,
        href: "/audit",
        label: "Audit log",
        icon: "M6 3h9l4 4v14H6zM14 3v5h5M9 12h7M9 16h7",
    },
];

/// The values for everything on a page except its content.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    pub(super) title: String,
    /// The section that the navigation marks as the current one.
    pub(super) section: Section,
    /// The account that requested the page.
    pub(super) account: Account,
    /// Each form must send this CSRF token back.
    pub(super) csrf_token: String,
    pub(super) theme: Theme,
    /// The message that the page shows once.
    pub(super) flash: Option<Flash>,
    /// The path and query of the page, to which the browser returns after a change of the theme.
    pub(super) path: String,
}

impl Layout {
    /// Returns the links to pages that the account may use.
    pub(super) fn nav_items(&self) -> impl Iterator<Item = &'static NavItem> {
        let is_admin = self.account.may(Role::Admin) && self.account.connections.is_none();
        let needs_admin = |it: &NavItem| matches!(it.section, Section::Accounts | Section::Audit);
        NAV_ITEMS.iter().filter(move |item| is_admin || !needs_admin(item))
    }

    pub(super) fn themes(&self) -> &'static [Theme] {
        &Theme::ALL
    }

    pub(super) fn asset_href(&self, name: &str) -> &'static str {
        assets::address(name)
    }
}

pub(super) fn render(template: &impl Template) -> Result<Response, Problem> {
    match template.render() {
        Ok(html) => Ok(Html(html).into_response()),
        Err(error) => {
            tracing::error!(%error, "cannot render a page of the console");
            Err(Problem::internal())
        }
    }
}

/// Renders the page of a form again, because the form contained invalid values.
pub(super) fn render_invalid(template: &impl Template) -> Result<Response, Problem> {
    render_refused(template, StatusCode::UNPROCESSABLE_ENTITY, OutcomeCode::InvalidValues)
}

/// Renders the page of a form again, because the change was refused.
pub(super) fn render_refused(
    template: &impl Template,
    status: StatusCode,
    outcome: OutcomeCode,
) -> Result<Response, Problem> {
    Ok((status, Extension(outcome), render(template)?).into_response())
}
