//! `/metrics` counts events, runs and requests. No label contains a text of a sender, a guest or a
//! tracker. The operator's manual explains each metric. An account sees no metrics of connections
//! that it may not see.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use jackfield_tests::{
    Connection, Guest, MetricsPage, Reply, ScriptedServer, Setup, TestHost, failed_test, root,
    unreachable_url, wait_for,
};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

/// A server on which most of what the metrics count has happened.
pub(crate) struct BusyServer {
    pub(crate) host: TestHost,
    /// A connection whose creates and counts succeed.
    pub(crate) qa: Connection,
    pub(crate) connection_with_failing_counts: Connection,
    pub(crate) connection_with_failing_creates: Connection,
    /// The tracker of `qa`.
    tracker: ScriptedServer,
    /// A tracker that resets every client connection.
    failing_tracker: ScriptedServer,
    /// An origin to which a guest tried to send a request without a grant.
    ungranted_origin: String,
}

/// The project whose defects are counted.
pub(crate) const PROJECT: &str = "5d2d6cde-0000-4000-8000-000000000001";

impl BusyServer {
    fn start() -> Self {
        Self::start_with_setup(Setup::new())
    }

    pub(crate) fn start_with_setup(setup: Setup) -> Self {
        let tracker = ScriptedServer::start(|exchange| match exchange.request.is_post() {
            true => Reply::created(1),
            false => Reply::new(200, "7"),
        });
        let failing_tracker = ScriptedServer::start(|_| Reply::reset());
        let guests = ["good", "instant", "spin", "deep-recursion", "calls", "no-search"];
        let setup = setup.config("[limits]\ncpu_ms = 200");
        let setup = setup.env("JACKFIELD_WEBHOOK_REQUESTS_BURST", "20");
        let host = setup.guests(guests).start();
        let qa = host.add_connection("qa", "good", json!({"url": tracker.url()}), json!({}));
        let ungranted_origin = unreachable_url();
        let target = json!({"url": tracker.url(), "target": format!("{ungranted_origin}/x")});
        let connection_with_failing_counts =
            host.add_connection("calls", "calls", target, json!({}));
        let connection_with_failing_creates =
            host.add_connection("deep-recursion", "deep-recursion", json!({}), json!({}));
        let busy = Self {
            host,
            qa,
            connection_with_failing_counts,
            connection_with_failing_creates,
            tracker,
            failing_tracker,
            ungranted_origin,
        };
        busy.send_successful_events();
        busy.send_failing_events();
        busy
    }

    /// Sends three creates for two failed tests, and three requests for counts.
    fn send_successful_events(&self) {
        let test = failed_test();
        for test in [&test, &test, &failed_test()] {
            self.host.create(&self.qa, test).assert_status(200);
        }
        for _ in 0..3 {
            self.host.kpis(&self.qa, PROJECT).assert_status(200);
        }
    }

    fn send_failing_events(&self) {
        let host = &self.host;
        let spins = host.add_connection("spin", "spin", json!({}), json!({}));
        for connection in [&spins, &self.connection_with_failing_creates] {
            host.create(connection, &failed_test()).assert_problem(502, "connector-fault");
        }
        host.create(&self.connection_with_failing_counts, &failed_test()).assert_status(200);
        let settings = json!({"url": self.failing_tracker.url()});
        let lost = host.add_connection("lost", "no-search", settings, json!({}));
        let test = failed_test();
        host.create(&lost, &test).assert_problem(503, "tracker-unavailable");
        host.create(&lost, &test).assert_problem(409, "in-doubt");
        fs::write(host.folder().join("secret"), "a-secret-of-senders").expect("a file");
        let closed = host.add_connection("closed", "instant", json!({}), json!({}));
        let edit = ["--webhook-auth", "bearer", "--webhook-secret=@secret"];
        let (edited, printed) =
            host.run_cli(&[&["connections", "edit", "closed"], &edit[..]].concat());
        assert!(edited, "{printed}");
        host.create(&closed, &failed_test()).assert_problem(401, "sender-refused");
        host.anonymous().get("/hooks/unknown-token/defects").assert_status(404);
        host.install("broken", &Guest::named("not-a-schema"));
        host.await_connector("broken", "broken", None);
    }

