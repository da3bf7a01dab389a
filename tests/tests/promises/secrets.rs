//! No secret reaches a guest, a log, an event, an error or the disk; each goes where it was granted to
//! go, and nowhere else.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use data_encoding::BASE64;
use jackfield_tests::{
    Connection, Exchange, Guest, Peer, Reply, Response, Setup, TestHost, failed_test, until,
};
use serde_json::{Value, json};

/// Awkward on purpose: it differs in every form that it may be echoed in.
const SECRET: &str = "s3cr3t/\"quoted\" & +plus%";

fn host() -> TestHost {
    Setup::new().plugin("calls", &Guest::named("calls")).start()
}

fn connect(
    host: &TestHost,
    peer: &Peer,
    name: &str,
    settings: Value,
    secrets: Value,
) -> Connection {
    let mut all = json!({"url": peer.url(), "target": format!("{}/x", peer.url())});
    for (key, value) in settings.as_object().expect("an object") {
        all[key] = value.clone();
    }
    host.connect(name, "calls", all, secrets)
}

fn reached(_: &Exchange<'_>) -> Reply {
    Reply::Answer(Response::new(200, "reached"))
}

#[test]
fn every_place_of_a_secret_is_filled_by_the_host() {
    let (host, peer) = (host(), Peer::start(reached));
    let basic = format!("Basic {}", BASE64.encode(format!("bot:{SECRET}").as_bytes()));
    let places = [
        (
            "key-bearer",
            json!({}),
            "authorization",
            "Bearer s3cr3t-token".to_owned(),
            "s3cr3t-token",
        ),
        ("key-header", json!({}), "x-api-key", format!("Token {SECRET}"), SECRET),
        ("key-basic", json!({"user": "bot"}), "authorization", basic, SECRET),
        (
            "key-placeholder",
            json!({"headers": "X-Signed=a {secret} b"}),
            "x-signed",
            format!("a {SECRET} b"),
            SECRET,
        ),
    ];
    for via in ["http", "wasi:http"] {
        for (name, extra, header, expected, secret) in &places {
            let mut settings = extra.clone();
            settings["via"] = json!(via);
            let label = format!("{name} {via}");
            let connection = connect(&host, &peer, &label, settings, json!({*name: secret}));
            assert_eq!(
                host.create(&connection, &failed_test()).expect(200)["id"],
                "200",
                "{label}"
            );
            let request = peer.requests().pop().expect("a request");
            assert_eq!(request.header(header), Some(expected.as_str()), "{label}");
        }
        let label = format!("query {via}");
        let connection =
            connect(&host, &peer, &label, json!({"via": via}), json!({"key-query": SECRET}));
        let _ = host.create(&connection, &failed_test()).expect(200);
        let target = peer.requests().pop().expect("a request").target;
        assert!(target.starts_with("/x?key=s3cr3t") && !target.contains('"'), "{target}");
    }
}

#[test]
fn a_secret_goes_to_its_own_origin_only() {
    let (host, peer, other) = (host(), Peer::start(reached), Peer::start(reached));
    for via in ["http", "wasi:http"] {
        for name in ["key-bearer", "key-header", "key-query", "key-placeholder"] {
            let settings = json!({"other": other.url(), "target": format!("{}/x", other.url()),
                "via": via, "headers": "X-Signed={secret}", "body": "{secret}"});
            let secrets = json!({name: "s3cr3t-token"});
            let connection = connect(&host, &peer, &format!("{name} {via}"), settings, secrets);
            let answer = host.create(&connection, &failed_test()).expect(200);
            let expected = if name == "key-placeholder" { "denied" } else { "200" };
            assert_eq!(answer["id"], expected, "{name} {via}: {answer}");
        }
    }
    assert_eq!(other.requests().len(), 6, "all but those that carry a placeholder");
    for request in other.requests() {
        assert!(!format!("{request:?}{}", request.text()).contains("s3cr3t-token"), "{request:?}");
        assert_eq!(request.header("authorization"), None);
    }
}

