//! `jackfield connections`: creates, shows, changes, tests and deletes connections.

mod accept;
mod choices;
mod map_path;
mod record;
mod report;
mod test_manager;
mod values;
mod webhook_auth;

use anyhow::bail;
use clap::{Args, Subcommand};
use uuid::Uuid;

use crate::api::{
    Connection, ConnectionList, CreateConnection, CreatedConnection, EditConnection, EmptyBody,
    EnumString, FailedTest, ForceQuery, Grants, RotateToken, TryConnection, TryReport, TryStep,
    WebhookPaths,
};
use crate::domain::{ConnectorName, printable};

use super::client::{Answer, Client, with_query};
use super::key_value;
use super::output::{Column, Output, cells, eprint, print, table, text_or_empty};
use super::server::ServerArgs;
use values::{ConnectionValues, UnsetValues};

#[derive(Subcommand)]
pub(super) enum Command {
    /// Create a connection and print its webhook URL, which is shown only once
    #[command(after_help = "\
Example:
  jackfield connections create qa --connector redmine --set url=https://redmine.example.com \\
      --set project=qa --secret api-key=@key-file")]
    Create(Create),
    /// List all connections
    List,
    /// Show one connection
    Show {
        /// The name or id of the connection
        name: String,
    },
    /// Change settings, secrets or the name; values without an option stay unchanged
    #[command(after_help = "\
Examples:
  jackfield connections edit qa --set project=qa2
  jackfield connections edit qa --secret api-key=@new-key-file
  jackfield connections edit qa --client-cert client.pem --client-key client.key
  jackfield connections edit qa --webhook-auth bearer --webhook-secret=@webhook-secret
  jackfield connections edit qa --report report.toml
  jackfield connections edit qa --title-template '{{ test_case.key }} {{ test_case.name }}'")]
    Edit(Edit),
    /// Pause a connection: answer its webhooks with 503 until it is resumed
    Pause {
        /// The name or id of the connection
        name: String,
    },
    /// Resume a paused connection
    Resume {
        /// The name or id of the connection
        name: String,
    },
    /// Record the bodies of requests and answers for a limited time
    #[command(after_help = "\
`jackfield fixture` and `jackfield events replay` read the recordings. Recordings have no secrets,
but may contain personal data. They are deleted with their events.

Examples:
  jackfield connections record qa --for 1h
  jackfield connections record qa --off --erase")]
    Record(record::Record),
    /// Test the access to the tracker step by step, and to Test Manager if it is configured
    #[command(after_help = "\
Examples:
  jackfield connections try qa
  jackfield connections try qa --execution UUID --case UUID   # reads the log from Test Manager too")]
    Try(Try),
    /// List the values that a setting may have in the tracker, if the connector can list them
    #[command(after_help = "\
Example:
  jackfield connections choices qa project payments")]
    Choices(choices::ChoicesArguments),
    /// Recognise a path as Create Defect or Defect KPIs; the event of such a request shows how
    #[command(after_help = "\
Examples:
  jackfield connections map-path qa /api/new-defect --kind create-defect
  jackfield connections map-path qa '/stats/{projectId}' --kind kpis")]
    MapPath(map_path::MapPathArguments),
    /// Show the defect that would be created for a failed test, without creating it
    #[command(after_help = "\
Examples:
  jackfield connections preview qa --execution UUID --case UUID --markup textile
  jackfield connections preview qa --execution UUID --case UUID --report new-report.toml")]
    Preview(report::Preview),
    /// Replace the webhook URL; the old one still works for a grace period
    RotateToken {
        /// The name or id of the connection
        name: String,
        /// How long the old URL still works, in seconds
        #[arg(long, default_value_t = RotateToken::GRACE_S_DEFAULT, value_name = "SECONDS")]
        grace_s: u32,
    },
    /// Accept what a newer connector version requests, and set its new settings
    #[command(after_help = "\
Examples:
  jackfield connections accept qa                      # prints what is new, and asks
  jackfield connections accept qa --set team=blue      # for a version that has a new required setting
  jackfield connections accept qa --yes --sha256 HASH  # the newest_sha256 that `connections show` printed")]
    Accept(accept::Accept),
    /// Delete a connection and what Jackfield stores about its events and defects
    Delete {
        /// The name or id of the connection
        name: String,
        /// Delete the connection even if creates are in progress or defects are in doubt
        #[arg(long)]
        force: bool,
    },
}

#[derive(Args)]
pub(super) struct Create {
    /// The name of the new connection
    name: String,
    /// The name of the connector: its file in the plugins folder, without .wasm or .js
    #[arg(long)]
    connector: ConnectorName,
    #[command(flatten)]
    values: ConnectionValues,
}

#[derive(Args)]
pub(super) struct Edit {
    /// The name or id of the connection
    name: String,
    /// A new name
    #[arg(long, value_name = "NAME")]
    rename: Option<String>,
    /// Answer KPI requests for every Test Manager project
    #[arg(long, conflicts_with = "project")]
    any_project: bool,
    #[command(flatten)]
    values: ConnectionValues,
    #[command(flatten)]
    unset_values: UnsetValues,
}

