//! Webhook requests that differ from Test Manager's documentation: with all-zero ids, compressed
//! bodies, other content types and character sets, or damaged texts.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
use jackfield_tests::{Answer, Connection, Setup, TestHost, failed_test};
use serde_json::{Value, json};

fn start_host() -> (TestHost, Connection) {
    Setup::new().start_with_guest("instant", json!({}))
}

fn send_create(
    host: &TestHost,
    connection: &Connection,
    headers: &[(&str, &str)],
    body: impl AsRef<[u8]>,
) -> Answer {
    host.anonymous().send("POST", &connection.create_path(), headers, body.as_ref())
}

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(text).expect("writing to memory does not fail");
    encoder.finish().expect("writing to memory does not fail")
}

#[test]
fn an_all_zero_id_is_refused() {
    let (host, connection) = start_host();
    for name in ["testExecutionId", "testCaseId"] {
        for zero in [
            "00000000-0000-0000-0000-000000000000",
            "00000000000000000000000000000000",
            "{00000000-0000-0000-0000-000000000000}",
            "urn:uuid:00000000-0000-0000-0000-000000000000",
        ] {
            let mut test = failed_test();
            test[name] = json!(zero);
            let detail = host.create(&connection, &test).problem(400, "bad-request");
            assert!(detail.contains(name) && detail.contains("all-zero"), "{detail}");
        }
    }
    assert_eq!(host.admin().get("/defects").expect(200)["defects"], json!([]));
    let mut test = failed_test();
    test["variationId"] = Value::Null;
    let first = host.create(&connection, &test).expect(200);
    test["variationId"] = json!("00000000-0000-0000-0000-000000000000");
    assert_eq!(
        host.create(&connection, &test).expect(200),
        first,
        "an all-zero variation id does not count as no variation"
    );
}

#[test]
fn a_compressed_body_is_read_like_an_uncompressed_body() {
    let (host, connection) = start_host();
    let text = failed_test().to_string();
    let expected = send_create(&host, &connection, &[], &text).expect(200);
    let mut zlib = ZlibEncoder::new(Vec::new(), Compression::fast());
    zlib.write_all(text.as_bytes()).expect("writing to memory does not fail");
    let mut deflate = DeflateEncoder::new(Vec::new(), Compression::fast());
    deflate.write_all(text.as_bytes()).expect("writing to memory does not fail");
    let (zlib, deflate) = (
        zlib.finish().expect("writing to memory does not fail"),
        deflate.finish().expect("writing to memory does not fail"),
    );
    let (begin, end) = text.as_bytes().split_at(20);
    for (encoding, body) in [
        ("gzip", gzip(text.as_bytes())),
        ("gzip", [gzip(begin), gzip(end)].concat()),
        ("X-GZIP", gzip(format!("\u{feff}{text}").as_bytes())),
        ("deflate", zlib),
        ("deflate", deflate),
        ("identity", text.clone().into_bytes()),
    ] {
        let headers = [("content-encoding", encoding), ("content-type", "application/json")];
        assert_eq!(
            send_create(&host, &connection, &headers, body).expect(200),
            expected,
            "{encoding}"
        );
    }
    let client = host.anonymous();
    let probe = client.send(
        "POST",
        &connection.webhook_path,
        &[("content-encoding", "gzip")],
        &gzip(b"{}"),
    );
    assert_eq!(probe.expect(200), json!({"status": "alive"}));
}

#[test]
fn a_decompression_bomb_and_an_unknown_encoding_are_refused() {
    let (host, connection) = start_host();
    let send_encoded = |encoding: &str, body: &[u8]| {
        let answer = send_create(&host, &connection, &[("content-encoding", encoding)], body);
        assert_eq!(host.event_of(&answer)["status"], answer.status);
        answer
    };
    let mut large = failed_test();
    large["padding"] = json!(" ".repeat(60 << 20));
    let bomb = gzip(large.to_string().as_bytes());
    assert!(bomb.len() < 64 * 1024, "{}", bomb.len());
    let (answer, rise) = host.rise_of_peak(|| send_encoded("gzip", &bomb));
    answer.assert_problem(413, "payload-too-large");
    assert!(rise < 16 << 20, "the peak of memory rose by {rise} bytes");
    let text = failed_test().to_string();
    let gzipped = gzip(text.as_bytes());
    for broken in [&gzipped[..gzipped.len() - 4], text.as_bytes()] {
        let detail = send_encoded("gzip", broken).problem(400, "bad-request");
        assert!(detail.contains("gzip"), "{detail}");
    }
    for unknown in ["br", "zstd", "gzip, gzip"] {
        let detail = send_encoded(unknown, text.as_bytes()).problem(415, "unsupported-media-type");
        assert!(detail.contains(unknown) && detail.contains("deflate"), "{detail}");
    }
    host.create(&connection, &failed_test()).assert_status(200);
}

