//! The limits on CPU time, and on requests and answers of a guest, apply to both HTTP interfaces
//! (`http` and `wasi:http`). The CPU time of a run includes the host's work for its requests and
//! answers.

use std::io::Write;

use jackfield_tests::{Reply, Response, Setup, failed_test};
use serde_json::json;

use crate::calls::{INTERFACES, TwoOrigins};
use crate::good_neighbour::{GoodConnector, assert_attack_is_harmless, with_good_connector};

#[test]
fn an_endless_answer_and_a_decompression_bomb_end_at_the_limit() {
    let origins = TwoOrigins::start(with_good_connector(Setup::new()));
    let bomb = gzip_of_zeros(512 << 20);
    assert!(bomb.len() < 1 << 20);
    let good = GoodConnector::add_to(&origins.host);
    let attack = || receive_endless_answers(&origins, &bomb);
    for _ in 0..3 {
        attack(); // memory that a thread maps for its first large bodies stays mapped
    }
    assert_attack_is_harmless(&origins.host, &good, "endless answers and bombs", attack);
}

fn receive_endless_answers(origins: &TwoOrigins, bomb: &[u8]) {
    let answer_endlessly = |head: &'static str| {
        origins.granted.set_script(|_| Reply::Endless(head.as_bytes().to_vec()));
    };
    for via in INTERFACES {
        answer_endlessly("HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n");
        assert_answer_limited(origins, via, "an endless answer");
        answer_endlessly("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n");
        assert_answer_limited(origins, via, "an answer without a length");
        answer_endlessly("HTTP/1.1 200 OK\r\nx-long: ");
        let received = origins.call(json!({"via": via}));
        assert!(!received.is_answered(), "{via}, an endless header: {}", received.result);
        let compressed_answer = Response::new(200, bomb).with_header("content-encoding", "gzip");
        origins.granted.set_script(move |_| Reply::Answer(compressed_answer.clone()));
        assert_answer_limited(origins, via, "a bomb");
    }
}

fn assert_answer_limited(origins: &TwoOrigins, via: &str, what: &str) {
    let connection = origins.add_connection(json!({"via": via}));
    let answer = origins.host.create(&connection, &failed_test());
    let calls = origins.host.run_of(&answer)["calls"].clone();
    let why = calls[0]["error"].as_str().unwrap_or_default();
    assert!(why.contains("limits.response_body_bytes"), "{via}, {what}: {calls}");
}

/// Returns a gzip file of this number of zero bytes, which must be a multiple of 1 MiB.
fn gzip_of_zeros(length: usize) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    let block = vec![0; 1 << 20];
    for _ in 0..length / block.len() {
        encoder.write_all(&block).expect("writing to memory does not fail");
    }
    encoder.finish().expect("writing to memory does not fail")
}

#[test]
fn the_limits_of_a_request_apply_to_both_interfaces() {
    let limits = "[limits]\nrequest_body_bytes = 1000\noutbound_calls = 1";
    let origins = TwoOrigins::start(Setup::new().config(limits));
    origins
        .granted
        .set_script(|_| Reply::Answer(Response::new(302, "").with_header("location", "/on")));
    let many_headers: String = (0..100).map(|n| format!("X-Flood-{n}=x\n")).collect();
    let attacks = [
        (json!({"method": "POST", "body": "x".repeat(1_001)}), "limits.request_body_bytes", 0),
        (json!({"headers": many_headers}), "header", 0),
        (json!({}), "limits.outbound_calls", 1),
    ];
    for via in INTERFACES {
        for (settings, limit, requests) in &attacks {
            let mut settings = settings.clone();
            settings["via"] = json!(via);
            let before = origins.granted.requests().len();
            let received = origins.call(settings);
            let report = received.text.clone() + &received.event["runs"][0]["calls"].to_string();
            assert!(!received.is_answered(), "{via} {limit}: {}", received.result);
            assert!(report.contains(limit), "{via} {limit}: {report}");
            assert_eq!(origins.granted.requests().len() - before, *requests, "{via} {limit}");
        }
    }
}

/// The host decompresses twenty thousand empty gzip streams, while the guest only waits.
#[test]
fn work_of_the_host_for_a_request_is_charged_to_the_run_through_both_interfaces() {
    let origins = TwoOrigins::start(Setup::new());
    answer_with_empty_gzip_streams(&origins, 20_000);
    for (via, method) in INTERFACES.iter().flat_map(|via| [(via, "GET"), (via, "POST")]) {
        let received = origins.call(json!({"via": via, "method": method}));
        assert_eq!(received.result, "200", "{via} {method}: {}", received.text);
        let usage = &received.event["runs"][0]["usage"];
        println!("{via} {method}: {usage}");
        assert!(usage["cpu_ms"].as_u64() > Some(10), "{via} {method}: {usage}");
    }
}

#[test]
fn work_of_the_host_ends_at_the_cpu_limit_through_both_interfaces() {
    let origins = TwoOrigins::start(Setup::new().config("[limits]\ncpu_ms = 100"));
    answer_with_empty_gzip_streams(&origins, 400_000);
    for via in INTERFACES {
        let answer =
            origins.host.create(&origins.add_connection(json!({"via": via})), &failed_test());
        let report = answer.body.clone() + &origins.host.event_of(&answer).to_string();
        assert!(report.contains("limits.cpu_ms"), "{via}: {report}");
    }
}

fn answer_with_empty_gzip_streams(origins: &TwoOrigins, count: usize) {
    let body = gzip_of_zeros(0).repeat(count);
    let compressed_answer = Response::new(200, body).with_header("content-encoding", "gzip");
    origins.granted.set_script(move |_| Reply::Answer(compressed_answer.clone()));
}
