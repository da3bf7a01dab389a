//! A real Prometheus reads the metrics of three servers under load, with the configuration in
//! docs/operator.md. Each query of the dashboard and of the alerts must return data.
//! `promtool` checks when each alert fires.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use jackfield_tests::{
    Client, Connection, Postgres, TestHost, failed_test, root, unreachable_url, wait_for,
};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::metrics::{BusyServer, PROJECT, create_token};

/// A running Prometheus, which is killed when this value is dropped.
struct Prometheus {
    child: Child,
    client: Client,
    /// Contains the configuration, the alerts, the token, the data and the log.
    folder: TempDir,
}

fn documented_config() -> String {
    let page = fs::read_to_string(root().join("docs/operator.md")).expect("docs/operator.md");
    let block = page.split("```yaml\n# prometheus.yml\n").nth(1).expect("the block");
    block.split("```").next().expect("its end").to_owned()
}

fn read_alerts() -> String {
    fs::read_to_string(root().join("docs/prometheus/alerts.yml")).expect("the alerts")
}

impl Prometheus {
    fn start(servers: &[&TestHost], token: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name).display().to_string();
        let address_of = |it: &&TestHost| it.url().strip_prefix("http://").map(str::to_owned);
        let addresses: Option<Vec<_>> = servers.iter().map(address_of).collect();
        let config = documented_config()
            .replace("127.0.0.1:8080", &addresses.expect("addresses").join("\", \""))
            .replace("/etc/prometheus/jackfield-token", &path("token"))
            .replace("/etc/prometheus/jackfield-alerts.yml", &path("alerts.yml"));
        let intervals = "global:\n  scrape_interval: 1s\n  evaluation_interval: 1s\n";
        for (name, text) in [
            ("prometheus.yml", intervals.to_owned() + &config),
            ("alerts.yml", read_alerts()),
            ("token", token.to_owned()),
        ] {
            fs::write(folder.path().join(name), text).expect("a file");
        }
        let url = unreachable_url();
        let log = File::create(folder.path().join("log")).expect("a file");
        let child = Command::new("prometheus")
            .arg(format!("--config.file={}", path("prometheus.yml")))
            .arg(format!("--storage.tsdb.path={}", path("data")))
            .arg(format!(
                "--web.listen-address={}",
                url.strip_prefix("http://").expect("an HTTP address")
            ))
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("`cargo xtask test` installs Prometheus");
        let started = Self { child, client: Client::new(&url, &[]), folder };
        wait_for("Prometheus", 60, || {
            let ready = started.client.attempt("GET", "/-/ready", &[], b"")?;
            (ready.status == 200).then_some(())
        });
        started
    }

    /// Returns the values of the result, without NaN.
    #[track_caller]
    fn query(&self, query: &str) -> Vec<f64> {
        let encoded: String = query.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let form = [("content-type", "application/x-www-form-urlencoded")];
        let body = format!("query={encoded}");
        let answer = self.client.send("POST", "/api/v1/query", &form, body.as_bytes()).json();
        assert_eq!(answer["status"], "success", "{query}: {answer}");
        let result = answer["data"]["result"].as_array().cloned().unwrap_or_default();
        let values = result.iter().filter_map(|it| it["value"][1].as_str()?.parse().ok());
        values.filter(|value: &f64| !value.is_nan()).collect()
    }

    #[track_caller]
    fn await_data(&self, what: &str, query: &str) {
        wait_for(&format!("data of {what}: {query}"), 60, || self.query(query).pop());
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            let log = fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
            println!("the log of Prometheus:\n{log}");
        }
    }
}

