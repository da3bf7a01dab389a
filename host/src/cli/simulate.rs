//! `jackfield simulate test-manager`: runs the stand-in for Test Manager until Ctrl-C.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::domain::{StringEnum as _, is_web_address};
use crate::simulator::{
    CLIENT_ID, CLIENT_SECRET, Counts, CreatedDefect, FailedTest, Fault, FaultName, Listeners,
    Options, Simulator, WebhookError, Webhooks,
};

use super::ordered::Json;
use super::output::{Output, eprint, error_line, print, print_json};
use super::serve;
use super::trigger;

#[derive(Subcommand)]
pub(super) enum Command {
    /// Run a stand-in for Test Manager: its API with invented data, and its two webhooks
    #[command(after_help = after_help())]
    TestManager(Arguments),
}

fn after_help() -> String {
    let faults: Vec<_> = FaultName::ALL.iter().map(|fault| fault.as_str()).collect();
    format!(
        "\
Examples:
  jackfield simulate test-manager
  jackfield simulate test-manager --webhook-url http://127.0.0.1:8080/hooks/TOKEN
  jackfield simulate test-manager --fault token-hangs --fault slow=500

Faults: {}.
Some faults have a value: milliseconds, seconds, bytes or a number of items. `POST /simulator/faults`
with {{\"faults\": [\"slow=500\"]}} sets the faults of a running stand-in.",
        faults.join(", ")
    )
}

#[derive(Args)]
pub(super) struct Arguments {
    /// The address that the stand-in listens on
    #[arg(long, default_value = "127.0.0.1:8090", value_name = "ADDRESS:PORT")]
    listen: SocketAddr,
    /// The webhook URL of the connection; it can also be set on the stand-in's page
    #[arg(long, value_name = "URL")]
    webhook_url: Option<String>,
    /// Selects the data: the same number always gives the same data
    #[arg(long, default_value_t = 1, value_name = "NUMBER")]
    seed: u64,
    /// A fault to simulate, such as token-hangs or slow=500; can be repeated
    #[arg(long = "fault", value_name = "NAME[=NUMBER]", value_parser = str::parse::<Fault>)]
    faults: Vec<Fault>,
}

impl Command {
    pub(super) fn run(self, output: Output) -> anyhow::Result<()> {
        let Self::TestManager(arguments) = self;
        if let Some(url) = &arguments.webhook_url
            && !is_web_address(url)
        {
            bail!("--webhook-url must begin with http:// or https://");
        }
        serve::run_on_new_runtime(simulate(arguments, output))
    }
}

async fn simulate(arguments: Arguments, output: Output) -> anyhow::Result<()> {
    let shutdown = serve::listen_for_shutdown_signals()?;
    let listen = arguments.listen;
    let listeners = Listeners::bind(listen).await;
    let listeners = listeners.with_context(|| {
        format!("cannot listen on {listen}: give another address with --listen")
    })?;
    let options = Options {
        seed: arguments.seed,
        faults: arguments.faults,
        webhook_url: arguments.webhook_url,
    };
    let simulator = Simulator::new(&listeners, &options, Arc::new(WebhookSender))?;
    if !listen.ip().is_loopback() {
        eprint("warning: other machines can reach the stand-in, and its client secret is public");
    }
    print_addresses(&simulator, options.seed, output);
    tokio::select! {
        result = simulator.serve(listeners) => {
            result.context("the stand-in for Test Manager stopped")
        }
        () = shutdown.drain.cancelled() => Ok(()),
    }
}

fn print_addresses(simulator: &Simulator, seed: u64, output: Output) {
    let addresses = simulator.addresses();
    if output.is_json {
        return print_json(&json!({
            "page_url": addresses.page_url,
            "base_url": addresses.base_url,
            "token_url": addresses.token_url,
            "files_url": addresses.files_url,
            "client_id": CLIENT_ID,
            "client_secret": CLIENT_SECRET,
            "seed": seed,
        }));
    }
    print(&format!(
        "\
The stand-in for Test Manager runs, with invented data. Its page: {}
  base URL       {}
  token URL      {}
  client id      {CLIENT_ID}
  client secret  {CLIENT_SECRET}
                 (always the same: it protects nothing)

Open the page, enter the webhook URL of a connection, and click Create Defect.
The stand-in runs until you press Ctrl-C.",
        addresses.page_url, addresses.base_url, addresses.token_url
    ));
}

/// Sends the webhooks as `jackfield trigger` does.
pub(super) struct WebhookSender;

impl Webhooks for WebhookSender {
    fn create_defect(&self, url: &str, test: &FailedTest) -> Result<CreatedDefect, WebhookError> {
        let answer = trigger::send_create_defect(url, test).and_then(|answer| answer.decode());
        answer.map_err(|error| WebhookError::Failed(error_line(&error)))
    }

    fn counts(&self, url: &str, project: Uuid) -> Result<Counts, WebhookError> {
        let answer = trigger::request_counts(url, &project.to_string());
        let answer = answer.map_err(|error| WebhookError::Failed(error_line(&error)))?;
        let Json::Members(members) = answer.json() else { return Ok(Vec::new()) };
        let text = |value: &Json| match value {
            Json::Scalar(Value::String(text)) => text.clone(),
            other => serde_json::to_string(other).unwrap_or_default(),
        };
        Ok(members.iter().map(|(name, value)| (name.clone(), text(value))).collect())
    }
}
