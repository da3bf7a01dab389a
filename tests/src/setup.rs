//! Starts a server for a test, with its configuration, environment variables and connectors.

use std::fs::DirBuilder;
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt as _;

use serde_json::Value;

use crate::process::Process;
use crate::{Connection, Guest, TestHost};

/// A builder of a [`TestHost`].
#[derive(Debug, Clone, Default)]
pub struct Setup {
    /// The content of `jackfield.toml`.
    pub(crate) config: String,
    pub(crate) env: Vec<(String, String)>,
    /// The command under which the server runs, see [`Self::run_under`]; empty if there is none.
    pub(crate) run_under: Vec<String>,
    pub(crate) without_admin_token: bool,
    /// Additional arguments of `jackfield serve`.
    pub(crate) arguments: Vec<String>,
    /// The address on which the server listens; `None` for any free port of loopback.
    pub(crate) listen: Option<String>,
    plugins: Vec<PluginFile>,
}

#[derive(Debug, Clone)]
struct PluginFile {
    name: String,
    extension: &'static str,
    content: Guest,
    /// Whether [`Setup::start`] waits until the connector is ready.
    is_awaited: bool,
}

impl Setup {
    /// Prepares a server with the default configuration.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds these lines to `jackfield.toml`.
    #[must_use]
    pub fn config(mut self, toml: &str) -> Self {
        self.config += toml;
        self.config += "\n";
        self
    }

    /// Sets an environment variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Runs the server under a command, such as `strace -D …`. The command must execute the command
    /// line of the server, which follows as its arguments.
    #[must_use]
    pub fn run_under(mut self, command: &[&str]) -> Self {
        self.run_under = command.iter().map(|word| (*word).to_owned()).collect();
        self
    }

    /// Adds an argument of `jackfield serve`.
    #[must_use]
    pub fn argument(mut self, argument: &str) -> Self {
        self.arguments.push(argument.to_owned());
        self
    }

    /// Makes the server listen on this address instead of a free port of loopback.
    #[must_use]
    pub fn listen(mut self, address: SocketAddr) -> Self {
        self.listen = Some(address.to_string());
        self
    }

    /// Starts the server without an admin token, so that the server creates one.
    #[must_use]
    pub fn without_admin_token(mut self) -> Self {
        self.without_admin_token = true;
        self
    }

    /// Puts a component into the plugins folder. [`Self::start`] waits until the component is
    /// `ready`.
    #[must_use]
    pub fn plugin(mut self, name: &str, guest: &Guest) -> Self {
        self.add_plugin(name, "wasm", guest.clone(), true);
        self
    }

    /// Puts a component into the plugins folder. [`Self::start`] does not wait until the component
    /// is ready, because the server may replace or remove its file at the start.
    #[must_use]
    pub fn plugin_that_may_be_replaced(mut self, name: &str, guest: &Guest) -> Self {
        self.add_plugin(name, "wasm", guest.clone(), false);
        self
    }

    /// Puts a script into the plugins folder. [`Self::start`] waits until the script is `ready`.
    #[must_use]
    pub fn script(mut self, name: &str, text: &str) -> Self {
        self.add_plugin(name, "js", Guest { bytes: text.into() }, true);
        self
    }

    fn add_plugin(
        &mut self,
        name: &str,
        extension: &'static str,
        content: Guest,
        is_awaited: bool,
    ) {
        let name = name.to_owned();
        self.plugins.push(PluginFile { name, extension, content, is_awaited });
    }

    /// Puts the test guests with these names into the plugins folder.
    #[must_use]
    pub fn guests<'n>(self, names: impl IntoIterator<Item = &'n str>) -> Self {
        names.into_iter().fold(self, |setup, name| setup.plugin(name, &Guest::named(name)))
    }

    /// Starts the server and waits until it and its connectors are ready. For a server with TLS,
    /// waits only until the server listens. Does not wait for the connectors of
    /// [`Self::plugin_that_may_be_replaced`].
    #[track_caller]
    #[must_use]
    pub fn start(self) -> TestHost {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for name in ["data", "plugins"] {
            let mut builder = DirBuilder::new();
            builder.mode(0o700).create(folder.path().join(name)).expect("the folder is created");
        }
        std::fs::write(folder.path().join("jackfield.toml"), &self.config)
            .expect("the configuration is written");
        for PluginFile { name, extension, content, .. } in &self.plugins {
            let path = folder.path().join("plugins").join(format!("{name}.{extension}"));
            std::fs::write(path, &content.bytes).expect("the connector is written");
        }
        let process = Process::start(&self, folder.path());
        let plugins = self.plugins.clone();
        let host = TestHost::new(self, folder, process);
        for plugin in plugins.iter().filter(|plugin| plugin.is_awaited) {
            host.await_connector(&plugin.name, "ready", Some(&plugin.content.sha256()));
        }
        host
    }

    /// Starts a server with one test guest and a connection `qa` that uses the guest, without
    /// secrets.
    #[track_caller]
    #[must_use]
    pub fn start_with_guest(self, guest: &str, settings: Value) -> (TestHost, Connection) {
        let host = self.guests([guest]).start();
        let connection = host.add_connection("qa", guest, settings, serde_json::json!({}));
        (host, connection)
    }
}

/// Creates a folder that contains the empty folders `data` and `plugins`. No server is started.
#[must_use]
pub fn empty_home() -> tempfile::TempDir {
    let home = tempfile::tempdir().expect("a temporary folder");
    for name in ["data", "plugins"] {
        let folder = home.path().join(name);
        DirBuilder::new().mode(0o700).create(folder).expect("the folder is created");
    }
    home
}
