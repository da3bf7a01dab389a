//! `jackfield demo`: runs a server, a sample tracker and the stand-in for Test Manager, which sends
//! some webhook requests. The demo prints each step, and runs until Ctrl-C.
//!
//! Reads no configuration file, because the demo must behave in the same way on each machine.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail};
use clap::Args;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::api::{
    Connector, ConnectorStatus, CreateConnection, CreatedConnection, EditTestManager, EnumString,
    ForceQuery, SecretText, WebhookPaths,
};
use crate::app::{App, DataLock, PassedSockets};
use crate::config::Config;
use crate::demo::tracker;
use crate::domain::{OnRecurrence, printable};
use crate::secret::Secret;
use crate::simulator::{CLIENT_ID, CLIENT_SECRET, CreatedDefect, Listeners, Options, Simulator};

use super::client::{Answer, Client, with_query};
use super::output::{eprint, print};
use super::serve;
use super::simulate::WebhookSender;

const CONNECTOR_NAME: &str = "redmine";
const CONNECTION_NAME: &str = "demo";
/// Maximum time until the connector is ready. The server may have to compile the connector first.
const READY_TIMEOUT: Duration = Duration::from_secs(180);
const POLL_PERIOD: Duration = Duration::from_millis(100);

#[derive(Args)]
#[command(after_help = "\
Examples:
  jackfield demo
  jackfield demo --listen 127.0.0.1:9000 --plugins target/plugins")]
pub(super) struct Arguments {
    /// The address that the server listens on
    #[arg(long, default_value = "127.0.0.1:8080", value_name = "ADDRESS:PORT")]
    listen: SocketAddr,
    /// The folder that contains redmine.wasm
    #[arg(long, default_value = "plugins", value_name = "FOLDER")]
    plugins: PathBuf,
}

impl Arguments {
    pub(super) fn run(self, data: Option<PathBuf>) -> anyhow::Result<()> {
        let component = self.plugins.join(format!("{CONNECTOR_NAME}.wasm"));
        if !component.is_file() {
            bail!(
                "{} does not exist: build it with `cargo xtask connectors`, or give the folder that \
                 contains it with --plugins",
                component.display()
            );
        }
        // Log only if RUST_LOG is set: the log lines would hide what the demo prints.
        if serve::log_filter_from_environment().is_some() {
            serve::start_log(false);
        }
        let (_temporary, data) = data_folder(data)?;
        let config =
            Config { listen: self.listen.into(), plugins: self.plugins, data, ..Config::default() };
        serve::run_on_new_runtime(run_demo(config))
    }
}

/// Returns the path of the data folder. Without `data`, the data folder is in a temporary folder,
/// which is deleted when the `TempDir` is dropped.
fn data_folder(data: Option<PathBuf>) -> anyhow::Result<(Option<TempDir>, PathBuf)> {
    if let Some(data) = data {
        return Ok((None, data));
    }
    let folder = tempfile::tempdir().context("cannot create a temporary folder: use --data")?;
    let data = folder.path().join("data");
    Ok((Some(folder), data))
}

async fn run_demo(config: Config) -> anyhow::Result<()> {
    let shutdown = serve::listen_for_shutdown_signals()?;
    let listener = TcpListener::bind(("127.0.0.1", 0)).await;
    let listener = listener.context("cannot listen on a port for the sample tracker")?;
    let tracker = Tracker {
        url: format!("http://{}", listener.local_addr()?),
        api_key: Uuid::new_v4().simple().to_string(),
    };
    let api_key = tracker.api_key.clone();
    let tracker_task = tokio::spawn(async move { tracker::serve(listener, &api_key).await });

    let listeners = Listeners::bind((Ipv4Addr::LOCALHOST, 0).into()).await;
    let listeners = listeners.context("cannot listen on ports for the simulated Test Manager")?;
    let simulator = Simulator::new(&listeners, &Options::default(), Arc::new(WebhookSender))?;
    let simulator_task = tokio::spawn(Arc::clone(&simulator).serve(listeners));

    let data = config.data.clone();
    let lock = DataLock::acquire(&config.data_folder(), Duration::ZERO).await?;
    let app = App::start(config, lock, None, PassedSockets::default()).await?;
    let base_url = app.url().to_owned();
    let admin = Client::new(&base_url, app.admin_token().clone());
    let demo = Demo { admin, base_url, tracker, simulator, data, shutdown: shutdown.drain.clone() };
    let steps = tokio::task::spawn_blocking(move || demo.run());
    let server_result = app.run_until(shutdown).await;
    tracker_task.abort();
    simulator_task.abort();
    steps.await.context("a step of the demo panicked")??;
    server_result
}

