//! A connection may accept webhooks only with a credential, or only from certain client addresses.
//! The event of a request with a wrong credential does not contain this credential. A request whose
//! sender is refused does not use up the connection's rate.

use std::fs;
use std::process::Command;

use data_encoding::BASE64;
use hmac::{Hmac, KeyInit as _, Mac as _};
use jackfield_tests::{Answer, Connection, Setup, TestHost, failed_test, wait_for};
use serde_json::{Value, json};
use sha2::Sha256;

const NEW_SECRET: &str = "the-new-secret-of-senders";
const OLD_SECRET: &str = "the-old-secret-of-senders";
/// A secret that a configuration names as the previous one.
const PREVIOUS_SECRET: &str = "another-secret-of-senders";
/// The value of the header `Authorization` with the user `tm` and `NEW_SECRET`.
const BASIC_NEW: &str = "Basic dG06dGhlLW5ldy1zZWNyZXQtb2Ytc2VuZGVycw==";
/// The value of the header `Authorization` with the user `tm` and `OLD_SECRET`.
const BASIC_OLD: &str = "Basic dG06dGhlLW9sZC1zZWNyZXQtb2Ytc2VuZGVycw==";

/// Starts a server with a connection. The files `new` and `old` in the server's folder contain
/// `NEW_SECRET` and `OLD_SECRET`.
fn start_host() -> (TestHost, Connection) {
    let (host, connection) = Setup::new().start_with_guest("instant", json!({}));
    for (name, secret) in [("new", NEW_SECRET), ("old", OLD_SECRET)] {
        fs::write(host.folder().join(name), secret).expect("the secret is written");
    }
    (host, connection)
}

fn send_create(host: &TestHost, connection: &Connection, headers: &[(&str, &str)]) -> Answer {
    let body = failed_test().to_string();
    host.anonymous().send("POST", &connection.create_path(), headers, body.as_bytes())
}

/// Runs `connections edit qa` with these arguments. The command must succeed.
#[track_caller]
fn edit_connection(host: &TestHost, arguments: &[&str]) {
    let (succeeded, printed) = host.run_cli(&[&["connections", "edit", "qa"], arguments].concat());
    assert!(succeeded, "{printed}");
    assert!(!printed.contains(NEW_SECRET) && !printed.contains(OLD_SECRET), "{printed}");
}

#[test]
fn a_sender_must_show_the_credential_of_its_scheme() {
    let (host, connection) = start_host();
    let bearer = |secret| format!("Bearer {secret}");
    let cases: [(&[&str], &str, String, String); 3] = [
        (&["--webhook-auth", "bearer"], "authorization", bearer(NEW_SECRET), bearer(OLD_SECRET)),
        (
            &["--webhook-auth", "basic", "--webhook-user", "tm"],
            "authorization",
            BASIC_NEW.to_owned(),
            BASIC_OLD.to_owned(),
        ),
        (
            &["--webhook-auth", "api-key", "--webhook-header", "X-Tm-Pass"],
            "x-tm-pass",
            NEW_SECRET.to_owned(),
            OLD_SECRET.to_owned(),
        ),
    ];
    for (scheme, header, new, old) in &cases {
        let secrets = ["--webhook-secret=@new", "--webhook-secret-previous=@old"];
        edit_connection(&host, &[scheme, &secrets[..]].concat());
        for value in [new, old] {
            send_create(&host, &connection, &[(header, value)]).assert_status(200);
        }
        let missing = send_create(&host, &connection, &[]);
        let detail = missing.problem(401, "sender-refused");
        assert!(detail.contains(header) && detail.contains("missing"), "{detail}");
        let challenge = missing.header("www-authenticate").unwrap_or_default();
        assert!(challenge.contains("jackfield webhook"), "{missing:?}");
        let wrong = send_create(&host, &connection, &[(header, &format!("{old}x"))]);
        let detail = wrong.problem(401, "sender-refused");
        let event = host.event_of(&wrong);
        assert_eq!(
            (&event["outcome"], &event["detail"]),
            (&json!("sender-refused"), &json!(detail))
        );
        let text = event["request"].to_string();
        assert!(text.contains(header) && text.contains("characters)"), "{text}");
        assert!(!text.contains(OLD_SECRET) && !text.contains("dG06"), "{text}");

        edit_connection(&host, &["--no-webhook-secret-previous"]);
        send_create(&host, &connection, &[(header, old)]).assert_problem(401, "sender-refused");
        send_create(&host, &connection, &[(header, new)]).assert_status(200);
    }
    let connection_details = host.connection("qa");
    assert_eq!(connection_details["webhook_auth"]["header"], "x-tm-pass");
    assert_eq!(connection_details["has_webhook_secret"], true);
    assert_eq!(
        connection_details["secrets_set"],
        json!([]),
        "the secrets of senders count as secrets of the connector"
    );
    for text in [connection_details.to_string(), host.output()] {
        assert!(!text.contains(NEW_SECRET) && !text.contains(OLD_SECRET), "{text}");
    }
    edit_connection(&host, &["--no-webhook-credential", "--webhook-client", "127.0.0.0/8"]);
    send_create(&host, &connection, &[]).assert_status(200);
    let connection_details = host.connection("qa");
    assert_eq!(connection_details["webhook_auth"]["allowed_clients"], json!(["127.0.0.0/8"]));
    assert_eq!(connection_details["has_webhook_secret"], false);
    edit_connection(&host, &["--no-webhook-auth"]);
    send_create(&host, &connection, &[]).assert_status(200);
    assert_eq!(host.connection("qa")["webhook_auth"]["allowed_clients"], json!([]));
}

