//! The links to the next rows of a list, and back to the first.

use askama::Template;

/// Where the list begins, and where its next rows are.
#[derive(Debug, Clone, Template)]
#[template(path = "console/parts/pager.html")]
pub(in crate::console) struct Pager {
    /// The address of the first page; absent on the first page itself.
    pub(in crate::console) first: Option<String>,
    /// The address of the next page.
    pub(in crate::console) next: Option<String>,
}