#[test]
fn a_guest_does_not_set_what_carries_a_secret() {
    let (host, peer) = (host(), Peer::start(reached));
    for via in ["http", "wasi:http"] {
        for headers in ["X-Api-Key=mine", "x-api-key=mine too", "Authorization=Bearer mine"] {
            let settings = json!({"headers": headers, "via": via});
            let label = format!("{via} {headers}");
            let secrets = json!({"key-header": SECRET, "key-bearer": "s3cr3t-token"});
            let connection = connect(&host, &peer, &label, settings, secrets);
            let seen = host.create(&connection, &failed_test()).expect(200);
            assert_eq!(seen["id"], "denied", "{label}: {seen}");
        }
    }
    assert_eq!(peer.requests().len(), 0, "nothing left");
}

#[test]
fn a_guest_reads_no_secret_and_nothing_of_the_machine() {
    let host = Setup::new()
        .env("JACKFIELD_SECRET_OF_THE_HOST", "s3cr3t-of-the-host")
        .plugin("reads", &Guest::named("reads-secrets"))
        .start();
    let secrets = json!({"header": "s3cr3t-header", "hidden": "s3cr3t-hidden"});
    let connection = host.connect("qa", "reads", json!({"url": Peer::nobody()}), secrets);
    let defect = host.create(&connection, &failed_test()).expect(200);
    let found = defect["description"].as_str().expect("what was found");
    assert!(!found.contains("s3cr3t"), "{found}");
    assert!(found.contains("header=None hidden=jackfield-secret-"), "{found}");
    assert!(found.ends_with("environment=[] arguments=[] files=[]"), "{found}");
}

/// OAuth 2.0: the host fetches the token, keeps it, hides it, and fetches another when it is refused.
#[test]
fn a_client_secret_fetches_tokens_that_only_the_host_sees() {
    let (host, valid) = (host(), Arc::new(AtomicU32::new(1)));
    let now = Arc::clone(&valid);
    let peer = Peer::start(move |exchange| {
        let token = format!("t0ken-number-{}", now.load(Ordering::SeqCst));
        if exchange.request.target == "/token" {
            let body = json!({"access_token": token, "expires_in": 3600}).to_string();
            return Reply::Answer(Response::json(200, &body));
        }
        let carried = exchange.request.header("authorization").unwrap_or_default();
        let status = if carried == format!("Bearer {token}") { 200 } else { 401 };
        Reply::Answer(Response::new(status, format!("you sent {carried}")))
    });
    let fetched = || peer.requests().iter().filter(|it| it.target == "/token").count();
    for (n, via) in ["http", "wasi:http"].into_iter().enumerate() {
        let settings = json!({"via": via, "client-id": "bot", "token-url": peer.url() + "/token"});
        let connection = connect(&host, &peer, via, settings, json!({"key-client": SECRET}));
        let status = || {
            let answer = host.create(&connection, &failed_test());
            let event = host.event(&answer.event()).to_string();
            let seen = answer.expect(200);
            for text in [seen.to_string(), event] {
                assert!(!text.contains("t0ken-number") && !text.contains("s3cr3t"), "{text}");
            }
            seen["id"].clone()
        };
        assert_eq!((status(), status()), (json!("200"), json!("200")), "{via}");
        assert_eq!(fetched(), 3 * n + 1, "{via}: one token for both");
        valid.fetch_add(1, Ordering::SeqCst);
        assert_eq!((status(), status()), (json!("401"), json!("200")), "{via}: revoked");
        assert_eq!(fetched(), 3 * n + 2, "{via}: one more after the refusal");
        valid.fetch_add(1, Ordering::SeqCst);
        let _ = status();
        let _ = status();
        assert_eq!(fetched(), 3 * n + 3, "{via}");
    }
    let asked = peer.requests().into_iter().find(|it| it.target == "/token").expect("a request");
    assert!(asked.text().contains("grant_type=client_credentials&scope=defects"), "{asked:?}");
    assert!(asked.header("authorization").is_some_and(|it| it.starts_with("Basic ")), "{asked:?}");
}

