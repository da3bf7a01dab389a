//! Which requests may leave: grants by value, addresses, headers, methods, limits.

use super::*;
use crate::connector::egress::outbound::{Outbound, target};
use crate::domain::Origin;
use proptest::prelude::*;

async fn refused(bench: &Bench, request: OutboundRequest) -> HttpError {
    let session = bench.reading();
    let error = session.send(request).await.expect_err("it must be refused");
    let (calls, writes) = session.finish().await;
    assert_eq!(calls.len(), 1);
    let recorded = calls[0].error.as_deref().unwrap().trim_end_matches('…');
    assert!(error.to_string().starts_with(recorded), "{recorded}");
    assert!(writes.is_empty());
    error
}

#[tokio::test]
async fn a_grant_is_a_value_and_no_text() {
    let tracker = Tracker::answering(|_| answer("200 OK", &[], b"here")).await;
    let port = tracker.address.port();
    let bench = Bench::granting(&[&tracker.origin()]);
    for same in [
        format!("http://127.0.0.1:{port}/"),
        format!("http://0x7f.1:{port}/"),
        format!("HTTP://2130706433:{port}/"),
        format!("http://127.0.0.1:{port}\\@elsewhere.example/"),
        "//elsewhere.example/".to_owned(),
        "/\\elsewhere.example/".to_owned(),
    ] {
        assert_eq!(bench.reading().send(get(&same)).await.unwrap().body, "here", "{same}");
    }
    for other in [
        format!("http://[::ffff:127.0.0.1]:{port}/"),
        format!("https://127.0.0.1:{port}/"),
        format!("http://localhost:{port}/"),
        format!("http://127.0.0.2:{port}/"),
        "http://127.0.0.1/".to_owned(),
        "http://elsewhere.example/".to_owned(),
        "http://169.254.169.254/latest/meta-data".to_owned(),
    ] {
        assert!(matches!(refused(&bench, get(&other)).await, HttpError::Denied(_)), "{other}");
    }
}

#[tokio::test]
async fn a_text_that_hides_something_is_no_address() {
    let bench = Bench::granting(&["http://tracker.example", "http://127.0.0.1:1"]);
    for url in [
        "http://tracker.example./",
        "http://127.0.0.1.:1/",
        "http://127.0.0.1./x",
        "http://user@tracker.example/",
        "http://user:pass@tracker.example/",
        "http://tracker.example@elsewhere.example/",
        "ftp://tracker.example/",
        "file:///etc/passwd",
        "http://tracker.example/\r\nHost: elsewhere.example",
        "http://tracker.example/ HTTP/1.1",
        "http://tracker\t.example/",
        "\u{0}http://tracker.example/",
        "tracker.example",
        "",
        "/relative",
    ] {
        assert!(matches!(refused(&bench, get(url)).await, HttpError::Invalid(_)), "{url:?}");
    }
    let long = format!("http://tracker.example/{}", "x".repeat(9000));
    assert!(matches!(refused(&bench, get(long)).await, HttpError::Invalid(_)));
}

#[tokio::test]
async fn a_path_goes_to_the_only_origin() {
    let tracker = Tracker::answering(|_| answer("200 OK", &[], b"")).await;
    let bench = Bench::granting(&[&tracker.origin()]);
    bench.reading().send(get("/issues.json?a=b#c")).await.unwrap();
    assert!(tracker.requests()[0].starts_with("GET /issues.json?a=b HTTP/1.1\r\n"));
    assert!(tracker.requests()[0].contains(&format!("host: {}\r\n", tracker.address)));
}

