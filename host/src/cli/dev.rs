//! `jackfield dev`: builds a connector, puts it into the plugins folder of a running server, and
//! does so again at each change. Shows what the server makes of it, and its events with their logs.
//!
//! A build that fails, or a version that the server refuses, leaves the version before it in use.

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
use super::serve::{run, shutdown_by_signal};
use super::server::ServerArgs;
use super::units::duration;
use events::EventFollower;
use install::{InstallResult, Plugins};
use sources::{Fingerprint, Sources};
use target::Target;

#[derive(Args)]
#[command(after_help = "\
Needs a running server on this machine: start one with `jackfield serve` in another terminal.

At each change of the project, the connector is built and put into the server's plugins folder. The
terminal shows the time from the change until the new version is in use, and each event of the
connector with its log and its calls. If a build fails, the last version stays in use. It ends with
Ctrl-C; the connector stays in the plugins folder.

Examples:
  jackfield dev
  jackfield dev my-tracker
  jackfield dev my-tracker.js
  jackfield dev target/my-tracker.wasm --plugins /srv/jackfield/plugins")]
pub(super) struct Arguments {
    /// The connector's project, or its file: NAME.wasm or NAME.js
    #[arg(value_name = "FOLDER|FILE", default_value = ".")]
    target: PathBuf,
    /// The plugins folder of the server [default: the server is asked]
    #[arg(long, value_name = "FOLDER")]
    plugins: Option<PathBuf>,
}

impl Arguments {
    pub(super) fn run(self, server: &ServerArgs, output: Output) -> anyhow::Result<()> {
        let target = Target::open(&self.target)?;
        if !is_healthy(server.base()) {
            bail!(
                "no server answers at {}: start one in another terminal with `jackfield serve`, or \
                 give its address with --server",
                server.base()
            );
        }
        let admin = Arc::new(server.admin()?);
        let plugins = Plugins::open(plugins_folder(self.plugins, &admin)?, target.name()?)?;
        let stop = CancellationToken::new();
        let dev = Dev { target, plugins, admin, output, stop: stop.clone() };
        run(async move {
            let ended = shutdown_by_signal()?.drain;
            let work = spawn_blocking(move || dev.work());
            tokio::select! {
                () = ended.cancelled() => {}
                worked = work => worked.context("the work panicked")??,
            }
            stop.cancel();
            Ok(())
        })
    }
}

/// The plugins folder that is given, or the one of the server.
fn plugins_folder(given: Option<PathBuf>, admin: &Client) -> anyhow::Result<PathBuf> {
    if let Some(folder) = given {
        return Ok(folder);
    }
    let status: Status = admin.get("/status")?.decode()?;
    if !status.plugins.is_dir() {
        bail!(
            "the plugins folder of the server, {}, is not on this machine: give a folder with --plugins \
             that the server reads",
            status.plugins.display()
        );
    }
    Ok(status.plugins)
}

struct Dev {
    target: Target,
    plugins: Plugins,
    admin: Arc<Client>,
    output: Output,
    stop: CancellationToken,
}

impl Dev {
    /// Builds and installs at each change, until it is stopped.
    fn work(self) -> anyhow::Result<()> {
        let mut events = EventFollower::start(Arc::clone(&self.admin), self.plugins.name())?;
        let (stop, output) = (self.stop.clone(), self.output);
        std::thread::spawn(move || events.follow(output, &stop));
        let mut sources = Sources::watch(self.target.path());
        self.say(
            "watching",
            &format!(
                "watching {}; the server reads {}",
                self.target.path().display(),
                self.plugins.folder().display()
            ),
        );
        let mut done: Option<Fingerprint> = None;
        loop {
            // Read before the build: what changes during the build is built again.
            let found = sources.fingerprint();
            if done.as_ref().is_none_or(|done| *done != found) {
                let fingerprint = sources.wait_until_quiet(found);
                let changed_at = done.map(|_| fingerprint.newest);
                if let Err(error) = self.renew(changed_at) {
                    self.fail(&error);
                }
                done = Some(fingerprint);
                continue;
            }
            if !sources.wait_for_change(&self.stop) {
                return Ok(());
            }
        }
    }

