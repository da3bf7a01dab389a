//! Tests which requests are sent and which are refused, because of their origin, address, headers,
//! method or size.

use super::*;
use crate::domain::Origin;
use crate::egress::authorize::{CheckedRequest, parse_target};
use crate::egress::exchange::path_and_query;
use proptest::prelude::*;

/// Sends a request that must fail. Returns the error, which must also be in the record.
async fn send_refused(builder: &RequestsBuilder, request: OutboundRequest) -> HttpError {
    let run_requests = builder.read_only_requests();
    let error = run_requests.send(request).await.expect_err("the request must be refused");
    let (calls, writes) = run_requests.finish().await;
    assert_eq!(calls.len(), 1);
    let recorded = calls[0].error.as_deref().unwrap().trim_end_matches('…');
    assert!(error.to_string().starts_with(recorded), "{recorded}");
    assert!(writes.is_empty());
    error
}

#[tokio::test]
async fn urls_with_the_same_origin_are_equal_even_if_their_texts_differ() {
    let tracker = FakeTracker::answering(|_| answer("200 OK", &[], b"here")).await;
    let port = tracker.address.port();
    let builder = RequestsBuilder::granting(&[&tracker.origin()]);
    for granted_url in [
        format!("http://127.0.0.1:{port}/"),
        format!("http://0x7f.1:{port}/"),
        format!("HTTP://2130706433:{port}/"),
        format!("http://127.0.0.1:{port}\\@elsewhere.example/"),
    ] {
        assert_eq!(
            builder.read_only_requests().send(get(&granted_url)).await.unwrap().body,
            "here",
            "{granted_url}"
        );
    }
    for other_url in [
        format!("http://[::ffff:127.0.0.1]:{port}/"),
        format!("https://127.0.0.1:{port}/"),
        format!("http://localhost:{port}/"),
        format!("http://127.0.0.2:{port}/"),
        "http://127.0.0.1/".to_owned(),
        "http://elsewhere.example/".to_owned(),
        "http://169.254.169.254/latest/meta-data".to_owned(),
    ] {
        let error = send_refused(&builder, get(&other_url)).await;
        let origin = Origin::of(&other_url.parse().unwrap()).unwrap();
        assert_eq!(error, HttpError::NotGranted(origin.clone()));
        assert!(
            error
                .to_string()
                .starts_with(&format!("denied: the connection does not grant {origin}; "))
        );
    }
}

#[tokio::test]
async fn an_ambiguous_or_malformed_url_is_invalid() {
    let builder = RequestsBuilder::granting(&["http://tracker.example", "http://127.0.0.1:1"]);
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
        "//tracker.example/",
        "/\\tracker.example/",
    ] {
        assert!(matches!(send_refused(&builder, get(url)).await, HttpError::Invalid(_)), "{url:?}");
    }
    let long = format!("http://tracker.example/{}", "x".repeat(9000));
    assert!(matches!(send_refused(&builder, get(long)).await, HttpError::Invalid(_)));
}

#[tokio::test]
async fn the_fragment_of_a_url_is_not_sent() {
    let tracker = FakeTracker::answering(|_| answer("200 OK", &[], b"")).await;
    let run_requests = RequestsBuilder::granting(&[&tracker.origin()]).read_only_requests();
    run_requests.send(get(run_requests.url("/issues.json?a=b#c"))).await.unwrap();
    assert!(tracker.requests()[0].starts_with("GET /issues.json?a=b HTTP/1.1\r\n"));
    assert!(tracker.requests()[0].contains(&format!("host: {}\r\n", tracker.address)));
}

