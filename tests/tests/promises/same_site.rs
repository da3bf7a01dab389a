//! What a page of another site can make a browser send: a request under a name that leads to this
//! machine, and a change with the cookie of a session.

use std::io::{Read, Write};
use std::net::TcpStream;

use jackfield_tests::{Setup, TestHost, failed_test};
use serde_json::json;

/// The status of a request for this host name.
fn status_for(host: &TestHost, name: &str, path: &str) -> String {
    let address = host.url().trim_start_matches("http://");
    let mut stream = TcpStream::connect(address).expect("a connection");
    let token = host.admin_token();
    let request = format!(
        "GET {path} HTTP/1.1\r\nhost: {name}\r\nauthorization: Bearer {token}\r\nconnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).expect("the request is sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer.split_whitespace().nth(1).expect("a status").to_owned()
}

#[test]
fn another_name_for_this_machine_is_refused_except_for_webhooks() {
    let host = Setup::new()
        .config("allowed_hosts = [\"jackfield.intern\"]\npublic_url = \"https://hooks.example\"")
        .guests(["instant"])
        .start();
    for path in ["/", "/api/v1/status", "/sign-in", "/healthz"] {
        for name in ["evil.example", "localhost.evil.example:8080"] {
            assert_eq!(status_for(&host, name, path), "421", "{name}{path}");
        }
        for name in ["localhost:8080", "127.0.0.1", "[::1]", "jackfield.intern", "hooks.example"] {
            assert_eq!(status_for(&host, name, path), "200", "{name}{path}");
        }
    }
    let connection = host.connect("qa", "instant", json!({}), json!({}));
    assert_eq!(status_for(&host, "evil.example", &connection.webhook_path), "200");
    host.create(&connection, &failed_test()).assert_status(200);
}

#[test]
fn a_change_from_a_page_of_another_origin_is_refused() {
    let host = Setup::new().start();
    let form = format!("token={}", host.admin_token());
    let kind = ("content-type", "application/x-www-form-urlencoded");
    let sign_in = |headers: &[(&str, &str)]| {
        let headers = [&[kind], headers].concat();
        host.anonymous().send("POST", "/sign-in", &headers, form.as_bytes())
    };
    for foreign in [("origin", "https://evil.example"), ("sec-fetch-site", "cross-site")] {
        sign_in(&[foreign]).assert_problem(403, "cross-site-request");
    }
    let own = [("origin", host.url()), ("sec-fetch-site", "same-origin")];
    let signed = sign_in(&own);
    let cookie = signed.header("set-cookie").expect("a cookie");
    let cookie = cookie.split(';').next().expect("a value");
    for headers in [
        vec![("cookie", cookie), ("sec-fetch-site", "same-site")],
        vec![("cookie", cookie), ("origin", "null")],
        vec![("cookie", cookie), ("x-csrf-token", "wrong")],
    ] {
        let refused = host.anonymous().send("POST", "/sign-out", &headers, b"csrf=wrong");
        assert_eq!(refused.status, 403, "{refused:?}");
        assert!(refused.body.contains("may come from another site"), "{refused:?}");
    }
    // The session goes on: only its own page may end it.
    let page = host.anonymous().send("GET", "/connections", &[("cookie", cookie)], b"");
    assert_eq!(page.status, 200, "{page:?}");
}
