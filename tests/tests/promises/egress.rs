//! A connector reaches only the origins for which its connection has a grant, through both HTTP
//! interfaces (`http` and `wasi:http`). No unusual spelling of an address leads to another origin.

use std::net::SocketAddr;

use jackfield_tests::{Connection, Reply, Response, ScriptedServer, Setup, failed_test};
use serde_json::{Value, json};

use crate::calls::{INTERFACES, TwoOrigins, call};

#[test]
fn a_granted_origin_is_reached_by_each_spelling_of_its_address() {
    let origins = TwoOrigins::start(Setup::new());
    for via in INTERFACES {
        for target in
            ["http://127.0.0.1:PORT/a", "http://0x7f.1:PORT/a", "http://2130706433:PORT/a"]
        {
            let received = origins.call(json!({"target": origins.target(target), "via": via}));
            assert_eq!(received.result, "200", "{via} {target}");
            assert!(received.text.contains("reached"), "{via} {target}");
        }
    }
    let received = origins.call(json!({"target": "/below?x=1", "via": "http"}));
    assert_eq!(received.result, "200");
    let last = origins.granted.last_request();
    assert_eq!(last.target, "/below?x=1");
    assert_eq!(last.header("host"), Some(origins.granted.address().to_string().as_str()));
}

/// URLs that must not lead to an origin without a grant.
const FORBIDDEN_URLS: [&str; 23] = [
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
fn an_origin_without_a_grant_is_refused_through_both_interfaces_and_recorded() {
    let origins = TwoOrigins::start(Setup::new());
    for via in INTERFACES {
        for target in FORBIDDEN_URLS {
            let target = origins.target(target);
            let received = origins.call(json!({"target": target, "via": via}));
            // HTTP does not send the fragment after `#`, so this request may reach the granted
            // origin.
            let is_harmless = target.contains('#') && received.result == "200";
            let is_refused = received.is_refused();
            assert!(
                is_refused || is_harmless,
                "{via} {target}: {} {}",
                received.result,
                received.text
            );
        }
    }
    assert_eq!(origins.other.requests().len(), 0, "{:?}", origins.other.requests());
    let target = origins.target("http://127.0.0.1:OTHER/x");
    let received = origins.call(json!({"target": target, "via": "http"}));
    let calls = &received.event["runs"][0]["calls"];
    assert!(calls[0]["error"].as_str().is_some_and(|why| !why.is_empty()), "{calls}");
    assert_eq!(calls[0]["status"], Value::Null);
}

/// A person granted these origins, so only the address rules refuse the requests. Without these
/// rules, the URLs with `PORT` would lead to a server of this machine.
#[test]
fn a_granted_origin_at_a_forbidden_address_is_refused() {
    let server_on_all_addresses =
        ScriptedServer::start_at(SocketAddr::from(([0, 0, 0, 0], 0)), |_| {
            Reply::new(200, "reached")
        });
    let port = server_on_all_addresses.address().port().to_string();
    let host = Setup::new().guests(["calls"]).start();
    for (n, origin) in [
        "http://0.0.0.0:PORT",
        "http://[::]:PORT",
        "http://[::ffff:0.0.0.0]:PORT",
        "http://[::ffff:0:0]:PORT",
        "http://169.254.169.254",
        "http://[::ffff:169.254.169.254]",
        "http://[64:ff9b::a9fe:a9fe]",
        "http://[fe80::1]",
        "http://224.0.0.1",
        "http://255.255.255.255",
    ]
    .into_iter()
    .enumerate()
    {
        let origin = origin.replace("PORT", &port);
        for via in INTERFACES {
            let settings = json!({"url": origin, "target": format!("{origin}/x"), "via": via});
            let connection =
                host.add_connection(&format!("{via} {n}"), "calls", settings, json!({}));
            let received = call(&host, &connection);
            assert_eq!(received.result, "denied", "{via} {origin}: {}", received.text);
            let why = received.event["runs"][0]["calls"][0]["error"].to_string();
            assert!(why.contains("which is not allowed"), "{via} {origin}: {why}");
        }
    }
    assert_eq!(server_on_all_addresses.tcp_connections(), 0);
}

/// A person granted these origins, and allowed private addresses. Requests to them would come from
/// the server's own machine, so the server might trust them as requests of a proxy.
#[test]
fn a_guest_never_reaches_the_server_itself() {
    let host = Setup::new().guests(["calls"]).start();
    let port = host.url().rsplit(':').next().expect("a port").to_owned();
    for (n, origin) in [
        "http://127.0.0.1:PORT",
        "http://localhost:PORT",
        "http://127.0.0.2:PORT",
        "http://[::1]:PORT",
        "http://[::ffff:127.0.0.1]:PORT",
    ]
    .into_iter()
    .enumerate()
    {
        let origin = origin.replace("PORT", &port);
        for via in INTERFACES {
            let settings =
                json!({"url": origin, "target": format!("{origin}/healthz"), "via": via});
            let body = json!({"name": format!("{via} {n}"), "connector": "calls",
                "settings": settings, "allow_private": true});
            let created = host.admin().json("POST", "/connections", &body).expect(201);
            let received = call(&host, &Connection::from_json(&created));
            assert_eq!(received.result, "denied", "{via} {origin}: {}", received.text);
            let why = received.event["runs"][0]["calls"][0]["error"].to_string();
            assert!(
                why.contains("it is an address of this Jackfield server"),
                "{via} {origin}: {why}"
            );
        }
    }
}

#[test]
fn other_schemes_and_paths_that_look_like_hosts_reach_no_other_server() {
    let origins = TwoOrigins::start(Setup::new());
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
        let received = origins.call(json!({"target": origins.target(target), "via": "http"}));
        // Some targets look like another host, but are only a path at the granted origin. A
        // backslash counts as a slash.
        let is_path = target.starts_with('/') || target.contains("PORT\\@");
        let is_harmless = is_path && received.result == "200";
        let is_refused = received.is_refused();
        assert!(is_refused || is_harmless, "{target}: {} {}", received.result, received.text);
    }
    assert_eq!(origins.other.requests().len(), 0, "{:?}", origins.other.requests());
}

