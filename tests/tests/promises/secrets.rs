//! No guest gets a secret. No log, no event, no error and no file in the data folder contains a
//! secret. Each secret is sent only to the granted origin, and only in the granted place.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use data_encoding::BASE64;
use jackfield_tests::{
    Exchange, Reply, Response, ScriptedServer, Setup, TestHost, failed_test, wait_for,
};
use serde_json::json;

use crate::calls::{INTERFACES, Received, add_connection, call};

/// A secret with special characters, so that each encoding of it is different.
const SECRET: &str = "s3cr3t/\"quoted\" & +plus%";

/// The header of a request with a JSON body, as a setting of the guest `calls`.
const JSON_HEADER: &str = "Content-Type=application/json";
/// A body that contains the placeholder of the secret at the granted place.
const LOGIN_BODY: &str = r#"{"user": {"password": "{secret}"}}"#;

fn start_host() -> TestHost {
    Setup::new().guests(["calls"]).start()
}

fn answer_reached(_: &Exchange<'_>) -> Reply {
    Reply::new(200, "reached")
}

#[test]
fn the_host_puts_each_secret_into_its_granted_place() {
    let (host, tracker) = (start_host(), ScriptedServer::start(answer_reached));
    let basic = format!("Basic {}", BASE64.encode(format!("bot:{SECRET}").as_bytes()));
    let bearer = "Bearer s3cr3t-token".to_owned();
    let places = [
        ("key-bearer", json!({}), "authorization", bearer, "s3cr3t-token"),
        ("key-header", json!({}), "x-api-key", format!("Token {SECRET}"), SECRET),
        ("key-basic", json!({"user": "bot"}), "authorization", basic, SECRET),
    ];
    for interface in INTERFACES {
        for (name, settings, header, expected, secret) in &places {
            let mut settings = settings.clone();
            settings["via"] = json!(interface);
            let connection = add_connection(&host, &tracker, settings, json!({*name: secret}));
            assert_eq!(call(&host, &connection).result, "200", "{name} {interface}");
            let request = tracker.last_request();
            assert_eq!(request.header(header), Some(expected.as_str()), "{name} {interface}");
        }
        let secrets = json!({"key-query": SECRET});
        let connection = add_connection(&host, &tracker, json!({"via": interface}), secrets);
        host.create(&connection, &failed_test()).assert_status(200);
        let target = tracker.last_request().target;
        assert!(target.starts_with("/x?key=s3cr3t") && !target.contains('"'), "{target}");

        let body = json!({"user": {"name": "bot", "password": SECRET}}).to_string();
        let settings = json!({"via": interface, "method": "POST", "headers": JSON_HEADER,
            "body": body.replace(&json!(SECRET).to_string(), "\"{secret}\"")});
        let connection = add_connection(&host, &tracker, settings, json!({"key-json": SECRET}));
        assert_eq!(call(&host, &connection).result, "200", "{interface}");
        assert_eq!(tracker.last_request().text(), body);
    }
}

#[test]
fn a_secret_is_sent_only_to_its_own_origin() {
    let (host, tracker, other) = (
        start_host(),
        ScriptedServer::start(answer_reached),
        ScriptedServer::start(answer_reached),
    );
    for interface in INTERFACES {
        for name in ["key-bearer", "key-header", "key-query", "key-json"] {
            let settings = json!({"other": other.url(), "target": format!("{}/x", other.url()),
                "via": interface, "headers": JSON_HEADER, "body": LOGIN_BODY});
            let connection =
                add_connection(&host, &tracker, settings, json!({name: "s3cr3t-token"}));
            let received = call(&host, &connection);
            let expected = if name == "key-json" { "denied" } else { "200" };
            assert_eq!(received.result, expected, "{name} {interface}: {}", received.text);
        }
    }
    assert_eq!(
        other.requests().len(),
        6,
        "not exactly the requests without a placeholder in the body were sent"
    );
    for request in other.requests() {
        assert!(!format!("{request:?}{}", request.text()).contains("s3cr3t-token"), "{request:?}");
        assert_eq!(request.header("authorization"), None);
    }
}

