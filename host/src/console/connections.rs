//! `/connections`: the list, one connection, and the changes of it.

pub(super) mod actions;
pub(super) mod choices;
mod conflict;
pub(super) mod consent;
pub(super) mod create;
pub(super) mod details;
pub(super) mod edit;
pub(super) mod first_event;
mod form;
mod input;
pub(super) mod list;
pub(super) mod report;
mod schema;
mod senders;
pub(super) mod try_it;

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