/// The sample tracker, and the API key that it accepts.
struct Tracker {
    url: String,
    api_key: String,
}

struct Demo {
    admin: Client,
    base_url: String,
    tracker: Tracker,
    simulator: Arc<Simulator>,
    data: PathBuf,
    shutdown: CancellationToken,
}

impl Demo {
    /// If a step fails, shuts the server down.
    fn run(&self) -> anyhow::Result<()> {
        self.run_steps().inspect_err(|_| self.shutdown.cancel())
    }

    fn run_steps(&self) -> anyhow::Result<()> {
        let Tracker { url, api_key } = &self.tracker;
        print(&format!("1. A sample tracker that imitates Redmine's API runs at {url}/"));
        print(&format!(
            "   To try a connector of your own with it: its project is `{}`, its",
            tracker::PROJECT
        ));
        print(&format!("   API key {api_key}"));
        print(&format!("2. Jackfield runs at {}", self.base_url));
        eprint("   It compiles the Redmine connector, once for each version: some seconds …");
        if !self.wait_for_connector()? {
            return Ok(());
        }
        let webhook_url = self.create_connection()?;
        print(&format!(
            "3. The connection `{CONNECTION_NAME}` is created, with credentials for Test Manager's API. Its \
             webhook URL, for Test Manager:"
        ));
        print(&format!("     {webhook_url}"));

        self.simulator.set_webhook_url(&webhook_url);
        print(&format!(
            "4. A simulated Test Manager, with its Create Defect buttons, runs at {}",
            self.simulator.addresses().page_url
        ));
        self.fire_webhooks()?;
        print(&describe_next_steps(&self.base_url, &webhook_url, &self.data));
        Ok(())
    }

    /// Clicks Create Defect twice for a failed test, and once for its failure in a later execution.
    /// Then requests the counts of defects.
    fn fire_webhooks(&self) -> anyhow::Result<()> {
        let log =
            self.simulator.newest_failed_log().context("the simulated data has no failed test")?;
        let defect = self.click_create_defect(log)?;
        let (label, name) = (printable(&defect.link_label), printable(&defect.name));
        print(&format!("5. Create Defect created {label} \"{name}\""));
        print(&format!("     {}", printable(&defect.link)));
        print("   It contains the failed test's data: assertion, screenshot, log, link.");
        if self.click_create_defect(log)?.link == defect.link {
            print("   A second click on the same failed test returned the same defect.");
        }
        let later_log = self.simulator.run_again(log).context("the test set cannot run again")?;
        if self.click_create_defect(later_log)?.link == defect.link {
            print(&format!(
                "6. The same test failed in a later execution: Create Defect returned {label}, which \
                 gets a comment."
            ));
        }
        let counts = self
            .simulator
            .refresh_counts(log)
            .context("the simulated Test Manager does not have this project")?;
        print("7. Defect KPIs returned:");
        for (name, value) in counts.map_err(|why| anyhow!(why))? {
            print(&format!("     {} {}", printable(&name), printable(&value)));
        }
        Ok(())
    }

    fn click_create_defect(&self, log: Uuid) -> anyhow::Result<CreatedDefect> {
        let answer = self.simulator.create_defect(log);
        let answer = answer.context("the simulated Test Manager does not have this log")?;
        answer.map_err(|why| anyhow!(why))
    }

