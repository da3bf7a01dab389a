//! `jackfield connectors`: lists, shows, uploads and removes the connectors of a server, and rolls
//! one back.

mod files;

use clap::Subcommand;

use crate::api::{
    Connection, ConnectionList, Connector, ConnectorList, ReplacedConnector, RollbackConnector,
};
use crate::domain::{ConnectorName, printable};

use super::client::{Answer, Client};
use super::output::{Column, Output, eprint, one_line, shortened, text_or_empty};
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
    /// Upload a connector's file into the plugins folder of the server
    #[command(after_help = "\
The server checks the file first, as `jackfield check` does. A file that it cannot use changes nothing.

Examples:
  jackfield connectors upload redmine.wasm
  jackfield connectors upload build/connector.js --name my-tracker")]
    Upload(files::Upload),
    /// Remove a connector's file from the plugins folder of the server
    Remove(files::Remove),
    /// Restore an earlier version of a connector's file
    #[command(after_help = "\
The version replaces the file of the connector in the plugins folder, NAME.wasm or NAME.js.

The server keeps the files of the last 5 versions of each connector that were in use; `connectors
show` lists them. Consent is needed as for any version: a connection whose grants do not suffice
keeps using its previous version.

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

const CONNECTOR_COLUMNS: [Column<Connector>; 5] = [
    ("NAME", |it| it.name.clone()),
    ("STATUS", |it| it.status.to_string()),
    ("VERSION", |it| text_or_empty(it.version.as_ref())),
    ("SHA-256", |it| text_or_empty(it.sha256.as_ref())),
    ("ERROR", |it| problem_text(it, shortened)),
];

fn problem_text(connector: &Connector, format_error: fn(&str) -> String) -> String {
    match (&connector.error, &connector.version) {
        (None, _) => text_or_empty(connector.warning.as_ref()),
        (Some(error), None) => format_error(error),
        (Some(error), Some(version)) => {
            format!("{version} is in use; the newest file cannot be used: {}", format_error(error))
        }
    }
}

impl Command {
    pub(super) fn run(self, server: &ServerArgs, output: Output) -> anyhow::Result<()> {
        let admin = server.admin_client()?;
        match self {
            Self::List => {
                let all: Answer<ConnectorList> = admin.get("/connectors")?;
                output.print_list(&all, "connectors", &CONNECTOR_COLUMNS, |list| {
                    (list.connectors, None)
                })
            }
            Self::Show { name } => {
                let connector: Answer<Connector> = admin.get_by_name("connector", name.as_str())?;
                output.print_record(connector.json());
                let connector = connector.decode()?;
                if !output.is_json && connector.error.is_some() && connector.version.is_some() {
                    eprint(&format!("warning: {}", problem_text(&connector, one_line)));
                }
                Ok(())
            }
            Self::Upload(upload) => upload.run(&admin, output),
            Self::Remove(remove) => remove.run(&admin, output),
            Self::Rollback { name, to } => roll_back(&admin, output, &name, to),
        }
    }
}

fn roll_back(
    admin: &Client,
    output: Output,
    name: &ConnectorName,
    to: Option<String>,
) -> anyhow::Result<()> {
    let path = format!("/connectors/{name}/rollback");
    let answer: Answer<ReplacedConnector> =
        admin.waiting_for_compilation().post(&path, &RollbackConnector { to })?;
    let ReplacedConnector { from, file, connector } = answer.decode()?;
    let (version, sha256) = (connector.version.unwrap_or_default(), connector.sha256);
    let before = from.map(|from| format!("; the previous one was {from}")).unwrap_or_default();
    let sentence = format!(
        "the newest version of {name} is now {version}, {}{before}. It replaced the file {}",
        sha256.unwrap_or_default(),
        printable(&file.display().to_string())
    );
    output.print_result(&sentence, answer.json());
    warn_of_missing_consent(admin, name)
}

/// Warns of connections that need consent before they use the newest version of this connector.
fn warn_of_missing_consent(admin: &Client, name: &ConnectorName) -> anyhow::Result<()> {
    let all: Answer<ConnectionList> = admin.get("/connections")?;
    let needs_consent =
        |it: &Connection| it.connector == name.as_str() && it.needs_consent.is_some();
    for connection in all.decode()?.connections.into_iter().filter(needs_consent) {
        let name = &connection.name;
        eprint(&format!(
            "warning: the connection {name} uses its previous version until you run \
             `jackfield connections accept {name}`"
        ));
    }
    Ok(())
}
