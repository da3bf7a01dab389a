//! Turns errors of PostgreSQL into errors of the store, and says which of them end the connection.
//!
//! Never shows a password: the place of the database is named without it.

use sqlx::Error;

use super::tls_errors;
use crate::store::DatabaseError;
use crate::store::sql::database::Failure;

/// The advice about a database that does not answer.
const CHECK_SERVER: &str = "check that PostgreSQL runs, and that `store` names it";
const CHECK_PASSWORD: &str = "check `store_password`, and the user in `store`";
const CHECK_HBA: &str = "check the user in `store`, and pg_hba.conf: a line `hostssl` needs \
                         `sslmode=verify-full` in `store`, and one with a client certificate \
                         `sslcert` and `sslkey`";
/// The advice about a database that accepts no changes.
const NAME_PRIMARY: &str = "let `store` name the primary, and not a standby";
/// The values and classes of SQLSTATE after which the connection is of no use.
const CODES_THAT_END_A_CONNECTION: [&str; 9] =
    ["57P01", "57P02", "57P03", "57P05", "25P03", "25P04", "08", READ_ONLY, CHANGED_COLUMNS];
/// A newer server added columns to a table after a statement was prepared.
const CHANGED_COLUMNS: &str = "0A000";
/// The server became a standby: the name of the database may lead to another one now.
const READ_ONLY: &str = "25006";

/// A lock was not free within `lock_timeout`.
const BUSY: &str = "55P03";

/// Describes an error of a statement.
pub(super) fn describe_error(place: &str, error: &Error) -> DatabaseError {
    if let Error::Configuration(refused) = error
        && let Some(refused) = refused.downcast_ref::<DatabaseError>()
    {
        return refused.clone();
    }
    if let Some((failure, fix)) = tls_errors::describe(error) {
        return DatabaseError::new(
            format!("the database {place} {failure}"),
            text(error),
            Some(fix),
        );
    }
    let (failure, fix) = match code(error).as_deref() {
        Some("28P01") => ("refuses the user", Some(CHECK_PASSWORD)),
        // PgBouncer says so with the code of a broken protocol.
        Some("08P01") if text(error).contains("authentication failed") => {
            ("refuses the user", Some(CHECK_PASSWORD))
        }
        Some("28000") => ("refuses the user", Some(CHECK_HBA)),
        Some("3D000") => ("does not exist", Some("create it, or correct `store`")),
        Some("42501") => ("does not permit it", Some("give the user the rights on its schema")),
        Some(BUSY) => ("is busy", Some("another server has held its lock for too long")),
        Some("57014") => ("did not answer within `store_statement_s`", None),
        Some("53100" | "53200" | "53300") => ("is out of resources", None),
        Some(READ_ONLY) => ("only reads", Some(NAME_PRIMARY)),
        Some(code) if !ends_connection_by(code) => ("failed", None),
        _ => ("cannot be reached", Some(CHECK_SERVER)),
    };
    DatabaseError::new(format!("the database {place} {failure}"), text(error), fix)
}

/// The error of a session that reached a standby: what it reads may be old.
pub(super) fn standby(place: &str) -> DatabaseError {
    let failure = format!("the database {place} only reads");
    DatabaseError::new(failure, "it is a standby", Some(NAME_PRIMARY))
}

/// The error of two sessions that shared one of PostgreSQL.
pub(super) fn pooled(place: &str) -> DatabaseError {
    let failure = format!("the database {place} cannot be used");
    let fix = "let PgBouncer use session mode, or let `store` name PostgreSQL itself";
    DatabaseError::new(failure, "it is reached through a pool in transaction mode", Some(fix))
}

/// The error of a commit whose answer did not arrive, or came with a warning.
pub(super) fn unknown_outcome(place: &str, why: String) -> DatabaseError {
    let failure = format!("the database {place} did not say if the change was stored");
    DatabaseError::new(failure, why, Some("repeat the request to see its outcome"))
}

/// Describes a failed statement for the rules.
pub(super) fn failure(place: &str, error: &Error) -> Failure {
    let violates = code(error).is_some_and(|code| code.starts_with("23"));
    Failure { violates, error: describe_error(place, error) }
}

/// Whether another session held a lock for longer than the statement may wait.
pub(super) fn is_busy(error: &Error) -> bool {
    code(error).as_deref() == Some(BUSY)
}

/// Whether the connection cannot be used after this error.
pub(super) fn ends_connection(error: &Error) -> bool {
    match error {
        Error::Database(_) => code(error).is_some_and(|code| ends_connection_by(&code)),
        Error::RowNotFound | Error::ColumnNotFound(_) | Error::Encode(_) => false,
        _ => true,
    }
}

fn ends_connection_by(code: &str) -> bool {
    CODES_THAT_END_A_CONNECTION.iter().any(|ending| code.starts_with(ending))
}

fn code(error: &Error) -> Option<String> {
    error.as_database_error().and_then(|error| Some(error.code()?.into_owned()))
}

/// What PostgreSQL or the network says, without the words that this crate adds.
pub(super) fn text(error: &Error) -> String {
    match error {
        Error::Database(error) => error.message().to_owned(),
        Error::Io(error) => error.to_string(),
        Error::Tls(error) => error.to_string(),
        other => other.to_string(),
    }
}
