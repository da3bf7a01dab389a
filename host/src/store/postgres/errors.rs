//! Converts errors of PostgreSQL into errors of the store, and decides which of them end the
//! connection.
//!
//! Never shows a password: messages contain the address of the database without it.

use sqlx::Error;

use super::tls_errors;
use crate::store::DatabaseError;
use crate::store::sql::database::Failure;

const CHECK_SERVER: &str = "check that PostgreSQL runs, and that `store` names it";
const CHECK_PASSWORD: &str = "check `store_password`, and the user in `store`";
const CHECK_HBA: &str = "check the user in `store`, and pg_hba.conf: a line `hostssl` needs \
                         `sslmode=verify-full` in `store`, and one with a client certificate \
                         `sslcert` and `sslkey`";
const NAME_PRIMARY: &str = "let `store` name the primary, and not a standby";
/// The SQLSTATE codes, and classes of codes, after which a new connection is needed.
const CODES_THAT_END_A_CONNECTION: [&str; 9] =
    ["57P01", "57P02", "57P03", "57P05", "25P03", "25P04", "08", READ_ONLY, CHANGED_COLUMNS];
/// SQLSTATE of a feature that is not supported. PostgreSQL also sends it if a newer version of
/// Jackfield added columns to a table after a statement was prepared.
const CHANGED_COLUMNS: &str = "0A000";
/// SQLSTATE: the session can only read, for example because the PostgreSQL server became a standby.
/// The host name may lead to another PostgreSQL server now, so a new connection is needed.
const READ_ONLY: &str = "25006";
/// SQLSTATE: another session held a lock for longer than `lock_timeout`.
const LOCK_NOT_AVAILABLE: &str = "55P03";

pub(super) fn describe_error(database: &str, error: &Error) -> DatabaseError {
    if let Error::Configuration(refused) = error
        && let Some(refused) = refused.downcast_ref::<DatabaseError>()
    {
        return refused.clone();
    }
    if let Some((failure, fix)) = tls_errors::describe(error) {
        return DatabaseError::new(
            format!("the database {database} {failure}"),
            error_text(error),
            Some(fix),
        );
    }
    let (failure, fix) = match sql_state(error).as_deref() {
        Some("28P01") => ("refuses the user", Some(CHECK_PASSWORD)),
        // PgBouncer reports a wrong password with the code of a protocol violation.
        Some("08P01") if error_text(error).contains("authentication failed") => {
            ("refuses the user", Some(CHECK_PASSWORD))
        }
        Some("28000") => ("refuses the user", Some(CHECK_HBA)),
        Some("3D000") => ("does not exist", Some("create it, or correct `store`")),
        Some("42501") => (
            "does not permit the statement",
            Some("give the user in `store` the rights on the schema"),
        ),
        Some(LOCK_NOT_AVAILABLE) => {
            ("is busy", Some("`pg_locks` shows which session holds a lock for too long"))
        }
        Some("57014") => ("did not answer within `store_statement_s`", None),
        Some("53100" | "53200" | "53300") => ("is out of resources", None),
        Some(READ_ONLY) => ("accepts no changes", Some(NAME_PRIMARY)),
        Some(code) if !code_ends_connection(code) => ("failed", None),
        _ => ("cannot be reached", Some(CHECK_SERVER)),
    };
    DatabaseError::new(format!("the database {database} {failure}"), error_text(error), fix)
}

pub(super) fn standby_error(database: &str) -> DatabaseError {
    let failure = format!("the database {database} accepts no changes");
    DatabaseError::new(failure, "it is a standby", Some(NAME_PRIMARY))
}

pub(super) fn pool_error(database: &str) -> DatabaseError {
    let failure = format!("the database {database} cannot be used");
    let fix = "let PgBouncer use session mode, or let `store` name PostgreSQL itself";
    DatabaseError::new(failure, "it is reached through a pool in transaction mode", Some(fix))
}

/// Returns the error for a commit whose answer did not arrive, or arrived with a warning.
pub(super) fn unknown_outcome_error(database: &str, why: String) -> DatabaseError {
    let failure = format!("the database {database} did not confirm whether the change was stored");
    DatabaseError::new(failure, why, Some("repeat the request to see its outcome"))
}

pub(super) fn statement_failure(database: &str, error: &Error) -> Failure {
    let violates_constraint = sql_state(error).is_some_and(|code| code.starts_with("23"));
    Failure { violates_constraint, error: describe_error(database, error) }
}

pub(super) fn is_lock_timeout(error: &Error) -> bool {
    sql_state(error).as_deref() == Some(LOCK_NOT_AVAILABLE)
}

/// Whether a new connection is needed after this error.
pub(super) fn ends_connection(error: &Error) -> bool {
    match error {
        Error::Database(_) => sql_state(error).is_some_and(|code| code_ends_connection(&code)),
        Error::RowNotFound | Error::ColumnNotFound(_) | Error::Encode(_) => false,
        _ => true,
    }
}

fn code_ends_connection(code: &str) -> bool {
    CODES_THAT_END_A_CONNECTION.iter().any(|ending| code.starts_with(ending))
}

fn sql_state(error: &Error) -> Option<String> {
    error.as_database_error().and_then(|error| Some(error.code()?.into_owned()))
}

/// Returns the message of PostgreSQL or of the network, without the words that the driver `sqlx`
/// adds.
pub(super) fn error_text(error: &Error) -> String {
    match error {
        Error::Database(error) => error.message().to_owned(),
        Error::Io(error) => error.to_string(),
        Error::Tls(error) => error.to_string(),
        Error::Protocol(text) => text.clone(),
        other => other.to_string(),
    }
}