#[tokio::test]
async fn reserved_headers_are_refused() {
    let header = SecretPlace::Header { name: "x-redmine-api-key".into(), prefix: String::new() };
    let builder = RequestsBuilder::granting(&["http://127.0.0.1:1"]).secret(
        "key",
        "0123456789",
        "http://127.0.0.1:1",
        header,
    );
    for name in ["authorization", "X-Redmine-API-Key"] {
        let request = with_header(get(builder.url("/")), name, "elsewhere.example");
        assert!(matches!(send_refused(&builder, request).await, HttpError::Denied(_)), "{name}");
    }
    for (name, value) in [("x", "a\r\nhost: b"), ("x", "a\nb"), ("x", "a\u{0}b"), ("x y", "a")] {
        let request = with_header(get(builder.url("/")), name, value);
        assert!(
            matches!(send_refused(&builder, request).await, HttpError::Invalid(_)),
            "{name}: {value:?}"
        );
    }
    let too_many_headers = (0..100)
        .fold(get(builder.url("/")), |request, n| with_header(request, &format!("x-{n}"), "y"));
    assert!(matches!(send_refused(&builder, too_many_headers).await, HttpError::Invalid(_)));
    let long_header = with_header(get(builder.url("/")), "x", &"y".repeat(40_000));
    assert!(matches!(send_refused(&builder, long_header).await, HttpError::Invalid(_)));
    let headers = |count| {
        (0..count)
            .fold(get(builder.url("/")), |request, n| with_header(request, &format!("x-{n}"), "y"))
    };
    assert!(matches!(send_refused(&builder, headers(64)).await, HttpError::Unreachable(_)));
    assert!(matches!(send_refused(&builder, headers(65)).await, HttpError::Invalid(_)));
    // Header names and values of 32 KiB together are allowed. The request with these headers fails
    // only because no server listens at its port.
    let largest_header = with_header(get(builder.url("/")), "x", &"y".repeat(32 * 1024 - 1));
    assert!(matches!(send_refused(&builder, largest_header).await, HttpError::Unreachable(_)));
    let too_large_header = with_header(get(builder.url("/")), "x", &"y".repeat(32 * 1024));
    assert!(matches!(send_refused(&builder, too_large_header).await, HttpError::Invalid(_)));
}

#[tokio::test]
async fn each_request_of_a_trace_has_its_own_span_and_a_guest_cannot_set_traceparent() {
    let tracker = FakeTracker::answering(|request| match request.contains("GET /first") {
        true => answer("302 Found", &[("location", "/second")], b""),
        false => answer("200 OK", &[], b""),
    })
    .await;
    let trace = TraceParent { trace: 7, span: 9, is_sampled: true };
    let mut builder = RequestsBuilder::granting(&[&tracker.origin()]);
    builder.trace = Some(trace);
    let run_requests = builder.read_only_requests();
    run_requests.send(get(builder.url("/first"))).await.unwrap();
    let spans = run_requests.finish().await.0.into_iter().map(|call| call.span.unwrap());
    let trace_parents: Vec<_> = spans.map(|span| TraceParent { span, ..trace }).collect();
    assert!(trace_parents.len() == 2 && trace_parents[0] != trace_parents[1], "{trace_parents:?}");
    assert!(!trace_parents.contains(&trace), "{trace_parents:?}");
    for (request, trace) in tracker.requests().iter().zip(&trace_parents) {
        assert!(request.contains(&format!("traceparent: {trace}\r\n")), "{request}");
    }
    for name in ["traceparent", "TraceState"] {
        let forged = with_header(get(builder.url("/")), name, "x");
        assert!(matches!(send_refused(&builder, forged).await, HttpError::Denied(_)), "{name}");
    }
    builder.trace = None;
    let guest_request = with_header(get(builder.url("/third")), "traceparent", "x");
    builder.read_only_requests().send(guest_request).await.unwrap();
    assert!(tracker.requests().last().unwrap().contains("traceparent: x\r\n"));
}

