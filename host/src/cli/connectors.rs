//! `jackfield connectors`: lists, shows, uploads and removes the connectors of a server, and rolls
//! one back.

mod files;

use clap::Subcommand;

use crate::api::{
    Connection, ConnectionList, Connector, ConnectorList, ReplacedConnector, RollbackConnector,
};
use crate::domain::{ConnectorName, printable};

use super::client::{Answer, Client};
use super::output::{Column, Output, eprint, one_line, optional, shortened};
use super::server::ServerArgs;

#[derive(Subcommand)]
pub(super) enum Command {
    /// List all connectors
    List,
    /// Show one connector: its version, its interfaces, its settings and its earlier versions
    Show {
        /// The name of the connector
        name: ConnectorName,
    },
    /// Put a connector's file into the plugins folder of the server
    #[command(after_help = "\
The server checks the file first, as `jackfield check` does. A file that it cannot use changes nothing.

Examples:
  jackfield connectors upload redmine.wasm
  jackfield connectors upload build/connector.js --name my-tracker")]
    Upload(files::Upload),
    /// Remove a connector's file from the plugins folder of the server
    Remove(files::Remove),
    /// Go back to an earlier version of a connector's file
    #[command(after_help = "\
The version replaces the file of the connector in the plugins folder, NAME.wasm or NAME.js.

The server keeps the files of the last 5 versions of each connector that served; `connectors show`
lists them. Consent is needed as for any version: a connection whose grants do not suffice keeps
the version that it had.

Examples:
  jackfield connectors rollback redmine              # the version before the current one
  jackfield connectors rollback redmine --to 5f2c9a  # the version whose SHA-256 begins like this")]
    Rollback {
        /// The name of the connector
        name: ConnectorName,
        /// The beginning of the SHA-256 of the version
        #[arg(long, value_name = "HASH")]
        to: Option<String>,
    },
}

const CONNECTORS: [Column<Connector>; 5] = [
    ("NAME", |it| it.name.clone()),
    ("STATUS", |it| it.status.to_string()),
    ("VERSION", |it| optional(it.version.as_ref())),
    ("SHA-256", |it| optional(it.sha256.as_ref())),
    ("ERROR", |it| problem(it, shortened)),
];

/// What is wrong with a connector: its newest file is not used, or all runs of its version failed.
fn problem(it: &Connector, shown: fn(&str) -> String) -> String {
    match (&it.error, &it.version) {
        (None, _) => optional(it.warning.as_ref()),
        (Some(error), None) => shown(error),
        (Some(error), Some(version)) => {
            format!("{version} is in use; the newest file is not used: {}", shown(error))
        }
    }
}

impl Command {
    pub(super) fn run(self, server: &ServerArgs, output: Output) -> anyhow::Result<()> {
        let admin = server.admin()?;
        match self {
            Self::List => {
                let all: Answer<ConnectorList> = admin.get("/connectors")?;
                output.print_list(&all, "connectors", &CONNECTORS, |list| (list.connectors, None))
            }
            Self::Show { name } => {
                let connector: Answer<Connector> = admin.get_by_name("connector", name.as_str())?;
                output.print_record(connector.json());
                let shown = connector.decode()?;
                if let (false, Some(_), Some(_)) = (output.json, &shown.error, &shown.version) {
                    eprint(&format!("warning: {}", problem(&shown, one_line)));
                }
                Ok(())
            }
            Self::Upload(upload) => upload.run(&admin, output),
            Self::Remove(remove) => remove.run(&admin, output),
            Self::Rollback { name, to } => rollback(&admin, output, &name, to),
        }
    }
}

fn rollback(
    admin: &Client,
    output: Output,
    name: &ConnectorName,
    to: Option<String>,
) -> anyhow::Result<()> {
    let path = format!("/connectors/{name}/rollback");
    let answer: Answer<ReplacedConnector> = admin.post(&path, &RollbackConnector { to })?;
    let ReplacedConnector { from, file, connector } = answer.decode()?;
    let (version, sha256) = (connector.version.unwrap_or_default(), connector.sha256);
    let before = from.map(|from| format!("; before, it was {from}")).unwrap_or_default();
    let sentence = format!(
        "the newest version of {name} is now {version}, {}{before}. It replaced the file {}",
        sha256.unwrap_or_default(),
        printable(&file.display().to_string())
    );
    output.print_result(&sentence, answer.json());
    warn_of_waiting(admin, name)
}

/// Warns of connections that do not use the newest version of this connector yet.
fn warn_of_waiting(admin: &Client, name: &ConnectorName) -> anyhow::Result<()> {
    let all: Answer<ConnectionList> = admin.get("/connections")?;
    let waits = |it: &Connection| it.connector == name.as_str() && it.needs_consent.is_some();
    for connection in all.decode()?.connections.into_iter().filter(waits) {
        let name = &connection.name;
        eprint(&format!(
            "warning: {name} keeps its version until `jackfield connections accept {name}`"
        ));
    }
    Ok(())
}
