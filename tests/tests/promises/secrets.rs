//! No secret reaches a guest, a log, an event, an error or the disk; each goes where it was granted to
//! go, and nowhere else.

use data_encoding::BASE64;
use jackfield_tests::{
    Connection, Exchange, Guest, Peer, Reply, Response, Setup, TestHost, failed_test,
};
use serde_json::{Value, json};

/// Awkward on purpose: it differs in every form that it may be echoed in.
const SECRET: &str = "s3cr3t/\"quoted\" & +plus%";

fn host() -> TestHost {
    Setup::new().plugin("calls", &Guest::named("calls")).start()
}

fn connect(
    host: &TestHost,
    peer: &Peer,
    name: &str,
    settings: Value,
    secrets: Value,
) -> Connection {
    let mut all = json!({"url": peer.url(), "target": format!("{}/x", peer.url())});
    for (key, value) in settings.as_object().expect("an object") {
        all[key] = value.clone();
    }
    host.connect(name, "calls", all, secrets)
}

fn reached(_: &Exchange<'_>) -> Reply {
    Reply::Answer(Response::new(200, "reached"))
}

#[test]
fn every_place_of_a_secret_is_filled_by_the_host() {
    let (host, peer) = (host(), Peer::start(reached));
    let basic = format!("Basic {}", BASE64.encode(format!("bot:{SECRET}").as_bytes()));
    let places = [
        (
            "key-bearer",
            json!({}),
            "authorization",
            "Bearer s3cr3t-token".to_owned(),
            "s3cr3t-token",
        ),
        ("key-header", json!({}), "x-api-key", format!("Token {SECRET}"), SECRET),
        ("key-basic", json!({"user": "bot"}), "authorization", basic, SECRET),
        (
            "key-placeholder",
            json!({"headers": "X-Signed=a {secret} b"}),
            "x-signed",
            format!("a {SECRET} b"),
            SECRET,
        ),
    ];
    for via in ["http", "wasi:http"] {
        for (name, extra, header, expected, secret) in &places {
            let mut settings = extra.clone();
            settings["via"] = json!(via);
            let label = format!("{name} {via}");
            let connection = connect(&host, &peer, &label, settings, json!({*name: secret}));
            assert_eq!(
                host.create(&connection, &failed_test()).expect(200)["id"],
                "200",
                "{label}"
            );
            let request = peer.requests().pop().expect("a request");
            assert_eq!(request.header(header), Some(expected.as_str()), "{label}");
        }
        let label = format!("query {via}");
        let connection =
            connect(&host, &peer, &label, json!({"via": via}), json!({"key-query": SECRET}));
        let _ = host.create(&connection, &failed_test()).expect(200);
        let target = peer.requests().pop().expect("a request").target;
        assert!(target.starts_with("/x?key=s3cr3t") && !target.contains('"'), "{target}");
    }
}

#[test]
fn a_secret_goes_to_its_own_origin_only() {
    let (host, peer, other) = (host(), Peer::start(reached), Peer::start(reached));
    for (n, name) in
        ["key-bearer", "key-header", "key-query", "key-placeholder"].into_iter().enumerate()
    {
        let settings = json!({"other": other.url(), "target": format!("{}/x", other.url()),
            "headers": "X-Signed={secret}", "body": "{secret}"});
        let connection =
            connect(&host, &peer, &n.to_string(), settings, json!({name: "s3cr3t-token"}));
        let _ = host.create(&connection, &failed_test());
    }
    for request in other.requests() {
        assert!(!format!("{request:?}{}", request.text()).contains("s3cr3t-token"), "{request:?}");
        assert_eq!(request.header("authorization"), None);
    }
}

#[test]
fn a_guest_neither_sets_nor_reads_what_carries_a_secret() {
    let (host, peer) = (host(), Peer::start(reached));
    let headers = "X-Api-Key=mine\nx-api-key=mine too";
    let connection =
        connect(&host, &peer, "set", json!({"headers": headers}), json!({"key-header": SECRET}));
    let _ = host.create(&connection, &failed_test());
    for request in peer.requests() {
        let all: Vec<_> = request
            .headers
            .iter()
            .filter(|(name, _)| name.eq_ignore_ascii_case("x-api-key"))
            .collect();
        assert_eq!(all.len(), 1, "{request:?}");
        assert_eq!(all[0].1, format!("Token {SECRET}"));
    }
}

/// The tracker says the secret back in every form, in headers and in the body, and in an error.
#[test]
fn an_echoed_secret_is_scrubbed_from_what_guest_events_and_logs_see() {
    let percent: String = SECRET.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let query = "s3cr3t%2F%22quoted%22+%26+%2Bplus%25";
    let query_20 = "s3cr3t%2F%22quoted%22%20%26%20%2Bplus%25";
    let escaped = serde_json::to_string(SECRET).expect("a text");
    let escaped = escaped.trim_matches('"').to_owned();
    let unicode = SECRET.replace('"', "\\u0022").replace('/', "\\/");
    let base64 = BASE64.encode(SECRET.as_bytes());
    let basic = BASE64.encode(format!("bot:{SECRET}").as_bytes());
    let forms = [
        SECRET.to_owned(),
        percent,
        query.to_owned(),
        query_20.to_owned(),
        escaped,
        unicode,
        base64,
        basic,
    ];
    let host = host();
    for (n, form) in forms.iter().enumerate() {
        let said = form.clone();
        let peer = Peer::start(move |_| {
            let body = format!("you sent {said} to us");
            Reply::Answer(Response::new(200, body).with("x-echo", &said))
        });
        for via in ["http", "wasi:http"] {
            let label = format!("{n} {via}");
            let settings = json!({"via": via, "user": "bot"});
            let connection = connect(&host, &peer, &label, settings, json!({"key-basic": SECRET}));
            let answer = host.create(&connection, &failed_test());
            let event = host.event(&answer.event());
            let defect = answer.expect(200);
            let seen = defect["description"].as_str().expect("what the guest saw");
            assert!(seen.contains("you sent"), "{seen}");
            assert!(!seen.contains(form.as_str()), "{form} reached the guest: {seen}");
            assert!(!event.to_string().contains(form.as_str()), "{form} is in the event");
        }
        assert!(!host.output().contains(form.as_str()), "{form} is in the log");
    }
}

#[test]
fn what_lies_on_disk_or_is_shown_holds_neither_secret_nor_token() {
    let mut host = host();
    let peer = Peer::start(reached);
    let connection =
        connect(&host, &peer, "qa", json!({}), json!({"key-header": "s3cr3t-on-disk"}));
    let _ = host.create(&connection, &failed_test()).expect(200);
    let token = connection.hook.trim_start_matches("/hooks/").to_owned();
    let admin = host.admin();
    let mut shown = String::new();
    for path in [
        "/connections",
        &format!("/connections/{}", connection.id),
        "/events",
        "/connectors",
        "/defects",
    ] {
        shown += &admin.get(path).body;
    }
    shown += &host.output();
    assert!(host.stop().success());
    for secret in ["s3cr3t-on-disk", token.as_str()] {
        assert!(!shown.contains(secret), "{secret} is shown");
        for (path, bytes) in files_below(&host.folder().join("data")) {
            let found = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
            assert!(!found, "{secret} lies in {path}");
        }
    }
}

fn files_below(folder: &std::path::Path) -> Vec<(String, Vec<u8>)> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files.extend(files_below(&path));
        } else if let Ok(bytes) = std::fs::read(&path) {
            files.push((path.display().to_string(), bytes));
        }
    }
    files
}
