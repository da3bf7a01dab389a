//! Tests what is counted, and how the page shows the counts.

use jiff::Timestamp;
use uuid::Uuid;

use crate::domain::{
    Call, ConnectorFault, Effect, Grants, LogLine, OutboundCall, TestManagerSettings, Usage,
};

use super::*;

fn connection() -> Connection {
    let id = ConnectionId(Uuid::from_u128(1));
    let connector = "redmine".parse().unwrap();
    let origins = vec!["https://tracker.example".parse().unwrap()];
    let mut connection = Connection::new(id, "qa".to_owned(), connector, Timestamp::UNIX_EPOCH);
    connection.grants = Grants { origins, ..Grants::default() };
    connection
}

fn outbound_call(origin: &str, status: Option<u16>) -> OutboundCall {
    OutboundCall {
        at_ms: 0,
        method: "GET".to_owned(),
        origin: origin.to_owned(),
        path: "/".to_owned(),
        query: None,
        effect: Effect::Read,
        status,
        ms: 7,
        bytes: 0,
        error: None,
        span: None,
    }
}

fn run_report(calls: Vec<OutboundCall>, usage: Usage) -> RunReport {
    RunReport {
        call: Call::Create,
        outcome: OutcomeCode::Ok,
        detail: String::new(),
        setting: None,
        connector_version: "1.0.0".to_owned(),
        connector_sha256: String::new(),
        log: Vec::<LogLine>::new(),
        calls,
        usage,
        times: None,
        recording: None,
    }
}

/// Returns the lines of the page that begin with this text.
fn page_lines(metrics: &Arc<Metrics>, begin: &str) -> Vec<String> {
    let Connection { id, name, connector, .. } = connection();
    let connection = ConnectionState {
        id,
        name,
        connector: connector.to_string(),
        is_paused: false,
        open_breakers: 0,
        in_doubt: None,
    };
    let server = ServerState {
        version: "1",
        store_writable: true,
        store_writes_waiting: 0,
        store_history_waiting: 0,
        pool: PoolState::default(),
        connectors: Vec::new(),
        connector_changes: 0,
        connector_differences: None,
    };
    let state = MetricsPageState { connections: vec![connection], shows_unmatched: true, server };
    let page = metrics.page(state).unwrap();
    page.lines().filter(|line| line.starts_with(begin)).map(str::to_owned).collect()
}

#[test]
fn each_bucket_includes_the_smaller_buckets() {
    let metrics = Arc::<Metrics>::default();
    for ms in [0, 5, 6, 130_000] {
        metrics.count_event(Some(connection().id), EventKind::Kpis, OutcomeCode::Counted, ms);
    }
    let bucket = |le: &str| {
        let name = "jackfield_event_duration_seconds_bucket";
        let labels = r#"connection="qa",connector="redmine",kind="kpis""#;
        let begin = format!("{name}{{");
        let lines = page_lines(&metrics, &begin);
        let line = lines.iter().find(|line| line.contains(labels) && line.contains(le));
        line.unwrap_or_else(|| panic!("{le} in {lines:?}")).rsplit(' ').next().unwrap().to_owned()
    };
    assert_eq!(bucket("le=\"0.005\""), "2");
    assert_eq!(bucket("le=\"0.01\""), "3");
    assert_eq!(bucket("le=\"120.0\""), "3");
    assert_eq!(bucket("le=\"+Inf\""), "4");
    let sum = page_lines(&metrics, "jackfield_event_duration_seconds_sum");
    assert!(sum.iter().any(|line| line.ends_with(" 130.011")), "{sum:?}");
}

