//! `/connections`: the list, one connection, and the changes of it.

pub(in crate::http) mod actions;
pub(in crate::http) mod choices;
mod conflict;
pub(in crate::http) mod consent;
pub(in crate::http) mod create;
pub(in crate::http) mod details;
pub(in crate::http) mod edit;
pub(in crate::http) mod first_event;
mod form;
mod input;
pub(in crate::http) mod list;
pub(in crate::http) mod report;
mod schema;
mod senders;
pub(in crate::http) mod try_it;

use crate::domain::ConnectionRecord;
use crate::http::AppState;
use crate::http::problem::Problem;

use super::frame::Visitor;

pub(super) use list::{ConnectionRow, rows};

/// The connection of a page, if the visitor may see it.
pub(super) fn found(
    app: &AppState,
    visitor: &Visitor,
    id: &str,
) -> Result<ConnectionRecord, Problem> {
    let found = app.services.connections.find(id);
    let found = found.filter(|it| visitor.account.sees(it.connection.id));
    found.ok_or_else(|| Problem::no_such("connection", id))
}
