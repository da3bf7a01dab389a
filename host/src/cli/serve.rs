//! `jackfield serve`: reads the configuration and starts the server. SIGHUP reloads the
//! configuration; SIGTERM or Ctrl-C stops the server.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use clap::Args;
use sd_notify::NotifyState;
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

use crate::app::{App, DataLock, PassedSockets, Reloader, Shutdown, threads_problem};
use crate::config::{Config, ListenAddress};
use crate::domain::printable;

use super::output::{print, printable_json};
use super::server::token_from_environment;

/// The configuration file, unless `--config` names another file.
const CONFIG_FILE: &str = "jackfield.toml";
/// The log filter, unless RUST_LOG sets another filter. Some libraries log too much at the level
/// info.
const LOG_FILTER: &str = "info,hyper=warn,hyper_util=warn,h2=warn,rustls=warn";

#[derive(Args)]
#[command(after_help = "\
Examples:
  jackfield serve
  jackfield serve --listen 0.0.0.0:8080 --data /var/lib/jackfield --plugins /etc/jackfield/plugins
  RUST_LOG=debug jackfield serve --log-json")]
pub(super) struct Arguments {
    /// The address or the Unix socket to listen on [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDRESS:PORT|unix:PATH")]
    listen: Option<ListenAddress>,
    /// The folder of the connectors [default: plugins]
    #[arg(long, value_name = "FOLDER")]
    plugins: Option<PathBuf>,
    /// The configuration file [default: jackfield.toml, if it exists]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Write the log as JSON, one object per line
    #[arg(long)]
    log_json: bool,
    /// How long to wait until another server releases the data folder [default: 0]
    #[arg(long, value_name = "SECONDS")]
    wait_for_lock: Option<u32>,
}

impl Arguments {
    pub(super) fn run(self, data: Option<PathBuf>) -> anyhow::Result<()> {
        start_log(self.log_json);
        let passed_sockets = PassedSockets::take();
        let wait = Duration::from_secs(self.wait_for_lock.unwrap_or(0).into());
        let overrides = ConfigOverrides {
            listen: self.listen,
            plugins: self.plugins,
            data,
            config: self.config,
        };
        let (config, unknown_variables) = overrides.read()?;
        run_on_new_runtime(serve(config, overrides, passed_sockets, wait, unknown_variables))
    }
}

/// The options about the configuration: the path of its file, and values that override the
/// configuration at the start and at each reload.
struct ConfigOverrides {
    listen: Option<ListenAddress>,
    plugins: Option<PathBuf>,
    data: Option<PathBuf>,
    config: Option<PathBuf>,
}

impl ConfigOverrides {
    /// Like [`read_config`], but also applies the overrides.
    fn read(&self) -> anyhow::Result<(Config, Vec<String>)> {
        let (config, unknown_variables) = read_config(self.config.as_deref())?;
        let config = Config {
            listen: self.listen.clone().unwrap_or(config.listen),
            plugins: self.plugins.clone().unwrap_or(config.plugins),
            data: self.data.clone().unwrap_or(config.data),
            ..config
        };
        Ok((config, unknown_variables))
    }
}

/// Reads the configuration. Also returns a warning for each environment variable `JACKFIELD_…` that
/// Jackfield does not know.
pub(super) fn read_config(file: Option<&Path>) -> anyhow::Result<(Config, Vec<String>)> {
    let default = Path::new(CONFIG_FILE);
    let file = file.or_else(|| default.exists().then_some(default));
    let mut env = Vec::new();
    for (name, text) in std::env::vars_os() {
        let Some(name) = name.to_str().filter(|name| name.starts_with("JACKFIELD_")) else {
            continue;
        };
        let text = text.into_string().map_err(|_| anyhow!("${name}: the value is not UTF-8"))?;
        env.push((name.to_owned(), text));
    }
    let config = Config::load(file, env.iter().cloned())?;
    let unknown_variables = config.unknown_variables(env.into_iter());
    Ok((config, unknown_variables))
}

/// Starts the log. It is written to stderr, because stdout is for output that programs read.
pub(super) fn start_log(is_json: bool) {
    let custom = log_filter_from_environment().and_then(|filter| EnvFilter::try_new(filter).ok());
    let filter = custom.unwrap_or_else(|| EnvFilter::new(LOG_FILTER));
    // Do not report errors of the log itself: if stderr is closed, a report would fail too and stop
    // the server.
    let log = tracing_subscriber::fmt().with_env_filter(filter).log_internal_errors(false);
    let log = log.with_writer(move || LogLines { is_json });
    let _ = if is_json { log.json().try_init() } else { log.with_ansi(false).try_init() };
}

pub(super) fn log_filter_from_environment() -> Option<String> {
    std::env::var("RUST_LOG").ok().filter(|filter| !filter.trim().is_empty())
}

