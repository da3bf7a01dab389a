//! `jackfield connections map-path`: says what an unrecognised request of Test Manager is.

use clap::Args;

use crate::api::{Connection, EnumString, MapPath, MappedKind};
use crate::cli::client::{Answer, Client};
use crate::cli::filter::enum_value;
use crate::cli::output::Output;
use crate::domain::printable;

#[derive(Args)]
pub(in crate::cli) struct PathOf {
    /// The name or id of the connection
    name: String,
    /// The path below the webhook URL; for `kpis` with {projectId} in the place of the project's id
    path: String,
    /// What requests at this path are
    #[arg(long, value_parser = enum_value::<MappedKind>())]
    kind: MappedKind,
}

impl PathOf {
    pub(super) fn run(self, admin: &Client, output: Output) -> anyhow::Result<()> {
        let Self { name, path, kind } = self;
        let url = format!("{}/paths", admin.connection_path(&name)?);
        let sentence = format!("{} of {name} is {kind} from now on", printable(&path));
        let body = MapPath { path, kind: EnumString(kind) };
        let answer: Answer<Connection> = admin.post(&url, &body)?;
        output.print_result(&sentence, answer.json());
        Ok(())
    }
}