#[derive(Args)]
pub(super) struct Try {
    /// The name or id of the connection
    name: String,
    /// testExecutionId of a failed test whose log is read from Test Manager
    #[arg(long, value_name = "UUID", requires = "case")]
    execution: Option<Uuid>,
    /// testCaseId of that failed test
    #[arg(long, value_name = "UUID", requires = "execution")]
    case: Option<Uuid>,
    /// variationId of that failed test
    #[arg(long, value_name = "TEXT", requires = "execution")]
    variation: Option<String>,
    /// linkToTestCaseLog of that failed test
    #[arg(long, value_name = "URL", requires = "execution")]
    link: Option<String>,
}

const CONNECTION_COLUMNS: [Column<Connection>; 6] = [
    ("NAME", |it| it.name.clone()),
    ("CONNECTOR", |it| it.connector.clone()),
    ("STATUS", |it| it.status.to_string()),
    ("LAST SUCCESS", |it| text_or_empty(it.last_success_at.as_ref())),
    ("LAST ERROR", |it| text_or_empty(it.last_error.as_ref().map(|error| &error.detail))),
    ("ID", |it| it.id.to_string()),
];

const STEP_COLUMNS: [Column<TryStep>; 3] = [
    ("STEP", |it| it.name.to_string()),
    ("ORIGIN", |it| text_or_empty(it.origin.as_ref())),
    ("RESULT", |step| match &step.error {
        Some(error) => format!("failed: {error}"),
        None => match &step.note {
            Some(note) => format!("ok: {note}"),
            None => "ok".to_owned(),
        },
    }),
];

impl Command {
    pub(super) fn run(self, server: &ServerArgs, output: Output) -> anyhow::Result<()> {
        let admin = server.admin_client()?;
        match self {
            Self::Create(create) => create.run(&admin, output),
            Self::List => {
                let all: Answer<ConnectionList> = admin.get("/connections")?;
                output.print_list(&all, "connections", &CONNECTION_COLUMNS, |list| {
                    (list.connections, None)
                })
            }
            Self::Show { name } => {
                output.print_record(admin.get_connection(&name)?.json());
                Ok(())
            }
            Self::Edit(edit) => edit.run(&admin, output),
            Self::Pause { name } => post_action(&admin, output, &name, "pause", "is paused"),
            Self::Resume { name } => post_action(&admin, output, &name, "resume", "is resumed"),
            Self::Record(record) => record.run(&admin, output),
            Self::Try(arguments) => arguments.run(&admin, output),
            Self::Choices(choices) => choices.run(&admin, output),
            Self::MapPath(arguments) => arguments.run(&admin, output),
            Self::Preview(preview) => preview.run(&admin, output),
            Self::RotateToken { name, grace_s } => rotate_token(&admin, output, &name, grace_s),
            Self::Accept(accept) => accept.run(&admin, output),
            Self::Delete { name, force } => {
                let path = admin.connection_path(&name)?;
                let answer: Answer<()> =
                    admin.delete(&with_query(&path, &ForceQuery { force })?)?;
                output.print_result(&format!("the connection {name} is deleted"), answer.json());
                Ok(())
            }
        }
    }
}

impl Create {
    fn run(self, admin: &Client, output: Output) -> anyhow::Result<()> {
        let ConnectionValues {
            set_values,
            project,
            allow_private,
            http1_only,
            trace_context,
            index_delay_s,
            on_recurrence,
            report,
        } = self.values;
        let body = CreateConnection {
            name: self.name,
            connector: self.connector.to_string(),
            settings: set_values.parse_settings(admin, self.connector.as_str())?,
            secrets: key_value::read_secrets(&set_values.secret)?,
            client_cert: set_values.read_client_cert()?,
            client_key: set_values.read_client_key()?,
            test_manager: set_values.test_manager.to_settings(),
            test_manager_client_secret: set_values.test_manager.read_client_secret()?,
            webhook_auth: set_values.webhook_auth.to_settings(),
            webhook_secret: set_values.webhook_auth.read_secret()?,
            webhook_secret_previous: set_values.webhook_auth.read_previous_secret()?,
            project,
            allow_private: allow_private.unwrap_or(false),
            http1_only: http1_only.unwrap_or(false),
            trace_context: trace_context.unwrap_or(false),
            index_delay_s: index_delay_s.unwrap_or(0),
            report: report.to_settings()?,
            on_recurrence: on_recurrence.map(EnumString),
            webhook_paths: WebhookPaths::default(),
        };
        let answer: Answer<CreatedConnection> = admin.post("/connections", &body)?;
        let created = answer.decode()?;
        let sentence = format!(
            "the connection {} is created. {}\n\
             Its webhook URL is a secret and is shown only once:\n  {}",
            created.connection.name,
            describe_grants(&created.connection.grants),
            created.webhook_url
        );
        output.print_result(&sentence, answer.json());
        print_warnings(&created.connection.warnings);
        Ok(())
    }
}

