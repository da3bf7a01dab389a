//! One connection to PostgreSQL, for the thread that owns it: connects again after a failure, and
//! waits no longer than it may.
//!
//! Never sends a statement twice that may have had an effect.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, Connection as _, Error, Executor as _};
use tokio::runtime::{Builder, Runtime};

use super::clock::DatabaseClock;
use super::errors::{describe_error, ends_connection, text, unknown_outcome};
use super::schema::check_usable;
use super::warnings::with_warning;
use crate::domain::Backoff;
use crate::store::{DatabaseError, StoreError};

/// The pause after the first failed attempt to connect. It doubles, up to the maximum.
pub(super) const RECONNECT_PAUSE: Duration = Duration::from_millis(100);
pub(super) const RECONNECT_PAUSE_MAX: Duration = Duration::from_secs(5);
/// How long this side waits for an answer after the server should have given up.
pub(super) const ANSWER_GRACE: Duration = Duration::from_secs(2);
/// Number of statements that the connection keeps prepared.
const STATEMENTS_MAX: usize = 256;
/// Fails, unlike `COMMIT` alone, if the transaction is over or a statement in it failed.
const COMMIT: &str = "SAVEPOINT operation; COMMIT";
/// How long a transaction may wait for its next statement, so that a server that was stopped or cut
/// off between two statements does not delay the others for longer.
const IDLE_TRANSACTION_MS: u64 = 5_000;

/// How to reach the database, and how long to wait for it.
#[derive(Clone)]
pub(super) struct Address {
    pub(super) options: PgConnectOptions,
    /// The address without the password, for people.
    pub(super) place: Arc<str>,
    /// Identifies this server in its notifications; letters and digits.
    pub(super) server: Arc<str>,
    pub(super) connect: Duration,
    pub(super) statement: Duration,
}

/// A connection with what is needed to open it again.
pub(super) struct Session {
    pub(super) address: Address,
    runtime: Runtime,
    connection: RefCell<Option<PgConnection>>,
    clock: Arc<DatabaseClock>,
    /// The attempts to connect.
    attempts: Cell<Backoff>,
    /// Why the last attempt failed.
    last_failure: RefCell<Option<DatabaseError>>,
    /// Whether a transaction is open: then a lost connection has lost its statements too.
    pub(super) in_transaction: Cell<bool>,
    translated: RefCell<HashMap<String, Arc<str>>>,
    /// Whether the schema must be one that this server can use.
    needs_schema: bool,
}