/// The attack that must fail: a guest stores the secret in the tracker and reads it back in pieces,
/// which redaction would not find.
#[test]
fn a_guest_can_neither_store_a_secret_elsewhere_nor_read_it_in_pieces() {
    let (host, tracker) = (start_host(), ScriptedServer::start(answer_reached));
    for interface in INTERFACES {
        for (headers, body, target) in [
            ("Content-Type=application/octet-stream", "{secret}", "/uploads"),
            ("Content-Type=application/octet-stream", LOGIN_BODY, "/uploads"),
            (JSON_HEADER, r#"{"issue": {"description": "{secret}"}}"#, "/issues"),
            (
                JSON_HEADER,
                r#"{"user": {"password": "{secret}"}, "description": "{secret}"}"#,
                "/issues",
            ),
            ("X-Signed={secret}", "{}", "/issues"),
            (JSON_HEADER, "{}", "/issues?q={secret}"),
            (JSON_HEADER, "password={secret}", "/issues"),
        ] {
            let settings = json!({"via": interface, "method": "POST", "headers": headers, "body": body,
                "target": tracker.url() + target});
            for name in ["key-json", "key-form"] {
                let connection =
                    add_connection(&host, &tracker, settings.clone(), json!({name: SECRET}));
                let received = call(&host, &connection);
                assert_eq!(
                    received.result, "denied",
                    "{interface} {name} {headers} {body} {target}"
                );
            }
        }
        for name in ["key-json", "key-header", "key-client"] {
            for header in ["Range=bytes=0-2", "If-Range=\"tag\""] {
                let settings = json!({"via": interface, "headers": header, "client-id": "bot",
                    "token-url": tracker.url() + "/token"});
                let connection = add_connection(&host, &tracker, settings, json!({name: SECRET}));
                assert_eq!(
                    call(&host, &connection).result,
                    "denied",
                    "{interface} {name} {header}"
                );
            }
        }
    }
    assert_eq!(tracker.requests().len(), 0, "a request was sent");
}

#[test]
fn a_guest_cannot_set_a_header_that_carries_a_secret() {
    let (host, tracker) = (start_host(), ScriptedServer::start(answer_reached));
    for interface in INTERFACES {
        for headers in ["X-Api-Key=mine", "x-api-key=mine too", "Authorization=Bearer mine"] {
            let settings = json!({"headers": headers, "via": interface});
            let secrets = json!({"key-header": SECRET, "key-bearer": "s3cr3t-token"});
            let received = call(&host, &add_connection(&host, &tracker, settings, secrets));
            assert_eq!(received.result, "denied", "{interface} {headers}: {}", received.text);
        }
    }
    assert_eq!(tracker.requests().len(), 0, "a request was sent");
}

#[test]
fn a_guest_can_read_no_secret_and_no_data_of_the_machine() {
    let host = Setup::new()
        .env("JACKFIELD_SECRET_OF_THE_HOST", "s3cr3t-of-the-host")
        .guests(["reads-secrets"])
        .start();
    let server = ScriptedServer::start(answer_reached);
    let secrets = json!({"header": "s3cr3t-header", "hidden": "s3cr3t-hidden"});
    let settings = json!({"url": server.url()});
    let connection = host.add_connection("qa", "reads-secrets", settings, secrets);
    let defect = host.create(&connection, &failed_test()).expect(200);
    let findings = defect["description"].as_str().expect("the guest's findings");
    assert!(!findings.contains("s3cr3t"), "{findings}");
    assert!(findings.contains("header=None hidden=jackfield-secret-"), "{findings}");
    let nothing = "environment=[] arguments=[] files=[] written=[] sockets=[]";
    assert!(findings.ends_with(nothing), "{findings}");
    assert_eq!(server.tcp_connections(), 0, "a socket reached the granted origin");
}

/// After the tracker has refused a token, the host fetches a new token.
#[test]
fn the_host_fetches_tokens_with_a_client_secret_and_hides_them_from_guests() {
    let (host, valid_number) = (start_host(), Arc::new(AtomicU32::new(1)));
    let number_in_script = Arc::clone(&valid_number);
    let tracker = ScriptedServer::start(move |exchange| {
        let token = format!("t0ken-number-{}", number_in_script.load(Ordering::SeqCst));
        if exchange.request.target == "/token" {
            let body = json!({"access_token": token, "expires_in": 3600}).to_string();
            return Reply::json(200, &body);
        }
        let sent = exchange.request.header("authorization").unwrap_or_default();
        let status = if sent == format!("Bearer {token}") { 200 } else { 401 };
        Reply::new(status, format!("you sent {sent}"))
    });
    let token_requests = || {
        let requests = tracker.requests().into_iter();
        requests.filter(|request| request.target == "/token").collect::<Vec<_>>()
    };
    for (index, interface) in INTERFACES.into_iter().enumerate() {
        let token_url = tracker.url() + "/token";
        let settings = json!({"via": interface, "client-id": "bot", "token-url": token_url});
        let connection = add_connection(&host, &tracker, settings, json!({"key-client": SECRET}));
        let send = || {
            let answer = host.create(&connection, &failed_test());
            let received = Received::from_answer(&host, &answer);
            for text in [&answer.body, &received.event.to_string()] {
                assert!(!text.contains("t0ken-number") && !text.contains("s3cr3t"), "{text}");
            }
            received.result
        };
        assert_eq!((send(), send()), ("200".to_owned(), "200".to_owned()), "{interface}");
        assert_eq!(
            token_requests().len(),
            3 * index + 1,
            "{interface}: the two requests did not share one token"
        );
        valid_number.fetch_add(1, Ordering::SeqCst);
        assert_eq!(
            (send(), send()),
            ("401".to_owned(), "200".to_owned()),
            "{interface}: the second request after the revocation must succeed"
        );
        assert_eq!(
            token_requests().len(),
            3 * index + 2,
            "{interface}: not exactly one more token was fetched after the refusal"
        );
        valid_number.fetch_add(1, Ordering::SeqCst);
        send();
        send();
        assert_eq!(token_requests().len(), 3 * index + 3, "{interface}");
    }
    let request = token_requests().remove(0);
    let grant = "grant_type=client_credentials&scope=defects";
    assert!(request.text().contains(grant), "{request:?}");
    let authorization = request.header("authorization");
    assert!(authorization.is_some_and(|value| value.starts_with("Basic ")), "{request:?}");
}

/// The tracker chooses a token of one repeated character. The tracker's answers contain all but the
/// end of this token many times, which would slow down the search for the token.
#[test]
fn a_repetitive_token_that_would_slow_down_redaction_is_refused() {
    let host = start_host();
    let tracker = ScriptedServer::start(|exchange| {
        let body = match exchange.request.target.as_str() {
            "/token" => json!({"access_token": "a".repeat(4_000)}).to_string(),
            _ => ("a".repeat(3_999) + "b").repeat(2_000),
        };
        Reply::json(200, &body)
    });
    for interface in INTERFACES {
        let token_url = tracker.url() + "/token";
        let settings = json!({"via": interface, "client-id": "bot", "token-url": token_url});
        let connection = add_connection(&host, &tracker, settings, json!({"key-client": SECRET}));
        let received = call(&host, &connection);
        assert_eq!(received.result, "denied", "{interface}");
        let calls = received.event["runs"][0]["calls"].to_string();
        assert!(calls.contains("repeat"), "{interface}: {calls}");
    }
    let answer = host.admin().json(
        "POST",
        "/connections",
        &json!({"name": "x", "connector": "calls", "secrets": {"key-header": "0".repeat(40)},
            "settings": {"url": tracker.url(), "target": tracker.url()}}),
    );
    answer.assert_problem(422, "invalid-values");
    assert!(answer.body.contains("key-header"), "{answer:?}");
}

/// The user is a setting, so its text may be repetitive. The host searches answers for the user
/// together with the password.
#[test]
fn a_repetitive_user_name_does_not_slow_down_redaction() {
    let host = Setup::new().config("[limits]\ncpu_ms = 5000").guests(["calls"]).start();
    let body = ("a".repeat(3_999) + "b").repeat(2_000);
    let tracker = ScriptedServer::start(move |_| Reply::new(200, body.as_str()));
    let settings = json!({"user": "a".repeat(4_000)});
    let connection = add_connection(&host, &tracker, settings, json!({"key-basic": SECRET}));
    assert_eq!(call(&host, &connection).result, "200");
}

/// The secret is a reference to a file, so a new value takes effect without a restart.
#[test]
fn a_changed_secret_file_is_read_again() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("key");
    fs::write(&file, "first-k3y\n").expect("the file is created");
    let roots = format!("secret_file_roots = [{:?}]\nsweep_ms = 50", folder.path());
    let host = Setup::new().config(&roots).guests(["calls"]).start();
    let tracker = ScriptedServer::start(answer_reached);
    let reference = json!({"key-header": format!("file:{}", file.display())});
    let connection = add_connection(&host, &tracker, json!({}), reference);
    let sent_header = || {
        host.create(&connection, &failed_test()).assert_status(200);
        tracker.last_request().header("x-api-key").map(str::to_owned)
    };
    assert_eq!(sent_header().as_deref(), Some("Token first-k3y"));
    fs::write(&file, "second-k3y\n").expect("the file is overwritten");
    wait_for("the new value to be used", 20, || {
        (sent_header().as_deref() == Some("Token second-k3y")).then_some(())
    });
}