#[tokio::test]
async fn headers_that_the_http_library_of_a_guest_sets_are_replaced_or_removed() {
    let tracker = FakeTracker::answering(|_| answer("200 OK", &[], b"")).await;
    let builder = RequestsBuilder::granting(&[&tracker.origin()]);
    let request = with_effect(post(builder.url("/"), "body"), Effect::Read);
    let request =
        with_header(with_header(request, "content-length", "9999"), "accept-encoding", "zstd");
    let mut request = with_header(request, "jackfield-effect", "write");
    for name in [
        "Host",
        "Connection",
        "Transfer-Encoding",
        "Upgrade",
        "TE",
        "Trailer",
        "Expect",
        "Keep-Alive",
        "HTTP2-Settings",
        "Proxy-Authorization",
        "proxy-anything",
    ] {
        request = with_header(request, name, "elsewhere.example");
    }
    builder.read_only_requests().send(request).await.unwrap();
    let received = tracker.requests().remove(0);
    assert!(!received.contains("elsewhere"), "{received}");
    assert!(received.contains(&format!("host: {}\r\n", tracker.address)), "{received}");
    assert!(
        received.contains("content-length: 4\r\n") && received.ends_with("\r\n\r\nbody"),
        "{received}"
    );
    assert!(received.contains("accept-encoding: gzip, deflate\r\n"), "{received}");
    assert!(
        received.contains("user-agent: jackfield/") && !received.contains("jackfield-"),
        "{received}"
    );
}

#[tokio::test]
async fn methods_that_the_host_does_not_allow_are_refused() {
    let builder = RequestsBuilder::granting(&["http://127.0.0.1:1"]);
    for method in ["CONNECT", "TRACE", "PROPFIND", "get"] {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let request =
            OutboundRequest { method, effect: Some(Effect::Read), ..get(builder.url("/")) };
        assert!(matches!(send_refused(&builder, request).await, HttpError::Denied(_)));
    }
}

#[tokio::test]
async fn a_write_is_refused_in_a_run_that_may_not_write() {
    let builder = RequestsBuilder::granting(&["http://127.0.0.1:1"]);
    for request in [
        post(builder.url("/"), ""),
        with_effect(get(builder.url("/")), Effect::Write),
        OutboundRequest { method: Method::DELETE, ..get(builder.url("/")) },
    ] {
        assert!(matches!(send_refused(&builder, request).await, HttpError::Denied(_)));
    }
    let nothing = builder.requests_with(Permission::Nothing);
    assert!(is_denied(&nothing.send(get(nothing.url("/"))).await));
}

#[tokio::test]
async fn for_each_http_connection_the_host_name_is_resolved_and_its_addresses_are_checked() {
    let tracker =
        FakeTracker::answering(|_| answer("200 OK", &[("connection", "close")], b"")).await;
    let port = tracker.address.port();
    let origin = format!("http://tracker.example:{port}");
    let mut builder = RequestsBuilder::granting(&[&origin]);
    builder = builder.name("tracker.example", &[&["10.255.255.1"], &["127.0.0.1"]]);
    let run_requests = builder.read_only_requests();
    assert!(is_denied(&run_requests.send(get(run_requests.url("/"))).await), "a private address");
    assert!(is_denied(&run_requests.send(get(run_requests.url("/"))).await), "this machine");
    builder.allow_private = true;
    for (addresses, why) in [
        (&["127.0.0.1"][..], "this machine"),
        (&["93.184.216.34", "127.0.0.1"], "one of two addresses"),
        (&["::ffff:127.0.0.1"], "IPv4 embedded in IPv6"),
        (&["169.254.169.254"], "cloud metadata"),
    ] {
        let builder = RequestsBuilder::granting(&[&origin]).name("tracker.example", &[addresses]);
        assert!(
            is_denied(&builder.read_only_requests().send(get(builder.url("/"))).await),
            "{why}"
        );
    }
    assert_eq!(tracker.connections(), 0);
    let localhost = RequestsBuilder::granting(&[&format!("http://localhost:{port}")]);
    assert_eq!(
        localhost.read_only_requests().send(get(localhost.url("/"))).await.unwrap().status,
        200
    );
    let mut fixed = RequestsBuilder::granting(&[&tracker.origin()]);
    fixed.grants.fixed_origins.clone_from(&fixed.grants.origins);
    assert!(
        is_denied(&fixed.read_only_requests().send(get(fixed.url("/"))).await),
        "a fixed origin must be public"
    );
}

