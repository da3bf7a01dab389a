//! `jackfield serve`: reads the configuration, starts the server, ends it on SIGTERM or Ctrl-C.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

use crate::app::App;
use crate::config::Config;

use super::client::token_of_environment;
use super::output::say;

/// Read where it lies, unless `--config` names another.
const CONFIG_FILE: &str = "jackfield.toml";
/// What is logged unless RUST_LOG says otherwise; the libraries below tell too much at info.
const LOGGED: &str = "info,hyper=warn,hyper_util=warn,h2=warn,rustls=warn,sqlx=warn";

#[derive(Args)]
#[command(after_help = "\
Examples:
  jackfield serve
  jackfield serve --listen 0.0.0.0:8080 --data /var/lib/jackfield --plugins /etc/jackfield/plugins
  RUST_LOG=debug jackfield serve --log-json")]
pub(super) struct Arguments {
    /// Where it listens [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<SocketAddr>,
    /// Where connectors are dropped [default: plugins]
    #[arg(long, value_name = "FOLDER")]
    plugins: Option<PathBuf>,
    /// The configuration [default: jackfield.toml, if it is there]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Logs JSON, one object in a line
    #[arg(long)]
    log_json: bool,
}

impl Arguments {
    pub(super) fn run(self, data: Option<PathBuf>) -> anyhow::Result<()> {
        start_log(self.log_json);
        let mut config = read_config(self.config.as_deref())?;
        config.listen = self.listen.unwrap_or(config.listen);
        config.plugins = self.plugins.unwrap_or(config.plugins);
        config.data = data.unwrap_or(config.data);
        runtime()?.block_on(serve(config))
    }
}

/// The configuration that `serve` would take.
pub(super) fn read_config(file: Option<&Path>) -> anyhow::Result<Config> {
    let shipped = Path::new(CONFIG_FILE);
    let file = file.or_else(|| shipped.exists().then_some(shipped));
    let env = std::env::vars_os()
        .filter_map(|(name, text)| Some((name.into_string().ok()?, text.into_string().ok()?)));
    Ok(Config::load(file, env)?)
}

/// Logs to stderr, so that stdout stays for what programs read.
pub(super) fn start_log(json: bool) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(LOGGED));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let _ = if json { log.json().try_init() } else { log.with_ansi(false).try_init() };
}

/// The server's threads.
pub(super) fn runtime() -> anyhow::Result<Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("the system gives no threads")
}

/// Cancelled by SIGTERM or Ctrl-C.
pub(super) fn shutdown_by_signal() -> anyhow::Result<CancellationToken> {
    let shutdown = CancellationToken::new();
    let cancel = shutdown.clone();
    let mut terminate = signal(SignalKind::terminate()).context("no SIGTERM can be awaited")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("no SIGINT can be awaited")?;
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        cancel.cancel();
    });
    Ok(shutdown)
}

async fn serve(config: Config) -> anyhow::Result<()> {
    let shutdown = shutdown_by_signal()?;
    let data = config.data.clone();
    let token = token_of_environment();
    let kept = token.is_none();
    let app = App::start(config, token).await?;
    say(&format!("listening on http://{}", app.address()));
    if kept {
        say(&format!("the admin token lies in {}", data.join("admin-token").display()));
    }
    app.run_until(shutdown).await
}
