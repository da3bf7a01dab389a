//! `jackfield backup` and `jackfield restore`: copies of the data folder.
//!
//! Work on the folder itself, so they need its user and no token. Never print a key.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use crate::app::{Copied, back_up, restore};
use crate::store::TableRows;

use super::output::Output;
use super::serve;
use super::server::ServerArgs;

#[derive(Args)]
#[command(after_help = "\
The backup has the database and the connector versions that served. It has neither the plugins
folder nor jackfield.toml. It has the key that opens the secrets only with --with-key: keep the key
in another place, or protect the backup as you protect the key.

Examples:
  jackfield backup /backup/2026-11-29 --data /var/lib/jackfield
  jackfield backup /backup/2026-11-29 --with-key --json")]
pub(super) struct Backup {
    /// A new folder for the backup
    #[arg(value_name = "FOLDER")]
    to: PathBuf,
    /// Put the key that opens the secrets into the backup
    #[arg(long)]
    with_key: bool,
}

#[derive(Args)]
#[command(after_help = "\
Stop the server first. After the next start, Jackfield searches the tracker before it creates a
defect for a failed test that the backup does not know.

Examples:
  jackfield restore /backup/2026-11-29 --data /var/lib/jackfield
  jackfield restore /backup/2026-11-29 --replace")]
pub(super) struct Restore {
    /// The folder that `jackfield backup` wrote
    #[arg(value_name = "FOLDER")]
    from: PathBuf,
    /// Restore although the data folder has a database, or another key; they are kept under other
    /// names
    #[arg(long)]
    replace: bool,
}

/// What a backup has, for `--json`.
#[derive(Serialize)]
struct Report {
    tables: Vec<TableRows>,
    versions: usize,
    key_file: Option<String>,
    replaced: Option<String>,
}

impl From<Copied> for Report {
    fn from(copied: Copied) -> Self {
        let shown = |path: PathBuf| path.display().to_string();
        Self {
            tables: copied.tables,
            versions: copied.versions,
            key_file: copied.key.map(shown),
            replaced: copied.replaced.map(shown),
        }
    }
}

impl Backup {
    pub(super) fn run(self, server: &ServerArgs, output: Output) -> anyhow::Result<()> {
        let report = Report::from(back_up(&server.data_folder(), &self.to, self.with_key)?);
        let key = match report.key_file {
            Some(_) => "It has the key: protect it as you protect the key.",
            None => "It does not have the key, without which it cannot be restored.",
        };
        let sentence = format!("Backed up to {}: {}. {key}", self.to.display(), contents(&report));
        output.print_result(&sentence, &report);
        Ok(())
    }
}

impl Restore {
    pub(super) fn run(self, server: &ServerArgs, output: Output) -> anyhow::Result<()> {
        let data = server.data_folder();
        let restoring = restore(&data, &self.from, self.replace);
        let report = Report::from(serve::runtime()?.block_on(restoring)?);
        let kept = report.replaced.as_ref();
        let kept = kept.map(|file| format!(" The database before is {file}.")).unwrap_or_default();
        let sentence = format!(
            "Restored: {}.{kept} Start the server: it searches the tracker before it creates a defect \
             that the backup does not know.",
            contents(&report)
        );
        output.print_result(&sentence, &report);
        Ok(())
    }
}

/// The sizes that people compare, in words.
fn contents(report: &Report) -> String {
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