/// The tracker chooses the token and the texts that are searched for it.
#[test]
fn a_token_that_would_make_the_search_slow_is_refused() {
    let host = host();
    let peer = Peer::start(|exchange| {
        let body = match exchange.request.target.as_str() {
            "/token" => json!({"access_token": "a".repeat(4_000)}).to_string(),
            _ => ("a".repeat(3_999) + "b").repeat(2_000),
        };
        Reply::Answer(Response::json(200, &body))
    });
    for via in ["http", "wasi:http"] {
        let settings = json!({"via": via, "client-id": "bot", "token-url": peer.url() + "/token"});
        let connection = connect(&host, &peer, via, settings, json!({"key-client": SECRET}));
        let answer = host.create(&connection, &failed_test());
        assert_eq!(answer.expect(200)["id"], "denied", "{via}");
        let calls = host.event(&answer.event())["runs"][0]["calls"].to_string();
        assert!(calls.contains("repeats itself"), "{via}: {calls}");
    }
    let answer = host.admin().json(
        "POST",
        "/connections",
        &json!({"name": "x", "connector": "calls", "secrets": {"key-header": "0".repeat(40)},
            "settings": {"url": peer.url(), "target": peer.url()}}),
    );
    assert!(answer.problem(422).contains("repeats itself"), "{answer:?}");
}

/// What a setting says stands beside the password, and a connector may choose that.
#[test]
fn a_user_that_would_make_the_search_slow_does_not() {
    let host = Setup::new()
        .config("[limits]\ncpu_ms = 5000")
        .plugin("calls", &Guest::named("calls"))
        .start();
    let body = ("a".repeat(3_999) + "b").repeat(2_000);
    let peer = Peer::start(move |_| Reply::Answer(Response::new(200, body.as_str())));
    let settings = json!({"user": "a".repeat(4_000)});
    let connection = connect(&host, &peer, "qa", settings, json!({"key-basic": SECRET}));
    let answer = host.create(&connection, &failed_test());
    assert_eq!(answer.expect(200)["id"], "200");
}

/// A value that stands elsewhere is read again: who turns a key over there need not restart.
#[test]
fn a_secret_s_file_is_read_again() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("key");
    fs::write(&file, "first-k3y\n").expect("a new file");
    let roots = format!("secret_file_roots = [{:?}]\nsweep_ms = 50", folder.path());
    let host = Setup::new().config(&roots).plugin("calls", &Guest::named("calls")).start();
    let peer = Peer::start(reached);
    let reference = json!({"key-header": format!("file:{}", file.display())});
    let connection = connect(&host, &peer, "qa", json!({}), reference);
    let carried = || {
        let _ = host.create(&connection, &failed_test()).expect(200);
        let request = peer.requests().pop().expect("a request");
        request.header("x-api-key").map(str::to_owned)
    };
    assert_eq!(carried().as_deref(), Some("Token first-k3y"));
    fs::write(&file, "second-k3y\n").expect("written over");
    until("the new value to be used", 20, || {
        (carried().as_deref() == Some("Token second-k3y")).then_some(())
    });
}

/// The tracker says the secret back in every form, in headers and in the body, and in an error.
#[test]
fn an_echoed_secret_is_scrubbed_from_what_guest_events_and_logs_see() {
    let percent: String = SECRET.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let query = "s3cr3t%2F%22quoted%22+%26+%2Bplus%25";
    let query_20 = "s3cr3t%2F%22quoted%22%20%26%20%2Bplus%25";
    let escaped = serde_json::to_string(SECRET).expect("a text");
    let escaped = escaped.trim_matches('"').to_owned();
    let unicode = SECRET.replace('"', "\\u0022").replace('/', "\\/");
    let base64 = BASE64.encode(SECRET.as_bytes());
    let basic = BASE64.encode(format!("bot:{SECRET}").as_bytes());
    let forms = [
        SECRET.to_owned(),
        percent,
        query.to_owned(),
        query_20.to_owned(),
        escaped,
        unicode,
        base64,
        basic,
    ];
    let host = host();
    for (n, form) in forms.iter().enumerate() {
        let said = form.clone();
        let peer = Peer::start(move |_| {
            let body = format!("you sent {said} to us");
            Reply::Answer(Response::new(200, body).with("x-echo", &said))
        });
        for via in ["http", "wasi:http"] {
            let label = format!("{n} {via}");
            let settings = json!({"via": via, "user": "bot"});
            let connection = connect(&host, &peer, &label, settings, json!({"key-basic": SECRET}));
            let answer = host.create(&connection, &failed_test());
            let event = host.event(&answer.event());
            let defect = answer.expect(200);
            let seen = defect["description"].as_str().expect("what the guest saw");
            assert!(seen.contains("you sent"), "{seen}");
            assert!(!seen.contains(form.as_str()), "{form} reached the guest: {seen}");
            assert!(!event.to_string().contains(form.as_str()), "{form} is in the event");
            let log = event["runs"][0]["log"].to_string();
            assert!(log.matches("you sent").count() == 2, "logged and printed: {log}");
        }
        assert!(!host.output().contains(form.as_str()), "{form} is in the log");
    }
}

