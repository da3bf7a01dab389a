//! The colour theme of the console, light or dark. It is the theme that the browser prefers, unless
//! the person chose another one.

use std::fmt;

use axum::http::HeaderMap;
use axum::response::Response;

use crate::http::problem::Problem;

use super::cookie;
use super::flash::redirect;
use super::form::Form;

const COOKIE: &str = "jackfield-theme";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Theme {
    /// The theme that the browser prefers.
    Auto,
    Light,
    Dark,
}

impl Theme {
    /// All themes, in the order of the buttons.
    pub(super) const ALL: [Self; 3] = [Self::Auto, Self::Light, Self::Dark];

    /// The name in the cookie, the form and the page.
    fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Light => "light",
            Self::Dark => "dark",
        }
    }

    fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.as_str() == name)
    }

    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Auto => "Auto",
            Self::Light => "Light",
            Self::Dark => "Dark",
        }
    }

    pub(super) fn from_cookie(headers: &HeaderMap) -> Self {
        cookie::get(headers, COOKIE).and_then(Self::parse).unwrap_or(Self::Auto)
    }
}

impl fmt::Display for Theme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Stores the chosen theme in a cookie, and redirects to the page where the person chose it.
pub(super) async fn choose_theme(form: Form) -> Result<Response, Problem> {
    let theme = Theme::parse(form.get("theme"));
    let theme = theme.ok_or_else(|| Problem::bad_request("`theme` must be auto, light or dark"))?;
    let mut response = redirect(local_path(form.get("back")));
    cookie::set(&mut response, COOKIE, theme.as_str(), 365 * 24 * 60 * 60);
    Ok(response)
}

/// Returns `text` if it is a path on this server, otherwise `/`. So a form cannot redirect the
/// browser to another site.
pub(super) fn local_path(text: &str) -> &str {
    let is_local = text.starts_with('/')
        && !text.starts_with("//")
        && text.bytes().all(|b| b.is_ascii_graphic() && b != b'\\');
    if is_local { text } else { "/" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_redirects_only_to_this_server() {
        assert_eq!(local_path("/events?kind=kpis"), "/events?kind=kpis");
        for other in ["", "//evil.example", "https://evil.example", "/\\evil.example", "/a\r\nb"] {
            assert_eq!(local_path(other), "/", "{other:?}");
        }
    }
}
