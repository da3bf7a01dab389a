//! Fuzzes the admin API of a server. Each line of the input is a request, such as
//! `POST /connections JSON`.
#![no_main]

use std::sync::LazyLock;

use http::Method;
use jackfield_fuzz::{Answer, FuzzedServer};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

const REQUESTS_MAX: usize = 8;

static SERVER: LazyLock<FuzzedServer> = LazyLock::new(FuzzedServer::start);

fuzz_target!(|input: &[u8]| {
    let Ok(text) = std::str::from_utf8(input) else { return };
    for line in text.lines().take(REQUESTS_MAX) {
        let mut words = line.splitn(3, ' ');
        let (Some(method), Some(path)) = (words.next(), words.next()) else { continue };
        // The routes `try` and `hook` run guests, so they are not fuzzed.
        if path.contains("/try") || path.contains("/hook/") {
            continue;
        }
        let body = words.next().unwrap_or_default();
        let Ok(method) = method.parse::<Method>() else { continue };
        let Some(answer) = SERVER.send(&method, path, body) else { continue };
        assert_well_formed(line, &method, &answer);
        assert_no_secret(line, body, &answer);
    }
    SERVER.delete_connections();
});

/// Asserts that the server did not fail, and that it described in JSON what is wrong with a refused
/// request.
fn assert_well_formed(line: &str, method: &Method, answer: &Answer) {
    let status = answer.status;
    assert!((200..500).contains(&status), "{line}: {answer:?}");
    if status == 204 || *method == Method::HEAD {
        return;
    }
    let body: Value = serde_json::from_str(&answer.text)
        .unwrap_or_else(|error| panic!("{line}: {error}: {answer:?}"));
    if status >= 400 {
        assert_eq!(answer.content_type, "application/problem+json", "{line}: {answer:?}");
        assert_eq!(body["status"], status, "{line}: {answer:?}");
        let has_text = |member: &str| body[member].as_str().is_some_and(|text| !text.is_empty());
        let is_problem = ["type", "title", "detail"].into_iter().all(has_text);
        assert!(is_problem, "{line}: {answer:?}");
    }
}

/// Asserts that the answer contains no secret of the request. Skips short secrets, and secrets
/// whose text is not exactly once in the request, because an answer may repeat other parts of the
/// request.
fn assert_no_secret(line: &str, body: &str, answer: &Answer) {
    let Ok(body) = serde_json::from_str::<Value>(body) else { return };
    let Some(secrets) = body.get("secrets").and_then(Value::as_object) else { return };
    for secret in secrets.values().filter_map(Value::as_str) {
        if secret.len() >= 8 && line.matches(secret).count() == 1 {
            assert!(!answer.text.contains(secret), "{line}: {answer:?}");
        }
    }
}
