//! Renders the links to the first and to the next page of a list.

use askama::Template;

/// The addresses of the first and of the next page of a list.
#[derive(Debug, Clone, Template)]
#[template(path = "console/parts/pager.html")]
pub(in crate::console) struct Pager {
    /// The address of the first page; `None` on the first page itself.
    pub(in crate::console) first: Option<String>,
    /// The address of the next page; `None` on the last page.
    pub(in crate::console) next: Option<String>,
}
