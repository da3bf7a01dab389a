//! `jackfield trigger`: sends a request like those of Test Manager, to test a connection without
//! Test Manager.

mod credential;

use anyhow::Context;
use clap::{Args, Subcommand};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::de::DeserializeOwned;
use serde_json::Value;
use uuid::Uuid;

use crate::simulator::{CreatedDefect, FailedTest};

use super::client::{Answer, get_webhook, post_webhook};
use super::output::Output;
use super::server::ServerArgs;
use credential::Credential;

#[derive(Subcommand)]
pub(super) enum Command {
    /// Send a Create Defect request, as Test Manager does when a person clicks "Create Defect"
    #[command(after_help = "\
Examples:
  jackfield trigger create-defect --url http://127.0.0.1:8080/hooks/TOKEN
  jackfield trigger create-defect --connection qa --variation 'row 7'
  jackfield trigger create-defect --url URL --webhook-auth signature --webhook-secret=env:KEY")]
    CreateDefect(CreateDefect),
    /// Send a Defect KPIs request, as Test Manager does for a dashboard
    #[command(after_help = "\
Examples:
  jackfield trigger kpis --url http://127.0.0.1:8080/hooks/TOKEN
  jackfield trigger kpis --connection qa --project 42")]
    Kpis(Kpis),
}

#[derive(Args)]
#[group(required = true, multiple = false)]
struct Target {
    /// The webhook URL of the connection
    #[arg(long)]
    url: Option<String>,
    /// The name of the connection; needs the admin token, but neither the webhook URL nor a
    /// credential of senders
    #[arg(long, value_name = "NAME")]
    connection: Option<String>,
}

#[derive(Args)]
pub(super) struct CreateDefect {
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    credential: Credential,
    /// testExecutionId [default: random]
    #[arg(long, value_name = "UUID")]
    execution: Option<Uuid>,
    /// testCaseId [default: random]
    #[arg(long, value_name = "UUID")]
    case: Option<Uuid>,
    /// variationId
    #[arg(long, value_name = "TEXT")]
    variation: Option<String>,
    /// linkToTestCaseLog
    #[arg(long, value_name = "URL")]
    link: Option<String>,
}

#[derive(Args)]
pub(super) struct Kpis {
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    credential: Credential,
    /// The Test Manager project [default: random]
    #[arg(long, value_name = "ID")]
    project: Option<String>,
}

impl Command {
    pub(super) fn run(self, server: &ServerArgs, output: Output) -> anyhow::Result<()> {
        match self {
            Self::CreateDefect(create) => print_answer(&create.send(server)?, output),
            Self::Kpis(kpis) => print_answer(&kpis.send(server)?, output),
        }
        Ok(())
    }
}

fn print_answer<T: DeserializeOwned>(answer: &Answer<T>, output: Output) {
    output.print_record(answer.json());
    answer.event().into_iter().for_each(|event| output.print_event_id(event));
}

impl CreateDefect {
    fn send(self, server: &ServerArgs) -> anyhow::Result<Answer<CreatedDefect>> {
        let test = FailedTest {
            test_execution_id: self.execution.unwrap_or_else(Uuid::new_v4),
            test_case_id: self.case.unwrap_or_else(Uuid::new_v4),
            variation_id: self.variation,
            link_to_test_case_log: self.link,
        };
        match &self.target.connection {
            Some(name) => {
                let admin = server.admin_client()?;
                admin.post(&format!("{}/hook/defects", admin.connection_path(name)?), &test)
            }
            None => send_create_defect_with_credential(&self.credential, self.target.url(), &test),
        }
    }
}

impl Kpis {
    fn send(self, server: &ServerArgs) -> anyhow::Result<Answer<Value>> {
        let project = self.project.unwrap_or_else(|| Uuid::new_v4().to_string());
        match &self.target.connection {
            Some(name) => {
                let admin = server.admin_client()?;
                let path = admin.connection_path(name)?;
                let project = utf8_percent_encode(&project, NON_ALPHANUMERIC);
                admin.get(&format!("{path}/hook/kpis/project/{project}/defectstatus"))
            }
            None => request_counts_with_credential(&self.credential, self.target.url(), &project),
        }
    }
}

impl Target {
    /// Returns the webhook URL; empty if the target is a connection.
    fn url(&self) -> &str {
        self.url.as_deref().unwrap_or_default()
    }
}

/// Sends one Create Defect request to a webhook URL that needs no credential.
pub(super) fn send_create_defect(
    url: &str,
    test: &FailedTest,
) -> anyhow::Result<Answer<CreatedDefect>> {
    send_create_defect_with_credential(&Credential::default(), url, test)
}

fn send_create_defect_with_credential(
    credential: &Credential,
    url: &str,
    test: &FailedTest,
) -> anyhow::Result<Answer<CreatedDefect>> {
    let body = serde_json::to_string(test)?;
    let headers = credential.headers(body.as_bytes())?;
    post_webhook(append_path(url, &["defects"])?.as_str(), body, &headers)
}

fn append_path(webhook_url: &str, segments: &[&str]) -> anyhow::Result<url::Url> {
    let mut address: url::Url = webhook_url
        .parse()
        .with_context(|| format!("the webhook URL `{webhook_url}` is not a URL"))?;
    if let Ok(mut path) = address.path_segments_mut() {
        path.pop_if_empty().extend(segments);
    }
    Ok(address)
}

/// Sends one Defect KPIs request to a webhook URL that needs no credential.
pub(super) fn request_counts(url: &str, project: &str) -> anyhow::Result<Answer<Value>> {
    request_counts_with_credential(&Credential::default(), url, project)
}

fn request_counts_with_credential(
    credential: &Credential,
    url: &str,
    project: &str,
) -> anyhow::Result<Answer<Value>> {
    let address = append_path(url, &["kpis", "project", project, "defectstatus"])?;
    get_webhook(address.as_str(), &credential.headers(b"")?)
}
