//! Unusual environment variables: a value with a line break at the end, an empty value, a value
//! that is not UTF-8, a misspelled name, or a name that Kubernetes uses for another purpose.

use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader};
use std::os::unix::ffi::OsStrExt as _;
use std::process::{Command, Stdio};

use jackfield_tests::{Reply, ScriptedServer, Setup, TestHost, binary};
use serde_json::{Value, json};

use crate::calls::{add_connection, call};

/// Returns whether the command succeeded, and what it printed.
fn run_cli(host: &TestHost, variables: &[(&str, &str)], arguments: &[&str]) -> (bool, String) {
    let mut command = host.cli(arguments);
    let output = command.envs(variables.iter().copied()).stdin(Stdio::null()).output();
    let output = output.expect("the binary starts");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.success(), text(&output.stdout) + &text(&output.stderr))
}

#[test]
fn a_line_break_at_the_end_is_not_part_of_a_token_or_a_secret() {
    let token = "another-token-0123456789abcdef";
    let host = Setup::new()
        .env("JACKFIELD_SECRET_OF_QA", "s3cr3t-of-qa\n")
        .env("JACKFIELD_ADMIN_TOKEN", "test-admin-token-0123456789abcdef\r\n")
        .guests(["calls"])
        .start();
    host.admin().get("/connections").assert_status(200);
    let right_token = [("JACKFIELD_ADMIN_TOKEN", "test-admin-token-0123456789abcdef\n")];
    let (succeeded, printed) = run_cli(&host, &right_token, &["connections", "list"]);
    assert!(succeeded, "{printed}");
    let (succeeded, printed) =
        run_cli(&host, &[("JACKFIELD_ADMIN_TOKEN", token)], &["connections", "list"]);
    assert!(!succeeded && printed.contains("token"), "{printed}");

    let tracker = ScriptedServer::start(|_| Reply::new(200, "reached"));
    for secret in ["env:JACKFIELD_SECRET_OF_QA", "s3cr3t-of-qa\r\n", "env:JACKFIELD_SECRET_OF_QA\n"]
    {
        let connection = add_connection(&host, &tracker, json!({}), json!({"key-bearer": secret}));
        assert_eq!(call(&host, &connection).result, "200", "{secret:?}");
        let sent = tracker.last_request();
        assert_eq!(sent.header("authorization"), Some("Bearer s3cr3t-of-qa"), "{secret:?}");
    }
}

#[test]
fn an_empty_variable_counts_as_not_set() {
    let host = Setup::new()
        .config("public_url = \"http://files.example\"")
        .env("JACKFIELD_PUBLIC_URL", "")
        .env("JACKFIELD_LIMITS_CPU_MS", "")
        .env("JACKFIELD_CREATE_IN_DOUBT_S", " ")
        .env("JACKFIELD_SECRET_KEY", "\n")
        .env("JACKFIELD_SECRET_OF_QA", "\n")
        .guests(["instant"])
        .start();
    let body = json!({"name": "qa", "connector": "instant"});
    let created = host.admin().json("POST", "/connections", &body).expect(201);
    let url = created["webhook_url"].as_str().expect("a webhook_url");
    assert!(url.starts_with("http://files.example/"), "{url}");
    assert!(host.data("secret-key").exists(), "the server did not create a key in the data folder");
    let empty = [("JACKFIELD_URL", "")];
    let (_, printed) = run_cli(&host, &empty, &["connections", "show", "no-such-connection"]);
    assert!(!printed.contains("no server answers at  ("), "{printed}");
    let empty = [("JACKFIELD_ADMIN_TOKEN", "\r\n")];
    let (succeeded, printed) = run_cli(&host, &empty, &["connections", "list"]);
    assert!(
        !succeeded && printed.contains("admin-token"),
        "the command did not try to read the token from the folder: {printed}"
    );
}

#[test]
fn kubernetes_service_variables_are_ignored_and_other_unknown_variables_are_reported() {
    let kubernetes_variables = [
        ("JACKFIELD_SERVICE_HOST", "10.0.0.1"),
        ("JACKFIELD_SERVICE_PORT_HTTP", "8080"),
        ("JACKFIELD_PORT", "tcp://10.0.0.1:8080"),
        ("JACKFIELD_PORT_8080_TCP_ADDR", "10.0.0.1"),
        ("JACKFIELD_WEBHOOK_SERVICE_HOST", "10.0.0.2"),
        ("JACKFIELD_WEBHOOK_SERVICE_PORT", "80"),
        ("JACKFIELD_WEBHOOK_PORT", "tcp://10.0.0.2:80"),
        ("JACKFIELD_WEBHOOK_PORT_80_TCP", "tcp://10.0.0.2:80"),
        ("JACKFIELD_WEBHOOK_PORT_80_TCP_PROTO", "tcp"),
        ("JACKFIELD_LIMITS_PORT_80_TCP_PORT", "80"),
        ("JACKFIELD_CREATE_PORT", "tcp://10.0.0.3:80"),
    ];
    let misspelled_variables = [
        ("JACKFIELD_STORAGE", "postgres://a", "JACKFIELD_STORE"),
        ("JACKFIELD_LIMITS_CPU", "7", "JACKFIELD_LIMITS_CPU_MS"),
        ("JACKFIELD_LISTENS", "x", "JACKFIELD_LISTEN"),
    ];
    let mut setup = Setup::new();
    for (name, value) in kubernetes_variables
        .into_iter()
        .chain(misspelled_variables.map(|(name, value, _)| (name, value)))
    {
        setup = setup.env(name, value);
    }
    let host = setup.start();
    let env: Vec<_> = misspelled_variables
        .iter()
        .map(|(name, value, _)| (*name, *value))
        .chain(kubernetes_variables)
        .collect();
    let (_, report) = run_cli(&host, &env, &["doctor", "--data", "data", "--json"]);
    let report: Value = serde_json::from_str(&report).expect("the report is JSON");
    let findings = report["findings"].as_array().expect("findings").iter();
    let finding = findings
        .into_iter()
        .find(|finding| finding["check"] == "configuration")
        .expect("a finding about the configuration");
    assert_eq!(finding["status"], "warn", "{finding}");
    let (logged, found) = (host.output(), finding["found"].as_str().expect("a text").to_owned());
    for text in [logged, found] {
        for (name, _, nearest) in misspelled_variables {
            let warning =
                format!("{name} is not a setting and is ignored; the nearest is {nearest}");
            assert!(text.contains(&warning), "{warning:?} is missing in: {text}");
        }
        for (name, _) in kubernetes_variables {
            assert!(!text.contains(&format!("{name} ")), "{name}: {text}");
        }
    }
}

#[test]
fn the_server_does_not_start_with_a_key_that_is_not_utf8() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut command = Command::new(binary());
    command.args(["serve", "--listen", "127.0.0.1:0"]).current_dir(&folder);
    command.env("JACKFIELD_SECRET_KEY", OsStr::from_bytes(b"\xff\xfe"));
    let mut server =
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary starts");
    // Reads the first line. If the server ends, the line is empty. Otherwise it contains the
    // address of the server.
    let mut printed = String::new();
    let stdout = BufReader::new(server.stdout.take().expect("a pipe")).read_line(&mut printed);
    stdout.expect("text on stdout");
    let _ = server.kill();
    let output = server.wait_with_output().expect("the server ends");
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(printed, "", "the server started");
    assert!(error.contains("JACKFIELD_SECRET_KEY") && error.contains("UTF-8"), "{error}");
}
