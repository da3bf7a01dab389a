//! A connector reaches the origins that its connection grants, and nothing else, by whatever spelling
//! and by whichever of the two interfaces it asks.

use std::io::Write;

use jackfield_tests::{Connection, Guest, Peer, Reply, Response, Setup, TestHost, failed_test};
use serde_json::{Value, json};

use crate::beside::{Good, harms_nobody, with_good};

const VIAS: [&str; 2] = ["http", "wasi:http"];

struct Bench {
    host: TestHost,
    granted: Peer,
    other: Peer,
}

fn bench() -> Bench {
    bench_of(Setup::new())
}

fn bench_of(setup: Setup) -> Bench {
    let answer = |_: &jackfield_tests::Exchange<'_>| Reply::Answer(Response::new(200, "reached"));
    Bench {
        host: with_good(setup).plugin("calls", &Guest::named("calls")).start(),
        granted: Peer::start(answer),
        other: Peer::start(answer),
    }
}

/// What the guest saw: a status, or the kind of error, and its text.
struct Seen {
    key: String,
    text: String,
    event: Value,
}

impl Bench {
    fn connect(&self, settings: Value) -> Connection {
        static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let name = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed).to_string();
        let mut all = json!({"url": self.granted.url()});
        for (key, value) in settings.as_object().expect("an object") {
            all[key] = value.clone();
        }
        self.host.connect(&name, "calls", all, json!({}))
    }

    fn call(&self, settings: Value) -> Seen {
        let answer = self.host.create(&self.connect(settings), &failed_test());
        let event = self.host.event(&answer.event());
        let defect = answer.expect(200);
        let text = |name: &str| defect[name].as_str().unwrap_or_default().to_owned();
        Seen { key: text("id"), text: text("description"), event }
    }

    fn target(&self, text: &str) -> String {
        let port = |peer: &Peer| peer.address().port().to_string();
        text.replace("PORT", &port(&self.granted)).replace("OTHER", &port(&self.other))
    }
}

#[test]
fn the_granted_origin_is_reached_by_every_spelling_of_it() {
    let bench = bench();
    for via in VIAS {
        for target in
            ["http://127.0.0.1:PORT/a", "http://0x7f.1:PORT/a", "http://2130706433:PORT/a"]
        {
            let seen = bench.call(json!({"target": bench.target(target), "via": via}));
            assert_eq!(
                (seen.key.as_str(), seen.text.contains("reached")),
                ("200", true),
                "{via} {target}"
            );
        }
    }
    let seen = bench.call(json!({"target": "/below?x=1", "via": "http"}));
    assert_eq!(seen.key, "200");
    let last = bench.granted.requests().pop().expect("a request");
    assert_eq!(last.target, "/below?x=1");
    assert_eq!(last.header("host"), Some(bench.granted.address().to_string().as_str()));
}

/// Places that were not granted, each spelt to look as if they were, or to slip past a check.
const FORBIDDEN: [&str; 23] = [
    "http://127.0.0.1:OTHER/",
    "http://localhost:OTHER/",
    "http://localhost:PORT/",
    "http://0x7f.1:OTHER/",
    "http://[::ffff:127.0.0.1]:OTHER/",
    "http://[::ffff:127.0.0.1]:PORT/",
    "http://[::1]:PORT/",
    "http://[::]:OTHER/",
    "http://0.0.0.0:OTHER/",
    "http://127.0.0.1.:PORT/",
    "http://localhost.:PORT/",
    "http://127.0.0.1:PORT@127.0.0.1:OTHER/",
    "http://user@127.0.0.1:PORT/",
    "http://user:pass@127.0.0.1:PORT/",
    "https://127.0.0.1:PORT/",
    "http://169.254.169.254/latest/meta-data/",
    "http://[fe80::1]/",
    "http://metadata.google.internal/",
    "http://10.0.0.1/",
    "http://[fd00::1]/",
    "http://127.0.0.1.nip.io:PORT/",
    "http://127.0.0.1:PORT#@127.0.0.1:OTHER/",
    "http://127.0.0.1:0/",
];

#[test]
fn what_is_not_granted_is_refused_and_recorded_by_both_ways() {
    let bench = bench();
    for via in VIAS {
        for target in FORBIDDEN {
            let target = bench.target(target);
            let seen = bench.call(json!({"target": target, "via": via}));
            // A fragment is no part of what is sent: that one may reach the granted origin.
            let harmless = target.contains('#') && seen.key == "200";
            let refused = ["denied", "invalid"].contains(&seen.key.as_str());
            assert!(refused || harmless, "{via} {target}: {} {}", seen.key, seen.text);
        }
    }
    assert_eq!(bench.other.requests().len(), 0, "{:?}", bench.other.requests());
    let seen =
        bench.call(json!({"target": bench.target("http://127.0.0.1:OTHER/x"), "via": "http"}));
    let calls = &seen.event["runs"][0]["calls"];
    assert!(calls[0]["error"].as_str().is_some_and(|why| !why.is_empty()), "{calls}");
    assert_eq!(calls[0]["status"], Value::Null);
}