#[test]
fn a_guest_cannot_split_a_request_or_forge_its_headers() {
    let setup = Setup::new().env("JACKFIELD_SECRET_PROXY", "the-secret-of-the-reverse-proxy");
    let origins = TwoOrigins::start(setup.config(
        "trusted_proxies = [\"127.0.0.1\"]
         proxy_user_header = \"X-Remote-User\"
         proxy_role_header = \"X-Remote-Role\"
         proxy_secret = \"env:JACKFIELD_SECRET_PROXY\"",
    ));
    for via in INTERFACES {
        for header in [
            "Authorization=Bearer mine",
            "X-A=b\\r\\nX-Smuggled: yes",
            "X-A\\r\\nX-Smuggled=yes",
            "X-Forwarded-For=203.0.113.5",
            "x-forwarded-proto=https",
            "Forwarded=for=203.0.113.5",
            "X-Jackfield-Proxy-Secret=the-secret-of-the-reverse-proxy",
            "X-Remote-User=eve",
            "x-remote-role=admin",
        ] {
            let target = origins.target("http://127.0.0.1:PORT/");
            let received = origins.call(json!({"target": target, "via": via, "headers": header}));
            let is_refused = received.is_refused();
            assert!(is_refused, "{via} {header}: {} {}", received.result, received.text);
        }
        // HTTP libraries of guests set these headers. The host removes them and sends its own
        // headers.
        for header in [
            "Host=evil.example",
            "host=127.0.0.1:1",
            "Connection=keep-alive, x-api-key",
            "Keep-Alive=timeout=5",
            "Transfer-Encoding=chunked",
            "TE=trailers",
            "Trailer=x-sum",
            "Expect=100-continue",
            "Proxy-Authorization=Basic mine",
            "Proxy-Connection=keep-alive",
            "Upgrade=websocket",
            "HTTP2-Settings=AAMAAABkAAQAAP__",
        ] {
            let target = origins.target("http://127.0.0.1:PORT/");
            let received = origins.call(json!({"target": target, "via": via, "headers": header}));
            assert_eq!(received.result, "200", "{via} {header}: {}", received.text);
        }
        let target = origins.target("http://127.0.0.1:PORT/");
        origins.call(json!({"target": target, "via": via, "headers": "Content-Length=5"}));
        for target in [
            "http://127.0.0.1:PORT/a\r\nX-Smuggled: yes\r\n",
            "http://127.0.0.1:PORT/ HTTP/1.1\r\nX-Smuggled: yes",
        ] {
            let received = origins.call(json!({"target": origins.target(target), "via": via}));
            let is_refused = received.is_refused();
            assert!(is_refused, "{via} {target:?}: {} {}", received.result, received.text);
        }
    }
    // The interface `http` has no method CONNECT, so only `wasi:http` is tested.
    for target in ["http://127.0.0.1:OTHER/", "http://127.0.0.1:PORT/"] {
        let settings =
            json!({"target": origins.target(target), "via": "wasi:http", "method": "CONNECT"});
        let received = origins.call(settings);
        assert!(received.is_refused(), "{} {}", received.result, received.text);
    }
    let target = origins.target("http://127.0.0.1:PORT/");
    origins.call(json!({"target": target, "via": "http"}));
    assert!(!origins.granted.requests().is_empty());
    let granted_address = origins.granted.address().to_string();
    for request in origins.granted.requests() {
        assert_eq!(request.header("host"), Some(granted_address.as_str()), "{request:?}");
        for forbidden in [
            "x-smuggled",
            "proxy-authorization",
            "proxy-connection",
            "upgrade",
            "transfer-encoding",
            "te",
            "trailer",
            "expect",
            "http2-settings",
            "keep-alive",
            "jackfield-effect",
            "x-forwarded-for",
            "x-jackfield-proxy-secret",
            "x-remote-user",
        ] {
            assert_eq!(request.header(forbidden), None, "{request:?}");
        }
        assert_ne!(request.header("authorization"), Some("Bearer mine"), "{request:?}");
        assert_ne!(request.method, "CONNECT");
        assert!(request.body.is_empty(), "{request:?}");
        assert_ne!(request.header("content-length"), Some("5"), "{request:?}");
    }
    assert_eq!(origins.other.requests().len(), 0);
}

