//! A person goes back to an earlier version of a connector, and consent holds for that version too.

use std::fs;

use jackfield_tests::{
    Connection, Guest, Reply, ScriptedServer, Setup, TestHost, failed_test, wait_for,
};
use serde_json::{Value, json};

fn build(number: u32) -> Guest {
    Guest::named("instant").with_build(number)
}

/// Runs `connectors rollback c` with these words, which must succeed.
#[track_caller]
fn rollback(host: &TestHost, words: &[&str]) -> Value {
    let (done, printed) =
        host.run_cli(&[&["connectors", "rollback", "c"], words, &["--json"]].concat());
    assert!(done, "{words:?}: {printed}");
    serde_json::from_str(&printed).unwrap_or_else(|error| panic!("{error} in {printed}"))
}

#[track_caller]
fn refused(host: &TestHost, words: &[&str], why: &str) {
    let (done, printed) = host.run_cli(&[&["connectors", "rollback"], words].concat());
    assert!(!done && printed.contains(why), "{words:?}: {printed}");
    assert_eq!(printed.trim_end().lines().count(), 1, "not one line: {printed}");
}

#[track_caller]
fn served(host: &TestHost, connection: &Connection) -> String {
    let defect = host.create(connection, &failed_test()).expect(200);
    defect["name"].as_str().expect("a name").to_owned()
}

/// The hashes of the kept versions, the last one that served first.
fn versions(host: &TestHost, count: usize) -> Vec<String> {
    wait_for(&format!("{count} kept versions"), 30, || {
        let shown = host.admin().get("/connectors/c").expect(200);
        let versions = shown["versions"].as_array().cloned().unwrap_or_default();
        let sha256 = |it: &Value| it["sha256"].as_str().unwrap_or_default().to_owned();
        (versions.len() == count).then(|| versions.iter().map(sha256).collect())
    })
}

#[test]
fn an_earlier_version_serves_again_at_once_and_after_a_restart() {
    let mut host = Setup::new().config("rescan_ms = 300").plugin("c", &build(1)).start();
    let connection = host.connect("qa", "c", json!({}), json!({}));
    versions(&host, 1);
    refused(&host, &["c"], "no other version of it is kept");
    refused(&host, &["none"], "none");
    for number in 2..=3 {
        host.replace("c", &build(number));
        versions(&host, usize::try_from(number).expect("small"));
    }
    let kept = versions(&host, 3);
    assert_eq!(kept, [3, 2, 1].map(|number| build(number).sha256()));
    let (_, shown) = host.run_cli(&["connectors", "show", "c"]);
    assert!(kept.iter().all(|sha256| shown.contains(sha256)), "{shown}");

    let back = rollback(&host, &[]);
    assert_eq!((&back["from"], &back["sha256"]), (&json!(kept[0]), &json!(kept[1])), "{back}");
    assert_eq!(served(&host, &connection), "build 2");
    assert_eq!(fs::read(host.plugin("c")).expect("the file"), build(2).bytes);
    rollback(&host, &["--to", &kept[2][..12]]);
    assert_eq!(served(&host, &connection), "build 1");
    wait_for("the log line", 10, || {
        host.output().contains("a connector was rolled back").then_some(())
    });
    host.restart();
    assert_eq!(served(&host, &connection), "build 1");
    let (_, printed) = host.run_cli(&["connectors", "rollback", "c", "--to", &kept[2]]);
    assert!(printed.contains(&host.plugin("c").display().to_string()), "{printed}");
    refused(&host, &["c", "--to", "zz"], "no version that is kept begins with");

    // A file that cannot be used counts as the current version.
    fs::write(host.plugin("c"), "no component").expect("the file is written");
    host.await_connector("c", "broken", None);
    let back = rollback(&host, &[]);
    assert_eq!(back["sha256"], json!(kept[2]), "{back}");
    assert_eq!(host.await_connector("c", "ready", None)["error"], Value::Null);
    let body = json!({"too": "5"});
    let refused = host.admin().json("POST", "/connectors/c/rollback", &body);
    assert!(refused.problem(400, "bad-request").contains("too"));
}

#[test]
fn a_version_that_asks_for_more_than_was_granted_needs_consent_after_a_rollback_too() {
    let more = Guest::named("asks-more").with_build(2);
    let host = Setup::new().plugin("c", &more).start();
    versions(&host, 1);
    host.replace("c", &Guest::named("asks-more").with_build(1));
    versions(&host, 2);
    let tracker = ScriptedServer::start(|_| Reply::created(7));
    let settings = json!({"url": tracker.url()});
    let connection = host.connect("old", "c", settings, json!({"key": "k3y-of-qa"}));
    let (done, printed) = host.run_cli(&["connectors", "rollback", "c"]);
    assert!(done && printed.contains(&more.sha256()), "{printed}");
    assert!(printed.contains("jackfield connections accept old"), "{printed}");
    assert_eq!(host.connection("old")["status"], "needs-consent");
    assert_eq!(served(&host, &connection), "build 1", "the version that was accepted");
}

#[test]
fn a_component_is_rolled_back_to_the_script_that_it_replaced() {
    const SCRIPT: &str = "export const plugin = {
  describe: () => ({ name: 'Counts', version: '1.0.0', summary: '', settings: '{\"type\":\"object\"}' }),
  check: () => 'ready',
  choices: () => ({ choices: [], more: false }),
};
export const kpis = { count: () => ({ open: 7, closed: 0, critical: 0, moderate: 0 }) };
";
    let host = Setup::new().script("c", SCRIPT).start();
    let script = host.folder().join("plugins/c.js");
    versions(&host, 1);
    fs::remove_file(&script).expect("the script is removed");
    host.replace("c", &build(1));
    versions(&host, 2);
    let back = rollback(&host, &[]);
    assert_eq!(back["title"], "Counts", "{back}");
    assert_eq!(fs::read_to_string(&script).expect("the script"), SCRIPT);
    assert!(!host.plugin("c").exists(), "two files of one connector");
    let forward = rollback(&host, &[]);
    assert_eq!(forward["sha256"], build(1).sha256(), "{forward}");
    assert!(!script.exists(), "two files of one connector");
}