#[test]
fn other_schemes_and_paths_that_are_hosts_reach_nobody() {
    let bench = bench();
    let targets = [
        "ftp://127.0.0.1:PORT/",
        "file:///etc/passwd",
        "gopher://127.0.0.1:PORT/",
        "//127.0.0.1:OTHER/",
        "/\\127.0.0.1:OTHER/",
        "http:\\\\127.0.0.1:OTHER/",
        "http://127.0.0.1:PORT\\@127.0.0.1:OTHER/",
        "",
        "http://",
    ];
    for target in targets {
        let seen = bench.call(json!({"target": bench.target(target), "via": "http"}));
        // A path of the granted origin, whatever host it looks like; a backslash is a slash.
        let is_path = target.starts_with('/') || target.contains("PORT\\@");
        let harmless = is_path && seen.key == "200";
        let refused = ["denied", "invalid"].contains(&seen.key.as_str());
        assert!(refused || harmless, "{target}: {} {}", seen.key, seen.text);
    }
    assert_eq!(bench.other.requests().len(), 0, "{:?}", bench.other.requests());
}

/// Headers that are the host's, and texts that would end a line early.
#[test]
fn a_request_cannot_be_split_or_dressed_up() {
    let bench = bench();
    for via in VIAS {
        for header in [
            "Host=evil.example",
            "host=127.0.0.1:1",
            "Connection=keep-alive, x-api-key",
            "Transfer-Encoding=chunked",
            "Content-Length=5",
            "Authorization=Bearer mine",
            "Proxy-Authorization=Basic mine",
            "Upgrade=websocket",
            "X-A=b\\r\\nX-Smuggled: yes",
            "X-A\\r\\nX-Smuggled=yes",
        ] {
            let settings = json!({"target": bench.target("http://127.0.0.1:PORT/"), "via": via, "headers": header});
            let seen = bench.call(settings);
            // Languages set the length by themselves; the host sends its own, see below.
            let harmless = header.starts_with("Content-Length");
            let refused = ["denied", "invalid"].contains(&seen.key.as_str());
            assert!(refused || harmless, "{via} {header}: {} {}", seen.key, seen.text);
        }
        for target in [
            "http://127.0.0.1:PORT/a\r\nX-Smuggled: yes\r\n",
            "http://127.0.0.1:PORT/ HTTP/1.1\r\nX-Smuggled: yes",
        ] {
            let seen = bench.call(json!({"target": bench.target(target), "via": via}));
            let refused = ["denied", "invalid"].contains(&seen.key.as_str());
            assert!(refused, "{via} {target:?}: {} {}", seen.key, seen.text);
        }
    }
    // The plain interface has no word for it.
    for target in ["http://127.0.0.1:OTHER/", "http://127.0.0.1:PORT/"] {
        let settings =
            json!({"target": bench.target(target), "via": "wasi:http", "method": "CONNECT"});
        let seen = bench.call(settings);
        assert!(["denied", "invalid"].contains(&seen.key.as_str()), "{} {}", seen.key, seen.text);
    }
    let _ = bench.call(json!({"target": bench.target("http://127.0.0.1:PORT/"), "via": "http"}));
    assert!(!bench.granted.requests().is_empty());
    let own = bench.granted.address().to_string();
    for request in bench.granted.requests() {
        assert_eq!(request.header("host"), Some(own.as_str()), "{request:?}");
        for forbidden in [
            "x-smuggled",
            "proxy-authorization",
            "upgrade",
            "transfer-encoding",
            "jackfield-effect",
        ] {
            assert_eq!(request.header(forbidden), None, "{request:?}");
        }
        assert_ne!(request.header("authorization"), Some("Bearer mine"), "{request:?}");
        assert_ne!(request.method, "CONNECT");
        assert!(request.body.is_empty(), "{request:?}");
        assert_ne!(request.header("content-length"), Some("5"), "{request:?}");
    }
    assert_eq!(bench.other.requests().len(), 0);
}

