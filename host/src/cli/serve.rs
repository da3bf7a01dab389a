//! `jackfield serve`: reads the configuration, starts the server, reads the configuration again on
//! SIGHUP, and stops the server on SIGTERM or Ctrl-C.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use clap::Args;
use sd_notify::NotifyState;
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

use crate::app::{App, DataLock, PassedSockets, Reloader, Shutdown, few_threads};
use crate::config::{Config, ListenAddress};
use crate::domain::printable;

use super::output::{print, printable_json};
use super::server::token_from_environment;

/// The configuration file, unless `--config` names another.
const CONFIG_FILE: &str = "jackfield.toml";
/// The log filter, unless RUST_LOG sets another. Some libraries log too much at the level info.
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
        let passed = PassedSockets::take();
        let wait = Duration::from_secs(self.wait_for_lock.unwrap_or(0).into());
        let options =
            Options { listen: self.listen, plugins: self.plugins, data, config: self.config };
        let (config, unknown_variables) = options.read()?;
        run(serve(config, options, passed, wait, unknown_variables))
    }
}

/// What overrides the configuration, at the start and at each reload.
struct Options {
    listen: Option<ListenAddress>,
    plugins: Option<PathBuf>,
    data: Option<PathBuf>,
    config: Option<PathBuf>,
}

impl Options {
    /// Reads the configuration; also returns the reports about variables that are not settings.
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

/// Reads the configuration, and reports the variables `JACKFIELD_…` that are not settings.
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

/// Starts the log, which goes to stderr: stdout is for output that programs read.
pub(super) fn start_log(json: bool) {
    let given = log_filter().and_then(|filter| EnvFilter::try_new(filter).ok());
    let filter = given.unwrap_or_else(|| EnvFilter::new(LOG_FILTER));
    // Do not report errors of the log itself: if stderr is closed, reporting them would fail too,
    // and would end the server.
    let log = tracing_subscriber::fmt().with_env_filter(filter).log_internal_errors(false);
    let log = log.with_writer(move || LogLines { json });
    let _ = if json { log.json().try_init() } else { log.with_ansi(false).try_init() };
}

/// The value of RUST_LOG, unless it is empty.
pub(super) fn log_filter() -> Option<String> {
    std::env::var("RUST_LOG").ok().filter(|filter| !filter.trim().is_empty())
}

/// Writes the log to stderr. Each log event is one write and becomes one printable line, because it
/// may contain text from a tracker, a connector or an unknown sender.
struct LogLines {
    json: bool,
}

impl Write for LogLines {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(event);
        let text = text.trim_end_matches('\n');
        let line = if self.json { printable_json(text) } else { printable(text) };
        io::stderr().write_all(format!("{line}\n").as_bytes())?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

/// Threads for the host's own work: guests that compute occupy as many threads as there are cores.
const HOST_THREADS: usize = 2;

/// More threads that a start needs: for the ticker, the database and the first blocking calls.
const OTHER_THREADS: usize = 8;

/// The async runtime of a server.
pub(super) fn runtime() -> anyhow::Result<Runtime> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    // The runtime panics if it cannot start its threads.
    if let Some(problem) = few_threads(cores + HOST_THREADS + OTHER_THREADS) {
        bail!("{}: {}", problem.found, problem.fix);
    }
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(cores + HOST_THREADS)
        .enable_all()
        .build()
        .context("cannot start the async runtime")
}

/// The exit code after the third signal: the code that a shell reports for SIGINT.
const EXIT_BY_SIGNAL: i32 = 130;
/// How long the process waits for blocking calls before it exits.
const BLOCKING_TIMEOUT: Duration = Duration::from_secs(1);

/// Runs a server until it ends.
pub(super) fn run(server: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    let runtime = runtime()?;
    let ended = runtime.block_on(server);
    runtime.shutdown_timeout(BLOCKING_TIMEOUT);
    ended
}

/// Shuts down on SIGTERM or Ctrl-C. The first signal begins the drain, the second ends the drain,
/// and the third ends the process at once, which is as safe as a crash.
pub(super) fn shutdown_by_signal() -> anyhow::Result<Shutdown> {
    let shutdown = Shutdown::default();
    let by_signal = shutdown.clone();
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    tokio::spawn(async move {
        let mut next = async || {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        };
        next().await;
        by_signal.drain.cancel();
        next().await;
        tracing::warn!("second signal: stopping all runs now");
        by_signal.stop_now.cancel();
        next().await;
        std::process::exit(EXIT_BY_SIGNAL);
    });
    Ok(shutdown)
}

/// Reads the configuration again at each SIGHUP. A file that is not valid changes nothing.
fn reload_by_signal(options: Options, reloader: Reloader) -> anyhow::Result<()> {
    let mut hangup = signal(SignalKind::hangup()).context("cannot listen for SIGHUP")?;
    tokio::spawn(async move {
        while hangup.recv().await.is_some() {
            match options.read() {
                Ok((config, unknown_variables)) => {
                    unknown_variables.iter().for_each(|report| tracing::warn!("{report}"));
                    reloader.reload(config);
                }
                Err(error) => reloader.refuse(&error),
            }
        }
    });
    Ok(())
}

async fn serve(
    config: Config,
    options: Options,
    passed: PassedSockets,
    wait_for_lock: Duration,
    unknown_variables: Vec<String>,
) -> anyhow::Result<()> {
    let shutdown = shutdown_by_signal()?;
    let folder = config.data_folder();
    let lock = DataLock::acquire(&folder, wait_for_lock);
    let Some(lock) = shutdown.drain.run_until_cancelled(lock).await else { return Ok(()) };
    let token_file = folder.admin_token();
    let token = token_from_environment()?;
    let is_in_file = token.is_none();
    let app = App::start(config, lock?, token, passed).await?;
    reload_by_signal(options, app.reloader())?;
    // Report these only after a successful start: a failed start prints one line, its reason.
    unknown_variables.iter().for_each(|report| tracing::warn!("{report}"));
    print(&format!("listening on {}", app.url()));
    if is_in_file {
        print(&format!("the admin token is in {}", token_file.display()));
    }
    notify_service_manager(&[NotifyState::Ready]);
    let ending = shutdown.drain.clone();
    tokio::spawn(async move {
        ending.cancelled().await;
        notify_service_manager(&[NotifyState::Stopping]);
    });
    app.run_until(shutdown).await
}

/// Tells systemd about the state of the server, if it asks for that (`Type=notify`).
fn notify_service_manager(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!(%error, "cannot tell systemd about the state of the server");
    }
}
