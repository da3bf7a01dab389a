//! Renders the links to the first page and to the next page of a list.

use askama::Template;

#[derive(Debug, Clone, Template)]
#[template(path = "console/parts/pager.html")]
pub(in crate::console) struct Pager {
    /// `None` on the first page itself.
    pub(in crate::console) first_href: Option<String>,
    /// `None` on the last page.
    pub(in crate::console) next_href: Option<String>,
}