/// The tracker echoes the secret in many encodings, in a header and in the body.
#[test]
fn an_echoed_secret_is_redacted_for_guest_events_and_logs() {
    let percent_encoded: String = SECRET.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let json_escaped = serde_json::to_string(SECRET).expect("a text");
    let encoded_secrets = [
        SECRET.to_owned(),
        percent_encoded,
        "s3cr3t%2F%22quoted%22+%26+%2Bplus%25".to_owned(),
        "s3cr3t%2F%22quoted%22%20%26%20%2Bplus%25".to_owned(),
        json_escaped.trim_matches('"').to_owned(),
        SECRET.replace('"', "\\u0022").replace('/', "\\/"),
        BASE64.encode(SECRET.as_bytes()),
        BASE64.encode(format!("bot:{SECRET}").as_bytes()),
    ];
    let host = start_host();
    for encoded in encoded_secrets {
        let echo = encoded.clone();
        let tracker = ScriptedServer::start(move |_| {
            let body = format!("you sent {echo} to us");
            Reply::Answer(Response::new(200, body).with_header("x-echo", &echo))
        });
        for interface in INTERFACES {
            let settings = json!({"via": interface, "user": "bot"});
            let connection =
                add_connection(&host, &tracker, settings, json!({"key-basic": SECRET}));
            let Received { text, event, .. } = call(&host, &connection);
            assert!(text.contains("you sent"), "{text}");
            assert!(!text.contains(&encoded), "{encoded} reached the guest: {text}");
            assert!(!event.to_string().contains(&encoded), "{encoded} is in the event");
            let log = event["runs"][0]["log"].to_string();
            assert_eq!(
                log.matches("you sent").count(),
                2,
                "the log must contain the answer twice, logged and printed: {log}"
            );
        }
        assert!(!host.output().contains(&encoded), "{encoded} is in the log");
    }
}