#[test]
fn a_redirect_is_followed_inside_the_grant_only_and_never_for_a_write() {
    let bench = bench();
    let away = bench.target("http://127.0.0.1:OTHER/away");
    bench.granted.script(move |exchange| {
        let to = match exchange.request.target.as_str() {
            "/away" => away.clone(),
            "/home" => "/reached".to_owned(),
            "/loop" => "/loop".to_owned(),
            _ => return Reply::Answer(Response::new(200, "reached")),
        };
        Reply::Answer(Response::new(302, "").with("location", &to))
    });
    for via in VIAS {
        let at = |path: &str| bench.target(&format!("http://127.0.0.1:PORT{path}"));
        let seen = bench.call(json!({"target": at("/away"), "via": via}));
        assert!(seen.key == "denied" || seen.key == "302", "{via}: {} {}", seen.key, seen.text);
        let seen = bench.call(json!({"target": at("/home"), "via": via}));
        assert!(
            seen.key == "200" && seen.text.contains("reached"),
            "{via}: {} {}",
            seen.key,
            seen.text
        );
        let before = bench.granted.requests().len();
        let _ = bench.call(json!({"target": at("/loop"), "via": via}));
        assert!(bench.granted.requests().len() - before <= 11, "{via}: a loop of redirects ends");
        let before = bench.granted.requests().len();
        let _ =
            bench.call(json!({"target": at("/home"), "via": via, "method": "POST", "body": "x"}));
        assert_eq!(
            bench.granted.requests().len() - before,
            1,
            "{via}: a write follows no redirect"
        );
    }
    assert_eq!(bench.other.requests().len(), 0);
}

#[test]
fn an_answer_without_end_and_a_bomb_hit_the_limit() {
    let bench = bench();
    let bomb = gzip_of_zeros(512 << 20);
    assert!(bomb.len() < 1 << 20);
    let good = Good::of(&bench.host);
    let bombs = || endless_answers(&bench, &bomb);
    for _ in 0..3 {
        bombs(); // before: what each thread's first large bodies map stays with it
    }
    harms_nobody(&bench.host, &good, "endless answers and bombs", bombs);
}

