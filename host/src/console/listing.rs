//! The common part of all pages with a list: the query of the request, the form with the filters,
//! and the links between the pages of the list.

use std::collections::BTreeMap;

use askama::Template;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use uuid::Uuid;

use crate::api::EnumString;
use crate::domain::StringEnum;
use crate::http::AppState;
use crate::http::problem::Problem;

use super::frame::Visitor;
use super::parts::{Control, Field, Pager};

const CURSOR: &str = "cursor";

/// The names and values of the query of an address.
pub(super) type QueryValues = BTreeMap<String, String>;

/// A request for a page of a list: the path of the list and the query of the request.
#[derive(Debug)]
pub(super) struct Listing {
    path: &'static str,
    query: QueryValues,
}

impl Listing {
    /// Removes empty values from the query: a form also sends its empty fields.
    pub(super) fn new(path: &'static str, mut query: QueryValues) -> Self {
        query.retain(|_, value| !value.trim().is_empty());
        Self { path, query }
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.query.get(name).map(|value| value.trim())
    }

    /// Whether the first page of the list is requested.
    pub(super) fn is_first_page(&self) -> bool {
        !self.query.contains_key(CURSOR)
    }

    /// Whether the first page is requested and no filter is set.
    pub(super) fn is_first_page_without_filters(&self) -> bool {
        self.query.is_empty()
    }

    pub(super) fn cursor(&self) -> Result<Option<Uuid>, Problem> {
        let cursor = self.get(CURSOR).map(str::parse);
        cursor.transpose().map_err(|_| Problem::bad_request("`cursor` is not an id"))
    }

    /// Parses the value of the filter `name`, which must be one of the names of `T`.
    pub(super) fn enum_filter<T: StringEnum>(
        &self,
        name: &str,
    ) -> Result<Option<EnumString<T>>, Problem> {
        let parsed = self.get(name).map(str::parse);
        parsed.transpose().map_err(|error| Problem::bad_request(format!("`{name}`: {error}")))
    }

    /// A filter that is a select box with its current value. Its first option switches the filter
    /// off.
    pub(super) fn select(&self, name: &str, label: &str, options: Vec<(String, String)>) -> Field {
        let any = (String::new(), "any".to_owned());
        let options = std::iter::once(any).chain(options).collect();
        Field::new(name, label, Control::Select { value: self.value(name), options })
    }

    /// A filter that is a text field with its current value. `kind` is the type of the HTML input.
    pub(super) fn input(&self, name: &str, label: &str, kind: &'static str) -> Field {
        Field::new(name, label, Control::Input { kind, value: self.value(name) })
    }

    fn value(&self, name: &str) -> String {
        self.get(name).unwrap_or_default().to_owned()
    }

    /// The form with the filters.
    pub(super) fn filters(&self, fields: Vec<Field>) -> Filters {
        Filters { path: self.path, fields }
    }

    /// The address of the first page, with the same filters.
    pub(super) fn first_page(&self) -> String {
        let filters = self.query.iter().filter(|(name, _)| *name != CURSOR);
        url_with_query(self.path, filters.map(|(name, value)| (name.as_str(), value.as_str())))
    }

    /// The links to the first and to the next page.
    pub(super) fn pager(&self, next: Option<Uuid>) -> Pager {
        let next = next.map(|cursor| {
            let mut query = self.query.clone();
            query.insert(CURSOR.to_owned(), cursor.to_string());
            let values = query.iter().map(|(name, value)| (name.as_str(), value.as_str()));
            url_with_query(self.path, values)
        });
        Pager { first: (!self.is_first_page()).then(|| self.first_page()), next }
    }
}

/// The form above a list, which contains the filters.
#[derive(Debug, Template)]
#[template(path = "console/parts/filters.html")]
pub(super) struct Filters {
    path: &'static str,
    fields: Vec<Field>,
}

/// The address of a page with these names and values as its query.
pub(super) fn url_with_query<'t>(
    path: &str,
    values: impl Iterator<Item = (&'t str, &'t str)>,
) -> String {
    let encode = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let pairs = values.map(|(name, value)| format!("{name}={}", encode(value)));
    let query = pairs.collect::<Vec<_>>().join("&");
    if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") }
}

/// The options of a filter: each name of `T`, with the text that the page shows for it.
pub(super) fn enum_options<T: StringEnum>() -> Vec<(String, String)> {
    T::ALL.iter().map(|it| (it.as_str().to_owned(), it.as_str().replace('-', " "))).collect()
}

/// The options of a filter for connections: id and name of each connection that the visitor may
/// see.
pub(super) fn connection_options(app: &AppState, visitor: &Visitor) -> Vec<(String, String)> {
    let all = app.services.connections.list().into_iter().map(|it| it.connection);
    let visible = all.filter(|it| visitor.account.sees(it.id));
    visible.map(|it| (it.id.to_string(), it.name)).collect()
}
