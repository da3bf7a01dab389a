//! Opens the store that is configured: a SQLite file in the data folder, or PostgreSQL.

use std::sync::Arc;
use std::time::Duration;

use super::clock::ServerClock;
use super::keys;
use super::secrets::read_secret;
use crate::config::Config;
use crate::domain::Clock;
use crate::secret::{Sealer, Secret};
use crate::store::{PostgresSettings, PostgresStore, SqlStore, SqliteStore, Store as _};

/// Opens the database with the key that seals its secrets, and recovers work that a crash
/// interrupted. If the database is PostgreSQL, `clock` then follows the clock of the database.
pub(super) async fn open(
    config: &Config,
    clock: Arc<ServerClock>,
) -> anyhow::Result<(SqlStore, Sealer, Arc<dyn Clock>)> {
    let folder = config.data_folder();
    let sealer = keys::open_sealer(&folder).await?;
    let store = match postgres_settings(config)? {
        None => SqliteStore::open(&folder.database(), &sealer)?,
        Some(settings) => {
            let starts = folder.postgres_starts();
            let opened = PostgresStore::open(settings, sealer.clone(), &starts);
            let (store, database_clock) = opened.await?;
            clock.follow(database_clock);
            store
        }
    };
    store.recover(clock.now(), config.longest_run_ms()).await?;
    Ok((store, sealer, clock))
}

/// Returns the settings for PostgreSQL; `None` if the store is a SQLite file.
pub(crate) fn postgres_settings(config: &Config) -> anyhow::Result<Option<PostgresSettings>> {
    let Some(url) = config.store.clone() else { return Ok(None) };
    let password = config.store_password.as_deref();
    let password =
        password.map(|reference| read_secret(config, reference, "store_password")).transpose()?;
    Ok(Some(PostgresSettings {
        url,
        password: password.map(Secret::trimmed),
        connections_max: config.store_connections_max,
        statement_timeout: Duration::from_secs(config.store_statement_s.into()),
        connect_timeout: Duration::from_secs(config.store_connect_s.into()),
    }))
}
