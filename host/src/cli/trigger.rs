//! `jackfield trigger`: sends what Test Manager would send, to try a connection without it.

use anyhow::Context;
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use uuid::Uuid;

use super::client::{Server, send_plain};
use super::output::Output;

/// How long the URL in use still holds after `--connection` made another.
const GRACE_S: u32 = 3_600;

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
Example:
  jackfield trigger kpis --url http://127.0.0.1:8080/hooks/TOKEN")]
    Kpis(Kpis),
}

#[derive(Args)]
#[group(required = true, multiple = false)]
struct Target {
    /// The connection's webhook URL
    #[arg(long)]
    url: Option<String>,
    /// The connection's name. A webhook URL is stored nowhere, so this makes a NEW one, as
    /// `connections rotate-token` does; the URL that Test Manager has holds for one more hour only
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
                let url = create.target.url(server)?;
                create_defect(&url, &create.body())?
            }
            Self::Kpis(kpis) => {
                let project = kpis.project.unwrap_or_else(|| Uuid::new_v4().to_string());
                counts(&kpis.target.url(server)?, &project)?
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
    fn url(&self, server: &Server) -> anyhow::Result<String> {
        if let Some(url) = &self.url {
            return Ok(url.clone());
        }
        let name = self.connection.as_deref().unwrap_or_default();
        let admin = server.admin()?;
        let path = format!("{}/rotate-token", admin.connection_path(name)?);
        let answer = admin.post(&path, &json!({ "grace_s": GRACE_S }))?;
        let url = answer["webhook_url"].as_str().context("the server sent no webhook URL")?;
        super::output::remark(&format!(
            "{name} has a new webhook URL, {url}; the one before holds for {GRACE_S} s"
        ));
        Ok(url.to_owned())
    }
}
