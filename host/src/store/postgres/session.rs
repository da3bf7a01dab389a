//! A session with PostgreSQL. Only one thread uses a session. The session connects again after a
//! failure, and limits the time of each wait.
//!
//! Never repeats a statement that may have had an effect.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, Connection as _, Error, Executor as _};
use tokio::runtime::{Builder, Runtime};

use super::clock::DatabaseClock;
use super::errors::{describe_error, ends_connection, error_text, unknown_outcome_error};
use super::schema::check_usable;
use super::warnings::catch_warning;
use crate::domain::Backoff;
use crate::store::{DatabaseError, StoreError};

/// The pause after the first failed attempt to connect. The pause doubles with each failure, up to
/// `RECONNECT_PAUSE_MAX`.
pub(super) const RECONNECT_PAUSE: Duration = Duration::from_millis(100);
pub(super) const RECONNECT_PAUSE_MAX: Duration = Duration::from_secs(5);
/// How long this server still waits for an answer after PostgreSQL should have ended the statement
/// at its time limit. Also the time limit for closing a connection, and for the test query of the
/// thread that receives notifications.
pub(super) const ANSWER_GRACE: Duration = Duration::from_secs(2);
/// Maximum number of prepared statements of a connection.
const PREPARED_STATEMENTS_MAX: usize = 256;
/// Commits. Unlike `COMMIT` alone, this fails if the transaction has ended, or if a statement of
/// the transaction has failed.
const COMMIT: &str = "SAVEPOINT operation; COMMIT";
/// Maximum time from one statement of a transaction to the next, milliseconds. A server that stops
/// during a transaction, or loses its network, delays the other servers for at most this time. The
/// transactions that update the schema or copy a SQLite file have no such limit.
const IDLE_TRANSACTION_MS: u64 = 5_000;

#[derive(Clone)]
pub(super) struct Address {
    /// The driver's options for a connection, with the password.
    pub(super) options: PgConnectOptions,
    /// The address without the password and the parameters, for messages.
    pub(super) display_url: Arc<str>,
    /// The id of this Jackfield server, which its notifications contain: only letters and digits.
    pub(super) server: Arc<str>,
    pub(super) connect_timeout: Duration,
    pub(super) statement_timeout: Duration,
}

/// A connection to PostgreSQL that is opened again after a failure.
pub(super) struct Session {
    pub(super) address: Address,
    runtime: Runtime,
    connection: RefCell<Option<PgConnection>>,
    clock: Arc<DatabaseClock>,
    connect_backoff: Cell<Backoff>,
    last_failure: RefCell<Option<DatabaseError>>,
    /// Whether the caller is in a transaction. Stays true if the connection is lost, so that a
    /// statement is then not repeated outside its transaction.
    pub(super) is_in_transaction: Cell<bool>,
    /// The statements of `store/sql`, and their translations for PostgreSQL.
    translations: RefCell<HashMap<String, Arc<str>>>,
    checks_schema: bool,
}

impl Session {
    /// Makes a session. Does not connect yet.
    pub(super) fn new(address: Address, clock: Arc<DatabaseClock>) -> Result<Self, StoreError> {
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime =
            runtime.map_err(|error| DatabaseError::new("the store cannot start", error, None))?;
        Ok(Self {
            address,
            runtime,
            clock,
            connection: RefCell::default(),
            last_failure: RefCell::default(),
            connect_backoff: Cell::new(Backoff::new(RECONNECT_PAUSE, RECONNECT_PAUSE_MAX)),
            is_in_transaction: Cell::default(),
            translations: RefCell::default(),
            checks_schema: false,
        })
    }

    /// At each connect, the session then refuses a standby, and a schema that this server cannot
    /// use.
    pub(super) fn with_schema_check(self) -> Self {
        Self { checks_schema: true, ..self }
    }

    /// Connects if there is no connection. A failed attempt begins a pause. During the pause,
    /// returns the error of this attempt at once, without another attempt.
    pub(super) fn connect(&self) -> Result<(), DatabaseError> {
        if self.connection.borrow().is_some() {
            return Ok(());
        }
        let mut attempts = self.connect_backoff.get();
        if attempts.is_pausing(Instant::now()) {
            let last = self.last_failure.borrow().clone();
            let failure = format!("the database {} cannot be reached", self.address.display_url);
            return Err(last.unwrap_or_else(|| {
                DatabaseError::new(
                    failure,
                    "the next attempt to connect follows within seconds",
                    None,
                )
            }));
        }
        let connected = self.runtime.block_on(async {
            match tokio::time::timeout(self.address.connect_timeout, self.open_connection()).await {
                Ok(opened) => opened,
                Err(_) => Err(Error::Protocol("no answer within `store_connect_s`".to_owned())),
            }
        });
        match connected {
            Ok(connection) => {
                attempts.succeed();
                self.connect_backoff.set(attempts);
                *self.connection.borrow_mut() = Some(connection);
                Ok(())
            }
            Err(error) => {
                attempts.fail(Instant::now());
                self.connect_backoff.set(attempts);
                let described = describe_error(&self.address.display_url, &error);
                *self.last_failure.borrow_mut() = Some(described.clone());
                Err(described)
            }
        }
    }