#[test]
fn a_redirect_is_followed_only_to_a_granted_origin_and_never_for_a_write() {
    let origins = TwoOrigins::start(Setup::new());
    let other_origin_url = origins.target("http://127.0.0.1:OTHER/away");
    origins.granted.set_script(move |exchange| {
        let to = match exchange.request.target.as_str() {
            "/away" => other_origin_url.clone(),
            "/home" => "/reached".to_owned(),
            "/loop" => "/loop".to_owned(),
            _ => return Reply::new(200, "reached"),
        };
        Reply::Answer(Response::new(302, "").with_header("location", &to))
    });
    for via in INTERFACES {
        let granted_url = |path: &str| origins.target(&format!("http://127.0.0.1:PORT{path}"));
        let received = origins.call(json!({"target": granted_url("/away"), "via": via}));
        let is_stopped = received.result == "denied" || received.result == "302";
        assert!(is_stopped, "{via}: {} {}", received.result, received.text);
        let received = origins.call(json!({"target": granted_url("/home"), "via": via}));
        assert_eq!(received.result, "200", "{via}: {}", received.text);
        assert!(received.text.contains("reached"), "{via}: {}", received.text);
        let before = origins.granted.requests().len();
        origins.call(json!({"target": granted_url("/loop"), "via": via}));
        let requests = origins.granted.requests().len() - before;
        assert!(requests <= 11, "{via}: the loop of redirects did not end");
        let before = origins.granted.requests().len();
        origins.call(
            json!({"target": granted_url("/home"), "via": via, "method": "POST", "body": "x"}),
        );
        let requests = origins.granted.requests().len() - before;
        assert_eq!(requests, 1, "{via}: a write followed a redirect");
    }
    assert_eq!(origins.other.requests().len(), 0);
}

#[test]
fn only_the_function_create_may_send_a_write() {
    let tracker = ScriptedServer::start(|_| Reply::new(500, ""));
    let (host, connection) =
        Setup::new().start_with_guest("write-in-find", json!({"url": tracker.url()}));
    let test = failed_test();
    assert_ne!(host.create(&connection, &test).status, 200);
    let repeat = host.create(&connection, &test);
    assert_ne!(repeat.status, 200);
    let run = host.run_of(&repeat);
    assert_eq!(run["call"], "find", "{run}");
    let refused = run["calls"][0]["error"].as_str().unwrap_or_default();
    assert!(refused.contains("write"), "{run}");
    let answer = host.kpis(&connection, "1");
    assert!(answer.body.contains("Denied"), "{answer:?}");
    let path = format!("/connections/{}/try", connection.id);
    let tried = host.admin().send("POST", &path, &[], b"");
    assert!(tried.body.contains("Denied"), "{tried:?}");
    let sent: Vec<_> = tracker.requests().into_iter().map(|request| request.target).collect();
    assert_eq!(
        sent,
        ["/issues.json"],
        "not exactly one write was sent: `create` may write; find, count and check may not"
    );
}

/// The guest sends its request also in its function `count`.
#[test]
fn a_write_outside_create_is_refused_through_both_interfaces() {
    let origins = TwoOrigins::start(Setup::new());
    for via in INTERFACES {
        let target = origins.target("http://127.0.0.1:PORT/denied-write");
        let settings = json!({"target": target, "via": via, "method": "POST", "body": "{}"});
        let counted = origins.host.kpis(&origins.add_connection(settings), "1");
        counted.assert_problem(502, "connector-error");
        let run = origins.host.run_of(&counted);
        let refused = run["calls"][0]["error"].as_str().unwrap_or_default();
        assert!(refused.contains("write"), "{via}: {run}");
    }
    assert_eq!(origins.granted.requests().len(), 0);
}

#[test]
fn idle_tcp_connections_are_reused_only_by_the_same_connection() {
    let origins = TwoOrigins::start(Setup::new());
    let (one, other) = (origins.add_connection(json!({})), origins.add_connection(json!({})));
    for connection in [&one, &other, &one, &other] {
        origins.host.create(connection, &failed_test()).assert_status(200);
    }
    assert_eq!(origins.granted.tcp_connections(), 2);
}