#[test]
fn what_lies_on_disk_or_is_shown_holds_neither_secret_nor_token() {
    let mut host = host();
    let peer = Peer::start(reached);
    let connection =
        connect(&host, &peer, "qa", json!({}), json!({"key-header": "s3cr3t-on-disk"}));
    let _ = host.create(&connection, &failed_test()).expect(200);
    let token = connection.hook.trim_start_matches("/hooks/").to_owned();
    let admin = host.admin();
    let mut shown = String::new();
    for path in [
        "/connections",
        &format!("/connections/{}", connection.id),
        "/events",
        "/connectors",
        "/defects",
    ] {
        shown += &admin.get(path).body;
    }
    shown += &host.output();
    assert!(host.stop().success());
    for secret in ["s3cr3t-on-disk", token.as_str()] {
        assert!(!shown.contains(secret), "{secret} is shown");
        for (path, bytes) in files_below(&host.folder().join("data")) {
            let found = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
            assert!(!found, "{secret} lies in {path}");
        }
    }
}

fn files_below(folder: &std::path::Path) -> Vec<(String, Vec<u8>)> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files.extend(files_below(&path));
        } else if let Ok(bytes) = std::fs::read(&path) {
            files.push((path.display().to_string(), bytes));
        }
    }
    files
}

/// A server with a connection whose secret the tracker sees, and the folder's key.
struct Keyed {
    host: TestHost,
    peer: Peer,
    connection: Connection,
}

fn keyed(setup: Setup) -> Keyed {
    let (host, peer) =
        (setup.plugin("calls", &Guest::named("calls")).start(), Peer::start(reached));
    let connection = connect(&host, &peer, "qa", json!({}), json!({"key-header": SECRET}));
    Keyed { host, peer, connection }
}

impl Keyed {
    fn file(&self, name: &str) -> PathBuf {
        self.host.folder().join("data").join(name)
    }

    fn key(&self) -> String {
        fs::read_to_string(self.file("secret-key")).expect("a key")
    }

    /// `jackfield secrets rotate` with these variables, and whether it did.
    fn rotate(&self, variables: &[(&str, &str)]) -> (bool, String) {
        let mut command = self.host.cli(&["secrets", "rotate", "--data", "data"]);
        let output = command.envs(variables.iter().copied()).output().expect("the binary starts");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.success(), text(&output.stdout) + &text(&output.stderr))
    }

    #[track_caller]
    fn rotated(&mut self, variables: &[(&str, &str)]) {
        assert!(self.host.stop().success(), "it stops cleanly");
        let (rotated, said) = self.rotate(variables);
        assert!(rotated && said.contains('1'), "one secret is sealed anew: {said}");
        assert!(!said.contains(SECRET), "{said}");
    }

    /// Starts it, and the tracker sees the secret.
    #[track_caller]
    fn works(&mut self) {
        self.host.start_again();
        let _ = self.host.create(&self.connection, &failed_test()).expect(200);
        let request = self.peer.requests().pop().expect("a request");
        assert_eq!(request.header("x-api-key"), Some(format!("Token {SECRET}").as_str()));
        assert!(!self.file("secret-key.next").exists(), "a rotation is left half done");
    }

    #[track_caller]
    fn is_refused(&mut self) {
        let line = self.host.refuses_to_start();
        assert!(line.contains("another key"), "{line}");
    }
}

