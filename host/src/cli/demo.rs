//! `jackfield demo`: a server, a sample tracker, one connection, one Create Defect and one KPI event,
//! all over real HTTP, told as they happen; then it serves on.
//!
//! Reads no configuration: what it shows must not depend on what lies around.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::Args;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::app::App;
use crate::config::Config;
use crate::http::sample_tracker;

use super::client::Client;
use super::output::{remark, say};
use super::{serve, trigger};

const CONNECTOR: &str = "redmine";
const CONNECTION: &str = "demo";
/// The first start compiles the connector.
const READY_WITHIN: Duration = Duration::from_secs(180);
const ASK_AGAIN: Duration = Duration::from_millis(100);

#[derive(Args)]
#[command(after_help = "\
Examples:
  jackfield demo
  jackfield demo --listen 127.0.0.1:9000 --plugins target/plugins")]
pub(super) struct Arguments {
    /// Where the server listens
    #[arg(long, default_value = "127.0.0.1:8080", value_name = "ADDRESS:PORT")]
    listen: SocketAddr,
    /// The folder that holds redmine.wasm
    #[arg(long, default_value = "plugins", value_name = "FOLDER")]
    plugins: PathBuf,
}

impl Arguments {
    pub(super) fn run(self, data: Option<PathBuf>) -> anyhow::Result<()> {
        let component = self.plugins.join(format!("{CONNECTOR}.wasm"));
        if !component.is_file() {
            bail!(
                "{} is missing: build it by `cargo xtask connectors`, or name the folder that holds \
                 it by --plugins",
                component.display()
            );
        }
        // The demo tells its own story; the server's log would only be in the way.
        if std::env::var_os("RUST_LOG").is_some() {
            serve::start_log(false);
        }
        let (_kept, data) = folder(data)?;
        let config =
            Config { listen: self.listen, plugins: self.plugins, data, ..Config::default() };
        serve::runtime()?.block_on(demo(config))
    }
}

/// The data folder; a temporary one goes when the first value is dropped.
fn folder(data: Option<PathBuf>) -> anyhow::Result<(Option<TempDir>, PathBuf)> {
    if let Some(data) = data {
        return Ok((None, data));
    }
    let folder = tempfile::tempdir().context("no temporary folder: name one by --data")?;
    let data = folder.path().join("data");
    Ok((Some(folder), data))
}

async fn demo(config: Config) -> anyhow::Result<()> {
    let shutdown = serve::shutdown_by_signal()?;
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.context("no port for the tracker")?;
    let tracker = Tracker {
        url: format!("http://{}", listener.local_addr()?),
        key: Uuid::new_v4().simple().to_string(),
    };
    let key = tracker.key.clone();
    let tracking = tokio::spawn(async move { sample_tracker::serve(listener, &key).await });

    let data = config.data.clone();
    let app = App::start(config, None).await?;
    let base = format!("http://{}", app.address());
    let admin = Client::new(&base, app.admin_token().clone());
    let (end, told_end) = (shutdown.clone(), shutdown.clone());
    let story = tokio::task::spawn_blocking(move || {
        let told = tell(&admin, &base, &tracker, &data, &told_end);
        if told.is_err() {
            end.cancel();
        }
        told
    });
    let served = app.run_until(shutdown).await;
    tracking.abort();
    story.await.context("the demo's story broke off")??;
    served
}

struct Tracker {
    url: String,
    key: String,
}

fn tell(
    admin: &Client,
    base: &str,
    tracker: &Tracker,
    data: &Path,
    shutdown: &CancellationToken,
) -> anyhow::Result<()> {
    say(&format!("1. A sample tracker, which speaks Redmine's API, is at {}/", tracker.url));
    say(&format!("2. Jackfield is at {base}"));
    remark("   compiling the Redmine connector: some seconds, once for each version …");
    if !until_ready(admin, shutdown)? {
        return Ok(());
    }
    let hook = connect(admin, tracker)?;
    say(&format!("3. The connection `{CONNECTION}` is made. Its webhook URL, for Test Manager:"));
    say(&format!("     {hook}"));

    let test = trigger::failed_test(None, None, None, Some("https://cloud.uipath.com/a/log"));
    let defect = trigger::create_defect(&hook, &test)?;
    let text = |key: &str| defect[key].as_str().unwrap_or_default();
    say(&format!("4. Create Defect made {} \"{}\"", text("linkLabel"), text("name")));
    say(&format!("     {}", text("link")));
    let again = trigger::create_defect(&hook, &test)?;
    if again["id"] == defect["id"] {
        say("   A second click on the same failed test was answered with the same defect.");
    }
    let counts = trigger::counts(&hook, &Uuid::new_v4().to_string())?;
    say("5. Defect KPIs answered:");
    say(&format!("{counts:#}"));
    say(&next(base, &hook, data));
    Ok(())
}

/// False where the demo was ended meanwhile.
fn until_ready(admin: &Client, shutdown: &CancellationToken) -> anyhow::Result<bool> {
    let deadline = Instant::now() + READY_WITHIN;
    while !shutdown.is_cancelled() {
        // A refused request is no end: until the folder was read the connector is not found.
        let shown = admin.get(&format!("/connectors/{CONNECTOR}")).unwrap_or(Value::Null);
        match shown["status"].as_str() {
            Some("ready") => return Ok(true),
            Some("broken") => bail!(
                "the Redmine connector cannot be used: {}; build it again by \
                 `cargo xtask connectors`",
                shown["error"].as_str().unwrap_or("no reason given")
            ),
            _ if Instant::now() > deadline => {
                bail!("the Redmine connector was not ready within {} s", READY_WITHIN.as_secs())
            }
            _ => std::thread::sleep(ASK_AGAIN),
        }
    }
    Ok(false)
}

/// Makes the connection; one of an earlier demo in the same data folder goes first, because its
/// tracker is gone.
fn connect(admin: &Client, tracker: &Tracker) -> anyhow::Result<String> {
    if let Ok(path) = admin.connection_path(CONNECTION) {
        admin.delete(&format!("{path}?force=true"))?;
    }
    let made = admin.post(
        "/connections",
        &json!({
            "name": CONNECTION,
            "connector": CONNECTOR,
            "settings": { "url": tracker.url, "project": sample_tracker::PROJECT },
            "secrets": { "api-key": tracker.key },
        }),
    )?;
    let url = made["webhook_url"].as_str().context("the server sent no webhook URL")?;
    Ok(url.to_owned())
}

fn next(base: &str, hook: &str, data: &Path) -> String {
    let at = format!("--server {base} --data {}", data.display());
    let jackfield = program();
    format!(
        "
Try next, in another terminal (or open the links above):
  {jackfield} trigger create-defect --url {hook}
  {jackfield} trigger kpis --url {hook}
  {jackfield} events list {at}
  {jackfield} connections show {CONNECTION} {at}

It serves on until Ctrl-C."
    )
}

/// How to call this program from here: it need not be installed.
fn program() -> String {
    let (Ok(program), Ok(here)) = (std::env::current_exe(), std::env::current_dir()) else {
        return "jackfield".to_owned();
    };
    program.strip_prefix(here).unwrap_or(&program).display().to_string()
}