#[test]
fn neither_the_disk_nor_the_admin_api_shows_a_secret_or_a_token() {
    let (mut host, tracker) = (start_host(), ScriptedServer::start(answer_reached));
    let secrets = json!({"key-header": "s3cr3t-on-disk"});
    let connection = add_connection(&host, &tracker, json!({}), secrets);
    host.create(&connection, &failed_test()).assert_status(200);
    let token = connection.webhook_path.trim_start_matches("/hooks/").to_owned();
    let admin = host.admin();
    let mut all_output = String::new();
    for path in [
        "/connections",
        &format!("/connections/{}", connection.id),
        "/events",
        "/connectors",
        "/defects",
    ] {
        all_output += &admin.get(path).body;
    }
    all_output += &host.output();
    assert!(host.stop().success());
    for secret in ["s3cr3t-on-disk", token.as_str()] {
        assert!(!all_output.contains(secret), "{secret} is shown");
        for (path, bytes) in host.files_in_data_folder() {
            let is_in_file = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
            assert!(!is_in_file, "{secret} is in {path}");
        }
    }
}

/// Returns an answer that uses the word `issue` as a tracker does, and also echoes the secret
/// `issue`.
fn answer_with_issue(origin: &str) -> String {
    format!(
        r#"{{"issue":{{"key":"issue-7","self":"{origin}/issue/7","issue type":"bug"}},"project":"our issue board","sent":"issue","error":"the key issue is wrong"}}"#
    )
}

