//! `jackfield migrate`: copies the SQLite database into PostgreSQL.
//!
//! The command reads the database file itself, so it needs the permissions of the server's user,
//! and no token. It never prints a password.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::Args;
use serde::Serialize;

use crate::app::{move_to_postgres, postgres_settings};
use crate::config::Config;
use crate::store::TableRows;

use super::output::Output;
use super::serve::{self, read_config};

const SQLITE_PREFIX: &str = "sqlite:";

#[derive(Args)]
#[command(after_help = "\
Stop the server first, and create an empty database. If the command is interrupted, repeat it. After
the copy, servers refuse to use the SQLite file: set `store` to the address of the new database.

Examples:
  jackfield migrate --from sqlite:/var/lib/jackfield/jackfield.db \\
      --to postgres://jackfield@db.example.com/jackfield --password file:/etc/jackfield/secrets/db")]
pub(super) struct Arguments {
    /// The SQLite database file, written as sqlite:PATH
    #[arg(long, value_name = "FILE")]
    from: String,
    /// The address of the PostgreSQL database, without its password
    #[arg(long, value_name = "ADDRESS")]
    to: String,
    /// Where to read the password of the PostgreSQL database: file:/PATH or env:NAME [default: the
    /// place that `store_password` of the configuration names]
    #[arg(long, value_name = "WHERE")]
    password: Option<String>,
    /// The configuration file [default: jackfield.toml, if it exists]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// The result of the copy, for `--json`.
#[derive(Serialize)]
struct Report {
    tables: Vec<TableRows>,
}

impl Arguments {
    pub(super) fn run(self, output: Output) -> anyhow::Result<()> {
        let file = self.from.strip_prefix(SQLITE_PREFIX).map(Path::new);
        let file =
            file.with_context(|| format!("--from must be {SQLITE_PREFIX} and the path of a file"))?;
        if file.file_name().is_none_or(|name| name != "jackfield.db") {
            bail!("--from must name the file jackfield.db in the server's data folder");
        }
        let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
        let (config, _) = read_config(self.config.as_deref())?;
        let store = Config::store_address(&self.to)
            .map_err(|why| anyhow::anyhow!(why.replace("`store`", "--to")))?;
        let store_password = self.password.or(config.store_password.clone());
        let config = Config { store, store_password, ..config };
        let to = postgres_settings(&config)?.context("--to must be the address of a database")?;
        let copying = move_to_postgres(folder.unwrap_or(Path::new(".")), to);
        let tables = serve::start_runtime()?.block_on(copying)?;
        let rows: Vec<_> = tables.iter().map(|it| format!("{} {}", it.table, it.rows)).collect();
        let sentence = format!(
            "Copied and counted the rows of each table: {}. Servers refuse to use the SQLite file \
             from now on: set `store` to the address of the new database.",
            rows.join(", ")
        );
        output.print_result(&sentence, &Report { tables });
        Ok(())
    }
}
