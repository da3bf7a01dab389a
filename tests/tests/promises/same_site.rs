//! A page of another site can make a browser send requests to the server: with that site's host
//! name, which then resolves to the server, or with the cookie of a session. Of the first kind, the
//! server accepts only webhooks. Of the second kind, it refuses changes.

use std::io::{Read, Write};
use std::net::TcpStream;

use jackfield_tests::{Setup, TestHost, failed_test};
use serde_json::json;

/// Sends a request with this host name. Returns the status of the answer.
fn status_for(host: &TestHost, name: &str, path: &str) -> String {
    let address = host.url().trim_start_matches("http://");
    let mut stream = TcpStream::connect(address).expect("a TCP connection");
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
fn an_unknown_host_name_is_refused_except_for_webhooks() {
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
    let connection = host.add_connection("qa", "instant", json!({}), json!({}));
    assert_eq!(status_for(&host, "evil.example", &connection.webhook_path), "200");
    host.create(&connection, &failed_test()).assert_status(200);
}

#[test]
fn a_change_from_a_page_of_another_origin_is_refused() {
    let host = Setup::new().start();
    let form = format!("token={}", host.admin_token());
    let content_type = ("content-type", "application/x-www-form-urlencoded");
    let sign_in = |headers: &[(&str, &str)]| {
        let headers = [&[content_type], headers].concat();
        host.anonymous().send("POST", "/sign-in", &headers, form.as_bytes())
    };
    for foreign_header in [("origin", "https://evil.example"), ("sec-fetch-site", "cross-site")] {
        sign_in(&[foreign_header]).assert_problem(403, "cross-site-request");
    }
    let own_headers = [("origin", host.url()), ("sec-fetch-site", "same-origin")];
    let signed_in = sign_in(&own_headers);
    let cookie = signed_in.header("set-cookie").expect("a cookie");
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
    // The session is still valid: the forged requests to sign out had no effect.
    let page = host.anonymous().send("GET", "/connections", &[("cookie", cookie)], b"");
    assert_eq!(page.status, 200, "{page:?}");
}