    /// Builds the connector, installs it, and waits until the server uses it.
    fn renew(&self, changed_at: Option<SystemTime>) -> anyhow::Result<()> {
        let start = Instant::now();
        let file = self.target.make()?;
        let built = start.elapsed();
        let (admin, name) = (&self.admin, self.plugins.name());
        let before = install::error_now(admin, name);
        let sha256 = self.plugins.install(&file)?;
        match install::await_version(admin, name, &sha256, before.as_deref(), &self.stop)? {
            InstallResult::Stopped => Ok(()),
            InstallResult::Refused(why) => {
                bail!("the server does not load {}: {why}", shown(&file))
            }
            InstallResult::Serves(connector) => {
                let all = start.elapsed();
                let whole = changed_at.and_then(|at| at.elapsed().ok()).unwrap_or(all);
                let own = self.connections_of(&connector)?;
                let waits = !own.is_empty() && own.iter().all(|it| it.needs_consent.is_some());
                self.report(&connector, waits, [whole.max(all), built, all]);
                self.hint(&connector, &own);
                Ok(())
            }
        }
    }

    fn connections_of(&self, connector: &Connector) -> anyhow::Result<Vec<Connection>> {
        let all: ConnectionList = self.admin.get("/connections")?.decode()?;
        Ok(all.connections.into_iter().filter(|it| it.connector == connector.name).collect())
    }

    /// `waits`: whether no connection uses the version without a person's consent.
    fn report(&self, connector: &Connector, waits: bool, [whole, built, all]: [Duration; 3]) {
        let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let version = connector.version.clone().unwrap_or_default();
        if self.output.json {
            return print_json_line(&Json::of(&serde_json::json!({
                "state": if waits { "waiting" } else { "serving" }, "connector": connector.name, "version": version,
                "sha256": connector.sha256, "after_ms": ms(whole), "build_ms": ms(built),
                "load_ms": ms(all.saturating_sub(built)),
            })));
        }
        print(&format!(
            "{} {} {} {} after the change (build {}, load {})",
            printable(&connector.name),
            printable(&version),
            if waits { "is loaded and waits for consent" } else { "is in use" },
            duration(ms(whole)),
            duration(ms(built)),
            duration(ms(all.saturating_sub(built)))
        ));
    }

    /// What a person has to do before the version answers events.
    fn hint(&self, connector: &Connector, own: &[Connection]) {
        if own.is_empty() {
            let name = &connector.name;
            self.say(
                "no-connection",
                &format!(
                    "no connection uses {name} yet: `jackfield connections create {name} --connector \
                     {name}`; `jackfield check {name}.wasm` shows its settings"
                ),
            );
        }
        for connection in own {
            if let Some(new) = &connection.needs_consent {
                let name = &connection.name;
                let new = new.join("; ");
                self.say(
                    "needs-consent",
                    &format!(
                        "{name} waits for consent: {new}; run `jackfield connections accept {name}`"
                    ),
                );
            }
        }
    }

    fn say(&self, state: &str, text: &str) {
        if self.output.json {
            print_json_line(&Json::of(&serde_json::json!({"state": state, "text": text})));
        } else {
            print(&printable(text));
        }
    }

    /// Reports a build or a version that failed; the one before stays in use.
    fn fail(&self, error: &anyhow::Error) {
        let name = self.plugins.name();
        let text = format!("{}; {name} stays as it was", error_line(error));
        if self.output.json {
            print_json_line(&Json::of(&serde_json::json!({"state": "failed", "text": text})));
        } else {
            eprint(&format!("failed: {text}"));
        }
    }
}

/// A path of which errors speak.
fn shown(path: &Path) -> String {
    path.display().to_string()
}
