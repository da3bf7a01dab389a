//! `jackfield apply` with a file of connections. The command shows the differences before it
//! changes anything. If the same file is applied a second time, nothing changes.

use std::fs;

use jackfield_tests::{Guest, Setup, TestHost};
use serde_json::{Value, json};

/// `apply` refuses a file with this value of a secret, and no exported file contains the value.
const SECRET: &str = "k3y-that-is-in-no-file";

fn start_host() -> TestHost {
    Setup::new()
        .env("JACKFIELD_SECRET_QA", "k3y-of-the-environment")
        .guests(["instant"])
        .plugin("redmine", &Guest::example("redmine"))
        .start()
}

const CONNECTIONS_FILE: &str = r#"
[connections.qa]
connector = "redmine"
index_delay_s = 7
trace_context = true
[connections.qa.settings]
url = "http://127.0.0.1:9"
project = "qa"
critical-priorities = ["Urgent"]
[connections.qa.secrets]
api-key = "env:JACKFIELD_SECRET_QA"
[connections.qa.report]
title_template = "{{ test_case_id }}"
[connections.qa.webhook_paths]
create_defect = ["/new"]

[connections.plain]
connector = "instant"
"#;

/// Returns whether the command succeeded, and what it printed.
#[track_caller]
fn apply(host: &TestHost, text: &str, options: &[&str]) -> (bool, String) {
    fs::write(host.folder().join("c.toml"), text).expect("the file is written");
    host.run_cli(&[&["apply", "-f", "c.toml"], options].concat())
}

fn connection_names(host: &TestHost) -> Vec<String> {
    let answer = host.admin().get("/connections").expect(200);
    let connections = answer["connections"].as_array().expect("a list").iter();
    connections.filter_map(|connection| connection["name"].as_str().map(str::to_owned)).collect()
}

#[test]
fn a_file_of_connections_is_compared_then_applied_and_a_second_apply_changes_nothing() {
    let host = start_host();
    host.add_connection("other", "instant", json!({}), json!({}));
    let (succeeded, printed) = apply(&host, CONNECTIONS_FILE, &["--dry-run"]);
    assert!(
        succeeded && printed.contains("qa: new") && printed.contains("+ settings.project = \"qa\""),
        "{printed}"
    );
    assert!(!printed.contains("/hooks/"), "{printed}");
    let (succeeded, printed) = apply(&host, CONNECTIONS_FILE, &[]);
    assert!(
        !succeeded && printed.contains("nothing is changed: answer y, or give --yes"),
        "{printed}"
    );
    assert_eq!(connection_names(&host), ["other"]);

    let (succeeded, printed) = apply(&host, CONNECTIONS_FILE, &["--yes"]);
    assert!(succeeded && printed.matches("/hooks/").count() == 2, "{printed}");
    assert_eq!(connection_names(&host), ["other", "plain", "qa"]);
    let created = host.connection("qa");
    assert_eq!(
        (&created["index_delay_s"], &created["secrets_set"]),
        (&json!(7), &json!(["api-key"]))
    );
    assert_eq!(created["webhook_paths"]["create_defect"], json!(["/new"]));
    assert_eq!(created["trace_context"], true);
    let (succeeded, printed) = apply(&host, CONNECTIONS_FILE, &["--yes"]);
    assert!(
        succeeded && printed.contains("qa: as in the file") && !printed.contains("/hooks/"),
        "{printed}"
    );
    assert_eq!(host.connection("qa")["revision"], created["revision"]);

    let changed = CONNECTIONS_FILE
        .replace("index_delay_s = 7\n", "")
        .replace("\"qa\"\n", "\"qa2\"\n")
        .replace("api-key = \"env:JACKFIELD_SECRET_QA\"\n", "");
    let (succeeded, printed) = apply(&host, &changed, &["--dry-run"]);
    let expected =
        ["~ settings.project = \"qa\" -> \"qa2\"", "- index_delay_s = 7", "plain: as in"];
    for part in expected {
        assert!(succeeded && printed.contains(part), "{part}: {printed}");
    }
    assert!(
        !printed.contains("api-key"),
        "a secret that is missing in the file is shown as a difference: {printed}"
    );
    let (succeeded, printed) = apply(&host, &changed, &["--yes", "--json"]);
    let applied: Value = serde_json::from_str(&printed).unwrap_or_default();
    assert!(succeeded && applied["connections"][1]["action"] == "change", "{printed}");
    let edited = host.connection("qa");
    assert_eq!(
        (&edited["settings"]["project"], &edited["index_delay_s"]),
        (&json!("qa2"), &json!(0))
    );
    assert_eq!((&edited["secrets_set"], &edited["id"]), (&json!(["api-key"]), &created["id"]));
}

