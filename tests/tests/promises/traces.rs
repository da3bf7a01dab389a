//! The server exports traces to a collector, with OTLP over HTTP. All spans of an event belong to
//! one trace. The sender of a webhook request may name the trace.

use std::collections::HashSet;

use jackfield_tests::{
    Answer, Connection, Reply, ScriptedServer, Setup, TestHost, failed_test, unreachable_url,
    wait_for,
};
use serde_json::{Value, json};

/// The id of a trace that a sender names.
const TRACE_ID: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
/// The id of the span of the sender.
const SENDER_SPAN_ID: &str = "00f067aa0ba902b7";
/// The secret in the header `authorization` of requests to the collector.
const COLLECTOR_TOKEN: &str = "the-token-of-the-collector";
/// A secret of the connection, which no trace may contain.
const TRACKER_KEY: &str = "k3y-of-the-tracker";

/// Environment variables of OpenTelemetry that must have no effect. Only the configuration file
/// decides what is sent, and where it is sent.
const IGNORED_VARIABLES: [(&str, &str); 6] = [
    ("OTEL_BSP_SCHEDULE_DELAY", "600000"),
    ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=forged"),
    ("OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", "gzip"),
    ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://127.0.0.1:9/"),
    ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "grpc"),
    ("OTEL_RESOURCE_ATTRIBUTES", "service.name=forged"),
];

struct TracedServer {
    host: TestHost,
    connection: Connection,
    tracker: ScriptedServer,
    collector: ScriptedServer,
}

#[derive(Debug, Clone)]
struct Span(Value);

impl Span {
    /// Returns a member that is a text, or an empty text if the member does not exist.
    fn text(&self, name: &str) -> &str {
        self.0[name].as_str().unwrap_or_default()
    }

    fn time_ns(&self, name: &str) -> i128 {
        self.text(name).parse().unwrap_or_else(|_| panic!("{name} of {self:?}"))
    }

    fn attribute(&self, name: &str) -> Option<String> {
        let all = self.0["attributes"].as_array()?;
        let value = &all.iter().find(|it| it["key"] == name)?["value"];
        let value = value.as_object()?.values().next()?;
        Some(value.as_str().map_or_else(|| value.to_string(), str::to_owned))
    }
}

impl TracedServer {
    /// Starts tracker, collector and Jackfield. `more_keys` are further lines of `[traces]`.
    fn start(more_keys: &str) -> Self {
        let tracker = ScriptedServer::start(|_| Reply::created(1));
        let collector = ScriptedServer::start(|_| Reply::json(200, "{}"));
        let endpoint = format!("endpoint = \"{}/v1/traces\"", collector.url());
        let headers = "headers = [\"authorization=env:JACKFIELD_SECRET_OTLP\"]";
        let setup = Setup::new().config(&format!("[traces]\n{endpoint}\n{headers}\n{more_keys}"));
        let setup =
            setup.env("JACKFIELD_SECRET_OTLP", COLLECTOR_TOKEN).guests(["traps-on-demand", "good"]);
        let setup =
            IGNORED_VARIABLES.iter().fold(setup, |setup, (name, value)| setup.env(name, value));
        let host = setup.start();
        let settings = json!({"url": tracker.url()});
        let connection = host.add_connection("qa", "good", settings, json!({}));
        Self { host, connection, tracker, collector }
    }

    /// Sends a create with this value of the header `traceparent`. Returns the id of the event.
    fn create(&self, traceparent: &str) -> String {
        let answer = self.send(traceparent);
        answer.assert_status(200);
        answer.event()
    }

    fn send(&self, traceparent: &str) -> Answer {
        let headers = [("content-type", "application/json"), ("traceparent", traceparent)];
        let (path, body) = (self.connection.create_path(), failed_test().to_string());
        self.host.anonymous().send("POST", &path, &headers, body.as_bytes())
    }

