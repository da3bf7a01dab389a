//! `jackfield backup` and `jackfield restore`: back up a data folder, and restore a backup.
//!
//! These commands access the folder itself, so they need the permissions of the server's user, and
//! no token. They never print a key.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use crate::app::{CopyResult, back_up, restore};
use crate::store::TableRows;

use super::output::Output;
use super::serve;
use super::server::ServerArgs;

#[derive(Args)]
#[command(after_help = "\
The backup contains the database and the connector versions that the server used. It contains
neither the plugins folder nor jackfield.toml. A restore needs the key, which decrypts the secrets.
Without --with-key, the backup does not contain the key: store the key in another place. With
--with-key, it contains the key: protect the backup as you protect the key.

Examples:
  jackfield backup /backup/2026-11-29 --data /var/lib/jackfield
  jackfield backup /backup/2026-11-29 --with-key --json")]
pub(super) struct Backup {
    /// A new folder for the backup
    #[arg(value_name = "FOLDER")]
    to: PathBuf,
    /// Also copy the key into the backup; the key decrypts the secrets
    #[arg(long)]
    with_key: bool,
}

#[derive(Args)]
#[command(after_help = "\
Stop the server first. After the next start, Jackfield searches the tracker before it creates a
defect for a failed test that the backup does not contain.

Examples:
  jackfield restore /backup/2026-11-29 --data /var/lib/jackfield
  jackfield restore /backup/2026-11-29 --replace")]
pub(super) struct Restore {
    /// The folder that `jackfield backup` wrote
    #[arg(value_name = "FOLDER")]
    from: PathBuf,
    /// Restore even if the data folder already has a database, or a key that is not the key of the
    /// backup; these files are kept under other names
    #[arg(long)]
    replace: bool,
}

/// The result of a backup or a restore, for `--json`.
#[derive(Serialize)]
struct Report {
    tables: Vec<TableRows>,
    /// The number of connector versions in the backup.
    versions: usize,
    /// The file to which the key was copied; null if the key was not copied.
    key_file: Option<String>,
    /// The new path of the database that a restore replaced; null if it replaced no database.
    replaced: Option<String>,
}

impl From<CopyResult> for Report {
    fn from(copied: CopyResult) -> Self {
        let path_text = |path: PathBuf| path.display().to_string();
        Self {
            tables: copied.tables,
            versions: copied.connector_files,
            key_file: copied.key.map(path_text),
            replaced: copied.replaced_database.map(path_text),
        }
    }
}

impl Backup {
    pub(super) fn run(self, server: &ServerArgs, output: Output) -> anyhow::Result<()> {
        let report = Report::from(back_up(&server.data_folder(), &self.to, self.with_key)?);
        let key = match report.key_file {
            Some(_) => "The backup contains the key: protect it as you protect the key.",
            None => "The backup does not contain the key: keep the key, which a restore needs.",
        };
        let sentence =
            format!("Backed up to {}: {}. {key}", self.to.display(), describe_counts(&report));
        output.print_result(&sentence, &report);
        Ok(())
    }
}

impl Restore {
    pub(super) fn run(self, server: &ServerArgs, output: Output) -> anyhow::Result<()> {
        let data = server.data_folder();
        let restoring = restore(&data, &self.from, self.replace);
        let report = Report::from(serve::start_runtime()?.block_on(restoring)?);
        let replaced = report.replaced.as_ref();
        let replaced = replaced.map(|file| format!(" The previous database is kept in {file}."));
        let replaced = replaced.unwrap_or_default();
        let sentence = format!(
            "Restored: {}.{replaced} Start the server: it searches the tracker before it creates a \
             defect that the backup does not contain.",
            describe_counts(&report)
        );
        output.print_result(&sentence, &report);
        Ok(())
    }
}

/// Describes the numbers of records, so that a person can compare a backup with its restoration.
fn describe_counts(report: &Report) -> String {
    let rows =
        |name: &str| report.tables.iter().find(|it| it.table == name).map_or(0, |found| found.rows);
    format!(
        "connections {}, defects {}, events {}, connector versions {}",
        rows("connections"),
        rows("defects"),
        rows("events"),
        report.versions
    )
}