    fn reload(&self) {
        let id = i32::try_from(self.host.process_id()).ok().and_then(Pid::from_raw);
        kill_process(id.expect("a process"), Signal::HUP).expect("the server gets the signal");
        let line = "the configuration was read again";
        wait_for(line, 20, || self.host.output().contains(line).then_some(()));
    }

    /// Returns the page as an account with the lowest role sees it.
    fn fetch_page(&self) -> MetricsPage {
        let token = create_token(&self.host, &json!({"name": "prometheus", "role": "viewer"}));
        self.host.metrics(&token)
    }
}

pub(crate) fn create_token(host: &TestHost, account: &serde_json::Value) -> String {
    let created = host.admin().json("POST", "/tokens", account).expect(201);
    created["token"].as_str().expect("a token").to_owned()
}

/// The name of a metric, some labels, and the expected sum over all series with these labels.
type ExpectedSum<'t> = (&'t str, &'t [(&'t str, &'t str)], f64);

#[test]
fn events_runs_and_requests_are_counted_by_connection() {
    let busy = BusyServer::start();
    busy.reload();
    let page = busy.fetch_page();
    let origin = busy.tracker.url();
    let qa = ("connection", "qa");
    let events = "jackfield_events_total";
    let requests = "jackfield_outbound_requests_total";
    let lost = ("connection", "lost");
    let expected: &[ExpectedSum<'_>] = &[
        (events, &[qa, ("connector", "good"), ("outcome", "created")], 2.0),
        (events, &[qa, ("kind", "create-defect"), ("outcome", "repeated")], 1.0),
        (events, &[qa, ("kind", "kpis"), ("outcome", "counted")], 1.0),
        (events, &[qa, ("kind", "kpis"), ("outcome", "cached")], 2.0),
        (events, &[("connection", "closed"), ("outcome", "sender-refused")], 1.0),
        (events, &[("connection", ""), ("kind", "no-connection")], 1.0),
        ("jackfield_event_duration_seconds_count", &[qa, ("kind", "create-defect")], 3.0),
        (
            "jackfield_event_duration_seconds_bucket",
            &[qa, ("kind", "create-defect"), ("le", "+Inf")],
            3.0,
        ),
        ("jackfield_runs_total", &[qa, ("call", "create"), ("outcome", "ok")], 2.0),
        ("jackfield_run_duration_seconds_count", &[qa, ("call", "count")], 1.0),
        ("jackfield_traps_total", &[("connection", "deep-recursion")], 1.0),
        ("jackfield_traps_total", &[qa], 0.0),
        ("jackfield_limit_hits_total", &[("connection", "spin"), ("limit", "cpu_ms")], 1.0),
        (requests, &[qa, ("origin", &origin), ("status", "2xx")], 3.0),
        (requests, &[("connection", "calls"), ("origin", "other"), ("status", "none")], 1.0),
        (requests, &[lost, ("status", "none")], 1.0),
        ("jackfield_outbound_duration_seconds_count", &[qa, ("origin", &origin)], 3.0),
        ("jackfield_defects_in_doubt", &[lost], 1.0),
        ("jackfield_defects_need_person", &[lost], 1.0),
        ("jackfield_defects_in_doubt", &[qa], 0.0),
        ("jackfield_configuration_reloads_total", &[("result", "applied")], 1.0),
        ("jackfield_connector_status", &[("connector", "good"), ("status", "ready")], 1.0),
        ("jackfield_connector_status", &[("connector", "broken"), ("status", "broken")], 1.0),
        ("jackfield_runs_max", &[], 256.0),
        ("jackfield_runs_active", &[], 0.0),
        ("jackfield_runs_waiting", &[], 0.0),
        ("jackfield_store_writable", &[], 1.0),
        ("jackfield_store_writes_waiting", &[], 0.0),
    ];
    for (name, labels, sum) in expected {
        assert_eq!(page.sum(name, labels), Some(*sum), "{name} {labels:?}");
    }
    let at_least = |name: &str, connection: &str, least: f64| {
        let value = page.sum(name, &[("connection", connection)]);
        assert!(value.is_some_and(|value| value >= least), "{name} of {connection}: {value:?}");
    };
    at_least("jackfield_run_cpu_seconds_total", "spin", 0.2);
    at_least("jackfield_run_memory_peak_bytes", "qa", 65_536.0);
    let text = format!("{page:?}");
    assert!(
        !text.contains(&busy.ungranted_origin.replace("http://", "")),
        "the page shows an origin that is not granted"
    );
}

