//! `jackfield connections accept`: accepts a newer connector version. Without `--yes`, first shows
//! what is new in this version, and asks the user to confirm it.

use anyhow::bail;
use clap::Args;

use crate::api::{AcceptQuery, Connection};
use crate::cli::client::{Answer, Client, with_query};
use crate::cli::output::{Output, eprint};
use crate::domain::printable;

use super::values::{SetValues, UnsetValues};
use super::{describe_grants, print_warnings};

#[derive(Args)]
pub(in crate::cli) struct Accept {
    /// The name or id of the connection
    name: String,
    /// Accept only this version: the `newest_sha256` that `connections show` prints
    #[arg(long, value_name = "HASH")]
    sha256: Option<String>,
    /// Do not ask for confirmation
    #[arg(long, requires = "sha256")]
    yes: bool,
    #[command(flatten)]
    set_values: SetValues,
    #[command(flatten)]
    unset_values: UnsetValues,
}

impl Accept {
    pub(super) fn run(self, admin: &Client, output: Output) -> anyhow::Result<()> {
        let connection = admin.get_connection(&self.name)?.decode()?;
        let settings = self.set_values.parse_settings(admin, &connection.connector)?;
        let body = self.set_values.to_edit(settings, &self.unset_values)?;
        let Some(newest) = connection.newest_sha256.clone() else {
            let name = &connection.connector;
            bail!(
                "no version of the connector {name} can be used: run `jackfield connectors show {name}` \
                 for the reason"
            )
        };
        let sha256 = self.sha256.unwrap_or_else(|| newest.clone());
        if !self.yes {
            if sha256 != newest {
                bail!(
                    "the newest version has another SHA-256, {newest}: run `jackfield connections \
                     show {}`",
                    self.name
                );
            }
            confirm(&connection, &newest)?;
        }
        // The server accepts only this version, even if a newer file was installed meanwhile.
        let query = AcceptQuery { force: self.unset_values.force, sha256 };
        let path = with_query(&format!("/connections/{}/accept", connection.id), &query)?;
        let answer: Answer<Connection> = admin.post(&path, &body)?;
        let accepted = answer.decode()?;
        let sentence = format!(
            "the connection {} accepts version {}. {}",
            accepted.name,
            accepted.accepted_sha256.unwrap_or_default(),
            describe_grants(&accepted.grants)
        );
        output.print_result(&sentence, answer.json());
        print_warnings(&accepted.warnings);
        Ok(())
    }
}

/// Returns an error unless the user accepts the version.
fn confirm(connection: &Connection, newest: &str) -> anyhow::Result<()> {
    let name = &connection.name;
    let unapproved = connection.needs_consent.iter().flatten();
    let unapproved: String = unapproved.map(|new| format!("\n  {}", printable(new))).collect();
    eprint(&format!(
        "The newest version of {} for {name} is {newest}. New in this version:{}\nAccept it? [y/N]",
        connection.connector,
        if unapproved.is_empty() { " nothing" } else { &unapproved }
    ));
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    if ["y", "yes"].contains(&answer.trim().to_lowercase().as_str()) {
        return Ok(());
    }
    bail!(
        "nothing is accepted: answer y, or give --yes --sha256 {newest} after you have read what \
         this version requests"
    )
}
