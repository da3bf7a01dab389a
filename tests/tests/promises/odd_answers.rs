//! Trackers, and the proxies in front of them, answer in odd ways. A complete answer is accepted;
//! an answer that is cut off is an error. Both HTTP interfaces behave in the same way.

use std::io::Write;

use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
use jackfield_tests::{Reply, Response, Setup};
use serde_json::json;

use crate::calls::{INTERFACES, TwoOrigins};

const JSON: &str = r#"{"issue":{"id":7}}"#;

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

/// A complete answer with these header lines.
fn raw(lines: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 201 Created\r\n{lines}content-length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

/// A complete answer with this content encoding.
fn encoded(encoding: &str, body: &[u8]) -> Vec<u8> {
    raw(&format!("content-encoding: {encoding}\r\n"), body)
}

/// Complete answers to a write, with the status 201 and the body `JSON`.
fn odd_answers() -> Vec<(&'static str, Vec<u8>)> {
    let json = JSON.as_bytes();
    let (packed, half) = (gzip(json), json.len() / 2);
    let members = [gzip(&json[..half]), gzip(&json[half..])].concat();
    let with = |bytes: &[u8], more: &[u8]| [bytes, more].concat();
    let http10 = |line: &str| with(format!("HTTP/1.0 201 Created\r\n{line}\r\n").as_bytes(), json);
    let status_line = |line: &str| {
        with(format!("{line}\r\ncontent-length: {}\r\n\r\n", json.len()).as_bytes(), json)
    };
    let chunked = |body: &str| {
        with(b"HTTP/1.1 201 Created\r\ntransfer-encoding: chunked\r\n\r\n", body.as_bytes())
    };
    vec![
        ("a folded header", raw("x-long: one\r\n two\r\n\tthree\r\n", json)),
        ("a space before the colon", raw("x-space : 1\r\n", json)),
        ("a header without a colon", raw("nonsense\r\n", json)),
        ("a header name with a space", raw("Not A Name: 1\r\n", json)),
        ("a header without a name", raw(": 1\r\n", json)),
        ("a control character in a header", raw("x-control: a\x01b\r\n", json)),
        ("Latin-1 in a header", {
            with(b"HTTP/1.1 201 Created\r\nx-latin: M\xfcller\r\ncontent-length: 18\r\n\r\n", json)
        }),
        ("an empty header", raw("x-empty:\r\n", json)),
        ("line feeds only", { with(b"HTTP/1.1 201 Created\ncontent-length: 18\n\n", json) }),
        ("no reason phrase", status_line("HTTP/1.1 201")),
        ("an empty reason phrase", status_line("HTTP/1.1 201 ")),
        ("Latin-1 in the reason phrase", {
            with(b"HTTP/1.1 201 Cr\xe9\xe9\r\ncontent-length: 18\r\n\r\n", json)
        }),
        ("an empty line before the answer", with(b"\r\n", &raw("", json))),
        ("the same length twice", raw("content-length: 18\r\n", json)),
        ("the same length twice in one line", {
            with(b"HTTP/1.1 201 Created\r\ncontent-length: 18, 18\r\n\r\n", json)
        }),
        ("100 Continue before it", with(b"HTTP/1.1 100 Continue\r\n\r\n", &raw("", json))),
        ("102 and 103 before it", {
            let hints =
                b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n";
            with(hints, &raw("", json))
        }),
        ("HTTP/1.0 without a length", http10("")),
        ("HTTP/1.0 with keep-alive and no length", http10("connection: keep-alive\r\n")),
        ("HTTP/1.1 without a length", with(b"HTTP/1.1 201 Created\r\n\r\n", json)),
        ("a chunk extension and a trailer", {
            chunked("12;name=value\r\n{\"issue\":{\"id\":7}}\r\n0\r\nx-sum: 1\r\n\r\n")
        }),
        ("a padded chunk size", chunked("0012  \r\n{\"issue\":{\"id\":7}}\r\n000\r\n\r\n")),
        ("a length beside chunks", {
            let head =
                b"HTTP/1.1 201 Created\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n";
            with(head, b"12\r\n{\"issue\":{\"id\":7}}\r\n0\r\n\r\n")
        }),
        ("bytes after the answer", with(&raw("", json), b"and more")),
        ("x-gzip", encoded("x-gzip", &packed)),
        ("gzip in upper case", encoded("GZIP", &packed)),
        ("gzip with padding", encoded("gzip", &with(&packed, &[0; 700]))),
        ("gzip with text after it", encoded("gzip", &with(&packed, b"\r\n<!-- cached -->"))),
        ("several members", encoded("gzip", &members)),
        ("several members and padding", encoded("gzip", &with(&members, &[0; 3]))),
        ("deflate with a zlib header", encoded("deflate", &zlib(json))),
        ("deflate without a zlib header", encoded("deflate", &deflate(json))),
        ("deflate with padding", encoded("deflate", &with(&zlib(json), b"\r\n"))),
        ("gzip called deflate", encoded("deflate", &packed)),
        ("identity", encoded("identity", json)),
        ("an empty encoding", encoded("", json)),
        ("a character set as the encoding", encoded("utf-8", json)),
        ("an unknown encoding of text", encoded("binary", json)),
        ("text called gzip", encoded("gzip", json)),
        ("text called deflate", encoded("deflate", json)),
        ("gzip named twice", encoded("gzip, gzip", &packed)),
        ("gzip named in two headers", {
            raw("content-encoding: gzip\r\ncontent-encoding: gzip\r\n", &packed)
        }),
        ("gzip applied twice", encoded("gzip, gzip", &gzip(&packed))),
        ("gzip and then identity", encoded("gzip, identity", &packed)),
        ("gzip as the transfer encoding", {
            let head = b"HTTP/1.1 201 Created\r\ntransfer-encoding: gzip, chunked\r\n\r\n".to_vec();
            let chunk = with(format!("{:x}\r\n", packed.len()).as_bytes(), &packed);
            [head, chunk, b"\r\n0\r\n\r\n".to_vec()].concat()
        }),
        (
            "a byte order mark",
            raw("content-type: application/json\r\n", &with(b"\xef\xbb\xbf", json)),
        ),
        ("a byte order mark in gzip", encoded("gzip", &gzip(&with(b"\xef\xbb\xbf", json)))),
    ]
}

#[test]
fn an_odd_but_complete_answer_to_a_write_is_accepted() {
    let origins = TwoOrigins::start(Setup::new());
    let mut wrong = Vec::new();
    for (what, bytes) in odd_answers() {
        origins.granted.set_script(move |_| Reply::Raw(bytes.clone()));
        for via in INTERFACES {
            let received = origins.call(json!({"via": via, "method": "POST", "body": "{}"}));
            let body = received.text.split_once("\n\n").map(|(_, body)| body);
            if received.key != "201" || body != Some(JSON) {
                wrong.push(format!("{what}, {via}: {} {}", received.key, received.text));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_guest_can_read_odd_headers() {
    let origins = TwoOrigins::start(Setup::new());
    for via in INTERFACES {
        let lines = "x-long: one\r\n two\r\nx-bad\r\nx-space : 1\r\n";
        let answer = raw(lines, b"{}");
        origins.granted.set_script(move |_| Reply::Raw(answer.clone()));
        let text = origins.call(json!({"via": via})).text;
        assert!(
            text.contains("x-long: one two\n") && text.contains("x-space: 1\n"),
            "{via}: {text}"
        );
    }
}

#[test]
fn an_answer_that_is_cut_off_is_an_error() {
    let origins = TwoOrigins::start(Setup::new());
    let packed = gzip(JSON.as_bytes());
    let head = |lines: &str| format!("HTTP/1.1 201 Created\r\n{lines}\r\n").into_bytes();
    let cut = [
        ("fewer bytes than the length", [head("content-length: 500\r\n"), JSON.into()].concat()),
        (
            "an incomplete chunk",
            [head("transfer-encoding: chunked\r\n"), b"12\r\n{\"issue\"".to_vec()].concat(),
        ),
        ("no final chunk", {
            let chunk = b"12\r\n{\"issue\":{\"id\":7}}\r\n".to_vec();
            [head("transfer-encoding: chunked\r\n"), chunk].concat()
        }),
        ("different lengths", {
            [head("content-length: 18\r\ncontent-length: 19\r\n"), JSON.into()].concat()
        }),
        ("gzip with fewer bytes than the length", {
            let lines =
                format!("content-encoding: gzip\r\ncontent-length: {}\r\n", packed.len() + 9);
            [head(&lines), packed.clone()].concat()
        }),
        (
            "a length with a folded line",
            [head("content-length: 5\r\n 00\r\n"), JSON.into()].concat(),
        ),
    ];
    for (what, bytes) in cut {
        origins.granted.set_script(move |_| Reply::Raw(bytes.clone()));
        for via in INTERFACES {
            let received = origins.call(json!({"via": via, "method": "GET"}));
            assert!(!received.is_answered(), "{what}, {via}: {} {}", received.key, received.text);
        }
    }
    // These answers are complete, but their encoded bodies are damaged: the guest gets an error.
    for damaged in [encoded("gzip", &packed[..packed.len() - 9]), encoded("br", b"\x01\x02\x03")] {
        origins.granted.set_script(move |_| Reply::Raw(damaged.clone()));
        for via in INTERFACES {
            let received = origins.call(json!({"via": via, "method": "GET"}));
            assert_eq!(received.key, "interrupted", "{via}: {}", received.text);
        }
    }
}

/// Some servers answer 411 to a POST, PUT or DELETE without a content length.
#[test]
fn post_put_and_delete_without_a_body_send_content_length_zero() {
    let origins = TwoOrigins::start(Setup::new());
    for via in INTERFACES {
        for (method, length) in
            [("POST", Some("0")), ("PUT", Some("0")), ("DELETE", Some("0")), ("GET", None)]
        {
            assert_eq!(origins.call(json!({"via": via, "method": method})).key, "200");
            let request = origins.granted.last_request();
            assert_eq!(request.header("content-length"), length, "{via} {method}: {request:?}");
        }
    }
}

/// A sign-in page that redirects: the next request of the run sends the cookie, but another run
/// does not.
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
    for via in INTERFACES {
        let headers = "Cookie=own=1";
        let received = origins.call(json!({"via": via, "headers": headers}));
        let sent = origins.granted.requests();
        let cookies: Vec<_> = sent.iter().rev().take(2).map(|it| it.header("cookie")).collect();
        let both = format!("own=1; session={SESSION}");
        assert_eq!(cookies, [Some(both.as_str()), Some("own=1")], "{via}");
        let log = received.event["runs"].to_string();
        assert!(
            !log.contains(SESSION),
            "{via}: the cookie, which is a credential, is in the event: {log}"
        );
        assert!(log.contains("cookies: own=1; session=[secret]"), "{via}: {log}");
    }
    assert!(!origins.host.output().contains(SESSION));
}