fn now_s() -> u64 {
    let now = Command::new("date").arg("+%s").output().expect("date runs").stdout;
    String::from_utf8_lossy(&now).trim().parse().expect("a number")
}

/// Returns the headers with which a sender of Standard Webhooks signs this body at this time.
fn signature_headers(key: &[u8], at_s: u64, body: &str) -> [(String, String); 3] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("a key of any length");
    mac.update(format!("msg_1.{at_s}.{body}").as_bytes());
    let signature = format!("v1,{}", BASE64.encode(&mac.finalize().into_bytes()));
    let pair = |name: &str, value: String| (format!("webhook-{name}"), value);
    [pair("id", "msg_1".into()), pair("timestamp", at_s.to_string()), pair("signature", signature)]
}

#[test]
fn a_signed_request_is_accepted_within_the_tolerance_of_its_timestamp_and_with_either_key() {
    let (host, connection) = start_host();
    let (new, old) = ([7; 24], [8; 32]);
    for (name, key) in [("new", &new[..]), ("old", &old)] {
        let text = format!("whsec_{}", BASE64.encode(key));
        fs::write(host.folder().join(name), text).expect("the key is written");
    }
    edit_connection(
        &host,
        &[
            "--webhook-auth",
            "signature",
            "--webhook-tolerance-s=60",
            "--webhook-secret=@new",
            "--webhook-secret-previous=@old",
        ],
    );
    let now = now_s();
    let body = failed_test().to_string();
    let send = |headers: &[(String, String)], body: &str| {
        let headers: Vec<_> = headers.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        host.anonymous().send("POST", &connection.webhook_path, &headers, body.as_bytes())
    };
    for key in [&new[..], &old] {
        send(&signature_headers(key, now, &body), &body).assert_status(200);
    }
    for (headers, expected) in [
        (signature_headers(&[9; 24], now, &body), "no signature"),
        (signature_headers(&new, now, &failed_test().to_string()), "no signature"),
        (signature_headers(&new, now - 120, &body), "check both clocks"),
        (signature_headers(&new, now + 120, &body), "check both clocks"),
    ] {
        let detail = send(&headers, &body).problem(401, "sender-refused");
        assert!(detail.contains(expected), "{detail}");
    }
    let detail =
        send(&signature_headers(&new, now, &body)[..2], &body).problem(401, "sender-refused");
    assert!(detail.contains("webhook-signature is missing"), "{detail}");
    assert_eq!(
        send(&[], "{}").expect(200),
        json!({"status": "alive"}),
        "a probe needs no signature"
    );
}

