//! The store in a PostgreSQL database, which several servers may share. The rules that both
//! database engines share are in [`sql`](super::sql).
//!
//! Never shows the password: messages contain the address of the database without it.

mod clock;
mod database;
mod dialect;
mod errors;
mod inspect;
mod links;
mod listener;
mod schema;
mod session;
mod tls_errors;
mod warnings;

use std::path::{Path, PathBuf};
use std::str::FromStr as _;
use std::sync::Arc;
use std::time::Duration;

use sqlx::ConnectOptions as _;
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use url::Url;
use uuid::Uuid;

pub use self::clock::DatabaseClock;
pub use self::inspect::{PostgresFindings, Standbys};

use self::session::{Address, Session};
use super::changes::Publisher;
use super::sql::SqlStore;
use super::sql::readers::ReadLink;
use super::sql::starts::StartCounter;
use super::{DatabaseError, SqliteStore, StoreError, TableRows, transfer};
use crate::secret::{Sealer, Secret};

/// The time limit of a statement that changes the schema or copies rows.
const LONG_STATEMENT_TIMEOUT: Duration = Duration::from_secs(3_600);

/// The address and the password of a database, and the limits for its use.
#[derive(Debug, Clone)]
pub struct PostgresSettings {
    /// The address, `postgres://user@host/database`.
    pub url: Url,
    /// The password; `None` if PostgreSQL requires none.
    pub password: Option<Secret>,
    /// Maximum number of database connections that this server opens.
    pub connections_max: u32,
    /// The time limit of a statement.
    pub statement_timeout: Duration,
    /// The time limit of an attempt to connect.
    pub connect_timeout: Duration,
}

/// Opens and inspects the store in a PostgreSQL database, and copies a SQLite file into it.
pub struct PostgresStore;

impl PostgresStore {
    /// Connects to the database, updates its schema, and checks the key that seals the secrets. The
    /// returned clock follows the clock of the database.
    ///
    /// A file of this server contains the number of starts of all servers at its last start. Its
    /// path is `starts`, with the extension replaced by `starts`. The number shows whether the
    /// database was replaced by an older copy.
    ///
    /// # Errors
    /// The database cannot be used; the error contains the reason and, if it is known, the next
    /// step.
    pub async fn open(
        settings: PostgresSettings,
        sealer: Sealer,
        starts: &Path,
    ) -> Result<(SqlStore, Arc<DatabaseClock>), StoreError> {
        let starts = StartCounter::with_file_beside(starts);
        let opened = tokio::task::spawn_blocking(move || open(&settings, &sealer, starts)).await;
        opened.map_err(|error| DatabaseError::new("the store cannot start", error, None))?
    }

    /// Inspects a database for `jackfield doctor`. Never changes the database.
    ///
    /// # Errors
    /// The database cannot be reached, it refuses the user, or a query failed.
    pub async fn inspect(settings: PostgresSettings) -> Result<PostgresFindings, StoreError> {
        let inspected = tokio::task::spawn_blocking(move || {
            let address = connection_address(&settings)?;
            let session = |address| Session::new(address, Arc::default());
            let (first, second) = (session(address.clone())?, session(address)?);
            Ok(inspect::inspect(&first, &second)?)
        });
        inspected.await.map_err(|error| DatabaseError::new("the database failed", error, None))?
    }

    /// Copies the rows of a SQLite file that no server uses into an empty database, and marks the
    /// file as moved. Returns the number of rows of each table.
    ///
    /// # Errors
    /// One of the databases cannot be used, or the target already has rows that were not copied
    /// from this file. After an error, a server can still use the file, unless the file was already
    /// marked as moved.
    pub async fn copy_from_sqlite(
        database: PathBuf,
        to: PostgresSettings,
        sealer: Sealer,
    ) -> Result<Vec<TableRows>, StoreError> {
        let copied = tokio::task::spawn_blocking(move || copy_from(&database, &to, &sealer)).await;
        copied.map_err(|error| DatabaseError::new("the copy failed", error, None))?
    }
}