/// A thread that sends requests to a server until this value is dropped.
struct Load {
    should_stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Load {
    fn start(busy: &BusyServer, host: &TestHost) -> Self {
        let should_stop = Arc::new(AtomicBool::new(false));
        let (thread_stop, client) = (Arc::clone(&should_stop), host.anonymous());
        let create_paths =
            [&busy.qa, &busy.connection_with_failing_creates].map(Connection::create_path);
        let failing_webhook = busy.connection_with_failing_counts.webhook_path.clone();
        let kpis_path =
            |webhook_path: &str| format!("{webhook_path}/kpis/project/{PROJECT}/defectstatus");
        let (counts_path, failing_path) =
            (kpis_path(&busy.qa.webhook_path), kpis_path(&failing_webhook));
        let thread = thread::spawn(move || {
            while !thread_stop.load(Ordering::Relaxed) {
                let test = failed_test().to_string();
                let json = [("content-type", "application/json")];
                for create_path in &create_paths {
                    client.attempt("POST", create_path, &json, test.as_bytes());
                }
                for path in [&counts_path, &failing_path] {
                    client.attempt("GET", path, &[], b"");
                }
                thread::sleep(Duration::from_millis(10));
            }
        });
        Self { should_stop, thread: Some(thread) }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.should_stop.store(true, Ordering::Relaxed);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// Returns each query of the dashboard, with the title of the panel that shows its result.
fn dashboard_queries() -> Vec<(String, String)> {
    let file = fs::read_to_string(root().join("docs/grafana/dashboard.json")).expect("the file");
    let dashboard: Value = serde_json::from_str(&file).expect("JSON");
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let panels = dashboard["panels"].as_array().expect("panels").clone();
    let targets = panels.iter().flat_map(|panel| {
        let targets = panel["targets"].as_array().expect("targets").iter();
        targets.map(|target| (text(&panel["title"]), text(&target["expr"])))
    });
    targets.collect()
}

fn query_without_threshold(query: &str) -> &str {
    let end = [" > ", " == "].iter().filter_map(|sign| query.rfind(sign)).max();
    query.get(..end.unwrap_or_else(|| panic!("{query} has no threshold"))).expect("its beginning")
}

/// Returns for each server how many defects it has created for the connection `qa`.
const CREATED_QUERY: &str = r#"jackfield_events_total{connection="qa",outcome="created"}"#;
const STORED_CREATED_SQL: &str = "
SELECT count(*) FROM events JOIN connections ON connections.id = connection_id
WHERE name = 'qa' AND outcome = 'created'";

#[test]
fn each_panel_and_each_alert_has_data_from_three_servers_under_load() {
    let postgres = Postgres::start();
    let setup = postgres.server_setup().env("JACKFIELD_WEBHOOK_REQUESTS_PER_S", "5");
    let busy = BusyServer::start_with_setup(setup);
    let others = [(); 2].map(|()| postgres.server_setup().start());
    let servers = [&busy.host, &others[0], &others[1]];
    for host in servers {
        host.await_connection("closed");
        host.await_connector("good", "ready", None);
    }
    let loads = servers.map(|it| Load::start(&busy, it));
    let token = create_token(&busy.host, &json!({"name": "prometheus", "role": "viewer"}));
    let prometheus = Prometheus::start(&servers, &token);
    wait_for("three servers with creates", 60, || {
        (prometheus.query(&format!("{CREATED_QUERY} > 0")).len() == servers.len()).then_some(())
    });
    let queries = dashboard_queries();
    assert!(queries.len() > 25, "{queries:?}");
    for (title, query) in queries {
        let query = query.replace("$connection", ".*").replace("$__rate_interval", "10s");
        prometheus.await_data(&title, &query);
    }
    let rules = prometheus.client.get("/api/v1/rules").json();
    let rules = rules["data"]["groups"][0]["rules"].as_array().cloned().expect("rules");
    assert!(rules.len() > 15, "{rules:?}");
    for rule in rules {
        let (name, query) = (&rule["name"], rule["query"].as_str().expect("a query"));
        assert_eq!(rule["health"], "ok", "{rule}");
        prometheus.await_data(&name.to_string(), query_without_threshold(query));
    }
    drop(loads);
    wait_for("each create to be counted once", 60, || {
        let counted_sum = prometheus.query(&format!("sum({CREATED_QUERY})")).pop()?;
        let stored = postgres.query(STORED_CREATED_SQL);
        (stored == [format!("{counted_sum:.0}")]).then_some(())
    });
}

fn run_promtool(folder: &Path, arguments: &[&str]) {
    let output = Command::new("promtool").args(arguments).current_dir(folder).output();
    let output = output.expect("`cargo xtask test` installs Prometheus");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let printed = text(&output.stdout) + &text(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {printed}");
}

#[test]
fn each_alert_fires_when_it_must_and_is_silent_otherwise() {
    let folder = tempfile::tempdir().expect("a folder");
    let tests = fs::read_to_string(root().join("tests/prometheus/alerts_test.yml"));
    let (tests, alerts) = (tests.expect("the tests of the alerts"), read_alerts());
    for name in alerts.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")) {
        let alert_test = format!("alertname=\"{name}\"");
        assert!(tests.contains(&alert_test), "{name} has no test in alerts_test.yml");
    }
    fs::write(folder.path().join("alerts.yml"), alerts).expect("a file");
    fs::write(folder.path().join("alerts_test.yml"), tests).expect("a file");
    run_promtool(folder.path(), &["check", "rules", "alerts.yml"]);
    run_promtool(folder.path(), &["test", "rules", "alerts_test.yml"]);
}
