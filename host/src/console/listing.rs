//! What all pages with a list have in common: the query of the request, the filters, and the links
//! between the pages of the list.

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

/// The name of the query value that contains the id of the last row of the previous page.
const CURSOR: &str = "cursor";

pub(super) type QueryValues = BTreeMap<String, String>;

#[derive(Debug)]
pub(super) struct Listing {
    path: &'static str,
    /// Without empty values.
    query: QueryValues,
}

impl Listing {
    /// A form also sends its empty fields, so these are removed from the query.
    pub(super) fn new(path: &'static str, mut query: QueryValues) -> Self {
        query.retain(|_, value| !value.trim().is_empty());
        Self { path, query }
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.query.get(name).map(|value| value.trim())
    }

    pub(super) fn is_first_page(&self) -> bool {
        !self.query.contains_key(CURSOR)
    }

    pub(super) fn is_first_page_without_filters(&self) -> bool {
        self.query.is_empty()
    }

    /// Returns the id of the last row of the previous page; `None` for the first page.
    pub(super) fn cursor(&self) -> Result<Option<Uuid>, Problem> {
        let cursor = self.get(CURSOR).map(str::parse);
        cursor.transpose().map_err(|_| Problem::bad_request("`cursor` is not an id"))
    }

    /// Returns an error if the value is not the name of a variant of `T`.
    pub(super) fn parse_enum_filter<T: StringEnum>(
        &self,
        name: &str,
    ) -> Result<Option<EnumString<T>>, Problem> {
        let parsed = self.get(name).map(str::parse);
        parsed.transpose().map_err(|error| Problem::bad_request(format!("`{name}`: {error}")))
    }

    /// Makes a filter with a select box. The first option switches the filter off.
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

    /// `kind` is the type of the HTML input.
    pub(super) fn text_filter(&self, name: &str, label: &str, kind: &'static str) -> Field {
        Field::new(name, label, Control::Input { kind, value: self.filter_value(name) })
    }

    fn filter_value(&self, name: &str) -> String {
        self.get(name).unwrap_or_default().to_owned()
    }

    pub(super) fn filter_form(&self, fields: Vec<Field>) -> FilterForm {
        FilterForm { path: self.path, fields }
    }

    /// Returns the address of the first page, with the same filters.
    pub(super) fn first_page_href(&self) -> String {
        let filters = self.query.iter().filter(|(name, _)| *name != CURSOR);
        url_with_query(self.path, filters.map(|(name, value)| (name.as_str(), value.as_str())))
    }

    /// `next` is the cursor of the next page; `None` on the last page.
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
    path: &'static str,
    fields: Vec<Field>,
}

pub(super) fn url_with_query<'t>(
    path: &str,
    values: impl Iterator<Item = (&'t str, &'t str)>,
) -> String {
    let encode = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let pairs = values.map(|(name, value)| format!("{name}={}", encode(value)));
    let query = pairs.collect::<Vec<_>>().join("&");
    if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") }
}

/// An option is the name, and the text that the page shows for it.
pub(super) fn enum_options<T: StringEnum>() -> Vec<(String, String)> {
    T::ALL.iter().map(|it| (it.as_str().to_owned(), it.as_str().replace('-', " "))).collect()
}

/// Returns an option for each connection that the visitor may see.
pub(super) fn connection_options(app: &AppState, visitor: &Visitor) -> Vec<(String, String)> {
    let all = app.services.connections.list().into_iter().map(|it| it.connection);
    let visible = all.filter(|it| visitor.account.sees(it.id));
    visible.map(|it| (it.id.to_string(), it.name)).collect()
}