fn copy_from(
    database: &Path,
    settings: &PostgresSettings,
    sealer: &Sealer,
) -> Result<Vec<TableRows>, StoreError> {
    let settings =
        PostgresSettings { statement_timeout: LONG_STATEMENT_TIMEOUT, ..settings.clone() };
    let address = connection_address(&settings)?;
    let display_url = Arc::clone(&address.display_url);
    let to = Session::new(address, Arc::default())?;
    to.connect()?;
    refuse_pool(&to)?;
    schema::prepare(&to, sealer)?;
    SqliteStore::move_rows(database, sealer, &display_url, |from| {
        schema::run_in_transaction(&to, || transfer::copy_all_rows(from, &to))
    })
}

fn open(
    settings: &PostgresSettings,
    sealer: &Sealer,
    starts: StartCounter,
) -> Result<(SqlStore, Arc<DatabaseClock>), StoreError> {
    let address = connection_address(settings)?;
    let clock = Arc::new(DatabaseClock::default());
    // A statement that changes the schema may take longer than other statements.
    let long_address = Address { statement_timeout: LONG_STATEMENT_TIMEOUT, ..address.clone() };
    let schema_session = Session::new(long_address, Arc::clone(&clock))?;
    schema_session.connect()?;
    refuse_pool(&schema_session)?;
    schema::prepare(&schema_session, sealer)?;
    schema_session.close();
    let writer = Session::new(address.clone(), Arc::clone(&clock))?.with_schema_check();
    writer.connect()?;
    let mut readers: Vec<Box<dyn ReadLink>> = Vec::new();
    // One of the allowed connections writes, and one receives notifications. The other connections
    // read.
    for _ in 0..settings.connections_max.saturating_sub(2).max(1) {
        let reader = Session::new(address.clone(), Arc::clone(&clock))?.with_schema_check();
        readers.push(Box::new(links::ReadingLink(reader)));
    }
    let publisher = Publisher::for_shared_database();
    listener::start(address, publisher.clone())?;
    let writer = Box::new(links::WritingLink(writer));
    let store = SqlStore::start(writer, readers, starts, publisher)?;
    Ok((store, clock))
}

/// Refuses a database that is reached through a connection pool, such as PgBouncer, in transaction
/// mode.
fn refuse_pool(session: &Session) -> Result<(), StoreError> {
    let second = Session::new(session.address.clone(), Arc::default())?;
    inspect::refuse_pool(session, &second)?;
    second.close();
    Ok(())
}

fn connection_address(settings: &PostgresSettings) -> Result<Address, StoreError> {
    let mut display_url = settings.url.clone();
    let _ = display_url.set_password(None);
    display_url.set_query(None);
    let options = PgConnectOptions::from_str(settings.url.as_str());
    let options = options.map_err(|error| {
        let failure = format!("`store` = {display_url} is not an address of PostgreSQL");
        DatabaseError::new(failure, error.to_string(), None)
    })?;
    for name in ["sslrootcert", "sslcert", "sslkey"] {
        check_file_is_readable(&settings.url, name)?;
    }
    let has_parameter = |wanted: &str| settings.url.query_pairs().any(|(name, _)| name == wanted);
    let options = if has_parameter("application_name") {
        options
    } else {
        options.application_name("jackfield")
    };
    // Set `sslmode` even if the address does not contain it: otherwise the driver reads the
    // environment variable PGSSLMODE.
    let options =
        if has_parameter("sslmode") { options } else { options.ssl_mode(PgSslMode::Prefer) };
    let options = options.extra_float_digits(None).disable_statement_logging();
    let options = match &settings.password {
        Some(password) => options.password(password.reveal()),
        None => options,
    };
    let PostgresSettings { connect_timeout, statement_timeout, .. } = *settings;
    let server = Uuid::new_v4().simple().to_string().into();
    let display_url = display_url.as_str().into();
    Ok(Address { options, display_url, server, connect_timeout, statement_timeout })
}

/// Without this check, the error of a failed connection would not name the file.
fn check_file_is_readable(url: &Url, parameter: &str) -> Result<(), DatabaseError> {
    let found = url.query_pairs().find(|(name, _)| name == parameter);
    let Some(file) = found.map(|(_, value)| value) else { return Ok(()) };
    std::fs::read(&*file).map(drop).map_err(|error| {
        let failure = format!("cannot read {file}, which `{parameter}` in `store` names");
        DatabaseError::new(
            failure,
            error,
            Some("correct the path, or the owner and mode of the file"),
        )
    })
}