#[test]
fn metrics_show_an_account_only_its_connections_and_no_deleted_connection() {
    let host = Setup::new().guests(["instant"]).start();
    for name in ["own", "other"] {
        let connection = host.add_connection(name, "instant", json!({}), json!({}));
        host.create(&connection, &failed_test()).assert_status(200);
    }
    host.anonymous().get("/hooks/unknown-token").assert_status(404);
    host.anonymous().get("/metrics").assert_problem(401, "unauthorized");
    let limited = json!({"name": "limited", "role": "viewer", "connections": ["own"]});
    let limited = host.metrics(&create_token(&host, &limited));
    let all = create_token(&host, &json!({"name": "prometheus", "role": "viewer"}));
    let events =
        |page: &MetricsPage, of: &str| page.sum("jackfield_events_total", &[("connection", of)]);
    let visible =
        ["own", "other", ""].map(|of| (events(&limited, of), events(&host.metrics(&all), of)));
    assert_eq!(visible, [(Some(1.0), Some(1.0)), (None, Some(1.0)), (None, Some(1.0))]);
    assert_eq!(host.admin().send("DELETE", "/connections/other", &[], b"").status, 204);
    let other = host.add_connection("other", "instant", json!({}), json!({}));
    let page = host.metrics(&all);
    assert_eq!(events(&page, "other"), None, "the counts of the deleted connection are shown");
    let series = page.len();
    for _ in 0..20 {
        host.create(&other, &failed_test()).assert_status(200);
        host.anonymous().get("/hooks/unknown-token/either").assert_status(404);
    }
    // The new series are two outcomes and two histograms. Each histogram has 15 buckets, a sum and
    // a count.
    assert!(host.metrics(&all).len() <= series + 36, "the number of series depends on requests");
}

/// Returns the type and the labels of each metric in the operator's manual.
fn documented_metrics() -> BTreeMap<String, (String, BTreeSet<String>)> {
    let page = fs::read_to_string(root().join("docs/operator.md")).expect("docs/operator.md");
    let (_, section) = page.split_once("\n## Watch it\n").expect("the section");
    let (section, _) = section.split_once("\n## ").expect("its end");
    let rows = section.lines().filter(|line| line.starts_with("| `jackfield_"));
    let rows = rows.map(|row| {
        let columns: Vec<_> = row.split('|').map(str::trim).collect();
        let labels = columns[3].split(", ").filter(|label| !label.is_empty());
        let labels = labels.map(|label| label.trim_matches('`').to_owned()).collect();
        (columns[1].trim_matches('`').to_owned(), (columns[2].to_owned(), labels))
    });
    rows.collect()
}

#[test]
fn the_operators_manual_explains_each_metric() {
    let page = BusyServer::start().fetch_page();
    let types = page.types.iter();
    let found = types.map(|(name, kind)| (name.clone(), (kind.clone(), page.labels(name))));
    assert_eq!(documented_metrics(), found.collect::<BTreeMap<_, _>>());
}
