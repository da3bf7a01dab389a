//! Tests that a secret is sent only at its granted place and only to its granted origin, and that
//! it is redacted from responses.

use super::*;
use data_encoding::BASE64;

const SECRET: &str = "s3cr3t/k\"y";

fn header_place(name: &str, prefix: &str) -> SecretPlace {
    SecretPlace::Header { name: name.to_owned(), prefix: prefix.to_owned() }
}

#[tokio::test]
async fn a_secret_is_sent_only_at_its_granted_place_and_only_to_its_granted_origin() {
    let granted = FakeTracker::answering(|_| answer("200 OK", &[], b"")).await;
    let other = FakeTracker::answering(|_| answer("200 OK", &[], b"")).await;
    let basic = format!("Basic {}", BASE64.encode(format!("bot:{SECRET}").as_bytes()));
    let secret_as_user = format!("Basic {}", BASE64.encode(format!("{SECRET}:").as_bytes()));
    for (place, sent) in [
        (SecretPlace::Bearer, format!("authorization: Bearer {SECRET}\r\n")),
        (header_place("x-api-key", ""), format!("x-api-key: {SECRET}\r\n")),
        (header_place("authorization", "Token "), format!("authorization: Token {SECRET}\r\n")),
        (SecretPlace::Basic { user: Some("bot".into()) }, format!("authorization: {basic}\r\n")),
        (SecretPlace::Basic { user: None }, format!("authorization: {secret_as_user}\r\n")),
        (SecretPlace::Query { name: "key".into() }, "&key=s3cr3t%2Fk%22y HTTP/1.1".to_owned()),
    ] {
        let builder = RequestsBuilder::granting(&[&granted.origin(), &other.origin()]).secret(
            "key",
            SECRET,
            &granted.origin(),
            place,
        );
        let run_requests = builder.read_only_requests();
        run_requests.send(get(granted.url("/a?b=c"))).await.unwrap();
        let received = granted.requests().pop().unwrap();
        assert!(received.contains(&sent), "{sent} in {received}");
        run_requests.send(get(other.url("/a?b=c"))).await.unwrap();
        let received = other.requests().pop().unwrap();
        assert!(!received.contains("s3cr3t") && !received.contains("authorization"), "{received}");
        let (calls, _) = run_requests.finish().await;
        assert!(calls.iter().all(|call| call.path == "/a"), "the recorded path has no query");
    }
}

#[tokio::test]
async fn a_guest_cannot_set_the_query_parameter_of_a_secret() {
    let tracker = FakeTracker::answering(|_| answer("200 OK", &[], b"")).await;
    let place = SecretPlace::Query { name: "key".into() };
    let builder = RequestsBuilder::granting(&[&tracker.origin()]).secret(
        "k",
        SECRET,
        &tracker.origin(),
        place,
    );
    builder.read_only_requests().send(get(builder.url("/?key=1&x=y&k%65y=2"))).await.unwrap();
    let line = tracker.requests()[0].lines().next().unwrap().to_owned();
    assert_eq!(line, "GET /?x=y&key=s3cr3t%2Fk%22y HTTP/1.1");
}

const JSON: &str = "application/json";
const FORM: &str = "application/x-www-form-urlencoded";

