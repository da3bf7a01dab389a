//! The interface `http` completes addresses, encodes queries and bodies, and decodes texts for a
//! connector.

use jackfield_tests::{Reply, Response, Setup, merge};
use serde_json::{Value, json};

use crate::calls::{Received, TwoOrigins, add_connection, call};

fn start_origins() -> TwoOrigins {
    TwoOrigins::start(Setup::new())
}

#[track_caller]
fn send(origins: &TwoOrigins, mut settings: Value, secrets: Value) -> Received {
    settings["via"] = json!("http");
    call(&origins.host, &add_connection(&origins.host, &origins.granted, settings, secrets))
}

#[test]
fn a_path_is_appended_to_the_url_of_a_setting_and_the_query_is_encoded() {
    let origins = start_origins();
    let url = origins.granted.url() + "/redmine/";
    let settings = json!({"url": url, "target": "/a%2Fb.json?x", "query": "name=a b&c\n~k=ü/?"});
    assert_eq!(send(&origins, settings, json!({})).result, "200");
    let target = "/redmine/a%2Fb.json?x&name=a%20b%26c&~k=%C3%BC%2F%3F";
    assert_eq!(origins.granted.last_request().target, target);

    let with_base =
        |base: &str| json!({"other": origins.other.url() + "/api", "target": "/x", "base": base});
    assert_eq!(send(&origins, with_base("other"), json!({})).result, "200");
    assert_eq!(origins.other.last_request().target, "/api/x");
    let unknown_base = send(&origins, with_base("web"), json!({}));
    assert_eq!(unknown_base.result, "invalid");
    assert!(unknown_base.text.contains("`other`, `url`"), "{}", unknown_base.text);
}

#[test]
fn a_path_that_could_leave_the_url_of_a_setting_is_refused_and_recorded() {
    let origins = start_origins();
    for target in ["/../x", "/%2e%2E/x", "/a/.", "/a\\..\\..\\x"] {
        let url = origins.granted.url() + "/redmine";
        let received = send(&origins, json!({"url": url, "target": target}), json!({}));
        assert_eq!(received.result, "invalid", "{target}: {}", received.text);
        let call = &received.event["runs"][0]["calls"][0];
        assert!(call["error"].as_str().is_some_and(|why| why.contains("path")), "{call}");
    }
    assert_eq!(origins.granted.requests().len(), 0);
}

#[test]
fn bodies_are_encoded_and_secrets_replace_their_placeholders() {
    let origins = start_origins();
    let send_post = |settings: Value, secrets: Value| {
        let post = merge(json!({"method": "POST"}), settings);
        let received = send(&origins, post, secrets);
        assert_eq!(received.result, "200", "{}", received.text);
        let request = origins.granted.last_request();
        (request.header("content-type").unwrap_or_default().to_owned(), request.text())
    };
    let login = r#"{"user": {"password": "{secret}"}}"#;
    let json_body = json!({"body-kind": "json", "body": login});
    let (content_type, text) = send_post(json_body, json!({"key-json": "s3cr3t-\"ü"}));
    assert_eq!(content_type, "application/json");
    assert_eq!(text, r#"{"user": {"password": "s3cr3t-\"ü"}}"#);

    let form_body = json!({"body-kind": "form", "body": "user=a b\npassword={secret}"});
    let (content_type, text) = send_post(form_body, json!({"key-form": "s3cr3t &ü"}));
    assert_eq!(content_type, "application/x-www-form-urlencoded");
    assert_eq!(text, "user=a+b&password=s3cr3t%20%26%C3%BC");

    let multipart_body =
        json!({"body-kind": "multipart", "body": "title=a test failed\nBild ü.png@=ü"});
    let (content_type, text) = send_post(multipart_body, json!({}));
    let boundary = content_type.strip_prefix("multipart/form-data; boundary=").expect("a boundary");
    let expected = format!(
        "--{boundary}\r\nContent-Disposition: form-data; name=\"title\"\r\n\r\na test failed\r\n\
         --{boundary}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"Bild ü.png\"\r\n\
         Content-Type: application/octet-stream\r\n\r\nü\r\n--{boundary}--\r\n"
    );
    assert_eq!(text, expected);
}

#[test]
fn a_multipart_part_that_could_break_its_body_is_refused() {
    let origins = start_origins();
    for body in ["na\"me=x", "a\\.png@=x", ""] {
        let settings = json!({"method": "POST", "body-kind": "multipart", "body": body});
        assert_eq!(send(&origins, settings, json!({})).result, "invalid", "{body}");
    }
    let own_content_type = json!({"method": "POST", "body-kind": "multipart", "body": "a=b",
        "headers": "Content-Type=multipart/form-data; boundary=mine"});
    assert_eq!(send(&origins, own_content_type, json!({})).result, "invalid");
    let with_secret =
        json!({"method": "POST", "body-kind": "multipart", "body": "password={secret}"});
    assert_eq!(send(&origins, with_secret, json!({"key-form": "s3cr3t-form"})).result, "denied");
    assert_eq!(origins.granted.requests().len(), 0);
}

#[test]
fn answers_in_several_charsets_are_decoded_and_contain_their_url() {
    let origins = start_origins();
    let texts: [(&str, &[u8]); 3] = [
        ("text/plain; charset=iso-8859-1", b"f\xfcnf \xff"),
        ("application/json", b"\xef\xbb\xbff\xc3\xbcnf \xc3\xbf"),
        ("text/plain; charset=utf-16le", b"\xff\xfef\0\xfc\0n\0f\0 \0\xff\0"),
    ];
    for (content_type, body) in texts {
        origins.granted.set_script(move |exchange| match exchange.request.target.as_str() {
            "/there" => {
                Reply::Answer(Response::new(200, body).with_header("Content-Type", content_type))
            }
            _ => Reply::Answer(Response::new(302, "").with_header("Location", "/there")),
        });
        let received = send(&origins, json!({"target": "/here"}), json!({}));
        assert!(received.text.ends_with("\n\nfünf ÿ"), "{content_type}: {}", received.text);
        let url = format!("url: {}/there\n", origins.granted.url());
        assert!(received.text.starts_with(&url), "{content_type}: {}", received.text);
    }
}