    /// Returns all spans that the collector has received. Checks the requests that contain these
    /// spans.
    fn received_spans(&self) -> Vec<Span> {
        let mut spans = Vec::new();
        for request in self.collector.requests() {
            assert_eq!((&*request.method, &*request.target), ("POST", "/v1/traces"));
            assert_eq!(request.header("authorization"), Some(COLLECTOR_TOKEN));
            assert_eq!(request.header("content-type"), Some("application/json"));
            let body: Value = serde_json::from_slice(&request.body).expect("JSON");
            for resource in body["resourceSpans"].as_array().expect("resources") {
                let server = Span(resource["resource"].clone());
                let host = std::fs::read_to_string("/proc/sys/kernel/hostname").expect("a name");
                assert_eq!(server.attribute("service.name").as_deref(), Some("jackfield"));
                assert_eq!(server.attribute("host.name").as_deref(), Some(host.trim()));
                for unique in ["process.pid", "service.instance.id"] {
                    assert!(server.attribute(unique).is_some(), "{unique} of {server:?}");
                }
                for scope in resource["scopeSpans"].as_array().expect("scopes") {
                    spans.extend(scope["spans"].as_array().expect("spans").iter().cloned());
                }
            }
        }
        spans.into_iter().map(Span).collect()
    }

    /// Waits for the span of the whole event. Returns this span, and all spans of its trace.
    #[track_caller]
    fn await_trace(&self, event: &str) -> (Span, Vec<Span>) {
        wait_for(&format!("the trace of {event}"), 30, || {
            let spans = self.received_spans();
            let is_root =
                |span: &&Span| span.attribute("jackfield.event").as_deref() == Some(event);
            let root = spans.iter().find(is_root)?.clone();
            let is_part = |span: &Span| span.text("traceId") == root.text("traceId");
            Some((root.clone(), spans.into_iter().filter(is_part).collect()))
        })
    }
}

#[test]
fn the_trace_of_an_event_contains_the_claim_the_guest_its_requests_and_the_store() {
    let traced = TracedServer::start("");
    let event = traced.create(&format!("00-{TRACE_ID}-{SENDER_SPAN_ID}-01"));
    let (root, spans) = traced.await_trace(&event);
    assert_eq!((root.text("traceId"), root.text("parentSpanId")), (TRACE_ID, SENDER_SPAN_ID));
    assert_eq!((root.text("name"), &root.0["kind"]), ("create-defect", &json!(2)));
    assert_eq!(root.attribute("http.response.status_code").as_deref(), Some("200"));
    let find = |name: &str| {
        let found = spans.iter().find(|span| span.text("name") == name);
        found.unwrap_or_else(|| panic!("no span {name} in {spans:?}"))
    };
    let (guest, request, instance) = (find("guest create"), find("POST"), find("instantiate"));
    assert_eq!(instance.text("parentSpanId"), guest.text("spanId"));
    for part in [find("claim"), find("queue"), guest, find("store")] {
        assert_eq!(part.text("parentSpanId"), root.text("spanId"), "{part:?}");
        assert_eq!(part.0["kind"], 1, "{part:?}");
    }
    assert_eq!(request.text("parentSpanId"), guest.text("spanId"));
    assert_eq!(request.0["kind"], 3);
    assert_eq!(request.attribute("http.response.status_code").as_deref(), Some("201"));
    let url = request.attribute("url.full").unwrap_or_default();
    assert!(url.ends_with("/issues.json"), "{url}");
    // The times of the event and of its requests are rounded to milliseconds.
    let rounding_ns = 1_000_000;
    for part in &spans {
        let (start, end) = (part.time_ns("startTimeUnixNano"), part.time_ns("endTimeUnixNano"));
        let event_times = (
            root.time_ns("startTimeUnixNano") - rounding_ns,
            root.time_ns("endTimeUnixNano") + rounding_ns,
        );
        assert!(
            event_times.0 <= start && start <= end && end <= event_times.1,
            "{part:?} of {root:?}"
        );
    }
    let starts = ["claim", "queue", "guest create", "store"];
    let starts = starts.map(|it| find(it).time_ns("startTimeUnixNano"));
    assert!(starts.is_sorted(), "{starts:?}");
}

