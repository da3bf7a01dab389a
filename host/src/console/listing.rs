//! What the pages with a list share: the query, its filters, and the links to the next rows.

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

/// The names and values of a query.
pub(super) type Given = BTreeMap<String, String>;

/// A list and the query that it was asked for with.
#[derive(Debug)]
pub(super) struct Listing {
    path: &'static str,
    given: Given,
}

impl Listing {
    /// Empty values count as absent, because forms send them.
    pub(super) fn new(path: &'static str, mut given: Given) -> Self {
        given.retain(|_, value| !value.trim().is_empty());
        Self { path, given }
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.given.get(name).map(|value| value.trim())
    }

    /// Whether it is the beginning of the list.
    pub(super) fn is_first(&self) -> bool {
        !self.given.contains_key(CURSOR)
    }

    /// Whether it is the beginning of the whole list.
    pub(super) fn is_whole(&self) -> bool {
        self.given.is_empty()
    }

    pub(super) fn cursor(&self) -> Result<Option<Uuid>, Problem> {
        let cursor = self.get(CURSOR).map(str::parse);
        cursor.transpose().map_err(|_| Problem::bad_request("`cursor` is not an id"))
    }

    /// The value of a filter that has a fixed set of words.
    pub(super) fn word<T: StringEnum>(&self, name: &str) -> Result<Option<EnumString<T>>, Problem> {
        let read = self.get(name).map(str::parse);
        read.transpose().map_err(|error| Problem::bad_request(format!("`{name}`: {error}")))
    }

    /// A filter with its current value; the first option means no filter.
    pub(super) fn choice(&self, name: &str, label: &str, options: Vec<(String, String)>) -> Field {
        let any = (String::new(), "any".to_owned());
        let options = std::iter::once(any).chain(options).collect();
        Field::new(name, label, Control::Select { value: self.value(name), options })
    }

    /// A filter that is entered; `kind` is the type of the input.
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

    /// The address of the beginning, with the same filters.
    pub(super) fn beginning(&self) -> String {
        let filters = self.given.iter().filter(|(name, _)| *name != CURSOR);
        address(self.path, filters.map(|(name, value)| (name.as_str(), value.as_str())))
    }

    /// The links to the beginning and to the next rows.
    pub(super) fn pager(&self, next: Option<Uuid>) -> Pager {
        let next = next.map(|cursor| {
            let mut given = self.given.clone();
            given.insert(CURSOR.to_owned(), cursor.to_string());
            address(self.path, given.iter().map(|(name, value)| (name.as_str(), value.as_str())))
        });
        Pager { first: (!self.is_first()).then(|| self.beginning()), next }
    }
}

/// The form above a list.
#[derive(Debug, Template)]
#[template(path = "console/parts/filters.html")]
pub(super) struct Filters {
    path: &'static str,
    fields: Vec<Field>,
}

/// A page with these names and values as its query.
pub(super) fn address<'t>(path: &str, values: impl Iterator<Item = (&'t str, &'t str)>) -> String {
    let encoded = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let pairs = values.map(|(name, value)| format!("{name}={}", encoded(value)));
    let query = pairs.collect::<Vec<_>>().join("&");
    if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") }
}

/// The options of a filter that has a fixed set of words.
pub(super) fn words<T: StringEnum>() -> Vec<(String, String)> {
    T::ALL.iter().map(|it| (it.as_str().to_owned(), it.as_str().replace('-', " "))).collect()
}

/// The connections that the visitor sees, by id.
pub(super) fn connections(app: &AppState, visitor: &Visitor) -> Vec<(String, String)> {
    let all = app.services.connections.list().into_iter().map(|it| it.connection);
    let seen = all.filter(|it| visitor.account.sees(it.id));
    seen.map(|it| (it.id.to_string(), it.name)).collect()
}
