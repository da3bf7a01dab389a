//! `jackfield dev`: builds a connector and copies it into the plugins folder of a running server,
//! first when the command starts and then at each change of the sources. Prints whether the server
//! has loaded or refused the new version, and the connector's events with their logs.
//!
//! If a build fails or the server refuses a version, the previous version stays in use.

mod events;
mod install;
mod sources;
mod target;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, bail};
use clap::Args;
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;

use crate::api::{Connection, ConnectionList, Connector, Status};
use crate::domain::printable;

use super::client::{Client, is_healthy};
use super::ordered::Json;
use super::output::{Output, eprint, error_line, print, print_json_line};
use super::serve::{listen_for_shutdown_signals, run_on_new_runtime};
use super::server::ServerArgs;
use super::units::format_duration;
use events::EventFollower;
use install::{InstallResult, PluginsFolder};
use sources::{Fingerprint, Sources};
use target::Target;

#[derive(Args)]
#[command(after_help = "\
Needs a running server on this machine: start one with `jackfield serve` in another terminal.

At each change of the project, the connector is built and put into the server's plugins folder. The
terminal shows the time from the change until the new version is in use, and each event of the
connector with its log and its outbound calls. If a build fails, the previous version stays in use.
The command runs until you press Ctrl-C; the connector stays in the plugins folder.

Examples:
  jackfield dev
  jackfield dev my-tracker
  jackfield dev my-tracker.js
  jackfield dev target/my-tracker.wasm --plugins /srv/jackfield/plugins")]
pub(super) struct Arguments {
    /// The connector's project, or its file: NAME.wasm or NAME.js
    #[arg(value_name = "FOLDER|FILE", default_value = ".")]
    target: PathBuf,
    /// The plugins folder of the server [default: the one that the server reports]
    #[arg(long, value_name = "FOLDER")]
    plugins: Option<PathBuf>,
}

impl Arguments {
    pub(super) fn run(self, server: &ServerArgs, output: Output) -> anyhow::Result<()> {
        let target = Target::from_path(&self.target)?;
        if !is_healthy(server.base_url()) {
            bail!(
                "no server answers at {}: start one in another terminal with `jackfield serve`, or \
                 give its address with --server",
                server.base_url()
            );
        }
        let admin = Arc::new(server.admin_client()?);
        let plugins = PluginsFolder::open(plugins_folder(self.plugins, &admin)?, target.name()?)?;
        let stop = CancellationToken::new();
        let dev_loop = DevLoop { target, plugins, admin, output, stop: stop.clone() };
        run_on_new_runtime(async move {
            let interrupted = listen_for_shutdown_signals()?.drain;
            let task = spawn_blocking(move || dev_loop.run());
            tokio::select! {
                () = interrupted.cancelled() => {}
                ended = task => ended.context("the build loop panicked")??,
            }
            stop.cancel();
            Ok(())
        })
    }
}

fn plugins_folder(option: Option<PathBuf>, admin: &Client) -> anyhow::Result<PathBuf> {
    if let Some(folder) = option {
        return Ok(folder);
    }
    let status: Status = admin.get("/status")?.decode()?;
    if !status.plugins.is_dir() {
        bail!(
            "the plugins folder of the server, {}, does not exist on this machine: set --plugins \
             to a local folder that the server reads",
            status.plugins.display()
        );
    }
    Ok(status.plugins)
}

struct DevLoop {
    target: Target,
    plugins: PluginsFolder,
    admin: Arc<Client>,
    output: Output,
    /// Cancelled when the command is stopped.
    stop: CancellationToken,
}

/// The durations of the steps until the server had loaded a version.
struct VersionTimes {
    /// The time from the change of the sources until the server had loaded the version. For the
    /// first build, the time starts with the build.
    since_change: Duration,
    /// What the time `since_change` begins with: `the change` or, for the first build, `the start`.
    since_what: &'static str,
    build_time: Duration,
    /// The time from the end of the build until the server had loaded the version.
    load_time: Duration,
}

impl DevLoop {
    /// Builds and installs the connector at the start and at each change, until `stop` is
    /// cancelled.
    fn run(self) -> anyhow::Result<()> {
        let mut events =
            EventFollower::skip_existing(Arc::clone(&self.admin), self.plugins.name())?;
        let (stop, output) = (self.stop.clone(), self.output);
        std::thread::spawn(move || events.follow(output, &stop));
        let mut sources = Sources::watch(self.target.path());
        self.print_state(
            "watching",
            &format!(
                "watching {}; the server reads {}",
                self.target.path().display(),
                self.plugins.folder().display()
            ),
        );
        let mut built: Option<Fingerprint> = None;
        loop {
            // Read the fingerprint before the build, so that a change during the build causes
            // another build.
            let current = sources.fingerprint();
            if built.as_ref().is_none_or(|built| *built != current) {
                let fingerprint = sources.wait_until_quiet(current);
                let changed_at = built.map(|_| fingerprint.newest_change);
                if let Err(error) = self.build_and_install(changed_at) {
                    self.print_failure(&error);
                }
                built = Some(fingerprint);
                continue;
            }
            if !sources.wait_for_change(&self.stop) {
                return Ok(());
            }
        }
    }

