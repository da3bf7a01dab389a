//! Starts the servers that are measured: Jackfield, and the servers with which Jackfield is
//! compared ([`Peer`]).

use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use jackfield_tests::{Connection, Guest, Setup, TestHost, wait_for};
use serde_json::json;

use crate::load::{Load, RequestKind};

/// The number of the core on which a server runs if it is measured on one core.
pub(crate) const SERVER_CORE: &str = "0";

/// Prepares a Jackfield server on one core, which accepts a million webhook requests per second for
/// each connection.
pub(crate) fn setup_on_server_core() -> Setup {
    setup_on_cores(SERVER_CORE)
}

/// Like [`setup_on_server_core`], but on these cores.
pub(crate) fn setup_on_cores(cores: &str) -> Setup {
    setup_on_all_cores().run_under(&["taskset", "-c", cores])
}

/// Like [`setup_on_server_core`], but on all cores.
pub(crate) fn setup_on_all_cores() -> Setup {
    Setup::new().env("JACKFIELD_WEBHOOK_REQUESTS_PER_S", "1000000")
}

/// Reads a guest that was built for the benchmarks, such as `instant`.
pub(crate) fn read_guest(name: &str) -> Guest {
    let path = path_from_env("BENCH_GUESTS").join(format!("{name}.wasm"));
    let bytes = std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    Guest { bytes }
}

/// Starts a server and installs `count` versions of a guest, as connectors `c0`, `c1` and so on.
/// They are installed one after the other, because the compilation of many versions would last
/// longer than [`Setup::start`] waits.
pub(crate) fn start_with_versions(
    setup: Setup,
    guest: &Guest,
    count: u32,
) -> (TestHost, Vec<String>) {
    let host = setup.start();
    let admin = host.admin();
    let names: Vec<_> = (0..count).map(|n| format!("c{n}")).collect();
    for (name, number) in names.iter().zip(0..) {
        host.install(name, &guest.clone().with_custom_section(number));
        wait_for(&format!("{name} to be ready"), 300, || {
            let answer = admin.get(&format!("/connectors/{name}"));
            (answer.status == 200 && answer.json()["status"] == "ready").then_some(())
        });
    }
    (host, names)
}

/// Creates a connection without settings and secrets.
pub(crate) fn add_connection(host: &TestHost, name: &str, connector: &str) -> Connection {
    host.add_connection(name, connector, json!({}), json!({}))
}

pub(crate) fn webhook_load(host: &TestHost, connections: &[Connection], kind: RequestKind) -> Load {
    let address = host.url().trim_start_matches("http://").to_owned();
    let base_paths = connections.iter().map(|it| it.webhook_path.clone()).collect();
    Load { address, kind, base_paths }
}

/// Returns a path that `cargo xtask bench` passes in this environment variable.
pub(crate) fn path_from_env(variable: &str) -> PathBuf {
    let path = std::env::var_os(variable);
    path.unwrap_or_else(|| panic!("{variable} is not set: run `cargo xtask bench`")).into()
}

/// A running server with which Jackfield is compared. The server is killed when this value is
/// dropped.
pub(crate) struct Peer {
    child: Child,
    address: String,
}

impl Peer {
    /// Starts the native handler.
    pub(crate) fn native() -> Self {
        Self::start(|port| {
            let mut command = Command::new(peers_folder().join("native/release/native"));
            command.arg(format!("127.0.0.1:{port}"));
            command
        })
    }

    /// Starts `wasmtime serve` with these options.
    pub(crate) fn wasmtime_serve(options: &[&str]) -> Self {
        Self::start(|port| {
            let mut command = Command::new(peers_folder().join("wasmtime/bin/wasmtime"));
            command.args(["serve", "-S", "cli"]).args(options);
            command.arg("--addr").arg(format!("127.0.0.1:{port}"));
            command.arg(peers_folder().join("serve-guest/wasm32-wasip2/release/serve_guest.wasm"));
            command
        })
    }

    /// Starts `wasmtime serve` with the options that made it fastest.
    pub(crate) fn wasmtime_serve_tuned() -> Self {
        let keep_resident =
            "pooling-memory-keep-resident=2097152,pooling-table-keep-resident=2097152";
        Self::wasmtime_serve(&[
            "-O",
            &format!("pooling-allocator=y,{keep_resident},pooling-pagemap-scan=y"),
        ])
    }

    /// Starts a server that runs an Extism plugin.
    pub(crate) fn extism() -> Self {
        Self::start(|port| {
            let mut command = Command::new(peers_folder().join("extism/release/extism-host"));
            command.arg(format!("127.0.0.1:{port}"));
            let plugin = "extism-plugin/wasm32-wasip2/release/extism_plugin.wasm";
            command.arg(peers_folder().join(plugin));
            command
        })
    }

    pub(crate) fn fastify() -> Self {
        Self::start(|port| {
            let mut command = Command::new("node");
            command.arg(peers_folder().join("fastify/server.js")).arg(port.to_string());
            command.env("NODE_ENV", "production");
            command
        })
    }

    pub(crate) fn fastapi() -> Self {
        Self::start(|port| {
            let mut command = Command::new(peers_folder().join("fastapi/bin/uvicorn"));
            command.args(["server:app", "--loop", "uvloop", "--http", "httptools"]);
            command.args([
                "--no-access-log",
                "--log-level",
                "warning",
                "--port",
                &port.to_string(),
            ]);
            command.arg("--app-dir").arg(path_from_env("BENCH_SOURCES").join("fastapi"));
            command
        })
    }

    /// Starts a server on core [`SERVER_CORE`], and waits until it listens. `command` gets a free
    /// port, and returns the command that starts a server on this port.
    fn start(command: impl FnOnce(u16) -> Command) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("the listener has an address");
        drop(listener);
        let command = command(address.port());
        let mut pinned = Command::new("taskset");
        pinned.args(["-c", SERVER_CORE]).arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            pinned.env(name, value.unwrap_or_default());
        }
        let command_line = format!("{command:?}");
        let child = pinned.stdin(Stdio::null()).stdout(Stdio::null()).spawn();
        let mut child = child.unwrap_or_else(|error| panic!("{command_line}: {error}"));
        wait_for(&format!("a port of {command_line}"), 30, || {
            let status = child.try_wait().expect("a child");
            assert!(status.is_none(), "{command_line} ended: {status:?}");
            TcpStream::connect(address).ok()
        });
        Self { child, address: address.to_string() }
    }

    pub(crate) fn load(&self, kind: RequestKind) -> Load {
        Load { address: self.address.clone(), kind, base_paths: vec![String::new()] }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn peers_folder() -> PathBuf {
    path_from_env("BENCH_PEERS")
}
