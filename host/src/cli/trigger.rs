//! `jackfield trigger`: sends what Test Manager would send, to try a connection without it.

use anyhow::Context;
use clap::{Args, Subcommand};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};
use uuid::Uuid;

use super::client::{Server, send_plain};
use super::output::Output;

#[derive(Subcommand)]
pub(super) enum Command {
    /// A person clicks "Create Defect"
    #[command(after_help = "\
Examples:
  jackfield trigger create-defect --url http://127.0.0.1:8080/hooks/TOKEN
  jackfield trigger create-defect --connection qa --variation 'row 7'")]
    CreateDefect(CreateDefect),
    /// A dashboard asks for a project's counts
    #[command(after_help = "\
Examples:
  jackfield trigger kpis --url http://127.0.0.1:8080/hooks/TOKEN
  jackfield trigger kpis --connection qa --project 42")]
    Kpis(Kpis),
}

#[derive(Args)]
#[group(required = true, multiple = false)]
struct Target {
    /// The connection's webhook URL
    #[arg(long)]
    url: Option<String>,
    /// The connection's name; needs the admin token, and leaves the webhook URL as it is
    #[arg(long, value_name = "NAME")]
    connection: Option<String>,
}

#[derive(Args)]
pub(super) struct CreateDefect {
    #[command(flatten)]
    target: Target,
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
    /// The Test Manager project [default: random]
    #[arg(long, value_name = "ID")]
    project: Option<String>,
}

impl Command {
    pub(super) fn run(self, server: &Server, output: Output) -> anyhow::Result<()> {
        let answer = match self {
            Self::CreateDefect(create) => {
                let body = create.body();
                match &create.target.connection {
                    Some(name) => {
                        let admin = server.admin()?;
                        let path = admin.connection_path(name)?;
                        admin.post(&format!("{path}/hook/defects"), &body)?
                    }
                    None => create_defect(create.target.url(), &body)?,
                }
            }
            Self::Kpis(kpis) => {
                let project = kpis.project.unwrap_or_else(|| Uuid::new_v4().to_string());
                match &kpis.target.connection {
                    Some(name) => {
                        let admin = server.admin()?;
                        let path = admin.connection_path(name)?;
                        let project = utf8_percent_encode(&project, NON_ALPHANUMERIC);
                        admin.get(&format!("{path}/hook/kpis/project/{project}/defectstatus"))?
                    }
                    None => counts(kpis.target.url(), &project)?,
                }
            }
        };
        output.one(&answer);
        Ok(())
    }
}

/// Sends one Create Defect.
pub(super) fn create_defect(url: &str, body: &Value) -> anyhow::Result<Value> {
    send_plain("POST", &format!("{}/defects", url.trim_end_matches('/')), Some(body))?.success()
}

/// Asks for the counts of one project.
pub(super) fn counts(url: &str, project: &str) -> anyhow::Result<Value> {
    let mut url: url::Url = url.parse().with_context(|| "the webhook URL is no URL")?;
    if let Ok(mut path) = url.path_segments_mut() {
        path.pop_if_empty().extend(["kpis", "project", project, "defectstatus"]);
    }
    send_plain("GET", url.as_str(), None)?.success()
}

/// A failed test, with random ids where none are given.
pub(super) fn failed_test(
    execution: Option<Uuid>,
    case: Option<Uuid>,
    variation: Option<&str>,
    link: Option<&str>,
) -> Value {
    json!({
        "testExecutionId": execution.unwrap_or_else(Uuid::new_v4).to_string(),
        "testCaseId": case.unwrap_or_else(Uuid::new_v4).to_string(),
        "variationId": variation,
        "linkToTestCaseLog": link,
    })
}

impl CreateDefect {
    fn body(&self) -> Value {
        let (variation, link) = (self.variation.as_deref(), self.link.as_deref());
        failed_test(self.execution, self.case, variation, link)
    }
}

impl Target {
    fn url(&self) -> &str {
        self.url.as_deref().unwrap_or_default()
    }
}
