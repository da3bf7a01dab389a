//! `jackfield audit`: lists who changed what, and who tried what they may not.

use clap::Args;
use jiff::Timestamp;

use crate::api::{AuditEntry, AuditList, AuditQuery};
use crate::domain::printable;

use super::client::{Answer, with_query};
use super::filter::Page;
use super::output::{Column, Output, optional};
use super::server::ServerArgs;
use super::units;

#[derive(Args)]
#[command(after_help = "\
An entry without an outcome: the server ended before the change was answered. A refused attempt that was
repeated within an hour is one entry, with how often.

Examples:
  jackfield audit --object qa
  jackfield audit --account ann --since 2026-01-31T08:00:00Z
  jackfield audit --action token.create --json")]
pub(super) struct Arguments {
    /// Only what this account did
    #[arg(long, value_name = "NAME")]
    account: Option<String>,
    /// Only what concerned this connection, connector, account or defect
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
    page: Page,
}

const ENTRIES: [Column<AuditEntry>; 7] = [
    ("TIME", |it| units::time(it.at.0)),
    ("ACCOUNT", account),
    ("FROM", |it| format!("{} ({})", it.client, it.via)),
    ("ACTION", |it| it.action.clone()),
    ("OBJECT", |it| optional(it.object.as_ref())),
    ("OUTCOME", outcome),
    ("EVENT", |it| optional(it.event.as_ref())),
];

fn account(it: &AuditEntry) -> String {
    match (&it.account, &it.role) {
        (Some(name), Some(role)) => format!("{} ({role})", printable(name)),
        (Some(name), None) => printable(name),
        (None, _) => "not signed in".to_owned(),
    }
}

fn outcome(it: &AuditEntry) -> String {
    let outcome = optional(it.outcome.as_ref());
    if it.repeats > 0 { format!("{outcome}, {} times", it.repeats + 1) } else { outcome }
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
        let list: Answer<AuditList> = server.admin()?.get(&with_query("/audit", &query)?)?;
        output.print_list(&list, "entries", &ENTRIES, |list| (list.entries, list.next))
    }
}