#[test]
fn a_tracker_receives_the_span_of_each_request_if_the_connection_allows_it() {
    let traced = TracedServer::start("");
    let parents = || -> Vec<_> {
        let requests = traced.tracker.requests().into_iter();
        requests.map(|request| request.header("traceparent").map(str::to_owned)).collect()
    };
    traced.create(&format!("00-{TRACE_ID}-{SENDER_SPAN_ID}-01"));
    assert_eq!(parents(), [None], "a tracker receives the header only if a person allows it");

    let (edited, printed) = traced.host.run_cli(&["connections", "edit", "qa", "--trace-context"]);
    assert!(edited, "{printed}");
    let event = traced.create(&format!("00-{TRACE_ID}-{SENDER_SPAN_ID}-01"));
    let (_, spans) = traced.await_trace(&event);
    let root =
        spans.iter().find(|span| span.attribute("jackfield.event").is_some_and(|it| it == event));
    assert_eq!(root.map(|root| root.text("parentSpanId")), Some(SENDER_SPAN_ID));
    let parent = parents().pop().flatten().expect("the header");
    let request = spans.iter().filter(|span| span.text("name") == "POST");
    let named =
        request.filter(|span| parent == format!("00-{TRACE_ID}-{}-01", span.text("spanId")));
    assert_eq!(named.count(), 1, "{parent} names no request of {spans:?}");

    // The next request names no trace. The request after it names a trace that its sender does not
    // record.
    let event = traced.create("");
    let parent = parents().pop().flatten().expect("the header");
    let (trace, end) = (event.replace('-', ""), &parent[parent.len() - 2..]);
    assert!(parent.starts_with(&format!("00-{trace}-")) && end == "01", "{parent}");
    traced.create(&format!("00-{TRACE_ID}-{SENDER_SPAN_ID}-00"));
    let parent = parents().pop().flatten().expect("the header");
    assert!(parent.starts_with(&format!("00-{TRACE_ID}-")) && parent.ends_with("-00"), "{parent}");
    let all: Vec<_> = parents().into_iter().flatten().collect();
    let spans: HashSet<_> = all.iter().filter_map(|parent| parent.split('-').nth(2)).collect();
    assert_eq!((spans.len(), all.len()), (3, 3), "each request has a span of its own: {all:?}");
}

#[test]
fn without_a_collector_trackers_receive_the_header_and_no_guest_can_set_it() {
    let tracker = ScriptedServer::start(|_| Reply::new(200, "{}"));
    let host = Setup::new().guests(["calls"]).start();
    let target = format!("{}/", tracker.url());
    let settings = |via: &str| {
        json!({"url": tracker.url(), "target": target, "via": via,
            "headers": format!("traceparent=00-{TRACE_ID}-{SENDER_SPAN_ID}-01")})
    };
    for via in ["http", "wasi:http"] {
        let name = via.replace(':', "-");
        let connection = host.add_connection(&name, "calls", settings(via), json!({}));
        host.create(&connection, &failed_test()).assert_status(200);
        let forged = tracker.last_request().header("traceparent").map(str::to_owned);
        assert_eq!(
            forged,
            Some(format!("00-{TRACE_ID}-{SENDER_SPAN_ID}-01")),
            "{via}: a guest may set the header without the option"
        );

        let (edited, printed) = host.run_cli(&["connections", "edit", &name, "--trace-context"]);
        assert!(edited, "{printed}");
        let before = tracker.requests().len();
        host.create(&connection, &failed_test());
        assert_eq!(
            tracker.requests().len(),
            before,
            "{via}: a request of a guest that sets the header was sent"
        );

        let (edited, printed) = host.run_cli(&["connections", "edit", &name, "--set", "headers="]);
        assert!(edited, "{printed}");
        let event = host.create(&connection, &failed_test()).event().replace('-', "");
        let parent = tracker.last_request().header("traceparent").map(str::to_owned);
        let parent = parent.expect("the header");
        assert!(parent.starts_with(&format!("00-{event}-")) && parent.ends_with("-00"), "{parent}");
    }
}

