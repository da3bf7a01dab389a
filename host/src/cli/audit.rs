//! `jackfield audit`: lists changes and refused attempts, each with its account if the client was
//! signed in.

use clap::Args;
use jiff::Timestamp;

use crate::api::{AuditEntry, AuditList, AuditQuery};
use crate::domain::printable;

use super::client::{Answer, with_query};
use super::filter::PageArguments;
use super::output::{Column, Output, text_or_empty};
use super::server::ServerArgs;
use super::units;

#[derive(Args)]
#[command(after_help = "\
An entry has no outcome if the server stopped before it answered the request. If refused attempts
are repeated within an hour, one entry contains the number of repeats.

Examples:
  jackfield audit --object qa
  jackfield audit --account ann --since 2026-01-31T08:00:00Z
  jackfield audit --action token.create --json")]
pub(super) struct Arguments {
    /// Only what this account did
    #[arg(long, value_name = "NAME")]
    account: Option<String>,
    /// Only entries whose object is this connection, connector or account, or has this id
    #[arg(long, value_name = "NAME")]
    object: Option<String>,
    /// Only this action, such as connection.pause
    #[arg(long, value_name = "ACTION")]
    action: Option<String>,
    /// Only entries from this time on (RFC 3339)
    #[arg(long, value_name = "TIME")]
    since: Option<Timestamp>,
    /// Only entries before this time (RFC 3339)
    #[arg(long, value_name = "TIME")]
    until: Option<Timestamp>,
    #[command(flatten)]
    page: PageArguments,
}

const ENTRY_COLUMNS: [Column<AuditEntry>; 7] = [
    ("TIME", |it| units::format_time(it.at.0)),
    ("ACCOUNT", account_text),
    ("FROM", |it| format!("{} ({})", it.client, it.via)),
    ("ACTION", |it| it.action.clone()),
    ("OBJECT", |it| text_or_empty(it.object.as_ref())),
    ("OUTCOME", outcome_text),
    ("EVENT", |it| text_or_empty(it.event.as_ref())),
];

fn account_text(entry: &AuditEntry) -> String {
    match (&entry.account, &entry.role) {
        (Some(name), Some(role)) => format!("{} ({role})", printable(name)),
        (Some(name), None) => printable(name),
        (None, _) => "not signed in".to_owned(),
    }
}

fn outcome_text(entry: &AuditEntry) -> String {
    let outcome = text_or_empty(entry.outcome.as_ref());
    if entry.repeats > 0 { format!("{outcome}, {} times", entry.repeats + 1) } else { outcome }
}

impl Arguments {
    pub(super) fn run(self, server: &ServerArgs, output: Output) -> anyhow::Result<()> {
        let query = AuditQuery {
            since: self.since,
            until: self.until,
            account: self.account,
            object: self.object,
            action: self.action,
            cursor: self.page.cursor,
            limit: Some(self.page.limit),
        };
        let list: Answer<AuditList> = server.admin_client()?.get(&with_query("/audit", &query)?)?;
        output.print_list(&list, "entries", &ENTRY_COLUMNS, |list| (list.entries, list.next))
    }
}