#[test]
fn a_new_key_for_signatures_leaves_the_previous_key_valid() {
    let (host, connection) = start_host();
    let keys: [&[u8]; 3] = [&[1; 24], &[2; 24], &[3; 24]];
    let encoded_key = |key: &[u8]| format!("whsec_{}", BASE64.encode(key));
    let accepted_keys = || {
        let (now, body) = (now_s(), failed_test().to_string());
        let statuses = keys.map(|key| {
            let headers = signature_headers(key, now, &body);
            let headers: Vec<_> = headers.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
            let path = &connection.webhook_path;
            host.anonymous().send("POST", path, &headers, body.as_bytes()).status
        });
        statuses.map(|status| status == 200)
    };
    fs::write(host.folder().join("new"), encoded_key(keys[0])).expect("the key is written");
    edit_connection(&host, &["--webhook-auth", "signature", "--webhook-secret=@new"]);
    assert_eq!(accepted_keys(), [true, false, false]);
    // If the key is set to the same value again, it does not become the previous key.
    edit_connection(&host, &["--webhook-secret=@new"]);
    assert_eq!(host.connection("qa")["has_webhook_secret_previous"], false);
    fs::write(host.folder().join("new"), encoded_key(keys[1])).expect("the key is written");
    edit_connection(&host, &["--webhook-secret=@new"]);
    assert_eq!(accepted_keys(), [true, true, false]);
    let patch = |body: Value| host.admin().json("PATCH", "/connections/qa", &body).expect(200);
    let edited = patch(json!({"webhook_secret": encoded_key(keys[2])}));
    assert_eq!(edited["has_webhook_secret_previous"], true);
    assert_eq!(
        accepted_keys(),
        [false, true, true],
        "not exactly the two newest keys are accepted"
    );
    let edited =
        patch(json!({"webhook_secret": encoded_key(keys[0]), "webhook_secret_previous": null}));
    assert_eq!(edited["has_webhook_secret_previous"], false);
    assert_eq!(
        accepted_keys(),
        [true, false, false],
        "a previous key is accepted although it was removed"
    );
    // After a change of the scheme, the replaced key does not become the previous secret.
    patch(json!({"webhook_auth": {"scheme": "bearer"}, "webhook_secret": NEW_SECRET}));
    assert_eq!(host.connection("qa")["has_webhook_secret_previous"], false);
}

#[test]
fn trigger_sends_the_credential_of_each_scheme() {
    let (host, connection) = start_host();
    let key = format!("whsec_{}", BASE64.encode(&[7; 24]));
    fs::write(host.folder().join("key"), &key).expect("the key is written");
    let url = format!("{}{}", host.url(), connection.webhook_path);
    let basic = ["--webhook-auth", "basic", "--webhook-user", "tm"];
    let api_key = ["--webhook-auth", "api-key", "--webhook-header", "x-tm"];
    let schemes: [(&[&str], &str, &str); 4] = [
        (&["--webhook-auth", "bearer"], "new", NEW_SECRET),
        (&basic, "new", NEW_SECRET),
        (&api_key, "new", NEW_SECRET),
        (&["--webhook-auth", "signature"], "key", &key),
    ];
    for (scheme, file, secret) in schemes {
        edit_connection(&host, &[scheme, &[&format!("--webhook-secret=@{file}")]].concat());
        for webhook in ["create-defect", "kpis"] {
            let trigger = |more: &[&str]| {
                let mut command = host.cli(&[&["trigger", webhook, "--url", &url], more].concat());
                let output = command.env("SENDER", secret).output().expect("the command runs");
                let printed = [output.stdout, output.stderr].concat();
                (output.status.success(), String::from_utf8_lossy(&printed).into_owned())
            };
            let path = format!("--webhook-secret=file:{}", host.folder().join(file).display());
            for source in ["--webhook-secret=env:SENDER", &path] {
                let (succeeded, printed) = trigger(&[scheme, &[source]].concat());
                assert!(succeeded && !printed.contains(secret), "{scheme:?} {source}: {printed}");
            }
            let (succeeded, printed) = trigger(&[]);
            assert!(!succeeded && printed.contains("HTTP 401"), "{printed}");
            let plain_secret_argument = format!("--webhook-secret={secret}");
            let (succeeded, printed) =
                trigger(&[scheme, &[plain_secret_argument.as_str()]].concat());
            assert!(!succeeded && printed.contains("command line") && !printed.contains(secret));
        }
        // With the admin token and the name of the connection, `trigger` needs no secret.
        let (succeeded, printed) = host.run_cli(&["trigger", "kpis", "--connection", "qa"]);
        assert!(succeeded, "{printed}");
    }
}