#[test]
fn without_a_valid_traceparent_the_trace_has_the_id_of_the_event() {
    let traced = TracedServer::start("");
    for wrong in ["", "nonsense", &format!("00-{}-{SENDER_SPAN_ID}-01", "0".repeat(32))] {
        let event = traced.create(wrong);
        let (root, _) = traced.await_trace(&event);
        assert_eq!(root.text("traceId"), event.replace('-', ""));
        assert_eq!(root.text("parentSpanId"), "");
    }
    let not_recorded = traced.create(&format!("00-{TRACE_ID}-{SENDER_SPAN_ID}-00"));
    let last = traced.create("");
    traced.await_trace(&last);
    let spans = format!("{:?}", traced.received_spans());
    assert!(!spans.contains(&not_recorded), "a trace was exported that its sender does not record");
}

#[test]
fn a_refused_sender_cannot_choose_the_trace() {
    let traced = TracedServer::start("");
    std::fs::write(traced.host.folder().join("secret"), "a-secret-of-senders").expect("a file");
    let edit = ["connections", "edit", "qa", "--webhook-auth", "bearer"];
    let (edited, printed) =
        traced.host.run_cli(&[&edit[..], &["--webhook-secret=@secret"]].concat());
    assert!(edited, "{printed}");
    let refused = traced.send(&format!("00-{TRACE_ID}-{SENDER_SPAN_ID}-00"));
    refused.assert_problem(401, "sender-refused");
    let event = refused.event();
    let (root, _) = traced.await_trace(&event);
    assert_eq!(root.text("traceId"), event.replace('-', ""));
}

#[test]
fn when_a_server_stops_it_exports_its_spans_and_no_span_contains_a_secret() {
    let mut traced = TracedServer::start("");
    let settings = json!({"url": traced.tracker.url()});
    let traps = traced.host.add_connection(
        "traps",
        "traps-on-demand",
        settings,
        json!({"key": TRACKER_KEY}),
    );
    traced.tracker.set_script(|_| Reply::new(200, "bad: k3y-of-the-tracker"));
    let failed = traced.host.create(&traps, &failed_test());
    failed.assert_problem(502, "connector-fault");
    let event = failed.event();
    assert!(traced.host.stop().success());
    let (root, spans) = traced.await_trace(&event);
    assert_eq!(root.0["status"]["code"], 2, "{root:?}");
    let text = format!("{spans:?}");
    assert!(text.contains("connector-fault"), "{text}");
    assert!(!text.contains(TRACKER_KEY) && !text.contains(COLLECTOR_TOKEN), "{text}");
    assert!(!text.contains(&traps.webhook_path), "{text}");
}

#[test]
fn with_a_ratio_of_zero_only_traces_that_senders_record_are_exported() {
    let traced = TracedServer::start("sample_ratio = 0.0");
    let not_exported = traced.create("");
    let recorded = traced.create(&format!("00-{TRACE_ID}-{SENDER_SPAN_ID}-01"));
    traced.await_trace(&recorded);
    assert!(!format!("{:?}", traced.received_spans()).contains(&not_exported));
}

#[test]
fn an_unreachable_collector_delays_no_event_and_is_reported_once() {
    let config = format!("[traces]\nendpoint = \"{}/v1/traces\"", unreachable_url());
    let (mut host, connection) =
        Setup::new().config(&config).start_with_guest("instant", json!({}));
    let report_count = || host.output().matches("traces cannot be exported").count();
    host.create(&connection, &failed_test()).assert_status(200);
    wait_for("the report", 30, || (report_count() > 0).then_some(()));
    for _ in 0..3 {
        host.create(&connection, &failed_test()).assert_status(200);
    }
    assert!(host.stop().success());
    assert_eq!(host.output().matches("traces cannot be exported").count(), 1, "{}", host.output());
}

#[test]
fn a_server_refuses_to_start_if_it_cannot_read_the_secret_of_a_header() {
    let mut host = Setup::new().start();
    let config = "[traces]\nendpoint = \"http://127.0.0.1:9/v1/traces\"\n\
                  headers = [\"authorization=env:JACKFIELD_SECRET_MISSING\"]";
    std::fs::write(host.folder().join("jackfield.toml"), config).expect("a file");
    let line = host.start_refusal();
    assert!(line.contains("traces.headers") && line.contains("JACKFIELD_SECRET_MISSING"), "{line}");
}
