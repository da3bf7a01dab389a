//! Trackers and their proxies send answers that break the HTTP specification. The host accepts such
//! an answer if it is complete. The host reports an error if the answer is cut off, if its length
//! is not clear, or if its body cannot be decoded. Both HTTP interfaces of a connector (`http` and
//! `wasi:http`) behave in the same way.

use std::io::Write;

use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
use jackfield_tests::{Reply, Response, Setup};
use serde_json::json;

use crate::calls::{INTERFACES, TwoOrigins};

const JSON_BODY: &str = r#"{"issue":{"id":7}}"#;

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(body).expect("writing to memory does not fail");
    encoder.finish().expect("writing to memory does not fail")
}

fn zlib(body: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(body).expect("writing to memory does not fail");
    encoder.finish().expect("writing to memory does not fail")
}

fn deflate(body: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(body).expect("writing to memory does not fail");
    encoder.finish().expect("writing to memory does not fail")
}

fn answer_with_headers(header_lines: &str, body: &[u8]) -> Vec<u8> {
    let head =
        format!("HTTP/1.1 201 Created\r\n{header_lines}content-length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

fn answer_with_encoding(encoding: &str, body: &[u8]) -> Vec<u8> {
    answer_with_headers(&format!("content-encoding: {encoding}\r\n"), body)
}

/// Returns complete answers to a write, with a description of each answer. After decoding, each
/// answer has the status 201 and the body `JSON_BODY`.
fn odd_answers() -> Vec<(&'static str, Vec<u8>)> {
    let json = JSON_BODY.as_bytes();
    let (gzipped, middle) = (gzip(json), json.len() / 2);
    let gzip_members = [gzip(&json[..middle]), gzip(&json[middle..])].concat();
    let joined = |bytes: &[u8], appended: &[u8]| [bytes, appended].concat();
    let http10 =
        |line: &str| joined(format!("HTTP/1.0 201 Created\r\n{line}\r\n").as_bytes(), json);
    let status_line = |line: &str| {
        joined(format!("{line}\r\ncontent-length: {}\r\n\r\n", json.len()).as_bytes(), json)
    };
    let chunked = |body: &str| {
        joined(b"HTTP/1.1 201 Created\r\ntransfer-encoding: chunked\r\n\r\n", body.as_bytes())
    };
    vec![
        ("a folded header", answer_with_headers("x-long: one\r\n two\r\n\tthree\r\n", json)),
        ("a space before the colon", answer_with_headers("x-space : 1\r\n", json)),
        ("a header without a colon", answer_with_headers("nonsense\r\n", json)),
        ("a header name with a space", answer_with_headers("Not A Name: 1\r\n", json)),
        ("a header without a name", answer_with_headers(": 1\r\n", json)),
        ("a control character in a header", answer_with_headers("x-control: a\x01b\r\n", json)),
        ("Latin-1 in a header", {
            joined(
                b"HTTP/1.1 201 Created\r\nx-latin: M\xfcller\r\ncontent-length: 18\r\n\r\n",
                json,
            )
        }),
        ("an empty header", answer_with_headers("x-empty:\r\n", json)),
        ("line feeds only", { joined(b"HTTP/1.1 201 Created\ncontent-length: 18\n\n", json) }),
        ("no reason phrase", status_line("HTTP/1.1 201")),
        ("an empty reason phrase", status_line("HTTP/1.1 201 ")),
        ("Latin-1 in the reason phrase", {
            joined(b"HTTP/1.1 201 Cr\xe9\xe9\r\ncontent-length: 18\r\n\r\n", json)
        }),
        ("an empty line before the answer", joined(b"\r\n", &answer_with_headers("", json))),
        ("two equal content lengths", answer_with_headers("content-length: 18\r\n", json)),
        ("two equal content lengths in one line", {
            joined(b"HTTP/1.1 201 Created\r\ncontent-length: 18, 18\r\n\r\n", json)
        }),
        (
            "100 Continue before the answer",
            joined(b"HTTP/1.1 100 Continue\r\n\r\n", &answer_with_headers("", json)),
        ),
        ("102 and 103 before the answer", {
            let hints =
                b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n";
            joined(hints, &answer_with_headers("", json))
        }),
        ("HTTP/1.0 without a content length", http10("")),
        ("HTTP/1.0 with keep-alive and no content length", http10("connection: keep-alive\r\n")),
        ("HTTP/1.1 without a content length", joined(b"HTTP/1.1 201 Created\r\n\r\n", json)),
        ("a chunk extension and a trailer", {
            chunked("12;name=value\r\n{\"issue\":{\"id\":7}}\r\n0\r\nx-sum: 1\r\n\r\n")
        }),
        ("a padded chunk size", chunked("0012  \r\n{\"issue\":{\"id\":7}}\r\n000\r\n\r\n")),
        ("a content length in a chunked answer", {
            let head =
                b"HTTP/1.1 201 Created\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n";
            joined(head, b"12\r\n{\"issue\":{\"id\":7}}\r\n0\r\n\r\n")
        }),
        ("bytes after the answer", joined(&answer_with_headers("", json), b"and more")),
        ("x-gzip", answer_with_encoding("x-gzip", &gzipped)),
        ("gzip in upper case", answer_with_encoding("GZIP", &gzipped)),
        ("gzip with padding", answer_with_encoding("gzip", &joined(&gzipped, &[0; 700]))),
        (
            "gzip with text after it",
            answer_with_encoding("gzip", &joined(&gzipped, b"\r\n<!-- cached -->")),
        ),
        ("several gzip members", answer_with_encoding("gzip", &gzip_members)),
        (
            "several gzip members and padding",
            answer_with_encoding("gzip", &joined(&gzip_members, &[0; 3])),
        ),
        ("deflate with a zlib header", answer_with_encoding("deflate", &zlib(json))),
        ("deflate without a zlib header", answer_with_encoding("deflate", &deflate(json))),
        ("deflate with padding", answer_with_encoding("deflate", &joined(&zlib(json), b"\r\n"))),
        ("gzip labelled as deflate", answer_with_encoding("deflate", &gzipped)),
        ("identity", answer_with_encoding("identity", json)),
        ("an empty encoding", answer_with_encoding("", json)),
        ("a character set as the encoding", answer_with_encoding("utf-8", json)),
        ("an unknown encoding of text", answer_with_encoding("binary", json)),
        ("text labelled as gzip", answer_with_encoding("gzip", json)),
        ("text labelled as deflate", answer_with_encoding("deflate", json)),
        ("gzip named twice", answer_with_encoding("gzip, gzip", &gzipped)),
        ("gzip named in two headers", {
            answer_with_headers("content-encoding: gzip\r\ncontent-encoding: gzip\r\n", &gzipped)
        }),
        ("gzip applied twice", answer_with_encoding("gzip, gzip", &gzip(&gzipped))),
        ("gzip and then identity", answer_with_encoding("gzip, identity", &gzipped)),
        ("gzip as the transfer encoding", {
            let head = b"HTTP/1.1 201 Created\r\ntransfer-encoding: gzip, chunked\r\n\r\n".to_vec();
            let chunk = joined(format!("{:x}\r\n", gzipped.len()).as_bytes(), &gzipped);
            [head, chunk, b"\r\n0\r\n\r\n".to_vec()].concat()
        }),
        (
            "a byte order mark",
            answer_with_headers(
                "content-type: application/json\r\n",
                &joined(b"\xef\xbb\xbf", json),
            ),
        ),
        (
            "a byte order mark in gzip",
            answer_with_encoding("gzip", &gzip(&joined(b"\xef\xbb\xbf", json))),
        ),
    ]
}

#[test]
fn an_odd_but_complete_answer_to_a_write_is_accepted() {
    let origins = TwoOrigins::start(Setup::new());
    let mut failures = Vec::new();
    for (case, bytes) in odd_answers() {
        origins.granted.set_script(move |_| Reply::Raw(bytes.clone()));
        for interface in INTERFACES {
            let received = origins.call(json!({"via": interface, "method": "POST", "body": "{}"}));
            let body = received.text.split_once("\n\n").map(|(_, body)| body);
            if received.result != "201" || body != Some(JSON_BODY) {
                failures
                    .push(format!("{case}, {interface}: {} {}", received.result, received.text));
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn a_guest_can_read_odd_headers() {
    let origins = TwoOrigins::start(Setup::new());
    for interface in INTERFACES {
        let header_lines = "x-long: one\r\n two\r\nx-bad\r\nx-space : 1\r\n";
        let answer = answer_with_headers(header_lines, b"{}");
        origins.granted.set_script(move |_| Reply::Raw(answer.clone()));
        let text = origins.call(json!({"via": interface})).text;
        assert!(
            text.contains("x-long: one two\n") && text.contains("x-space: 1\n"),
            "{interface}: {text}"
        );
    }
}

#[test]
fn an_answer_that_is_cut_off_is_an_error() {
    let origins = TwoOrigins::start(Setup::new());
    let gzipped = gzip(JSON_BODY.as_bytes());
    let head = |lines: &str| format!("HTTP/1.1 201 Created\r\n{lines}\r\n").into_bytes();
    let cut_off_answers = [
        (
            "fewer bytes than the content length",
            [head("content-length: 500\r\n"), JSON_BODY.into()].concat(),
        ),
        (
            "an incomplete chunk",
            [head("transfer-encoding: chunked\r\n"), b"12\r\n{\"issue\"".to_vec()].concat(),
        ),
        ("no final chunk", {
            let chunk = b"12\r\n{\"issue\":{\"id\":7}}\r\n".to_vec();
            [head("transfer-encoding: chunked\r\n"), chunk].concat()
        }),
        ("two different content lengths", {
            [head("content-length: 18\r\ncontent-length: 19\r\n"), JSON_BODY.into()].concat()
        }),
        ("gzip with fewer bytes than the content length", {
            let lines =
                format!("content-encoding: gzip\r\ncontent-length: {}\r\n", gzipped.len() + 9);
            [head(&lines), gzipped.clone()].concat()
        }),
        (
            "a content length with a folded line",
            [head("content-length: 5\r\n 00\r\n"), JSON_BODY.into()].concat(),
        ),
    ];
    for (case, bytes) in cut_off_answers {
        origins.granted.set_script(move |_| Reply::Raw(bytes.clone()));
        for interface in INTERFACES {
            let received = origins.call(json!({"via": interface, "method": "GET"}));
            assert!(
                !received.is_answered(),
                "{case}, {interface}: {} {}",
                received.result,
                received.text
            );
        }
    }
    // Each of these answers is complete, but its encoded body cannot be decoded.
    for damaged in [
        answer_with_encoding("gzip", &gzipped[..gzipped.len() - 9]),
        answer_with_encoding("br", b"\x01\x02\x03"),
    ] {
        origins.granted.set_script(move |_| Reply::Raw(damaged.clone()));
        for interface in INTERFACES {
            let received = origins.call(json!({"via": interface, "method": "GET"}));
            assert_eq!(received.result, "interrupted", "{interface}: {}", received.text);
        }
    }
}

/// Some servers answer 411 to a POST, PUT or DELETE without a content length.
#[test]
fn post_put_and_delete_without_a_body_send_content_length_zero() {
    let origins = TwoOrigins::start(Setup::new());
    for interface in INTERFACES {
        for (method, length) in
            [("POST", Some("0")), ("PUT", Some("0")), ("DELETE", Some("0")), ("GET", None)]
        {
            assert_eq!(origins.call(json!({"via": interface, "method": method})).result, "200");
            let request = origins.granted.last_request();
            assert_eq!(
                request.header("content-length"),
                length,
                "{interface} {method}: {request:?}"
            );
        }
    }
}

/// Of the two cookies of the answer, the redirected request sends only the one whose `Path` matches
/// the new address.
#[test]
fn a_cookie_lasts_for_the_run_and_stays_with_its_origin() {
    const SESSION: &str = "s3ss10n-0123456789abcdef";
    let origins = TwoOrigins::start(Setup::new());
    origins.granted.set_script(|exchange| {
        let cookies = exchange.request.header("cookie").unwrap_or("none").to_owned();
        match exchange.request.target.as_str() {
            "/x" => {
                let session =
                    format!("session={SESSION}; Path=/; HttpOnly; Secure; Domain=t.example");
                let answer = Response::new(302, "").with_header("location", "/below/home");
                let answer = answer.with_header("set-cookie", &session);
                Reply::Answer(answer.with_header("set-cookie", "elsewhere=1; Path=/other"))
            }
            _ => Reply::new(200, format!("cookies: {cookies}")),
        }
    });
    for interface in INTERFACES {
        let headers = "Cookie=own=1";
        let received = origins.call(json!({"via": interface, "headers": headers}));
        let sent = origins.granted.requests();
        let cookies: Vec<_> = sent.iter().rev().take(2).map(|it| it.header("cookie")).collect();
        let both_cookies = format!("own=1; session={SESSION}");
        assert_eq!(cookies, [Some(both_cookies.as_str()), Some("own=1")], "{interface}");
        let log = received.event["runs"].to_string();
        assert!(
            !log.contains(SESSION),
            "{interface}: the cookie, which is a credential, is in the event: {log}"
        );
        assert!(log.contains("cookies: own=1; session=[secret]"), "{interface}: {log}");
    }
    assert!(!origins.host.output().contains(SESSION));
}