impl Session {
    /// Makes a session that connects when it is used.
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
            attempts: Cell::new(Backoff::new(RECONNECT_PAUSE, RECONNECT_PAUSE_MAX)),
            in_transaction: Cell::default(),
            translated: RefCell::default(),
            needs_schema: false,
        })
    }

    /// The same for the rules: whenever it connects, it refuses a schema that a newer server has
    /// changed so that this one cannot use it.
    pub(super) fn for_rules(self) -> Self {
        Self { needs_schema: true, ..self }
    }

    /// Connects if there is no connection. After a failure, there is a pause before the next
    /// attempt; until it is over, returns the same error at once.
    pub(super) fn connect(&self) -> Result<(), DatabaseError> {
        if self.connection.borrow().is_some() {
            return Ok(());
        }
        let mut attempts = self.attempts.get();
        if attempts.is_pausing(Instant::now()) {
            let last = self.last_failure.borrow().clone();
            let failure = format!("the database {} cannot be reached", self.address.place);
            return Err(last.unwrap_or_else(|| {
                DatabaseError::new(failure, "the next attempt follows soon", None)
            }));
        }
        let connected = self.runtime.block_on(async {
            match tokio::time::timeout(self.address.connect, self.open()).await {
                Ok(opened) => opened,
                Err(_) => Err(Error::Protocol("no answer within `store_connect_s`".to_owned())),
            }
        });
        match connected {
            Ok(connection) => {
                attempts.succeed();
                self.attempts.set(attempts);
                *self.connection.borrow_mut() = Some(connection);
                Ok(())
            }
            Err(error) => {
                attempts.fail(Instant::now());
                self.attempts.set(attempts);
                let described = describe_error(&self.address.place, &error);
                *self.last_failure.borrow_mut() = Some(described.clone());
                Err(described)
            }
        }
    }

    async fn open(&self) -> Result<PgConnection, Error> {
        let options = self.address.options.clone().statement_cache_capacity(STATEMENTS_MAX);
        let mut connection = PgConnection::connect_with(&options).await?;
        let statement_ms = self.address.statement.as_millis();
        // Less, so that the error says what was waited for.
        let lock_ms = statement_ms * 9 / 10;
        let server = &self.address.server;
        // Not as options of the start, which PgBouncer refuses.
        let settings = format!(
            "SET statement_timeout = {statement_ms}; SET lock_timeout = {lock_ms};
             SET idle_in_transaction_session_timeout = {IDLE_TRANSACTION_MS};
             SET client_min_messages = warning; SET timezone = 'UTC';
             SET jackfield.server = '{server}'"
        );
        connection.execute(sqlx::raw_sql(AssertSqlSafe(settings))).await?;
        if self.needs_schema {
            check_usable(&mut connection, &self.address.place).await?;
        }
        // Last: the clock of a standby is not that of the primary.
        self.clock.measure(&mut connection).await?;
        Ok(connection)
    }

    /// Runs statements without parameters, together.
    pub(super) fn simple(&self, sql: &str) -> Result<(), Error> {
        let sql = AssertSqlSafe(sql.to_owned());
        self.run(async |connection| connection.execute(sqlx::raw_sql(sql)).await.map(drop))
    }

    /// Commits the transaction. A commit that comes with a warning has an unknown outcome: its wait
    /// for the synchronous standby was cancelled, so a failover loses it.
    pub(super) fn commit(&self) -> Result<(), DatabaseError> {
        let place = &self.address.place;
        match with_warning(|| self.simple(COMMIT)) {
            (Ok(()), None) => Ok(()),
            (Ok(()), Some(warning)) => {
                tracing::warn!(warning, "PostgreSQL did not confirm that a change is stored");
                self.forget();
                Err(unknown_outcome(place, warning))
            }
            (Err(error), _) if ends_connection(&error) => Err(unknown_outcome(place, text(&error))),
            (Err(error), _) => Err(describe_error(place, &error)),
        }
    }

    /// Measures the database's clock again, if the last time was long ago.
    pub(super) fn measure_clock(&self) {
        if self.clock.is_old() {
            let clock = Arc::clone(&self.clock);
            let _ = self.run(async |connection| clock.measure(connection).await);
        }
    }

    /// The statement of a rule in PostgreSQL's form. Each statement is translated only once, so it
    /// must always be translated in the same way.
    pub(super) fn translated(&self, sql: &str, translate: impl Fn(&str) -> String) -> Arc<str> {
        if let Some(known) = self.translated.borrow().get(sql) {
            return Arc::clone(known);
        }
        let translated = Arc::<str>::from(translate(sql));
        self.translated.borrow_mut().insert(sql.to_owned(), Arc::clone(&translated));
        translated
    }

    /// Closes the connection, politely.
    pub(super) fn close(&self) {
        if let Some(connection) = self.connection.borrow_mut().take() {
            let closed = self
                .runtime
                .block_on(async { tokio::time::timeout(ANSWER_GRACE, connection.close()).await });
            tracing::debug!(closed = closed.is_ok_and(|it| it.is_ok()), "a connection was closed");
        }
    }

    /// Drops the connection. The server then rolls back what was not committed.
    pub(super) fn forget(&self) {
        *self.connection.borrow_mut() = None;
        self.in_transaction.set(false);
    }

    /// Runs work on the connection. A connection that failed is dropped.
    pub(super) fn run<T>(
        &self,
        work: impl AsyncFnOnce(&mut PgConnection) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let mut connection = self.connection.borrow_mut();
        let Some(connected) = connection.as_mut() else {
            return Err(Error::Protocol("the connection was lost".to_owned()));
        };
        let done = self.runtime.block_on(async {
            let wait = self.address.statement + ANSWER_GRACE;
            match tokio::time::timeout(wait, work(connected)).await {
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