#[test]
fn probes_need_only_an_allowed_address() {
    let host = Setup::new().config("trusted_proxies = [\"127.0.0.1\"]").guests(["instant"]).start();
    let body = json!({
        "name": "qa", "connector": "instant",
        "webhook_auth": {"scheme": "bearer", "allowed_clients": ["203.0.113.0/24", "2001:db8::7"]},
        "webhook_secret": NEW_SECRET,
    });
    let connection =
        Connection::from_json(&host.admin().json("POST", "/connections", &body).expect(201));
    let base = &connection.webhook_path;
    let send = |method: &str, path: &str, client: &str| {
        host.anonymous().send(method, path, &[("x-forwarded-for", client)], b"")
    };
    for client in ["203.0.113.9", "2001:db8::7"] {
        for (method, path) in [("GET", ""), ("POST", ""), ("GET", "/api/isalive")] {
            let answer = send(method, &format!("{base}{path}"), client);
            assert_eq!(answer.expect(200), json!({"status": "alive"}), "{client} {method} {path}");
        }
        let kpis = send("GET", &format!("{base}/kpis/project/1/defectstatus"), client);
        kpis.assert_problem(401, "sender-refused");
    }
    for client in ["203.0.114.9", "2001:db8::8", "127.0.0.1"] {
        for path in ["", "/api/isalive", "/defects"] {
            let refused = send("POST", &format!("{base}{path}"), client);
            let detail = refused.problem(403, "address-refused");
            assert!(detail.contains(client), "{detail}");
        }
    }
    let refused = send("GET", base, "203.0.114.9");
    assert_eq!(host.event_of(&refused)["outcome"], "address-refused");
    edit_connection(&host, &["--any-webhook-client"]);
    send("GET", base, "203.0.114.9").assert_status(200);
}

/// Starts a server with a low rate, and a connection whose senders must send a bearer token.
fn start_host_with_low_rate() -> (TestHost, Connection) {
    let host = Setup::new()
        .env("JACKFIELD_WEBHOOK_REQUESTS_PER_S", "1")
        .env("JACKFIELD_WEBHOOK_REQUESTS_BURST", "3")
        .guests(["instant"])
        .start();
    let body = json!({"name": "qa", "connector": "instant", "webhook_secret": NEW_SECRET,
        "webhook_auth": {"scheme": "bearer"}});
    let created = host.admin().json("POST", "/connections", &body).expect(201);
    (host, Connection::from_json(&created))
}

/// A probe needs no credential, so a refused probe must not change the connection's `last_error`.
#[test]
fn a_probe_over_its_rate_is_stored_as_a_probe() {
    let (host, connection) = start_host_with_low_rate();
    let probe = || host.anonymous().send("POST", &connection.webhook_path, &[], b"").status;
    let answers: Vec<_> = (0..20).map(|_| probe()).collect();
    assert!(answers.contains(&429), "{answers:?}");
    let limited = || host.admin().get("/events?outcome=rate-limited").expect(200);
    let limited = wait_for("the events of the refused probes", 20, || {
        limited()["events"].as_array().cloned().filter(|events| !events.is_empty())
    });
    assert!(limited.iter().all(|event| event["kind"] == "probe"), "{limited:?}");
    assert_eq!(host.connection("qa")["last_error"], Value::Null);
}

#[test]
fn refused_requests_use_up_neither_the_rate_nor_the_disk() {
    let (host, connection) = start_host_with_low_rate();
    for path in ["", "/defects", "/kpis/project/1/defectstatus", "/unknown"] {
        for _ in 0..20 {
            let path = format!("{}{path}", connection.webhook_path);
            host.anonymous()
                .send("POST", &path, &[], b"{\"a\":1}")
                .assert_problem(401, "sender-refused");
        }
    }
    // These probes have no credential, so they count against a separate rate.
    for _ in 0..20 {
        let path = &connection.webhook_path;
        host.anonymous().attempt("POST", path, &[], b"").expect("an answer");
        let path = format!("{path}/isalive");
        host.anonymous().attempt("GET", &path, &[], b"").expect("an answer");
    }
    let bearer = format!("Bearer {NEW_SECRET}");
    let last = send_create(&host, &connection, &[("authorization", &bearer)]);
    last.assert_status(200);
    let _ = host.event_of(&last);
    let events = host.admin().get("/events?limit=200").expect(200);
    let is_refused = |event: &&Value| event["outcome"] == "sender-refused";
    let stored = events["events"].as_array().expect("events").iter().filter(is_refused).count();
    assert!((1..=25).contains(&stored), "{stored} events of 80 refused requests");
    let probes = events["events"].as_array().expect("events").iter();
    let probes = probes.filter(|event| event["kind"] == "probe").count();
    assert!(probes <= 25, "{probes} events of 40 probes");
}

