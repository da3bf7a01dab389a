//! `jackfield connectors upload` and `remove`: change the plugins folder of a server through its
//! admin API.

use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::Args;

use crate::api::{ConnectorFile, EnumString, ForceQuery, ReplacedConnector, UploadQuery};
use crate::cli::client::{Answer, Client, with_query};
use crate::cli::output::Output;
use crate::domain::{ConnectorName, printable};

use super::warn_of_missing_consent;

#[derive(Args)]
pub(in crate::cli) struct Upload {
    /// The connector's file: NAME.wasm, or NAME.js if it is a script
    file: PathBuf,
    /// The name of the connector [default: the file's name without its extension]
    #[arg(long)]
    name: Option<ConnectorName>,
}

#[derive(Args)]
pub(in crate::cli) struct Remove {
    /// The name of the connector
    name: ConnectorName,
    /// Remove the connector even if connections use it; they can then create no defects
    #[arg(long)]
    force: bool,
}

impl Upload {
    pub(super) fn run(self, admin: &Client, output: Output) -> anyhow::Result<()> {
        let kind = file_kind(&self.file)?;
        let name = match self.name {
            Some(name) => name,
            None => self.file.file_stem().unwrap_or_default().to_string_lossy().parse()?,
        };
        let path = self.file.display();
        let file = File::open(&self.file).with_context(|| format!("cannot read {path}"))?;
        let query = UploadQuery { kind: Some(EnumString(kind)) };
        let path = with_query(&format!("/connectors/{name}"), &query)?;
        let answer: Answer<ReplacedConnector> =
            admin.waiting_for_compilation().put_file(&path, file)?;
        let ReplacedConnector { from, file, connector } = answer.decode()?;
        let before =
            from.map(|from| format!("; the previous version was {from}")).unwrap_or_default();
        let sentence = format!(
            "{name} {} ({}) is ready{before}. Its file is {}",
            connector.version.unwrap_or_default(),
            connector.sha256.unwrap_or_default(),
            printable(&file.display().to_string())
        );
        output.print_result(&sentence, answer.json());
        warn_of_missing_consent(admin, &name)
    }
}

impl Remove {
    pub(super) fn run(self, admin: &Client, output: Output) -> anyhow::Result<()> {
        let Self { name, force } = self;
        let path = with_query(&format!("/connectors/{name}"), &ForceQuery { force })?;
        let answer: Answer<()> = admin.delete(&path)?;
        let sentence = format!(
            "the connector {name} is removed; `jackfield connectors rollback {name}` brings it back \
             while the server keeps its versions"
        );
        output.print_result(&sentence, answer.json());
        Ok(())
    }
}

fn file_kind(file: &Path) -> anyhow::Result<ConnectorFile> {
    match file.extension().and_then(|it| it.to_str()) {
        Some("wasm") => Ok(ConnectorFile::Component),
        Some("js") => Ok(ConnectorFile::Script),
        _ => bail!("{} must end in .wasm, or .js if it is a script", file.display()),
    }
}