#[tokio::test]
async fn refused_requests_count_against_the_limit_of_outbound_calls() {
    let mut builder = RequestsBuilder::granting(&["http://127.0.0.1:1"]);
    builder.limits.outbound_calls = 3;
    let run_requests = builder.read_only_requests();
    for _ in 0..3 {
        assert!(is_denied(&run_requests.send(get("http://elsewhere.example/")).await));
    }
    for _ in 0..1000 {
        let error = run_requests.send(get("http://elsewhere.example/")).await.unwrap_err();
        assert!(
            matches!(&error, HttpError::Limit(why) if why.contains("`limits.outbound_calls` = 3"))
        );
    }
    assert_eq!(run_requests.finish().await.0.len(), 3);
}

#[tokio::test]
async fn a_request_body_over_the_limit_is_refused() {
    let mut builder = RequestsBuilder::granting(&["http://127.0.0.1:1"]);
    builder.limits.request_body_bytes = 10;
    let error =
        send_refused(&builder, with_effect(post(builder.url("/"), vec![b'x'; 11]), Effect::Read))
            .await;
    assert!(
        matches!(&error, HttpError::Limit(why) if why.contains("`limits.request_body_bytes` = 10"))
    );
}

#[tokio::test]
async fn an_unreachable_tracker_is_reported_with_the_failed_step() {
    let builder = RequestsBuilder::granting(&["http://127.0.0.1:1", "http://nowhere.example"]);
    let run_requests = builder.read_only_requests();
    let error = run_requests.send(get("http://127.0.0.1:1/")).await.unwrap_err();
    assert!(matches!(&error, HttpError::Unreachable(why) if why.starts_with("connect failed")));
    let error = run_requests.send(get("http://nowhere.example/")).await.unwrap_err();
    assert!(matches!(&error, HttpError::Unreachable(why) if why.starts_with("dns failed")));
}

#[tokio::test]
async fn a_proxy_gets_absolute_urls_and_resolves_names() {
    let proxy = FakeTracker::answering(|_| answer("200 OK", &[], b"by proxy")).await;
    let mut builder =
        RequestsBuilder::granting(&["http://tracker.example", "https://tracker.example"]);
    builder.proxy = proxy.origin();
    let run_requests = builder.read_only_requests();
    let response = run_requests.send(get("http://tracker.example/a?b")).await.unwrap();
    assert_eq!(response.body, "by proxy");
    assert!(proxy.requests()[0].starts_with("GET http://tracker.example/a?b HTTP/1.1\r\n"));
    let error = run_requests.send(get("https://tracker.example/")).await.unwrap_err();
    assert!(matches!(error, HttpError::Unreachable(_)), "{error}");
    assert!(proxy.requests()[1].starts_with("CONNECT tracker.example:443 HTTP/1.1\r\n"));
}

proptest! {
    #[test]
    fn every_request_goes_to_a_granted_origin_or_is_refused(
        url in prop_oneof![
            any::<String>(),
            "(https?://)?[a-z0-9.:@\\[\\]/\\\\%#?-]{0,40}",
            "http://tracker\\.example[^a]{0,20}",
        ],
        name in "[a-zA-Z:\r\n-]{0,20}",
        value in any::<String>(),
    ) {
        let builder = RequestsBuilder::granting(&["http://tracker.example"]);
        let active = builder.active();
        let granted: Origin = "http://tracker.example".parse().unwrap();
        if let Ok(target) = parse_target(&url, &active.connection) {
            prop_assert_eq!(&target.0, &granted);
            prop_assert_eq!(Origin::of(&target.1).unwrap(), granted);
            let request = with_header(get(url), &name, &value);
            let limits = &builder.limits;
            let checked = CheckedRequest::check(request, target, &active.connection, limits, &[]);
            if let Ok(outbound) = checked {
                let is_one_line = |value: &http::HeaderValue| !value.as_bytes().contains(&b'\n');
                prop_assert!(outbound.headers.values().all(is_one_line));
                if let Ok(uri) = path_and_query(&outbound.url) {
                    prop_assert!(uri.authority().is_none() && uri.path().starts_with('/'));
                }
            }
        }
    }
}
