//! `jackfield connectors`: lists and shows the connectors of a server.

use clap::Subcommand;

use crate::api::{Connector, ConnectorList};
use crate::domain::ConnectorName;

use super::client::Answer;
use super::output::{Column, Output, optional};
use super::server::ServerArgs;

#[derive(Subcommand)]
pub(super) enum Command {
    /// List all connectors
    List,
    /// Show one connector: its version, its interfaces and its settings
    Show {
        /// The name of the connector
        name: ConnectorName,
    },
}

const CONNECTORS: [Column<Connector>; 5] = [
    ("NAME", |it| it.name.clone()),
    ("STATUS", |it| it.status.to_string()),
    ("VERSION", |it| optional(it.version.as_ref())),
    ("SHA-256", |it| optional(it.sha256.as_ref())),
    ("ERROR", |it| optional(it.error.as_ref().or(it.warning.as_ref()))),
];

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
                Ok(())
            }
        }
    }
}
