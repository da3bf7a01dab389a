//! The store in a PostgreSQL database, which several servers may share. The rules are in
//! [`sql`](super::sql).
//!
//! The password is never shown: messages contain the address without it.

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
const LONG_STATEMENT: Duration = Duration::from_secs(3_600);

/// The address of a database, and the time limits for it.
#[derive(Debug, Clone)]
pub struct PostgresSettings {
    /// The address, `postgres://user@host/database`.
    pub url: Url,
    /// The password, if the server asks for one.
    pub password: Option<Secret>,
    /// Maximum number of database connections of this server.
    pub connections_max: u32,
    /// The time limit of a statement.
    pub statement: Duration,
    /// The time limit of an attempt to connect.
    pub connect: Duration,
}

/// The store in a PostgreSQL database.
pub struct PostgresStore;

impl PostgresStore {
    /// Connects, brings the schema up to date, and checks the key. `starts` is a file of this
    /// server that shows whether the database fell behind. The returned clock follows the clock of
    /// the database.
    ///
    /// # Errors
    /// The database cannot be used; the error contains the reason and the next step.
    pub async fn open(
        settings: PostgresSettings,
        sealer: Sealer,
        starts: &Path,
    ) -> Result<(SqlStore, Arc<DatabaseClock>), StoreError> {
        let starts = StartCounter::beside(starts);
        let opened = tokio::task::spawn_blocking(move || open(&settings, &sealer, starts)).await;
        opened.map_err(|error| DatabaseError::new("the store cannot start", error, None))?
    }

    /// Inspects a database for `doctor`. Changes nothing.
    ///
    /// # Errors
    /// The database cannot be reached, or refuses the user.
    pub async fn inspect(settings: PostgresSettings) -> Result<PostgresFindings, StoreError> {
        let inspected = tokio::task::spawn_blocking(move || {
            let address = address(&settings)?;
            let session = |address| Session::new(address, Arc::default());
            let (first, second) = (session(address.clone())?, session(address)?);
            Ok(inspect::inspect(&first, &second)?)
        });
        inspected.await.map_err(|error| DatabaseError::new("the database failed", error, None))?
    }

    /// Copies the rows of a SQLite file that no server uses into an empty database, and marks the
    /// file. Returns the number of rows of each table.
    ///
    /// # Errors
    /// One of the databases cannot be used, or the target has rows. The file can then still be
    /// used.
    pub async fn copy_from(
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
    let settings = PostgresSettings { statement: LONG_STATEMENT, ..settings.clone() };
    let address = address(&settings)?;
    let place = Arc::clone(&address.place);
    let to = Session::new(address, Arc::default())?;
    to.connect()?;
    refuse_pool(&to)?;
    schema::prepare(&to, sealer)?;
    SqliteStore::move_rows(database, sealer, &place, |from| {
        schema::in_transaction(&to, || transfer::copy(from, &to))
    })
}

fn open(
    settings: &PostgresSettings,
    sealer: &Sealer,
    starts: StartCounter,
) -> Result<(SqlStore, Arc<DatabaseClock>), StoreError> {
    let address = address(settings)?;
    let clock = Arc::new(DatabaseClock::default());
    // A statement that changes the schema may take longer than other statements.
    let long_address = Address { statement: LONG_STATEMENT, ..address.clone() };
    let preparing = Session::new(long_address, Arc::clone(&clock))?;
    preparing.connect()?;
    refuse_pool(&preparing)?;
    schema::prepare(&preparing, sealer)?;
    preparing.close();
    let writer = Session::new(address.clone(), Arc::clone(&clock))?.for_rules();
    writer.connect()?;
    let mut readers: Vec<Box<dyn ReadLink>> = Vec::new();
    // Two more connections are used: one writes, and one receives notifications.
    for _ in 0..settings.connections_max.saturating_sub(2).max(1) {
        let reader = Session::new(address.clone(), Arc::clone(&clock))?.for_rules();
        readers.push(Box::new(links::Reading(reader)));
    }
    let publisher = Publisher::of_several_servers();
    listener::start(address, publisher.clone())?;
    let writer = Box::new(links::Writing(writer));
    let store = SqlStore::start(writer, readers, starts, publisher)?;
    Ok((store, clock))
}

fn refuse_pool(session: &Session) -> Result<(), StoreError> {
    let second = Session::new(session.address.clone(), Arc::default())?;
    inspect::refuse_pool(session, &second)?;
    second.close();
    Ok(())
}

fn address(settings: &PostgresSettings) -> Result<Address, StoreError> {
    let mut place = settings.url.clone();
    let _ = place.set_password(None);
    place.set_query(None);
    let options = PgConnectOptions::from_str(settings.url.as_str());
    let options = options.map_err(|error| {
        let failure = format!("`store` = {place} is not an address of PostgreSQL");
        DatabaseError::new(failure, error.to_string(), None)
    })?;
    for name in ["sslrootcert", "sslcert", "sslkey"] {
        check_file(&settings.url, name)?;
    }
    let has = |wanted: &str| settings.url.query_pairs().any(|(name, _)| name == wanted);
    let options =
        if has("application_name") { options } else { options.application_name("jackfield") };
    // The environment variable PGSSLMODE is ignored.
    let options = if has("sslmode") { options } else { options.ssl_mode(PgSslMode::Prefer) };
    let options = options.extra_float_digits(None).disable_statement_logging();
    let options = match &settings.password {
        Some(password) => options.password(password.reveal()),
        None => options,
    };
    let (connect, statement) = (settings.connect, settings.statement);
    let server = Uuid::new_v4().simple().to_string().into();
    Ok(Address { options, place: place.as_str().into(), server, connect, statement })
}

/// Checks that a file that the address names can be read, because the error of a failed connection
/// would not name the file.
fn check_file(url: &Url, parameter: &str) -> Result<(), DatabaseError> {
    let named = url.query_pairs().find(|(name, _)| name == parameter);
    let Some(file) = named.map(|(_, value)| value) else { return Ok(()) };
    std::fs::read(&*file).map(drop).map_err(|error| {
        let failure = format!("cannot read {file}, which `{parameter}` in `store` names");
        DatabaseError::new(failure, error, Some("correct its path, or its owner and mode"))
    })
}
