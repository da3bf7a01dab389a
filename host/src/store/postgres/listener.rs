//! Receives the notifications of other servers, on a connection and a thread of its own.
//!
//! Connects again after a failure. Notifications that were sent meanwhile are lost, so it then
//! publishes [`Change::Missed`]. Never runs a statement of the rules.

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

/// How long the connection may be silent before it is asked whether it still works.
const SILENCE: Duration = Duration::from_secs(5);
/// The channel of the store; several stores may be in one database.
const CHANNEL: &str = "SELECT concat('jackfield_', hashtext(current_schema()))";

/// Starts the thread. It ends when the store is closed.
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
            // A runtime for each connection: its end also ends what a lost connection left behind.
            let runtime = match Builder::new_current_thread().enable_all().build() {
                Ok(runtime) => runtime,
                Err(error) => {
                    tracing::error!(%error, "changes of other servers are not noticed");
                    return;
                }
            };
            let ended = runtime.block_on(async {
                let closed = &self.publisher.closed;
                let mut listened = false;
                let lost = closed.run_until_cancelled(self.listen(&mut listened)).await?;
                if listened {
                    attempts.succeed();
                }
                if !attempts.has_failed() {
                    let error = describe_error(&self.address.place, &lost);
                    tracing::warn!(
                        %error,
                        "changes of other servers are not noticed until the database answers again"
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

    /// Listens until the connection is lost.
    async fn listen(&self, listened: &mut bool) -> Error {
        match timeout(self.address.connect, self.open()).await {
            Ok(Ok(mut listener)) => {
                *listened = true;
                self.publisher.publish(Change::Missed);
                self.receive(&mut listener).await
            }
            Ok(Err(error)) => error,
            Err(_) => Error::Protocol("no answer within `store_connect_s`".to_owned()),
        }
    }

    async fn open(&self) -> Result<PgListener, Error> {
        let pool = PgPoolOptions::new()
            .max_connections(1)
            .acquire_timeout(self.address.connect)
            .max_lifetime(None)
            .idle_timeout(None)
            .connect_lazy_with(self.address.options.clone());
        let mut listener = PgListener::connect_with(&pool).await?;
        listener.eager_reconnect(false);
        let channel: String = sqlx::query_scalar(CHANNEL).fetch_one(&mut listener).await?;
        listener.listen(&channel).await?;
        Ok(listener)
    }

    async fn receive(&self, listener: &mut PgListener) -> Error {
        loop {
            match timeout(SILENCE, listener.try_recv()).await {
                Ok(Ok(Some(message))) => self.pass_on(message.payload()),
                Ok(Ok(None)) => return Error::Protocol("the connection was lost".to_owned()),
                Ok(Err(error)) => return error,
                Err(_) => {
                    let ask = sqlx::query("SELECT 1").execute(&mut *listener);
                    match timeout(ANSWER_GRACE, ask).await {
                        Ok(Ok(_)) => {}
                        Ok(Err(error)) => return error,
                        Err(_) => return Error::Protocol("the connection is silent".to_owned()),
                    }
                }
            }
        }
    }

    fn pass_on(&self, message: &str) {
        let Some((server, text)) = message.split_once(' ') else { return };
        match Change::from_text(text) {
            // A task of this server may wait for what another one of it does.
            Some(change @ (Change::Defect(_) | Change::Counts(..))) => {
                self.publisher.publish(change);
            }
            Some(change) if server != &*self.address.server => self.publisher.publish(change),
            Some(_) | None => {}
        }
    }
}