#[test]
fn a_secret_in_a_file_is_read_again_and_an_unusable_secret_refuses_every_sender() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("secret");
    fs::write(&file, format!("{NEW_SECRET}\n")).expect("the secret is written");
    let roots = format!("secret_file_roots = [{:?}]\nsweep_ms = 100", folder.path());
    let (host, connection) = Setup::new().config(&roots).start_with_guest("instant", json!({}));
    let reference = format!("--webhook-secret=file:{}", file.display());
    let previous = folder.path().join("previous");
    fs::write(&previous, PREVIOUS_SECRET).expect("the previous secret is written");
    let previous = format!("--webhook-secret-previous=@{}", previous.display());
    edit_connection(&host, &["--webhook-auth", "bearer", &reference, &previous]);
    let status = |secret: &str| {
        let bearer = format!("Bearer {secret}");
        send_create(&host, &connection, &[("authorization", &bearer)]).status
    };
    assert_eq!([NEW_SECRET, PREVIOUS_SECRET].map(status), [200, 200]);
    fs::write(&file, OLD_SECRET).expect("the secret is written");
    wait_for("the new value to be accepted", 10, || (status(OLD_SECRET) == 200).then_some(()));
    assert_eq!(status(NEW_SECRET), 401);
    // While a program overwrites the file, the file may be empty for a moment.
    fs::write(&file, "").expect("the file is empty");
    wait_for("the empty value to be refused", 10, || (status(OLD_SECRET) == 401).then_some(()));
    for bearer in ["Bearer", "Bearer ", "bearer  "] {
        assert_eq!(send_create(&host, &connection, &[("authorization", bearer)]).status, 401);
    }
    fs::remove_file(&file).expect("the secret is removed");
    wait_for("the removed value to be refused", 10, || (status(OLD_SECRET) == 401).then_some(()));
    assert_eq!(status(PREVIOUS_SECRET), 401, "the previous secret may have leaked");
    let last_error = host.connection("qa")["last_error"]["detail"].to_string();
    assert!(last_error.contains("webhook_secret"), "{last_error}");
}

#[test]
fn the_error_of_unusable_webhook_requirements_names_the_value() {
    let (host, _) = start_host();
    let refused_names = |body: Value| {
        let answer = host.admin().json("PATCH", "/connections/qa", &body);
        answer.assert_problem(422, "invalid-values");
        let errors = answer.json()["errors"].clone();
        let names = errors.as_array().expect("errors").iter().map(|it| it["name"].clone());
        names.map(|name| name.as_str().unwrap_or_default().to_owned()).collect::<Vec<_>>()
    };
    let scheme = |scheme: &str| json!({"scheme": scheme});
    assert_eq!(refused_names(json!({"webhook_auth": scheme("bearer")})), ["webhook_secret"]);
    assert_eq!(refused_names(json!({"webhook_secret": NEW_SECRET})), ["webhook_secret"]);
    let body = json!({"webhook_auth": scheme("bearer"), "webhook_secret": "short"});
    assert_eq!(refused_names(body), ["webhook_secret"]);
    let body = json!({"webhook_auth": scheme("signature"), "webhook_secret": "not a key, really"});
    assert_eq!(refused_names(body), ["webhook_secret"]);
    let body = json!({"webhook_auth": scheme("basic"), "webhook_secret": NEW_SECRET});
    assert_eq!(refused_names(body), ["webhook_auth.user"]);
    let body = json!({"webhook_auth": {"allowed_clients": ["nowhere"]}});
    assert_eq!(refused_names(body), ["webhook_auth.allowed_clients"]);
    let unknown_scheme =
        host.admin().json("PATCH", "/connections/qa", &json!({"webhook_auth": scheme("mtls")}));
    assert!(unknown_scheme.problem(400, "bad-request").contains("bearer"), "{unknown_scheme:?}");
}
