//! Receives the notifications of the servers that share the store, with a connection and a thread
//! of its own.
//!
//! Connects again after a failure. Notifications that were sent in the meantime are lost, so the
//! listener publishes [`Change::Missed`] after each connect. Never changes the database.

use std::thread;
use std::time::{Duration, Instant};

use sqlx::Error;
use sqlx::postgres::{PgListener, PgPoolOptions};
use tokio::runtime::Builder;
use tokio::time::timeout;

use super::errors::describe_error;
use super::session::{ANSWER_GRACE, Address, RECONNECT_PAUSE, RECONNECT_PAUSE_MAX};
use crate::domain::Backoff;
use crate::store::changes::{Change, Publisher};
use crate::store::{DatabaseError, StoreError};

/// If no notification arrives for this time, the listener checks that the connection still works.
const SILENCE_MAX: Duration = Duration::from_secs(5);
/// The query for the name of the store's channel. The name depends on the schema, because one
/// database may contain several stores.
const CHANNEL_NAME_SQL: &str = "SELECT concat('jackfield_', hashtext(current_schema()))";

/// Starts the listener's thread. The thread ends at the latest when the store is closed.
pub(super) fn start(address: Address, publisher: Publisher) -> Result<(), StoreError> {
    let listener = Listener { address, publisher };
    let thread = thread::Builder::new().name("store-listener".to_owned());
    let started = thread.spawn(move || listener.run());
    started.map_err(|error| DatabaseError::new("the store cannot start", error, None))?;
    Ok(())
}

struct Listener {
    address: Address,
    publisher: Publisher,
}

impl Listener {
    fn run(self) {
        let mut attempts = Backoff::new(RECONNECT_PAUSE, RECONNECT_PAUSE_MAX);
        loop {
            // Use a new runtime for each connection. When the runtime is shut down, the tasks of
            // the lost connection end too.
            let runtime = match Builder::new_current_thread().enable_all().build() {
                Ok(runtime) => runtime,
                Err(error) => {
                    tracing::error!(
                        %error,
                        "this server does not notice changes by other servers until it restarts"
                    );
                    return;
                }
            };
            let ended = runtime.block_on(async {
                let closed = &self.publisher.closed;
                let mut has_listened = false;
                let lost = closed.run_until_cancelled(self.listen(&mut has_listened)).await?;
                if has_listened {
                    attempts.succeed();
                }
                if !attempts.has_failed() {
                    let error = describe_error(&self.address.display_url, &lost);
                    tracing::warn!(
                        %error,
                        "this server does not notice changes by other servers until the database \
                         answers again"
                    );
                }
                let pause = attempts.fail(Instant::now());
                closed.run_until_cancelled(tokio::time::sleep(pause)).await
            });
            runtime.shutdown_background();
            if ended.is_none() {
                return;
            }
        }
    }

    /// Connects, and publishes changes until the connection is lost. Returns why the connection
    /// failed. Sets `has_listened` once notifications can arrive.
    async fn listen(&self, has_listened: &mut bool) -> Error {
        match timeout(self.address.connect_timeout, self.connect()).await {
            Ok(Ok(mut listener)) => {
                *has_listened = true;
                self.publisher.publish(Change::Missed);
                self.publish_until_lost(&mut listener).await
            }
            Ok(Err(error)) => error,
            Err(_) => Error::Protocol("no answer within `store_connect_s`".to_owned()),
        }
    }

    async fn connect(&self) -> Result<PgListener, Error> {
        let pool = PgPoolOptions::new()
            .max_connections(1)
            .acquire_timeout(self.address.connect_timeout)
            .max_lifetime(None)
            .idle_timeout(None)
            .connect_lazy_with(self.address.options.clone());
        let mut listener = PgListener::connect_with(&pool).await?;
        listener.eager_reconnect(false);
        let channel: String = sqlx::query_scalar(CHANNEL_NAME_SQL).fetch_one(&mut listener).await?;
        listener.listen(&channel).await?;
        Ok(listener)
    }

    async fn publish_until_lost(&self, listener: &mut PgListener) -> Error {
        loop {
            match timeout(SILENCE_MAX, listener.try_recv()).await {
                Ok(Ok(Some(message))) => self.publish_change(message.payload()),
                Ok(Ok(None)) => return Error::Protocol("the connection was lost".to_owned()),
                Ok(Err(error)) => return error,
                Err(_) => {
                    let probe = sqlx::query("SELECT 1").execute(&mut *listener);
                    match timeout(ANSWER_GRACE, probe).await {
                        Ok(Ok(_)) => {}
                        Ok(Err(error)) => return error,
                        Err(_) => return Error::Protocol("no answer to a test query".to_owned()),
                    }
                }
            }
        }
    }

    /// Publishes the change in a notification. Ignores most changes that this server itself made,
    /// because this server has already acted on them.
    fn publish_change(&self, message: &str) {
        let Some((server, text)) = message.split_once(' ') else { return };
        match Change::from_text(text) {
            // Publish these changes even if this server made them, because one task of this server
            // may wait for a change that another task makes.
            Some(change @ (Change::Defect(_) | Change::Counts(..))) => {
                self.publisher.publish(change);
            }
            Some(change) if server != &*self.address.server => self.publisher.publish(change),
            Some(_) | None => {}
        }
    }
}
