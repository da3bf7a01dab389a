//! The pages of connections.

pub(super) mod actions;
pub(super) mod choices;
pub(super) mod consent;
pub(super) mod create;
pub(super) mod details;
pub(super) mod edit;
mod edit_conflict;
pub(super) mod first_event;
mod form;
mod input;
pub(super) mod list;
pub(super) mod report;
mod schema;
mod sender_fields;
pub(super) mod try_it;

use crate::domain::ConnectionRecord;
use crate::http::AppState;
use crate::http::problem::Problem;

use super::frame::Visitor;

pub(super) use list::{ConnectionRow, connection_rows};

/// Finds a connection by its id.
///
/// # Errors
/// No such connection exists, or the visitor may not see it.
pub(super) fn find_connection(
    app: &AppState,
    visitor: &Visitor,
    id: &str,
) -> Result<ConnectionRecord, Problem> {
    let record = app.services.connections.find(id);
    let record = record.filter(|it| visitor.account.sees(it.connection.id));
    record.ok_or_else(|| Problem::no_such("connection", id))
}