    /// Returns false if the demo is shut down before the connector is ready.
    fn wait_for_connector(&self) -> anyhow::Result<bool> {
        let deadline = Instant::now() + READY_TIMEOUT;
        while !self.shutdown.is_cancelled() {
            // Ignore errors: at first, the server may not have read the file yet.
            let answer = self.admin.get::<Connector>(&format!("/connectors/{CONNECTOR_NAME}"));
            let connector = answer.and_then(|answer| answer.decode());
            let status = connector.as_ref().map(|connector| connector.status.0).ok();
            match (status, connector) {
                (Some(ConnectorStatus::Ready), _) => return Ok(true),
                (Some(ConnectorStatus::Broken), Ok(connector)) => bail!(
                    "the server cannot load the Redmine connector: {}; build it again with \
                     `cargo xtask connectors`",
                    connector.error.unwrap_or_default()
                ),
                _ if Instant::now() > deadline => {
                    bail!(
                        "the Redmine connector was not ready within {} s",
                        READY_TIMEOUT.as_secs()
                    )
                }
                _ => std::thread::sleep(POLL_PERIOD),
            }
        }
        Ok(false)
    }

    /// Returns the webhook URL. First deletes the connection of an earlier demo, because the sample
    /// tracker of that demo no longer runs.
    fn create_connection(&self) -> anyhow::Result<String> {
        if let Ok(path) = self.admin.connection_path(CONNECTION_NAME) {
            let query = ForceQuery { force: true };
            let _: Answer<()> = self.admin.delete(&with_query(&path, &query)?)?;
        }
        let settings = json!({ "url": self.tracker.url, "project": tracker::PROJECT,
            "markup": tracker::MARKUP });
        let api_key = SecretText(Secret::new(self.tracker.api_key.clone()));
        let addresses = self.simulator.addresses();
        let test_manager = EditTestManager {
            base_url: Some(addresses.base_url.clone()),
            token_url: Some(addresses.token_url.clone()),
            client_id: Some(CLIENT_ID.to_owned()),
            ..EditTestManager::default()
        };
        let client_secret = SecretText(Secret::new(CLIENT_SECRET.to_owned()));
        let body = CreateConnection {
            name: CONNECTION_NAME.to_owned(),
            connector: CONNECTOR_NAME.to_owned(),
            settings: serde_json::from_value(settings)?,
            secrets: [("api-key".to_owned(), api_key)].into(),
            client_cert: None,
            client_key: None,
            test_manager: Some(test_manager),
            webhook_auth: None,
            webhook_secret: None,
            webhook_secret_previous: None,
            test_manager_client_secret: Some(client_secret),
            project: None,
            allow_private: false,
            http1_only: false,
            trace_context: false,
            webhook_paths: WebhookPaths::default(),
            index_delay_s: 0,
            report: report_settings()?,
            on_recurrence: Some(EnumString(OnRecurrence::Comment)),
        };
        let created: Answer<CreatedConnection> = self.admin.post("/connections", &body)?;
        Ok(created.decode()?.webhook_url)
    }
}

/// Returns the report settings that differ from the defaults: they set custom fields of the sample
/// tracker, and attach the files of the failed test's log.
fn report_settings() -> anyhow::Result<serde_json::Map<String, Value>> {
    let [(_, test_case), (_, robot)] = tracker::CUSTOM_FIELDS;
    Ok(serde_json::from_value(json!({
        "fields": [
            { "field": test_case, "text": "{{ test_case.key }}" },
            { "field": robot, "text": "{{ log.robot }}" },
        ],
        "attachments": { "kinds": ["screenshot", "robot-log", "file"] },
    }))?)
}

fn describe_next_steps(base_url: &str, webhook_url: &str, data: &Path) -> String {
    let server = format!("--server {base_url} --data {}", data.display());
    let jackfield = program_path();
    format!(
        "
Try next, in another terminal (or open the links above):
  {jackfield} trigger create-defect --url {webhook_url}
  {jackfield} trigger kpis --url {webhook_url}
  {jackfield} events list {server}
  {jackfield} connections show {CONNECTION_NAME} {server}

The demo runs until you press Ctrl-C."
    )
}

/// Returns the path of this program, because the program may not be in PATH. The path is relative
/// if the program is below the current folder.
fn program_path() -> String {
    let (Ok(program), Ok(folder)) = (std::env::current_exe(), std::env::current_dir()) else {
        return "jackfield".to_owned();
    };
    match program.strip_prefix(folder) {
        Ok(relative) => Path::new(".").join(relative).display().to_string(),
        Err(_) => program.display().to_string(),
    }
}
