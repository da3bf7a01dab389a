//! What the interface `http` does for a connector: it completes addresses, encodes queries and
//! bodies, and decodes texts.

use jackfield_tests::{Reply, Response, Setup, merge};
use serde_json::{Value, json};

use crate::calls::{Received, TwoOrigins, call, connect};

fn origins() -> TwoOrigins {
    TwoOrigins::start(Setup::new())
}

/// Sends a request through the interface `http`.
#[track_caller]
fn send(origins: &TwoOrigins, mut settings: Value, secrets: Value) -> Received {
    settings["via"] = json!("http");
    call(&origins.host, &connect(&origins.host, &origins.granted, settings, secrets))
}

#[test]
fn a_path_is_below_the_address_of_its_setting_and_the_query_is_encoded() {
    let origins = origins();
    let url = origins.granted.url() + "/redmine/";
    let settings = json!({"url": url, "target": "/a%2Fb.json?x", "query": "name=a b&c\n~k=ü/?"});
    assert_eq!(send(&origins, settings, json!({})).key, "200");
    let target = "/redmine/a%2Fb.json?x&name=a%20b%26c&~k=%C3%BC%2F%3F";
    assert_eq!(origins.granted.last_request().target, target);

    let two =
        |base: &str| json!({"other": origins.other.url() + "/api", "target": "/x", "base": base});
    assert_eq!(send(&origins, two("other"), json!({})).key, "200");
    assert_eq!(origins.other.last_request().target, "/api/x");
    let unknown = send(&origins, two("web"), json!({}));
    assert_eq!(unknown.key, "invalid");
    assert!(unknown.text.contains("`other`, `url`"), "{}", unknown.text);
}

#[test]
fn a_path_that_could_leave_the_address_of_its_setting_is_refused_and_recorded() {
    let origins = origins();
    for target in ["/../x", "/%2e%2E/x", "/a/.", "/a\\..\\..\\x"] {
        let url = origins.granted.url() + "/redmine";
        let received = send(&origins, json!({"url": url, "target": target}), json!({}));
        assert_eq!(received.key, "invalid", "{target}: {}", received.text);
        let call = &received.event["runs"][0]["calls"][0];
        assert!(call["error"].as_str().is_some_and(|why| why.contains("path")), "{call}");
    }
    assert_eq!(origins.granted.requests().len(), 0);
}

#[test]
fn bodies_are_encoded_and_carry_the_secrets_of_their_places() {
    let origins = origins();
    let sent = |settings: Value, secrets: Value| {
        let post = merge(json!({"method": "POST"}), settings);
        let received = send(&origins, post, secrets);
        assert_eq!(received.key, "200", "{}", received.text);
        let request = origins.granted.last_request();
        (request.header("content-type").unwrap_or_default().to_owned(), request.text())
    };
    let login = r#"{"user": {"password": "{secret}"}}"#;
    let json = json!({"body-kind": "json", "body": login});
    let (kind, text) = sent(json, json!({"key-json": "s3cr3t-\"ü"}));
    assert_eq!(kind, "application/json");
    assert_eq!(text, r#"{"user": {"password": "s3cr3t-\"ü"}}"#);

    let form = json!({"body-kind": "form", "body": "user=a b\npassword={secret}"});
    let (kind, text) = sent(form, json!({"key-form": "s3cr3t &ü"}));
    assert_eq!(kind, "application/x-www-form-urlencoded");
    assert_eq!(text, "user=a+b&password=s3cr3t%20%26%C3%BC");

    let parts = json!({"body-kind": "multipart", "body": "title=a test failed\nBild ü.png@=ü"});
    let (kind, text) = sent(parts, json!({}));
    let boundary = kind.strip_prefix("multipart/form-data; boundary=").expect("a boundary");
    let expected = format!(
        "--{boundary}\r\nContent-Disposition: form-data; name=\"title\"\r\n\r\na test failed\r\n\
         --{boundary}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"Bild ü.png\"\r\n\
         Content-Type: application/octet-stream\r\n\r\nü\r\n--{boundary}--\r\n"
    );
    assert_eq!(text, expected);
}

#[test]
fn a_part_that_could_break_the_frame_of_its_body_is_refused() {
    let origins = origins();
    for body in ["na\"me=x", "a\\.png@=x", ""] {
        let settings = json!({"method": "POST", "body-kind": "multipart", "body": body});
        assert_eq!(send(&origins, settings, json!({})).key, "invalid", "{body}");
    }
    let own = json!({"method": "POST", "body-kind": "multipart", "body": "a=b",
        "headers": "Content-Type=multipart/form-data; boundary=mine"});
    assert_eq!(send(&origins, own, json!({})).key, "invalid");
    let secret = json!({"method": "POST", "body-kind": "multipart", "body": "password={secret}"});
    assert_eq!(send(&origins, secret, json!({"key-form": "s3cr3t-form"})).key, "denied");
    assert_eq!(origins.granted.requests().len(), 0);
}

#[test]
fn an_answer_is_text_in_any_charset_and_names_its_address() {
    let origins = origins();
    let texts: [(&str, &[u8]); 3] = [
        ("text/plain; charset=iso-8859-1", b"f\xfcnf \xff"),
        ("application/json", b"\xef\xbb\xbff\xc3\xbcnf \xc3\xbf"),
        ("text/plain; charset=utf-16le", b"\xff\xfef\0\xfc\0n\0f\0 \0\xff\0"),
    ];
    for (kind, body) in texts {
        origins.granted.set_script(move |exchange| match exchange.request.target.as_str() {
            "/there" => Reply::Answer(Response::new(200, body).with_header("Content-Type", kind)),
            _ => Reply::Answer(Response::new(302, "").with_header("Location", "/there")),
        });
        let received = send(&origins, json!({"target": "/here"}), json!({}));
        assert!(received.text.ends_with("\n\nfünf ÿ"), "{kind}: {}", received.text);
        let url = format!("url: {}/there\n", origins.granted.url());
        assert!(received.text.starts_with(&url), "{kind}: {}", received.text);
    }
}
