//! The servers under load, each on core 0: Jackfield with its default settings, and the peers.

use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use jackfield_tests::{Connection, Guest, Setup, TestHost, wait_for};
use serde_json::json;

use crate::load::{Kind, Load};

/// The core on which the servers run.
pub(crate) const SERVER_CORE: &str = "0";

/// Prepares a server on one core that answers up to a million requests of one sender per second.
/// All other settings are the defaults.
pub(crate) fn pinned() -> Setup {
    on_cores(SERVER_CORE)
}

/// Like [`pinned`], on these cores.
pub(crate) fn on_cores(cores: &str) -> Setup {
    unlimited().run_under(&["taskset", "-c", cores])
}

/// Like [`pinned`], on all cores.
pub(crate) fn unlimited() -> Setup {
    Setup::new().env("JACKFIELD_WEBHOOK_REQUESTS_PER_S", "1000000")
}

/// Returns a guest that was built for the benchmarks, such as `instant`. It is built as the project
/// template says, but with a small stack.
pub(crate) fn guest(name: &str) -> Guest {
    let path = folder("BENCH_GUESTS").join(format!("{name}.wasm"));
    let bytes = std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    Guest { bytes }
}

/// Starts a server with this many versions of a guest, as connectors `c0`, `c1` and so on. They are
/// added one after the other, because compiling many takes longer than a start may take.
pub(crate) fn with_versions(setup: Setup, guest: &Guest, count: u32) -> (TestHost, Vec<String>) {
    let host = setup.start();
    let admin = host.admin();
    let names: Vec<_> = (0..count).map(|n| format!("c{n}")).collect();
    for (name, number) in names.iter().zip(0..) {
        host.install(name, &guest.clone().with_custom_section(number));
        wait_for(&format!("{name} to be ready"), 300, || {
            let found = admin.get(&format!("/connectors/{name}"));
            (found.status == 200 && found.json()["status"] == "ready").then_some(())
        });
    }
    (host, names)
}

/// Creates a connection without settings.
pub(crate) fn connect(host: &TestHost, name: &str, connector: &str) -> Connection {
    host.connect(name, connector, json!({}), json!({}))
}

/// Describes a load of requests to these connections of a server.
pub(crate) fn load(host: &TestHost, connections: &[Connection], kind: Kind) -> Load {
    let address = host.url().trim_start_matches("http://").to_owned();
    let bases = connections.iter().map(|it| it.webhook_path.clone()).collect();
    Load { address, kind, bases }
}

/// Returns the folder that `cargo xtask bench` names in this environment variable.
pub(crate) fn folder(variable: &str) -> PathBuf {
    let found = std::env::var_os(variable);
    found.unwrap_or_else(|| panic!("{variable} is not set: run `cargo xtask bench`")).into()
}

/// A running peer. It is killed when dropped.
pub(crate) struct Peer {
    child: Child,
    address: String,
}

impl Peer {
    pub(crate) fn native() -> Self {
        Self::start(|port| {
            let mut command = Command::new(peers().join("native/release/native"));
            command.arg(format!("127.0.0.1:{port}"));
            command
        })
    }

    /// Starts `wasmtime serve`, which creates a new instance of this component for each request.
    pub(crate) fn serve(options: &[&str]) -> Self {
        Self::start(|port| {
            let mut command = Command::new(peers().join("wasmtime/bin/wasmtime"));
            command.args(["serve", "-S", "cli"]).args(options);
            command.arg("--addr").arg(format!("127.0.0.1:{port}"));
            command.arg(peers().join("serve-guest/wasm32-wasip2/release/serve_guest.wasm"));
            command
        })
    }

    /// Starts `wasmtime serve` with the settings that performed best.
    pub(crate) fn serve_tuned() -> Self {
        let keep = "pooling-memory-keep-resident=2097152,pooling-table-keep-resident=2097152";
        Self::serve(&["-O", &format!("pooling-allocator=y,{keep},pooling-pagemap-scan=y")])
    }

    pub(crate) fn extism() -> Self {
        Self::start(|port| {
            let mut command = Command::new(peers().join("extism/release/extism-host"));
            command.arg(format!("127.0.0.1:{port}"));
            let plugin = "extism-plugin/wasm32-wasip2/release/extism_plugin.wasm";
            command.arg(peers().join(plugin));
            command
        })
    }

    pub(crate) fn fastify() -> Self {
        Self::start(|port| {
            let mut command = Command::new("node");
            command.arg(peers().join("fastify/server.js")).arg(port.to_string());
            command.env("NODE_ENV", "production");
            command
        })
    }

    pub(crate) fn fastapi() -> Self {
        Self::start(|port| {
            let mut command = Command::new(peers().join("fastapi/bin/uvicorn"));
            command.args(["server:app", "--loop", "uvloop", "--http", "httptools"]);
            command.args([
                "--no-access-log",
                "--log-level",
                "warning",
                "--port",
                &port.to_string(),
            ]);
            command.arg("--app-dir").arg(folder("BENCH_SOURCES").join("fastapi"));
            command
        })
    }

    /// Starts a command that listens on a free port, and waits until it listens.
    fn start(command: impl FnOnce(u16) -> Command) -> Self {
        let free = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = free.local_addr().expect("the listener has an address");
        drop(free);
        let command = command(address.port());
        let mut pinned = Command::new("taskset");
        pinned.args(["-c", SERVER_CORE]).arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            pinned.env(name, value.unwrap_or_default());
        }
        let shown = format!("{command:?}");
        let child = pinned.stdin(Stdio::null()).stdout(Stdio::null()).spawn();
        let mut child = child.unwrap_or_else(|error| panic!("{shown}: {error}"));
        wait_for(&format!("a port of {shown}"), 30, || {
            let ended = child.try_wait().expect("a child");
            assert!(ended.is_none(), "{shown} ended: {ended:?}");
            TcpStream::connect(address).ok()
        });
        Self { child, address: address.to_string() }
    }

    pub(crate) fn load(&self, kind: Kind) -> Load {
        Load { address: self.address.clone(), kind, bases: vec![String::new()] }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn peers() -> PathBuf {
    folder("BENCH_PEERS")
}