/// A granted place, the content type and the body of a request, and the body that the host sends.
/// If the last value is `None`, the host denies the request.
type PlaceholderBody = (SecretPlace, &'static str, &'static str, Option<&'static str>);

fn placeholder_bodies() -> Vec<PlaceholderBody> {
    let json = || SecretPlace::Json { pointer: "/user/p".to_owned() };
    let form = || SecretPlace::Form { name: "p".to_owned() };
    vec![
        (json(), JSON, r#"{"user":{"p":"{}"},"n":1e400}"#, None),
        (
            json(),
            JSON,
            r#"{"a":1.0,"user":{"p":"{}"}}"#,
            Some(r#"{"a":1.0,"user":{"p":"s3cr3t/k\"y"}}"#),
        ),
        (
            json(),
            "Application/JSON; charset=utf-8",
            r#"{"user":{"p":"{}"}}"#,
            Some(r#"{"user":{"p":"s3cr3t/k\"y"}}"#),
        ),
        (json(), JSON, r#"{"user":{"p":" {}"}}"#, None),
        (json(), JSON, r#"{"p":"{}"}"#, None),
        (json(), JSON, r#"{"description":"{}","user":{"p":"x"}}"#, None),
        (json(), JSON, r#"{"user":{"p":"{}"},"description":"{}"}"#, None),
        (json(), JSON, r#"{"description":"{}","user":{"p":"ESCAPED"}}"#, None),
        (json(), JSON, r#"{"{}":1,"user":{"p":"ESCAPED"}}"#, None),
        (json(), JSON, r#"{"user":{"p":"{}","p":"x"}}"#, None),
        (json(), "application/octet-stream", r#"{"user":{"p":"{}"}}"#, None),
        (json(), "text/plain", "{}", None),
        (json(), FORM, "p={}", None),
        (form(), FORM, "a=1&p={}&q", Some("a=1&p=s3cr3t%2Fk%22y&q")),
        (form(), FORM, "p=x{}", None),
        (form(), FORM, "p=1&p={}", None),
        (form(), FORM, "q={}", None),
        (form(), FORM, "q={}&p=ESCAPED", None),
        (form(), "multipart/form-data; boundary=p", "p={}", None),
        (form(), JSON, r#"{"user":{"p":"{}"}}"#, None),
    ]
}

/// In `placeholder_bodies`, `{}` is the placeholder, and `ESCAPED` is the placeholder with an
/// escaped first letter.
#[tokio::test]
async fn a_placeholder_is_replaced_at_its_granted_place_and_refused_at_other_places() {
    let granted = FakeTracker::answering(|_| answer("200 OK", &[], b"")).await;
    let other = FakeTracker::answering(|_| answer("200 OK", &[], b"")).await;
    let prefix = "jackfield-secret-";
    for (place, content_type, body, sent) in placeholder_bodies() {
        let builder = RequestsBuilder::granting(&[&granted.origin(), &other.origin()]).secret(
            "password",
            SECRET,
            &granted.origin(),
            place.clone(),
        );
        let active = builder.active();
        let run_requests = builder.requests_of(&active, Permission::Reads);
        let text = active.placeholder("password").unwrap().to_owned();
        assert!(active.placeholder("other").is_none() && !text.contains("s3cr3t"));
        let escaped_prefix =
            if content_type == FORM { "%6aackfield-secret-" } else { "\\u006aackfield-secret-" };
        let escaped_text = text.replace(prefix, escaped_prefix);
        let body = body.replace("{}", &text).replace("ESCAPED", &escaped_text);
        let request = |url| {
            with_header(
                with_effect(post(url, body.clone()), Effect::Read),
                "content-type",
                content_type,
            )
        };
        let answer = run_requests.send(request(granted.url("/"))).await;
        match sent {
            Some(sent) => {
                answer.unwrap();
                let received = granted.requests().pop().unwrap();
                assert!(received.ends_with(&format!("\r\n\r\n{sent}")), "{received}");
            }
            None => {
                assert!(is_denied(&answer), "{content_type} {body}");
                let why = answer.unwrap_err().to_string();
                let place = if matches!(place, SecretPlace::Form { .. }) {
                    "in the field \"p\""
                } else {
                    "at \"/user/p\""
                };
                assert!(why.contains(place), "{why}");
            }
        }
        assert!(is_denied(&run_requests.send(request(other.url("/"))).await));
        assert!(is_denied(
            &run_requests.send(with_header(get(granted.url("/")), "x", &text)).await
        ));
        assert!(is_denied(&run_requests.send(get(granted.url(&format!("/?{text}")))).await));
    }
    assert!(other.requests().is_empty());
    assert!(granted.requests().iter().all(|received| received.matches("s3cr3t").count() == 1));
}

#[tokio::test]
async fn a_body_that_exceeds_its_limit_after_a_secret_is_inserted_is_refused() {
    let long = "s".repeat(4000);
    let mut builder = RequestsBuilder::granting(&["http://127.0.0.1:1"]).secret(
        "password",
        &long,
        "http://127.0.0.1:1",
        SecretPlace::Form { name: "p".to_owned() },
    );
    builder.limits.request_body_bytes = 10_000;
    let active = builder.active();
    let run_requests = builder.requests_of(&active, Permission::Reads);
    let body = format!("p={}&q={}", active.placeholder("password").unwrap(), "q".repeat(9_000));
    let request = with_effect(post(run_requests.url("/"), body), Effect::Read);
    let request = with_header(request, "content-type", "application/x-www-form-urlencoded");
    let error = run_requests.send(request).await.unwrap_err();
    assert!(matches!(error, HttpError::Limit(_)), "{error:?}");
}

/// Redaction does not recognise a part of a secret. So the host denies requests for a part of an
/// answer.
#[tokio::test]
async fn a_request_for_a_part_of_an_answer_is_denied_if_the_connection_has_secrets() {
    let tracker = FakeTracker::answering(|_| answer("200 OK", &[], b"")).await;
    let without_secret = RequestsBuilder::granting(&[&tracker.origin()]);
    let request = with_header(get(tracker.url("/")), "range", "bytes=0-2");
    without_secret.read_only_requests().send(request).await.unwrap();
    let with_secret = RequestsBuilder::granting(&[&tracker.origin()]).secret(
        "key",
        SECRET,
        &tracker.origin(),
        SecretPlace::Bearer,
    );
    let run_requests = with_secret.read_only_requests();
    for (name, value) in [("Range", "bytes=0-2"), ("range", "x"), ("If-Range", "\"a\"")] {
        assert!(
            is_denied(&run_requests.send(with_header(get(tracker.url("/")), name, value)).await),
            "{name}"
        );
    }
    assert_eq!(tracker.requests().len(), 1);
}

#[tokio::test]
async fn an_echoed_secret_is_redacted() {
    let percent = "s3cr3t%2fk%22y";
    let body = format!(
        "{SECRET} {percent} {} {} {}",
        serde_json::to_string(SECRET).unwrap(),
        BASE64.encode(SECRET.as_bytes()),
        BASE64.encode(format!("bot:{SECRET}").as_bytes()),
    );
    let tracker = FakeTracker::answering(move |_| {
        let headers = [("x-echo", SECRET), ("location", percent), ("x-other", "kept")];
        answer("200 OK", &headers, body.as_bytes())
    })
    .await;
    let place = SecretPlace::Basic { user: Some("bot".to_owned()) };
    let builder = RequestsBuilder::granting(&[&tracker.origin()]).secret(
        "key",
        SECRET,
        &tracker.origin(),
        place,
    );
    let run_requests = builder.read_only_requests();
    let answer = run_requests.send(get(tracker.url(&format!("/{percent}/")))).await.unwrap();
    let body = String::from_utf8(answer.body.bytes_in_memory().to_vec()).unwrap();
    assert_eq!(body.matches("[secret]").count(), 5, "{body}");
    assert!(!body.contains("s3cr3t") && !body.contains("czNjcjN0"), "{body}");
    assert!(body.ends_with(" [secret] [secret]"), "no piece of the base64 remains: {body}");
    assert_eq!(header_value(&answer, "x-echo"), Some("[secret]"));
    assert_eq!(header_value(&answer, "location"), Some("[secret]"));
    assert_eq!(header_value(&answer, "x-other"), Some("kept"));
    assert_eq!(header_value(&answer, "content-length"), Some(body.len().to_string().as_str()));
    assert_eq!(run_requests.redact(format!("log {SECRET}")), "log [secret]");
    let (calls, _) = run_requests.finish().await;
    assert_eq!(calls[0].path, "/[secret]/");
}

#[tokio::test]
async fn an_oauth_token_is_fetched_once_and_redacted() {
    let tokens = FakeTracker::answering(|_| {
        answer("200 OK", &[], br#"{"access_token":"fetched-t0ken","expires_in":3600}"#)
    })
    .await;
    let tracker = FakeTracker::answering(|request| answer("200 OK", &[], request.as_bytes())).await;
    let place = SecretPlace::ClientCredentials {
        token_url: tokens.url("/token").parse().unwrap(),
        client_id: "me".to_owned(),
        scope: Some("read write".to_owned()),
    };
    let builder = RequestsBuilder::granting(&[&tracker.origin()]).secret(
        "key",
        SECRET,
        &tracker.origin(),
        place,
    );
    let active = builder.active();
    for _ in 0..2 {
        let run_requests = builder.requests_of(&active, Permission::Reads);
        assert!(
            is_denied(&run_requests.send(get(tokens.url("/token"))).await),
            "only the host may use the token endpoint"
        );
        let answer = run_requests.send(get(run_requests.url("/"))).await.unwrap();
        let echo = String::from_utf8(answer.body.bytes_in_memory().to_vec()).unwrap();
        assert!(echo.contains("authorization: Bearer [secret]"), "{echo}");
    }
    assert!(tracker.requests()[0].contains("authorization: Bearer fetched-t0ken\r\n"));
    let token_requests = tokens.requests();
    assert_eq!(token_requests.len(), 1);
    let client = BASE64.encode(b"me:s3cr3t%2Fk%22y");
    assert!(
        token_requests[0].contains(&format!("authorization: Basic {client}\r\n")),
        "{}",
        token_requests[0]
    );
    assert!(
        token_requests[0].ends_with("grant_type=client_credentials&scope=read+write"),
        "{}",
        token_requests[0]
    );
}

#[tokio::test]
async fn if_no_token_is_issued_the_request_is_not_sent() {
    let tokens = FakeTracker::answering(|_| answer("401 No", &[], b"{}")).await;
    let place = SecretPlace::ClientCredentials {
        token_url: tokens.url("/token").parse().unwrap(),
        client_id: "me".to_owned(),
        scope: None,
    };
    let builder = RequestsBuilder::granting(&["http://127.0.0.1:1"]).secret(
        "key",
        SECRET,
        "http://127.0.0.1:1",
        place,
    );
    let run_requests = builder.read_only_requests();
    assert!(is_denied(&run_requests.send(get(run_requests.url("/"))).await));
    let (calls, _) = run_requests.finish().await;
    assert_eq!(calls.len(), 2, "the request of the guest and the request for the token");
}