fn endless_answers(bench: &Bench, bomb: &[u8]) {
    for via in VIAS {
        bench.granted.script(|_| {
            Reply::Endless(b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n".to_vec())
        });
        is_limited(bench, via, "an endless answer");
        bench
            .granted
            .script(|_| Reply::Endless(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n".to_vec()));
        is_limited(bench, via, "an answer of no length");
        bench.granted.script(|_| Reply::Endless(b"HTTP/1.1 200 OK\r\nx-long: ".to_vec()));
        let seen = bench.call(json!({"target": format!("{}/", bench.granted.url()), "via": via}));
        assert!(seen.key.parse::<u16>().is_err(), "{via}, an endless header: {}", seen.key);
        let packed = Response::new(200, bomb).with("content-encoding", "gzip");
        bench.granted.script(move |_| Reply::Answer(packed.clone()));
        is_limited(bench, via, "a bomb");
    }
}

fn is_limited(bench: &Bench, via: &str, what: &str) {
    let target = format!("{}/", bench.granted.url());
    let answer =
        bench.host.create(&bench.connect(json!({"target": target, "via": via})), &failed_test());
    let calls = bench.host.event(&answer.event())["runs"][0]["calls"].clone();
    let why = calls[0]["error"].as_str().unwrap_or_default();
    assert!(why.contains("limits.response_body_bytes"), "{via}, {what}: {calls}");
}

fn gzip_of_zeros(length: usize) -> Vec<u8> {
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    let block = vec![0; 1 << 20];
    for _ in 0..length / block.len() {
        packer.write_all(&block).expect("in memory");
    }
    packer.finish().expect("in memory")
}

#[test]
fn only_create_may_write() {
    let host = Setup::new().plugin("w", &Guest::named("write-in-find")).start();
    let tracker = Peer::start(|_| Reply::Answer(Response::new(500, "")));
    let connection = host.connect("qa", "w", json!({"url": tracker.url()}), json!({}));
    let test = failed_test();
    assert_ne!(host.create(&connection, &test).status, 200);
    let again = host.create(&connection, &test);
    assert_ne!(again.status, 200);
    let run = host.event(&again.event())["runs"][0].clone();
    assert_eq!(run["call"], "find", "{run}");
    let refused = run["calls"][0]["error"].as_str().unwrap_or_default();
    assert!(refused.contains("writes are refused"), "{run}");
    let answer = host.kpis(&connection, "1");
    assert!(answer.body.contains("Denied"), "{answer:?}");
    let tried = host.admin().send("POST", &format!("/connections/{}/try", connection.id), &[], b"");
    assert!(tried.body.contains("Denied"), "{tried:?}");
    let sent: Vec<_> = tracker.requests().into_iter().map(|request| request.target).collect();
    assert_eq!(sent, ["/issues.json"], "one write of create, none of find, count and check");
}

/// The connector that makes one request in `create` makes it in every other call too.
#[test]
fn a_write_is_refused_elsewhere_by_both_ways() {
    let bench = bench();
    for via in VIAS {
        let target = bench.target("http://127.0.0.1:PORT/sneaked");
        let settings = json!({"target": target, "via": via, "method": "POST", "body": "{}"});
        let connection = bench.connect(settings);
        let counted = bench.host.kpis(&connection, "1");
        let _ = counted.problem(502);
        let run = bench.host.event(&counted.event())["runs"][0].clone();
        let refused = run["calls"][0]["error"].as_str().unwrap_or_default();
        assert!(refused.contains("writes are refused"), "{via}: {run}");
    }
    assert_eq!(bench.granted.requests().len(), 0);
}

/// Small here, so that a request of usual size goes beyond each.
#[test]
fn the_limits_of_a_request_hold_by_both_ways() {
    let limits = "[limits]\nrequest_body_bytes = 1000\noutbound_calls = 1";
    let bench = bench_of(Setup::new().config(limits));
    bench.granted.script(|_| Reply::Answer(Response::new(302, "").with("location", "/on")));
    let many: String = (0..100).map(|n| format!("X-Flood-{n}=x\n")).collect();
    let at = bench.target("http://127.0.0.1:PORT/");
    let attacks = [
        (json!({"method": "POST", "body": "x".repeat(1_001)}), "limits.request_body_bytes", 0),
        (json!({"headers": many}), "header", 0),
        (json!({}), "limits.outbound_calls", 1),
    ];
    for via in VIAS {
        for (settings, named, reach) in &attacks {
            let mut settings = settings.clone();
            (settings["via"], settings["target"]) = (json!(via), json!(at));
            let before = bench.granted.requests().len();
            let seen = bench.call(settings);
            let told = seen.text.clone() + &seen.event["runs"][0]["calls"].to_string();
            assert!(seen.key.parse::<u16>().is_err(), "{via} {named}: {}", seen.key);
            assert!(told.contains(named), "{via} {named}: {told}");
            assert_eq!(bench.granted.requests().len() - before, *reach, "{via} {named}");
        }
    }
}

/// What the host computes for a request is the run's computing, whichever way it came: here it unpacks
/// twenty thousand times nothing, and the guest has nothing to do.
#[test]
fn what_the_host_computes_for_a_request_is_charged_by_both_ways() {
    let bench = bench();
    let nothing = gzip_of_zeros(0).repeat(20_000);
    let packed = Response::new(200, nothing).with("content-encoding", "gzip");
    bench.granted.script(move |_| Reply::Answer(packed.clone()));
    for (via, method) in VIAS.iter().flat_map(|via| [(via, "GET"), (via, "POST")]) {
        let target = bench.target("http://127.0.0.1:PORT/");
        let seen = bench.call(json!({"target": target, "via": via, "method": method}));
        assert_eq!(seen.key, "200", "{via} {method}: {}", seen.text);
        let usage = &seen.event["runs"][0]["usage"];
        println!("{via} {method}: {usage}");
        assert!(usage["cpu_ms"].as_u64() > Some(10), "{via} {method}: {usage}");
    }
}

/// Where the host's work for a run is too much, the run ends as one that computed too much itself.
#[test]
fn work_for_the_host_ends_by_the_computing_limit_by_both_ways() {
    let bench = bench_of(Setup::new().config("[limits]\ncpu_ms = 100"));
    let nothing = gzip_of_zeros(0).repeat(400_000);
    let packed = Response::new(200, nothing).with("content-encoding", "gzip");
    bench.granted.script(move |_| Reply::Answer(packed.clone()));
    for via in VIAS {
        let settings = json!({"target": bench.target("http://127.0.0.1:PORT/"), "via": via});
        let answer = bench.host.create(&bench.connect(settings), &failed_test());
        let told = answer.body.clone() + &bench.host.event(&answer.event()).to_string();
        assert!(told.contains("limits.cpu_ms"), "{via}: {told}");
    }
}

#[test]
fn connections_are_reused_within_a_connection_and_never_across() {
    let bench = bench();
    let target = json!({"target": format!("{}/", bench.granted.url()), "via": "http"});
    let (one, other) = (bench.connect(target.clone()), bench.connect(target));
    for connection in [&one, &other, &one, &other] {
        let _ = bench.host.create(connection, &failed_test()).expect(200);
    }
    assert_eq!(bench.granted.connections(), 2);
}