    async fn open_connection(&self) -> Result<PgConnection, Error> {
        let options =
            self.address.options.clone().statement_cache_capacity(PREPARED_STATEMENTS_MAX);
        let mut connection = PgConnection::connect_with(&options).await?;
        let statement_ms = self.address.statement_timeout.as_millis();
        // The limit for a lock is shorter than the limit for the statement. So a wait for a lock
        // that is too long fails with an error about the lock.
        let lock_ms = statement_ms * 9 / 10;
        let server = &self.address.server;
        // Set these values by statements, because PgBouncer refuses them as startup parameters.
        let settings = format!(
            "SET statement_timeout = {statement_ms}; SET lock_timeout = {lock_ms};
             SET idle_in_transaction_session_timeout = {IDLE_TRANSACTION_MS};
             SET client_min_messages = warning; SET timezone = 'UTC';
             SET jackfield.server = '{server}'"
        );
        connection.execute(sqlx::raw_sql(AssertSqlSafe(settings))).await?;
        if self.checks_schema {
            check_usable(&mut connection, &self.address.display_url).await?;
        }
        // Measure the clock only after the check that refuses a standby, because the clock of a
        // standby may differ from the clock of the primary.
        self.clock.measure(&mut connection).await?;
        Ok(connection)
    }

    /// Executes one or more statements without parameters in one exchange.
    pub(super) fn execute_sql(&self, sql: &str) -> Result<(), Error> {
        let sql = AssertSqlSafe(sql.to_owned());
        self.with_connection(async |connection| {
            connection.execute(sqlx::raw_sql(sql)).await.map(drop)
        })
    }

    /// Commits the transaction. If PostgreSQL answers with a warning, the outcome is unknown: the
    /// wait for the synchronous standby was cancelled, so a failover can lose the changes.
    pub(super) fn commit(&self) -> Result<(), DatabaseError> {
        let database = &self.address.display_url;
        match catch_warning(|| self.execute_sql(COMMIT)) {
            (Ok(()), None) => Ok(()),
            (Ok(()), Some(warning)) => {
                tracing::warn!(warning, "PostgreSQL did not confirm that a change is stored");
                self.disconnect();
                Err(unknown_outcome_error(database, warning))
            }
            (Err(error), _) if ends_connection(&error) => {
                Err(unknown_outcome_error(database, error_text(&error)))
            }
            (Err(error), _) => Err(describe_error(database, &error)),
        }
    }

    pub(super) fn measure_clock_if_due(&self, is_idle: bool) {
        if self.clock.needs_measurement(is_idle) {
            let clock = Arc::clone(&self.clock);
            let _ = self.with_connection(async |connection| clock.measure(connection).await);
        }
    }

    /// Returns the translation of a statement for PostgreSQL. Calls `translate` only once for each
    /// statement, so a statement must always be translated by the same function.
    pub(super) fn translate_once(&self, sql: &str, translate: impl Fn(&str) -> String) -> Arc<str> {
        if let Some(translated) = self.translations.borrow().get(sql) {
            return Arc::clone(translated);
        }
        let translated = Arc::<str>::from(translate(sql));
        self.translations.borrow_mut().insert(sql.to_owned(), Arc::clone(&translated));
        translated
    }

    /// Tells PostgreSQL that the session ends, and closes the connection.
    pub(super) fn close(&self) {
        if let Some(connection) = self.connection.borrow_mut().take() {
            let closed = self
                .runtime
                .block_on(async { tokio::time::timeout(ANSWER_GRACE, connection.close()).await });
            tracing::debug!(closed = closed.is_ok_and(|it| it.is_ok()), "a connection was closed");
        }
    }

    /// Drops the connection. PostgreSQL then rolls back an open transaction.
    pub(super) fn disconnect(&self) {
        *self.connection.borrow_mut() = None;
        self.is_in_transaction.set(false);
    }

    /// Runs `work` with the connection. Drops the connection after an error that ends it.
    pub(super) fn with_connection<T>(
        &self,
        work: impl AsyncFnOnce(&mut PgConnection) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let mut connection = self.connection.borrow_mut();
        let Some(open_connection) = connection.as_mut() else {
            return Err(Error::Protocol("the connection was lost".to_owned()));
        };
        let done = self.runtime.block_on(async {
            let wait_max = self.address.statement_timeout + ANSWER_GRACE;
            match tokio::time::timeout(wait_max, work(open_connection)).await {
                Ok(done) => done,
                Err(_) => Err(Error::Protocol("no answer within `store_statement_s`".to_owned())),
            }
        });
        if done.as_ref().err().is_some_and(ends_connection) {
            *connection = None;
        }
        done
    }
}