/// A secret may be a common word.
#[test]
fn the_redaction_of_a_common_word_damages_neither_answers_nor_links() {
    let host = start_host();
    let tracker = ScriptedServer::start(|exchange| {
        let origin = format!("http://{}", exchange.request.header("host").unwrap_or_default());
        let body = answer_with_issue(&origin);
        let answer = Response::json(201, &body).with_header("location", &(origin + "/issue/7"));
        Reply::Answer(answer.with_header("x-echo", "Bearer issue").with_header("issue", "kept"))
    });
    let expected = answer_with_issue(&tracker.url())
        .replace(r#":"issue""#, r#":"[secret]""#)
        .replace("key issue is", "key [secret] is");
    for interface in INTERFACES {
        // The word also occurs in the value of a setting. This value is not an echo of the secret,
        // so the word in it is not redacted.
        let settings = json!({"via": interface, "method": "POST", "user": "our issue board"});
        let connection = add_connection(&host, &tracker, settings, json!({"key-bearer": "issue"}));
        let Received { result, text, event } = call(&host, &connection);
        let (headers, body) = text.split_once("\n\n").expect("headers and a body");
        assert_eq!((result.as_str(), body), ("201", expected.as_str()), "{interface}");
        for line in [
            &format!("location: {}/issue/7", tracker.url()),
            "issue: kept",
            "x-echo: Bearer [secret]",
        ] {
            assert!(headers.lines().any(|it| it == line), "{interface}: no {line} in {headers}");
        }
        let log = event["runs"][0]["log"].to_string();
        assert!(log.contains(r#"\"sent\":\"[secret]\""#), "{interface}: {log}");
    }
}

#[test]
fn a_short_secret_causes_a_warning_that_names_the_secret() {
    let (host, tracker) = (start_host(), ScriptedServer::start(answer_reached));
    let settings = json!({"url": tracker.url(), "target": tracker.url() + "/x", "user": "redmine"});
    let body = json!({"name": "qa", "connector": "calls", "settings": settings,
        "secrets": {"key-basic": "redmine"}});
    let assert_warnings = |record: &serde_json::Value, names: &[&str]| {
        let warnings = record["warnings"].as_array().expect("warnings");
        assert_eq!(warnings.len(), names.len(), "{record}");
        for (warning, name) in warnings.iter().zip(names) {
            let warning = warning.as_str().unwrap_or_default();
            assert!(warning.contains(&format!("`{name}`")) && warning.contains("12"), "{warning}");
        }
    };
    assert_warnings(&host.admin().json("POST", "/connections", &body).expect(201), &["key-basic"]);
    assert_warnings(&host.connection("qa"), &["key-basic"]);
    let tried = host.admin().send("POST", "/connections/qa/try", &[], b"{}");
    assert_warnings(&tried.expect(200), &["key-basic"]);
    let edit = json!({"secrets": {"key-query": "w0rd", "key-basic": "one-long-enough"}});
    assert_warnings(
        &host.admin().json("PATCH", "/connections/qa", &edit).expect(200),
        &["key-query"],
    );
    for arguments in [&["connections", "show", "qa"][..], &["connections", "try", "qa"]] {
        let (_, printed) = host.run_cli(arguments);
        assert!(printed.contains("`key-query`"), "{arguments:?}: {printed}");
    }
    fs::write(host.folder().join("short"), "word").expect("the file is created");
    let edit = ["connections", "edit", "qa", "--secret", "key-header=@short"];
    let (succeeded, printed) = host.run_cli(&edit);
    assert!(
        succeeded && printed.contains("warning: ") && printed.contains("`key-header`"),
        "{printed}"
    );
    let log = host.output();
    assert!(log.contains("`key-basic`") && log.contains("`key-header`"), "{log}");
    assert!(!log.contains("w0rd"), "{log}");
}