#[test]
fn an_exported_file_equals_the_connections_and_contains_no_value_of_a_secret() {
    let host = start_host();
    let (succeeded, printed) = apply(&host, CONNECTIONS_FILE, &["--yes"]);
    assert!(succeeded, "{printed}");
    let settings = json!({"url": "http://127.0.0.1:9", "project": "qa"});
    host.add_connection("typed", "redmine", settings, json!({"api-key": SECRET}));
    let sender = json!({"webhook_auth": {"scheme": "bearer"}, "webhook_secret": SECRET});
    host.admin().json("PATCH", "/connections/typed", &sender).assert_status(200);
    let output = host.cli(&["export"]).output().expect("the binary starts");
    let (exported, warnings) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(
        exported.contains("env:JACKFIELD_SECRET_QA") && !exported.contains(SECRET),
        "{exported}"
    );
    assert!(
        warnings.contains("connection typed are not in the file")
            && warnings.contains("api-key, webhook_secret"),
        "{warnings}"
    );
    let (succeeded, printed) = apply(&host, &exported, &["--dry-run"]);
    assert!(succeeded && printed.matches("as in the file").count() == 3, "{printed}{exported}");
    let json = host.admin().get("/export");
    assert!(!json.body.contains(SECRET), "{json:?}");
    let again = host.admin().send("POST", "/apply?dry_run=true", &[], json.body.as_bytes());
    let again = again.expect(200)["connections"].clone();
    let again = again.as_array().expect("a list");
    assert!(
        again.len() == 3 && again.iter().all(|connection| connection["action"] == "nothing"),
        "{again:?}"
    );
}

#[test]
fn a_file_with_a_mistake_changes_nothing_and_each_mistake_is_named() {
    let host = start_host();
    for (text, words) in [
        (
            CONNECTIONS_FILE.replace("env:JACKFIELD_SECRET_QA", SECRET),
            &["qa", "api-key", "references to secrets only"][..],
        ),
        (CONNECTIONS_FILE.replace("project = \"qa\"\n", ""), &["project"]),
        (
            CONNECTIONS_FILE.replace("connector = \"instant\"", "connector = \"none\""),
            &["plain.connector", "none"],
        ),
        (
            CONNECTIONS_FILE.replace("index_delay_s = 7", "index_dely_s = 7"),
            &["index_dely_s", "line 4"],
        ),
        ("[connections.\"\"]\nconnector = \"instant\"".to_owned(), &["name"]),
        ("[connections.x]".to_owned(), &["connector"]),
        (format!("[connections.x]\nsecrets = \"{SECRET}\""), &["line 2", "wrong type"]),
        ("= 1".to_owned(), &["line 1"]),
    ] {
        let (succeeded, printed) = apply(&host, &text, &["--yes"]);
        assert!(!succeeded && !printed.contains(SECRET), "{printed}");
        for word in words {
            assert!(printed.contains(word), "{word}: {printed}");
        }
    }
    assert!(connection_names(&host).is_empty(), "a file with a mistake was applied in part");
    let (succeeded, printed) = host.run_cli(&["apply", "-f", "none.toml"]);
    assert!(!succeeded && printed.contains("cannot read none.toml"), "{printed}");
}

#[test]
fn apply_completes_what_an_interrupted_apply_began() {
    let host = start_host();
    let settings = json!({"url": "http://127.0.0.1:9", "project": "qa"});
    let secret = json!({"api-key": "env:JACKFIELD_SECRET_QA"});
    host.add_connection("qa", "redmine", settings, secret);
    let (succeeded, printed) = apply(&host, CONNECTIONS_FILE, &["--yes"]);
    assert!(
        succeeded && printed.contains("qa: differs") && printed.contains("plain: new"),
        "{printed}"
    );
    assert!(
        !printed.contains("api-key"),
        "an unchanged reference to a secret is shown as a difference: {printed}"
    );
    let other = CONNECTIONS_FILE.replace("connector = \"redmine\"", "connector = \"instant\"");
    let (succeeded, printed) = apply(&host, &other, &["--yes"]);
    assert!(!succeeded && printed.contains("cannot be changed"), "{printed}");
}