#[test]
fn only_granted_origins_are_labels_and_their_number_is_limited() {
    let metrics = Arc::<Metrics>::default();
    let mut connection = connection();
    let granted = "https://tracker.example";
    let calls = vec![
        outbound_call(granted, Some(201)),
        outbound_call(granted, Some(600)),
        outbound_call("https://chosen.example", None),
    ];
    metrics.count_run(&connection, &run_report(calls, Usage::default()), None);
    let page = page_lines(&metrics, "jackfield_outbound_requests_total").join("\n");
    assert!(page.contains(r#"origin="https://tracker.example",status="2xx"} 1"#), "{page}");
    assert!(page.contains(r#"origin="https://tracker.example",status="other"} 1"#), "{page}");
    assert!(page.contains(r#"origin="other",status="none"} 1"#), "{page}");
    assert!(!page.contains("chosen"), "{page}");

    let urls = |n: u32| format!("https://t{n}.example").parse().unwrap();
    connection.grants.origins = (0..500).map(urls).collect();
    let calls =
        (0..500).map(|n| outbound_call(&format!("https://t{n}.example"), Some(500))).collect();
    metrics.count_run(&connection, &run_report(calls, Usage::default()), None);
    let page = page_lines(&metrics, "jackfield_outbound_requests_total");
    assert!(page.len() < 80, "{} series", page.len());
}

#[test]
fn requests_to_test_manager_are_counted_by_origin() {
    let metrics = Arc::<Metrics>::default();
    let mut connection = connection();
    connection.test_manager = Some(TestManagerSettings {
        base_url: "https://tm.example/tenant".parse().unwrap(),
        token_url: "https://id.example/token".parse().unwrap(),
        client_id: String::new(),
        scopes: Vec::new(),
        project_id: None,
        asset_origins: Vec::new(),
    });
    let calls = vec![
        outbound_call("https://tm.example", Some(200)),
        outbound_call("https://id.example", Some(200)),
    ];
    metrics.count_run(&connection, &run_report(calls, Usage::default()), None);
    let page = page_lines(&metrics, "jackfield_outbound_requests_total").join("\n");
    assert!(page.contains("https://tm.example") && page.contains("https://id.example"), "{page}");
}

#[test]
fn only_started_runs_have_a_duration_and_faults_are_counted_by_kind() {
    let metrics = Arc::<Metrics>::default();
    let connection = connection();
    metrics.count_run(&connection, &run_report(Vec::new(), Usage::default()), None);
    let usage = Usage { polls: 1, run_ms: 20, cpu_ms: 1_500, memory_bytes: 7, ..Usage::default() };
    let trap = ConnectorFault::Trap(String::new()).into();
    metrics.count_run(&connection, &run_report(Vec::new(), usage), Some(&trap));
    let limit = ConnectorFault::Limit { name: "cpu_ms", value: 1, printed: None }.into();
    metrics.count_run(&connection, &run_report(Vec::new(), usage), Some(&limit));
    for (begin, end) in [
        ("jackfield_run_duration_seconds_count", " 2"),
        ("jackfield_runs_total", " 3"),
        ("jackfield_traps_total", " 1"),
        ("jackfield_run_cpu_seconds_total", " 3.0"),
        ("jackfield_run_memory_peak_bytes", " 7"),
    ] {
        let found = page_lines(&metrics, begin);
        assert!(found.len() == 1 && found[0].ends_with(end), "{begin}: {found:?}");
    }
    let limits = page_lines(&metrics, "jackfield_limit_hits_total").join("\n");
    assert!(limits.contains(r#"limit="cpu_ms"} 1"#), "{limits}");
    assert!(limits.contains(r#"limit="run_ms"} 0"#), "{limits}");
}

#[test]
fn the_counts_of_a_deleted_connection_are_removed() {
    let metrics = Arc::<Metrics>::default();
    let id = connection().id;
    metrics.count_event(Some(id), EventKind::Probe, OutcomeCode::Alive, 1);
    assert_eq!(page_lines(&metrics, "jackfield_events_total").len(), 1);
    metrics.remove_connection(id);
    assert_eq!(page_lines(&metrics, "jackfield_events_total").len(), 0);
}

#[test]
fn the_count_of_an_event_that_ends_after_its_connection_was_deleted_is_removed() {
    let metrics = Arc::<Metrics>::default();
    let (id, other) = (connection().id, ConnectionId(Uuid::from_u128(2)));
    for id in [id, other] {
        metrics.count_event(Some(id), EventKind::Probe, OutcomeCode::Alive, 1);
    }
    metrics.retain_connections(|existing| existing == id);
    assert_eq!(metrics.connections.read().keys().collect::<Vec<_>>(), [&id]);
}