    /// Builds the connector, installs it, and waits until the server has loaded or refused it.
    fn build_and_install(&self, changed_at: Option<SystemTime>) -> anyhow::Result<()> {
        let start = Instant::now();
        let file = self.target.build_file()?;
        let build_time = start.elapsed();
        let (admin, name) = (&self.admin, self.plugins.name());
        let error_before = install::current_error(admin, name);
        let sha256 = self.plugins.install(&file)?;
        let error_before = error_before.as_deref();
        match install::wait_for_version(admin, name, &sha256, error_before, &self.stop)? {
            InstallResult::Stopped => Ok(()),
            InstallResult::Refused(why) => {
                bail!("the server refuses {}: {why}", display_path(&file))
            }
            InstallResult::Loaded(connector) => {
                let total = start.elapsed();
                let since_change = changed_at.and_then(|at| at.elapsed().ok()).unwrap_or(total);
                let connections = self.connections_of(&connector);
                let needs_consent = connections.as_ref().is_ok_and(|all| {
                    !all.is_empty() && all.iter().all(|it| it.needs_consent.is_some())
                });
                let times = VersionTimes {
                    since_change: since_change.max(total),
                    since_what: changed_at.map_or("the start", |_| "the change"),
                    build_time,
                    load_time: total.saturating_sub(build_time),
                };
                self.print_version(&connector, needs_consent, &times);
                match connections {
                    Ok(connections) => self.print_next_steps(&connector, &connections),
                    Err(error) => {
                        eprint(&format!("cannot list the connections: {}", error_line(&error)));
                    }
                }
                Ok(())
            }
        }
    }

    fn connections_of(&self, connector: &Connector) -> anyhow::Result<Vec<Connection>> {
        let all: ConnectionList = self.admin.get("/connections")?.decode()?;
        Ok(all.connections.into_iter().filter(|it| it.connector == connector.name).collect())
    }

    /// `needs_consent` is true if the connector has connections, and all of them wait for a
    /// person's consent to the version.
    fn print_version(&self, connector: &Connector, needs_consent: bool, times: &VersionTimes) {
        let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let version = connector.version.clone().unwrap_or_default();
        if self.output.is_json {
            return print_json_line(&Json::from_value(&serde_json::json!({
                "state": if needs_consent { "waiting" } else { "serving" },
                "connector": connector.name, "version": version, "sha256": connector.sha256,
                "after_ms": ms(times.since_change), "build_ms": ms(times.build_time),
                "load_ms": ms(times.load_time),
            })));
        }
        print(&format!(
            "{} {} {} {} after {} (build {}, load {})",
            printable(&connector.name),
            printable(&version),
            if needs_consent { "is loaded and waits for consent" } else { "is in use" },
            format_duration(ms(times.since_change)),
            times.since_what,
            format_duration(ms(times.build_time)),
            format_duration(ms(times.load_time))
        ));
    }

    /// Prints what a person must do before each connection of the connector can use the version.
    fn print_next_steps(&self, connector: &Connector, connections: &[Connection]) {
        if connections.is_empty() {
            let name = &connector.name;
            self.print_state(
                "no-connection",
                &format!(
                    "no connection uses {name} yet: run `jackfield connections create {name} \
                     --connector {name}`; `jackfield check {name}.wasm` shows its settings"
                ),
            );
        }
        for connection in connections {
            if let Some(new) = &connection.needs_consent {
                let name = &connection.name;
                let new = new.join("; ");
                self.print_state(
                    "needs-consent",
                    &format!(
                        "the connection {name} waits for consent: {new}; run `jackfield connections \
                         accept {name}`"
                    ),
                );
            }
        }
    }

    /// Prints a text for people, or with `--json` the text and the name of the state.
    fn print_state(&self, state: &str, text: &str) {
        if self.output.is_json {
            print_json_line(&Json::from_value(&serde_json::json!({"state": state, "text": text})));
        } else {
            print(&printable(text));
        }
    }

    /// Prints why a version was not built, not installed or not loaded.
    fn print_failure(&self, error: &anyhow::Error) {
        let name = self.plugins.name();
        let text = format!("{}; the version of {name} in use is unchanged", error_line(error));
        if self.output.is_json {
            print_json_line(&Json::from_value(
                &serde_json::json!({"state": "failed", "text": text}),
            ));
        } else {
            eprint(&format!("failed: {text}"));
        }
    }
}

fn display_path(path: &Path) -> String {
    path.display().to_string()
}