/// Prints warnings to stderr, because programs read the answer on stdout.
fn print_warnings(warnings: &[String]) {
    warnings.iter().for_each(|warning| eprint(&format!("warning: {}", printable(warning))));
}

fn describe_grants(grants: &Grants) -> String {
    let test_data =
        if grants.test_data { "; it may read data of failed tests from Test Manager" } else { "" };
    if grants.origins.is_empty() {
        return format!("Its connector may reach no address{test_data}.");
    }
    let origins: Vec<_> = grants.origins.iter().map(ToString::to_string).collect();
    let secrets = grants.secrets.iter().map(|(name, grant)| {
        format!("; the secret {name} is sent to {} {}", grant.origin, grant.place)
    });
    let secrets = printable(&secrets.collect::<String>());
    format!("Its connector may reach {}{secrets}{test_data}.", origins.join(" and "))
}

impl Edit {
    fn run(self, admin: &Client, output: Output) -> anyhow::Result<()> {
        let ConnectionValues {
            set_values,
            project,
            allow_private,
            http1_only,
            trace_context,
            index_delay_s,
            on_recurrence,
            report,
        } = self.values;
        let project = if self.any_project { Some(None) } else { project.map(Some) };
        let before = admin.get_connection(&self.name)?.decode()?;
        let settings = set_values.parse_settings(admin, &before.connector)?;
        let edit = set_values.to_edit(settings, &self.unset_values)?;
        let (name, report) = (self.rename, report.to_edit()?);
        let body = EditConnection {
            name,
            project,
            allow_private,
            http1_only,
            trace_context,
            index_delay_s,
            report,
            on_recurrence: on_recurrence.map(EnumString),
            ..edit
        };
        let query = ForceQuery { force: self.unset_values.force };
        let path = with_query(&format!("/connections/{}", before.id), &query)?;
        // Send the revision that was read above, so that the server refuses the edit if the
        // connection was changed meanwhile.
        let answer: Answer<Connection> = admin.patch(&path, &body, before.revision)?;
        let edited = answer.decode()?;
        let grants = describe_grants(&edited.grants);
        let sentence = if grants == describe_grants(&before.grants) {
            format!("the connection {} is changed", self.name)
        } else {
            format!("the connection {} is changed. From now on: {grants}", self.name)
        };
        output.print_result(&sentence, answer.json());
        print_warnings(&edited.warnings);
        Ok(())
    }
}

/// Sends an action that has no parameters, such as `pause`, and prints a sentence. `result` is the
/// end of this sentence, such as `is paused`.
fn post_action(
    admin: &Client,
    output: Output,
    name: &str,
    action: &str,
    result: &str,
) -> anyhow::Result<()> {
    let path = admin.connection_path(name)?;
    let answer: Answer<Connection> = admin.post(&format!("{path}/{action}"), &EmptyBody {})?;
    output.print_result(&format!("the connection {name} {result}"), answer.json());
    Ok(())
}

impl Try {
    fn run(self, admin: &Client, output: Output) -> anyhow::Result<()> {
        let Self { name, execution, case, variation, link } = self;
        let failed_test = execution.zip(case).map(|(test_execution_id, test_case_id)| FailedTest {
            test_execution_id,
            test_case_id,
            variation_id: variation,
            link,
        });
        let path = format!("{}/try", admin.connection_path(&name)?);
        let answer: Answer<TryReport> = admin.post(&path, &TryConnection { failed_test })?;
        let report = answer.decode()?;
        if output.is_json {
            output.print_record(answer.json());
        } else {
            if !report.steps.is_empty() {
                let rows = report.steps.iter().map(|step| cells(&STEP_COLUMNS, step)).collect();
                print(&table(Vec::new(), rows));
            }
            report.reached.iter().for_each(|line| print(&printable(line)));
        }
        print_warnings(&report.warnings);
        match report.steps.iter().find(|step| step.error.is_some()) {
            Some(step) => {
                bail!(
                    "the connection {name} cannot be used: the step {:?} failed",
                    step.name.to_string()
                )
            }
            None => Ok(()),
        }
    }
}

fn rotate_token(admin: &Client, output: Output, name: &str, grace_s: u32) -> anyhow::Result<()> {
    let path = admin.connection_path(name)?;
    let body = RotateToken { grace_s };
    let answer: Answer<CreatedConnection> = admin.post(&format!("{path}/rotate-token"), &body)?;
    let url = answer.decode()?.webhook_url;
    let sentence = format!(
        "The new webhook URL of {name} is shown only once (the old one still works for {grace_s} s):\n  \
         {url}"
    );
    output.print_result(&sentence, answer.json());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grants_are_described_even_if_no_origin_is_granted() {
        let describe = |test_data| {
            describe_grants(&Grants { test_data, origins: Vec::new(), secrets: [].into() })
        };
        assert_eq!(describe(false), "Its connector may reach no address.");
        assert!(describe(true).contains("no address; it may read data of failed tests"));
    }
}
