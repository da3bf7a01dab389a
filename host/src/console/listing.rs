//! The parts that all pages with a list have in common: the query of the request, the form with the
//! filters, and the links between the pages of the list.

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

/// The name of the query value with the id of the last row of the page before.
const CURSOR: &str = "cursor";

/// The names and values in the query of an address.
pub(super) type QueryValues = BTreeMap<String, String>;

/// A request for one page of a list.
#[derive(Debug)]
pub(super) struct Listing {
    /// The path of the list.
    path: &'static str,
    /// The query of the request, without empty values.
    query: QueryValues,
}

impl Listing {
    /// Removes empty values from the query, because a form also sends its empty fields.
    pub(super) fn new(path: &'static str, mut query: QueryValues) -> Self {
        query.retain(|_, value| !value.trim().is_empty());
        Self { path, query }
    }

    /// Returns the query value with this name.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.query.get(name).map(|value| value.trim())
    }

    /// Whether the request is for the first page of the list.
    pub(super) fn is_first_page(&self) -> bool {
        !self.query.contains_key(CURSOR)
    }

    /// Whether the request is for the first page of the list, and sets no filter.
    pub(super) fn is_first_page_without_filters(&self) -> bool {
        self.query.is_empty()
    }

    /// Returns the id of the last row of the page before the requested one; `None` for the first
    /// page.
    pub(super) fn cursor(&self) -> Result<Option<Uuid>, Problem> {
        let cursor = self.get(CURSOR).map(str::parse);
        cursor.transpose().map_err(|_| Problem::bad_request("`cursor` is not an id"))
    }

    /// Parses the value of the filter `name`. The value must be one of the names that `T` has.
    pub(super) fn parse_enum_filter<T: StringEnum>(
        &self,
        name: &str,
    ) -> Result<Option<EnumString<T>>, Problem> {
        let parsed = self.get(name).map(str::parse);
        parsed.transpose().map_err(|error| Problem::bad_request(format!("`{name}`: {error}")))
    }

    /// Makes a filter with a select box, which shows the current value. The first option switches
    /// the filter off.
    pub(super) fn select_filter(
        &self,
        name: &str,
        label: &str,
        options: Vec<(String, String)>,
    ) -> Field {
        let any = (String::new(), "any".to_owned());
        let options = std::iter::once(any).chain(options).collect();
        Field::new(name, label, Control::Select { value: self.filter_value(name), options })
    }

    /// Makes a filter with a text field, which shows the current value. `kind` is the type of the
    /// HTML input.
    pub(super) fn text_filter(&self, name: &str, label: &str, kind: &'static str) -> Field {
        Field::new(name, label, Control::Input { kind, value: self.filter_value(name) })
    }

    fn filter_value(&self, name: &str) -> String {
        self.get(name).unwrap_or_default().to_owned()
    }

    /// Makes the form that contains the filters.
    pub(super) fn filter_form(&self, fields: Vec<Field>) -> FilterForm {
        FilterForm { path: self.path, fields }
    }

    /// Returns the address of the first page, with the same filters.
    pub(super) fn first_page_href(&self) -> String {
        let filters = self.query.iter().filter(|(name, _)| *name != CURSOR);
        url_with_query(self.path, filters.map(|(name, value)| (name.as_str(), value.as_str())))
    }

    /// Makes the links to the first page and to the next page. `next` is the cursor of the next
    /// page; `None` on the last page.
    pub(super) fn pager(&self, next: Option<Uuid>) -> Pager {
        let next = next.map(|cursor| {
            let mut query = self.query.clone();
            query.insert(CURSOR.to_owned(), cursor.to_string());
            let values = query.iter().map(|(name, value)| (name.as_str(), value.as_str()));
            url_with_query(self.path, values)
        });
        Pager {
            first_href: (!self.is_first_page()).then(|| self.first_page_href()),
            next_href: next,
        }
    }
}

/// The form with the filters above a list.
#[derive(Debug, Template)]
#[template(path = "console/parts/filters.html")]
pub(super) struct FilterForm {
    /// The path of the list.
    path: &'static str,
    /// One field for each filter.
    fields: Vec<Field>,
}

/// Returns the address of a page, with these names and values as its query.
pub(super) fn url_with_query<'t>(
    path: &str,
    values: impl Iterator<Item = (&'t str, &'t str)>,
) -> String {
    let encode = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let pairs = values.map(|(name, value)| format!("{name}={}", encode(value)));
    let query = pairs.collect::<Vec<_>>().join("&");
    if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") }
}

/// Returns an option of a filter for each name that `T` has. An option is the name, and the text
/// that the page shows for this name.
pub(super) fn enum_options<T: StringEnum>() -> Vec<(String, String)> {
    T::ALL.iter().map(|it| (it.as_str().to_owned(), it.as_str().replace('-', " "))).collect()
}

/// Returns an option of a filter for each connection that the visitor may see. An option is the id
/// and the name of the connection.
pub(super) fn connection_options(app: &AppState, visitor: &Visitor) -> Vec<(String, String)> {
    let all = app.services.connections.list().into_iter().map(|it| it.connection);
    let visible = all.filter(|it| visitor.account.sees(it.id));
    visible.map(|it| (it.id.to_string(), it.name)).collect()
}