#[test]
fn json_is_accepted_with_other_content_types_and_character_sets() {
    let (host, connection) = start_host();
    let mut test = failed_test();
    test["variationId"] = json!("Zeile ä");
    let text = test.to_string();
    let expected = send_create(&host, &connection, &[], &text).expect(200);
    let utf_16: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let latin_1: Vec<u8> = text.chars().map(|c| u8::try_from(c).expect("Latin-1")).collect();
    for (content_type, body) in [
        ("text/plain", text.as_bytes()),
        ("text/plain; charset=utf-8", text.as_bytes()),
        ("application/octet-stream", text.as_bytes()),
        ("application/json; charset=\"UTF-8\"", text.as_bytes()),
        ("application/json; charset=utf-16", &utf_16),
        ("application/json", &utf_16),
        ("text/plain; charset=ISO-8859-1", &latin_1),
    ] {
        let answer = send_create(&host, &connection, &[("content-type", content_type)], body);
        assert_eq!(answer.expect(200), expected, "{content_type}");
    }
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let detail =
        send_create(&host, &connection, &form, &text).problem(415, "unsupported-media-type");
    assert!(detail.contains("application/json") && detail.contains("curl"), "{detail}");
}

#[test]
fn a_create_with_half_a_surrogate_pair_or_control_characters_is_accepted() {
    let (host, connection) = start_host();
    let test = failed_test();
    let body = |variation: &str| {
        let (execution, case) = (&test["testExecutionId"], &test["testCaseId"]);
        format!(
            r#"{{"new\ud800":["\udfff",{{"\udc00":1}}],"testExecutionId":{execution},
                "testCaseId":{case},"variationId":"{variation}","linkToTestCaseLog":"x\ud83d"}}"#
        )
    };
    let mut answers = Vec::new();
    for (sent, stored) in [
        (r"row \ud83d", "row \u{fffd}"),
        (r"row \uDE00\ud83d", "row \u{fffd}\u{fffd}"),
        (r"row \ud83d\ude00", "row \u{1f600}"),
        (r"row \\ud83d", "row \\ud83d"),
        (r"row \u0000\u001b", "row \u{fffd}\u{fffd}"),
    ] {
        let answer = send_create(&host, &connection, &[], body(sent));
        answers.push(answer.expect(200)["id"].clone());
        let newest = &host.admin().get("/defects").expect(200)["defects"];
        let variations = newest.as_array().expect("defects").iter().map(|it| &it["variation_id"]);
        assert!(variations.into_iter().any(|it| it == stored), "{sent}: {newest}");
    }
    answers.dedup();
    assert_eq!(answers.len(), 5, "two neighbouring variations are the same failed test");
}

#[test]
fn the_event_of_a_refused_create_shows_the_request() {
    let (host, connection) = start_host();
    let headers = [
        ("authorization", "Bearer very-secret-token"),
        ("x-api-key", "very-secret-key"),
        ("x-sender", "4711"),
        ("content-encoding", "gzip"),
    ];
    let body = r#"{"TestExecutionID": "what is this?"}"#;
    let answer = send_create(&host, &connection, &headers, gzip(body.as_bytes()));
    answer.assert_problem(400, "bad-request");
    let event = host.event_of(&answer);
    assert_eq!(
        (&event["kind"], &event["request"]["body"]),
        (&json!("create-defect"), &json!(body))
    );
    let text = event["request"].to_string();
    for expected in ["x-sender", "4711", "Bearer (17 characters)", "(15 characters)"] {
        assert!(text.contains(expected), "{expected} is missing in: {text}");
    }
    assert!(!text.contains("very-secret"), "{text}");
    assert!(!text.contains(connection.webhook_path.trim_start_matches("/hooks/")), "{text}");

    let created = host.create(&connection, &failed_test());
    let event = host.event_of(&created);
    assert_eq!(
        (&event["request"]["headers"], &event["request"]["body"]),
        (&json!([]), &Value::Null)
    );

    let long = "x".repeat(60_000);
    let answers: Vec<_> = (0..99).map(|_| send_create(&host, &connection, &[], &long)).collect();
    let events: Vec<_> = answers.iter().map(|answer| host.event_of(answer)).collect();
    assert_eq!(events.len(), 99, "not each refused request has an event");
    let has_body = |event: &&Value| event["request"]["body"].is_string();
    let count = events.iter().filter(has_body).count();
    assert!((1..60).contains(&count), "{count} of 99 events contain the request");
    let body = events.iter().find(has_body).expect("an event with the body")["request"]["body"]
        .to_string();
    assert!(body.len() < 5_000 && body.contains("60000 bytes"), "{}", body.len());
}

#[test]
fn a_client_connection_stays_open_for_keep_alive_s_between_requests() {
    let (host, connection) =
        Setup::new().config("keep_alive_s = 2").start_with_guest("instant", json!({}));
    let address = host.url().trim_start_matches("http://").to_owned();
    let mut stream = TcpStream::connect(address).expect("a TCP connection");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a time-out");
    let request = format!("GET {} HTTP/1.1\r\nhost: x\r\n\r\n", connection.webhook_path);
    let mut answer = [0; 4_096];
    for _ in 0..3 {
        std::thread::sleep(Duration::from_millis(800));
        stream.write_all(request.as_bytes()).expect("the TCP connection is open");
        let length = stream.read(&mut answer).expect("an answer");
        assert!(answer[..length].starts_with(b"HTTP/1.1 200"), "{length} bytes");
    }
    let last_answer_at = Instant::now();
    stream.read_to_end(&mut Vec::new()).expect("the end of the TCP connection");
    let open_for = last_answer_at.elapsed();
    assert!(
        open_for >= Duration::from_secs(1) && open_for < Duration::from_secs(15),
        "{open_for:?}"
    );
}
