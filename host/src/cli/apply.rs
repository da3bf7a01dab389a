//! `jackfield apply` creates and changes connections from a file. `jackfield export` writes such a
//! file. An exported file never contains the value of a secret.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::Args;

use crate::api::{
    AppliedAction, AppliedChange, AppliedConnection, AppliedConnections, ApplyQuery,
    ConnectionList, ConnectionsFile, describe_without_values,
};
use crate::domain::printable;

use super::client::{Answer, Client, with_query};
use super::output::{Output, eprint, print, shortened};
use super::server::ServerArgs;

#[derive(Args)]
#[command(after_help = "\
The file is TOML, or JSON if its name ends in .json; `jackfield export` writes one. Connections are
identified by their names; connections that are not in the file stay unchanged. If the file lacks a
member of a connection, the member gets its default. Only these keep their value: secrets, the
members of webhook_auth, and the members of test_manager other than project_id. Instead of a secret,
the file contains a reference that the server reads: file:/PATH or env:NAME.

Examples:
  jackfield apply -f connections.toml             # shows what differs, and asks
  jackfield apply -f connections.toml --dry-run
  jackfield apply -f connections.toml --yes")]
pub(super) struct Apply {
    /// The file; - for stdin
    #[arg(short, long, value_name = "FILE")]
    file: PathBuf,
    /// Only show what differs
    #[arg(long)]
    dry_run: bool,
    /// Do not ask for confirmation
    #[arg(long)]
    yes: bool,
    /// Change a tracker's origin even if creates are in progress or defects are in doubt
    #[arg(long)]
    force: bool,
}

#[derive(Args)]
#[command(after_help = "\
The file never contains the value of a secret, only references: file:/PATH or env:NAME.

Example:
  jackfield export > connections.toml")]
pub(super) struct Export {}

impl Apply {
    pub(super) fn run(self, server: &ServerArgs, output: Output) -> anyhow::Result<()> {
        let admin = server.admin_client()?;
        let file = read_connections_file(&self.file)?;
        let planned = self.send_file(&admin, &file, true)?;
        let plan = planned.decode()?;
        let is_up_to_date = plan.connections.iter().all(|it| it.action.0 == AppliedAction::Nothing);
        if self.dry_run || is_up_to_date {
            output.print_result(&describe_connections(&plan.connections), planned.json());
            return Ok(());
        }
        if !self.yes {
            eprint(&describe_connections(&plan.connections));
            confirm()?;
        }
        let applied = self.send_file(&admin, &file, false)?;
        let connections = applied.decode()?.connections;
        let mut text = describe_connections(&connections);
        for it in &connections {
            let Some(url) = &it.webhook_url else { continue };
            text.push_str(&format!(
                "\nThe webhook URL of {} is a secret and is shown only once:\n  {url}",
                printable(&it.name)
            ));
        }
        output.print_result(&text, applied.json());
        Ok(())
    }

    /// With `dry_run`, the server only reports what differs.
    fn send_file(
        &self,
        admin: &Client,
        file: &ConnectionsFile,
        dry_run: bool,
    ) -> anyhow::Result<Answer<AppliedConnections>> {
        admin.post(&with_query("/apply", &ApplyQuery { dry_run, force: self.force })?, file)
    }
}

impl Export {
    pub(super) fn run(self, server: &ServerArgs, output: Output) -> anyhow::Result<()> {
        let Self {} = self;
        let admin = server.admin_client()?;
        let answer: Answer<ConnectionsFile> = admin.get("/export")?;
        if output.is_json {
            output.print_record(answer.json());
        } else {
            let text = toml::to_string_pretty(&answer.decode()?);
            let text = text.context("a setting is null, which TOML cannot express: use --json")?;
            print(text.trim_end());
        }
        warn_of_omitted_secrets(&admin, &answer.decode()?)
    }
}