/// Writes the log to stderr. Each entry of the log arrives as one write and becomes one printable
/// line, because it may contain text from a tracker, a connector or an unknown sender.
struct LogLines {
    is_json: bool,
}

impl Write for LogLines {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(event);
        let text = text.trim_end_matches('\n');
        let line = if self.is_json { printable_json(text) } else { printable(text) };
        io::stderr().write_all(format!("{line}\n").as_bytes())?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

/// The number of worker threads in addition to one thread for each core. Guests that compute can
/// occupy one thread for each core, and the host's own work must continue.
const HOST_THREADS: usize = 2;

/// The number of threads that a start needs besides the worker threads: for the engine's thread
/// `ticker`, the database and the first blocking calls.
const START_THREADS: usize = 8;

pub(super) fn start_runtime() -> anyhow::Result<Runtime> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    // The runtime panics if it cannot start its threads.
    if let Some(problem) = threads_problem(cores + HOST_THREADS + START_THREADS) {
        bail!("{}: {}", problem.problem, problem.fix);
    }
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(cores + HOST_THREADS)
        .enable_all()
        .build()
        .context("cannot start the async runtime")
}

/// The exit code after the third signal: the code that a shell reports for SIGINT.
const THIRD_SIGNAL_EXIT_CODE: i32 = 130;
/// Maximum time for which the process waits for blocking calls before it exits.
const BLOCKING_TIMEOUT: Duration = Duration::from_secs(1);

pub(super) fn run_on_new_runtime(
    future: impl Future<Output = anyhow::Result<()>>,
) -> anyhow::Result<()> {
    let runtime = start_runtime()?;
    let result = runtime.block_on(future);
    runtime.shutdown_timeout(BLOCKING_TIMEOUT);
    result
}

/// Begins to listen for SIGTERM and Ctrl-C. The first signal starts the drain: current runs may
/// finish. The second signal stops all runs. The third signal ends the process at once.
pub(super) fn listen_for_shutdown_signals() -> anyhow::Result<Shutdown> {
    let shutdown = Shutdown::default();
    let signalled = shutdown.clone();
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    tokio::spawn(async move {
        let mut next_signal = async || {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        };
        next_signal().await;
        signalled.drain.cancel();
        next_signal().await;
        tracing::warn!("second signal: stopping all runs now");
        signalled.stop_now.cancel();
        next_signal().await;
        std::process::exit(THIRD_SIGNAL_EXIT_CODE);
    });
    Ok(shutdown)
}

/// Begins to listen for SIGHUP, and reloads the configuration at each SIGHUP. An invalid
/// configuration changes nothing.
fn reload_at_sighup(overrides: ConfigOverrides, reloader: Reloader) -> anyhow::Result<()> {
    let mut hangup = signal(SignalKind::hangup()).context("cannot listen for SIGHUP")?;
    tokio::spawn(async move {
        while hangup.recv().await.is_some() {
            match overrides.read() {
                Ok((config, unknown_variables)) => {
                    unknown_variables.iter().for_each(|warning| tracing::warn!("{warning}"));
                    reloader.apply(config);
                }
                Err(error) => reloader.record_refusal(&error),
            }
        }
    });
    Ok(())
}

async fn serve(
    config: Config,
    overrides: ConfigOverrides,
    passed_sockets: PassedSockets,
    wait_for_lock: Duration,
    unknown_variables: Vec<String>,
) -> anyhow::Result<()> {
    let shutdown = listen_for_shutdown_signals()?;
    let folder = config.data_folder();
    let lock = DataLock::acquire(&folder, wait_for_lock);
    let Some(lock) = shutdown.drain.run_until_cancelled(lock).await else { return Ok(()) };
    let token_file = folder.admin_token();
    let token = token_from_environment()?;
    let is_token_in_file = token.is_none();
    let app = App::start(config, lock?, token, passed_sockets).await?;
    reload_at_sighup(overrides, app.reloader())?;
    // Log the warnings only after a successful start: a failed start prints one line, its reason.
    unknown_variables.iter().for_each(|warning| tracing::warn!("{warning}"));
    print(&format!("listening on {}", app.url()));
    if is_token_in_file {
        print(&format!("the admin token is in {}", token_file.display()));
    }
    notify_service_manager(&[NotifyState::Ready]);
    let drain = shutdown.drain.clone();
    tokio::spawn(async move {
        drain.cancelled().await;
        notify_service_manager(&[NotifyState::Stopping]);
    });
    app.run_until(shutdown).await
}

/// Reports the state of the server to systemd, if the unit has `Type=notify`.
fn notify_service_manager(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!(%error, "cannot report the state of the server to systemd");
    }
}