#[test]
fn the_key_is_not_rotated_while_a_server_runs() {
    let keyed = keyed(Setup::new());
    let before = keyed.key();
    let (rotated, said) = keyed.rotate(&[]);
    assert!(!rotated && said.contains("stop it first"), "{said}");
    assert_eq!(said.trim_end().lines().count(), 1, "one line: {said}");
    assert_eq!(keyed.key(), before);
    assert!(!keyed.file("secret-key.next").exists());
}

#[test]
fn after_a_rotation_the_new_key_opens_the_secrets_and_the_old_one_does_not() {
    let mut keyed = keyed(Setup::new());
    let old = keyed.key();
    keyed.rotated(&[]);
    let new = keyed.key();
    assert_ne!(new, old);
    let mode = fs::metadata(keyed.file("secret-key")).expect("a key").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    keyed.works();
    assert!(keyed.host.stop().success());
    fs::write(keyed.file("secret-key"), old).expect("the old key");
    keyed.is_refused();
    fs::write(keyed.file("secret-key"), new).expect("the new key");
    keyed.works();
}

/// Cut off before the database took the new key: the old one holds.
#[test]
fn a_rotation_cut_off_before_the_database_is_undone() {
    for next in ["17".repeat(32), "17".repeat(5), String::new()] {
        let mut keyed = keyed(Setup::new());
        let old = keyed.key();
        assert!(keyed.host.stop().success());
        write_private(&keyed.file("secret-key.next"), &next);
        keyed.works();
        assert_eq!(keyed.key(), old, "the old key holds");
        keyed.rotated(&[]);
        keyed.works();
    }
}

/// Cut off after the database took the new key and before the key file did.
#[test]
fn a_rotation_cut_off_after_the_database_is_finished() {
    let mut keyed = keyed(Setup::new());
    let old = keyed.key();
    keyed.rotated(&[]);
    let new = keyed.key();
    fs::rename(keyed.file("secret-key"), keyed.file("secret-key.next")).expect("cut off");
    write_private(&keyed.file("secret-key"), &old);
    keyed.works();
    assert_eq!(keyed.key(), new, "the new key holds");
}

#[test]
fn a_key_of_the_environment_is_rotated_to_another_of_the_environment() {
    let (old, new) = ("17".repeat(32), "42".repeat(32));
    let mut keyed = keyed(Setup::new().env("JACKFIELD_SECRET_KEY", &old));
    assert!(keyed.host.stop().success());
    let (rotated, said) = keyed.rotate(&[("JACKFIELD_SECRET_KEY", &old)]);
    assert!(!rotated && said.contains("JACKFIELD_NEW_SECRET_KEY"), "{said}");
    let (rotated, said) = keyed.rotate(&[
        ("JACKFIELD_SECRET_KEY", new.as_str()),
        ("JACKFIELD_NEW_SECRET_KEY", old.as_str()),
    ]);
    assert!(!rotated && said.contains("another key"), "a wrong key rotates nothing: {said}");
    keyed.works();
    keyed.rotated(&[
        ("JACKFIELD_SECRET_KEY", old.as_str()),
        ("JACKFIELD_NEW_SECRET_KEY", new.as_str()),
    ]);
    keyed.is_refused();
    keyed.host.set_env("JACKFIELD_SECRET_KEY", &new);
    keyed.works();
    assert!(!keyed.file("secret-key").exists(), "no key lies on the disk");
}

#[test]
fn a_key_moves_from_its_file_into_the_environment() {
    let new = "42".repeat(32);
    let mut keyed = keyed(Setup::new());
    keyed.rotated(&[("JACKFIELD_NEW_SECRET_KEY", &new)]);
    assert!(!keyed.file("secret-key").exists(), "the old key is gone");
    keyed.host.set_env("JACKFIELD_SECRET_KEY", &new);
    keyed.works();
}

fn write_private(path: &std::path::Path, text: &str) {
    let mut options = fs::OpenOptions::new();
    let file = options.write(true).create(true).truncate(true).mode(0o600).open(path);
    file.expect("a new file").write_all(text.as_bytes()).expect("a written file");
}