#[tokio::test]
async fn headers_that_steer_a_request_are_the_hosts() {
    let header = SecretPlace::Header { name: "x-redmine-api-key".into(), prefix: String::new() };
    let bench = Bench::granting(&["http://127.0.0.1:1"]).secret(
        "key",
        "0123456789",
        "http://127.0.0.1:1",
        header,
    );
    for name in [
        "Host",
        "authorization",
        "Connection",
        "transfer-encoding",
        "Upgrade",
        "TE",
        "Trailer",
        "Expect",
        "Keep-Alive",
        "Proxy-Authorization",
        "proxy-anything",
        "X-Redmine-API-Key",
    ] {
        let request = with(get("/"), name, "elsewhere.example");
        assert!(matches!(refused(&bench, request).await, HttpError::Denied(_)), "{name}");
    }
    for (name, value) in [("x", "a\r\nhost: b"), ("x", "a\nb"), ("x", "a\u{0}b"), ("x y", "a")] {
        let request = with(get("/"), name, value);
        assert!(
            matches!(refused(&bench, request).await, HttpError::Invalid(_)),
            "{name}: {value:?}"
        );
    }
    let flood = (0..100).fold(get("/"), |request, n| with(request, &format!("x-{n}"), "y"));
    assert!(matches!(refused(&bench, flood).await, HttpError::Invalid(_)));
    let flood = with(get("/"), "x", &"y".repeat(40_000));
    assert!(matches!(refused(&bench, flood).await, HttpError::Invalid(_)));
}

#[tokio::test]
async fn what_a_library_sets_by_itself_is_replaced() {
    let tracker = Tracker::answering(|_| answer("200 OK", &[], b"")).await;
    let bench = Bench::granting(&[&tracker.origin()]);
    let request = marked(post("/", "body"), Effect::Read);
    let request = with(with(request, "content-length", "9999"), "accept-encoding", "zstd");
    let request = with(request, "jackfield-effect", "write");
    bench.reading().send(request).await.unwrap();
    let seen = tracker.requests().remove(0);
    assert!(seen.contains("content-length: 4\r\n") && seen.ends_with("\r\n\r\nbody"), "{seen}");
    assert!(seen.contains("accept-encoding: gzip, deflate\r\n"), "{seen}");
    assert!(seen.contains("user-agent: jackfield/") && !seen.contains("jackfield-"), "{seen}");
}

#[tokio::test]
async fn only_plain_methods_are_sent() {
    let bench = Bench::granting(&["http://127.0.0.1:1"]);
    for method in ["CONNECT", "TRACE", "PROPFIND", "get"] {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let request = OutboundRequest { method, effect: Some(Effect::Read), ..get("/") };
        assert!(matches!(refused(&bench, request).await, HttpError::Denied(_)));
    }
}

#[tokio::test]
async fn writes_need_a_run_that_may_write() {
    let bench = Bench::granting(&["http://127.0.0.1:1"]);
    for request in [
        post("/", ""),
        marked(get("/"), Effect::Write),
        OutboundRequest { method: Method::DELETE, ..get("/") },
    ] {
        assert!(matches!(refused(&bench, request).await, HttpError::Denied(_)));
    }
    let nothing = bench.session(Permission::Nothing);
    assert!(is_denied(&nothing.send(get("/")).await));
}

#[tokio::test]
async fn a_name_that_changes_its_mind_is_checked_each_time() {
    let tracker = Tracker::answering(|_| answer("200 OK", &[("connection", "close")], b"")).await;
    let port = tracker.address.port();
    let origin = format!("http://tracker.example:{port}");
    let mut bench = Bench::granting(&[&origin]);
    bench = bench.name("tracker.example", &[&["10.255.255.1"], &["127.0.0.1"]]);
    let session = bench.reading();
    assert!(is_denied(&session.send(get("/")).await), "a private address");
    assert!(is_denied(&session.send(get("/")).await), "this machine");
    bench.allow_private = true;
    for (addresses, why) in [
        (&["127.0.0.1"][..], "this machine"),
        (&["93.184.216.34", "127.0.0.1"], "one of them"),
        (&["::ffff:127.0.0.1"], "in other clothes"),
        (&["169.254.169.254"], "metadata"),
    ] {
        let bench = Bench::granting(&[&origin]).name("tracker.example", &[addresses]);
        assert!(is_denied(&bench.reading().send(get("/")).await), "{why}");
    }
    assert_eq!(tracker.connections(), 0);
    let local = Bench::granting(&[&format!("http://localhost:{port}")]);
    assert_eq!(local.reading().send(get("/")).await.unwrap().status, 200);
    let mut fixed = Bench::granting(&[&tracker.origin()]);
    fixed.grants.fixed.clone_from(&fixed.grants.origins);
    assert!(is_denied(&fixed.reading().send(get("/")).await), "a fixed origin is public");
}