/// Prints a warning for each connection in the file whose secrets are not all in the file.
fn warn_of_omitted_secrets(admin: &Client, file: &ConnectionsFile) -> anyhow::Result<()> {
    let all: Answer<ConnectionList> = admin.get("/connections")?;
    for connection in all.decode()?.connections {
        let Some(exported) = file.connections.get(&connection.name) else { continue };
        let omitted = connection.secrets_set.iter().map(String::as_str);
        let omitted = omitted.filter(|name| !exported.secrets.contains_key(*name));
        let host_secrets = [
            ("client_cert", connection.has_client_cert, &exported.client_cert),
            ("client_key", connection.has_client_cert, &exported.client_key),
            (
                "test_manager_client_secret",
                connection.has_test_manager_client_secret,
                &exported.test_manager_client_secret,
            ),
            ("webhook_secret", connection.has_webhook_secret, &exported.webhook_secret),
            (
                "webhook_secret_previous",
                connection.has_webhook_secret_previous,
                &exported.webhook_secret_previous,
            ),
        ];
        let of_host =
            host_secrets.iter().filter(|(_, is_set, in_file)| *is_set && in_file.is_none());
        let omitted: Vec<_> = omitted.chain(of_host.map(|(name, ..)| *name)).collect();
        if !omitted.is_empty() {
            eprint(&format!(
                "warning: secrets of the connection {} are not in the file, because they are not \
                 references: {}",
                connection.name,
                omitted.join(", ")
            ));
        }
    }
    Ok(())
}

fn read_connections_file(path: &Path) -> anyhow::Result<ConnectionsFile> {
    let name = path.display();
    let text = if path == Path::new("-") {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).map(|_| text)
    } else {
        std::fs::read_to_string(path)
    };
    let text = text.with_context(|| format!("cannot read {name}"))?;
    let is_json = path.extension().is_some_and(|it| it == "json");
    // A parser's message may quote a value or a line, which may contain a secret.
    if is_json {
        let file = serde_json::from_str(&text);
        return file.map_err(|error: serde_json::Error| {
            let why = describe_without_values(&error.to_string());
            anyhow::anyhow!("{name} is not a file of connections: {why}")
        });
    }
    toml::from_str(&text).map_err(|error| {
        let line = error.span().map(|span| text[..span.start].matches('\n').count() + 1);
        let line = line.map(|line| format!(", line {line}")).unwrap_or_default();
        let why = describe_without_values(error.message());
        anyhow::anyhow!("{name}{line} is not a file of connections: {why}")
    })
}

fn describe_connections(connections: &[AppliedConnection]) -> String {
    let lines = connections.iter().map(|it| {
        let changes: String =
            it.changes.iter().map(|change| format!("\n  {}", describe_change(change))).collect();
        let action = match it.action.0 {
            AppliedAction::Create => "new",
            AppliedAction::Change => "differs",
            AppliedAction::Nothing => "as in the file",
        };
        format!("{}: {action}{changes}", printable(&it.name))
    });
    let text = lines.collect::<Vec<_>>().join("\n");
    if text.is_empty() { "the file contains no connections".to_owned() } else { text }
}

fn describe_change(change: &AppliedChange) -> String {
    let value_text = |value: &serde_json::Value| printable(&shortened(&value.to_string()));
    let member = printable(&change.member);
    match (&change.before, &change.after) {
        (None, Some(after)) => format!("+ {member} = {}", value_text(after)),
        (Some(before), None) => format!("- {member} = {}", value_text(before)),
        (before, after) => {
            let [before, after] =
                [before, after].map(|it| it.as_ref().map(value_text).unwrap_or_default());
            format!("~ {member} = {before} -> {after}")
        }
    }
}

/// Returns an error unless the user answers `y` or `yes`.
fn confirm() -> anyhow::Result<()> {
    eprint("Apply these changes? [y/N]");
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    if ["y", "yes"].contains(&answer.trim().to_lowercase().as_str()) {
        return Ok(());
    }
    bail!("nothing is changed: answer y, or give --yes")
}
