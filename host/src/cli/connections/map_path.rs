//! `jackfield connections map-path`: sets the kind of the requests to a path that Jackfield does
//! not recognise.

use clap::Args;

use crate::api::{Connection, EnumString, MapPath, MappedKind};
use crate::cli::client::{Answer, Client};
use crate::cli::filter::enum_value_parser;
use crate::cli::output::Output;
use crate::domain::printable;

#[derive(Args)]
pub(in crate::cli) struct MapPathArguments {
    /// The name or id of the connection
    name: String,
    /// The path below the webhook URL; for `kpis`, write {projectId} instead of the project's id
    path: String,
    /// The kind of the requests to this path
    #[arg(long, value_parser = enum_value_parser::<MappedKind>())]
    kind: MappedKind,
}

impl MapPathArguments {
    pub(super) fn run(self, admin: &Client, output: Output) -> anyhow::Result<()> {
        let Self { name, path, kind } = self;
        let url = format!("{}/paths", admin.connection_path(&name)?);
        let path_text = printable(&path);
        let sentence =
            format!("{path_text} of the connection {name} receives {kind} requests from now on");
        let body = MapPath { path, kind: EnumString(kind) };
        let answer: Answer<Connection> = admin.post(&url, &body)?;
        output.print_result(&sentence, answer.json());
        Ok(())
    }
}