#[tokio::test]
async fn a_loop_around_a_refusal_ends() {
    let mut bench = Bench::granting(&["http://127.0.0.1:1"]);
    bench.limits.outbound_calls = 3;
    let session = bench.reading();
    for _ in 0..3 {
        assert!(is_denied(&session.send(get("http://elsewhere.example/")).await));
    }
    for _ in 0..1000 {
        let error = session.send(get("http://elsewhere.example/")).await.unwrap_err();
        assert!(
            matches!(&error, HttpError::Limit(why) if why.contains("`limits.outbound_calls` = 3"))
        );
    }
    assert_eq!(session.finish().await.0.len(), 3);
}

#[tokio::test]
async fn a_body_past_its_limit_is_refused() {
    let mut bench = Bench::granting(&["http://127.0.0.1:1"]);
    bench.limits.request_body_bytes = 10;
    let error = refused(&bench, marked(post("/", vec![b'x'; 11]), Effect::Read)).await;
    assert!(
        matches!(&error, HttpError::Limit(why) if why.contains("`limits.request_body_bytes` = 10"))
    );
}

#[tokio::test]
async fn a_tracker_that_cannot_be_reached_says_which_step() {
    let bench = Bench::granting(&["http://127.0.0.1:1", "http://nowhere.example"]);
    let session = bench.reading();
    let error = session.send(get("http://127.0.0.1:1/")).await.unwrap_err();
    assert!(matches!(&error, HttpError::Unreachable(why) if why.starts_with("connect failed")));
    let error = session.send(get("http://nowhere.example/")).await.unwrap_err();
    assert!(matches!(&error, HttpError::Unreachable(why) if why.starts_with("dns failed")));
}

#[tokio::test]
async fn a_proxy_gets_what_it_needs_and_resolves_names() {
    let proxy = Tracker::answering(|_| answer("200 OK", &[], b"by proxy")).await;
    let mut bench = Bench::granting(&["http://tracker.example", "https://tracker.example"]);
    bench.proxy = proxy.origin();
    let session = bench.reading();
    let seen = session.send(get("http://tracker.example/a?b")).await.unwrap();
    assert_eq!(seen.body, "by proxy");
    assert!(proxy.requests()[0].starts_with("GET http://tracker.example/a?b HTTP/1.1\r\n"));
    let error = session.send(get("https://tracker.example/")).await.unwrap_err();
    assert!(matches!(error, HttpError::Unreachable(_)), "{error}");
    assert!(proxy.requests()[1].starts_with("CONNECT tracker.example:443 HTTP/1.1\r\n"));
}

proptest! {
    #[test]
    fn whatever_a_guest_writes_goes_to_a_granted_origin_or_nowhere(
        url in prop_oneof![
            any::<String>(),
            "(https?://)?[a-z0-9.:@\\[\\]/\\\\%#?-]{0,40}",
            "http://tracker\\.example[^a]{0,20}",
            "/.{0,40}",
        ],
        name in "[a-zA-Z:\r\n-]{0,20}",
        value in any::<String>(),
    ) {
        let bench = Bench::granting(&["http://tracker.example"]);
        let access = bench.access();
        let granted: Origin = "http://tracker.example".parse().unwrap();
        if let Ok(target) = target(&url, &access.connection) {
            prop_assert_eq!(&target.0, &granted);
            prop_assert_eq!(Origin::of(&target.1).unwrap(), granted);
            let request = with(get(url), &name, &value);
            if let Ok(outbound) = Outbound::check(request, target, &access.connection, &bench.limits) {
                let clean = |value: &http::HeaderValue| !value.as_bytes().contains(&b'\n');
                prop_assert!(outbound.headers.values().all(clean));
                if let Ok(uri) = outbound.path_and_query() {
                    prop_assert!(uri.authority().is_none() && uri.path().starts_with('/'));
                }
            }
        }
    }
}
