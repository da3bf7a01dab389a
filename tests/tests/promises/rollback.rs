//! A person rolls a connector back to an earlier version. A version that needs a person's consent
//! also needs this consent after a rollback.

use std::fs;

use jackfield_tests::{
    Connection, Guest, Reply, ScriptedServer, Setup, TestHost, failed_test, wait_for,
};
use serde_json::{Value, json};

fn guest_with_build(number: u32) -> Guest {
    Guest::named("instant").with_build(number)
}

#[track_caller]
fn roll_back(host: &TestHost, arguments: &[&str]) -> Value {
    let (succeeded, printed) =
        host.run_cli(&[&["connectors", "rollback", "c"], arguments, &["--json"]].concat());
    assert!(succeeded, "{arguments:?}: {printed}");
    serde_json::from_str(&printed).unwrap_or_else(|error| panic!("{error} in {printed}"))
}

#[track_caller]
fn assert_refused(host: &TestHost, arguments: &[&str], expected: &str) {
    let (succeeded, printed) = host.run_cli(&[&["connectors", "rollback"], arguments].concat());
    assert!(!succeeded && printed.contains(expected), "{arguments:?}: {printed}");
    assert_eq!(printed.trim_end().lines().count(), 1, "the error is not one line: {printed}");
}

#[track_caller]
fn serving_build(host: &TestHost, connection: &Connection) -> String {
    let defect = host.create(connection, &failed_test()).expect(200);
    defect["name"].as_str().expect("a name").to_owned()
}

/// Returns the hashes of the kept versions; the version that served last is first.
fn await_versions(host: &TestHost, count: usize) -> Vec<String> {
    wait_for(&format!("{count} kept versions"), 30, || {
        let connector = host.admin().get("/connectors/c").expect(200);
        let versions = connector["versions"].as_array().cloned().unwrap_or_default();
        let sha256 = |it: &Value| it["sha256"].as_str().unwrap_or_default().to_owned();
        (versions.len() == count).then(|| versions.iter().map(sha256).collect())
    })
}

#[test]
fn an_earlier_version_serves_again_after_a_rollback_and_a_restart() {
    let mut host = Setup::new().config("rescan_ms = 300").plugin("c", &guest_with_build(1)).start();
    let connection = host.add_connection("qa", "c", json!({}), json!({}));
    await_versions(&host, 1);
    assert_refused(&host, &["c"], "no other version of the connector is kept");
    assert_refused(&host, &["none"], "none");
    for number in 2..=3 {
        host.replace("c", &guest_with_build(number));
        await_versions(&host, usize::try_from(number).expect("small"));
    }
    let kept = await_versions(&host, 3);
    assert_eq!(kept, [3, 2, 1].map(|number| guest_with_build(number).sha256()));
    let (_, shown) = host.run_cli(&["connectors", "show", "c"]);
    assert!(kept.iter().all(|sha256| shown.contains(sha256)), "{shown}");

    let rolled_back = roll_back(&host, &[]);
    assert_eq!(
        (&rolled_back["from"], &rolled_back["sha256"]),
        (&json!(kept[0]), &json!(kept[1])),
        "{rolled_back}"
    );
    assert_eq!(serving_build(&host, &connection), "build 2");
    assert_eq!(fs::read(host.plugin("c")).expect("the file"), guest_with_build(2).bytes);
    roll_back(&host, &["--to", &kept[2][..12]]);
    assert_eq!(serving_build(&host, &connection), "build 1");
    wait_for("the log line", 10, || {
        host.output().contains("a connector was rolled back").then_some(())
    });
    host.restart();
    assert_eq!(serving_build(&host, &connection), "build 1");
    let (_, printed) = host.run_cli(&["connectors", "rollback", "c", "--to", &kept[2]]);
    assert!(printed.contains(&host.plugin("c").display().to_string()), "{printed}");
    assert_refused(&host, &["c", "--to", "zz"], "no kept version has a SHA-256 that begins with");

    // If the newest file cannot be used, a rollback restores the version that is in use.
    fs::write(host.plugin("c"), "no component").expect("the file is written");
    host.await_connector("c", "broken", None);
    let rolled_back = roll_back(&host, &[]);
    assert_eq!(rolled_back["sha256"], json!(kept[2]), "{rolled_back}");
    assert_eq!(host.await_connector("c", "ready", None)["error"], Value::Null);
    let body = json!({"too": "5"});
    let refused = host.admin().json("POST", "/connectors/c/rollback", &body);
    assert!(refused.problem(400, "bad-request").contains("too"));
}

#[test]
fn a_version_that_needs_more_grants_needs_consent_after_a_rollback_too() {
    let with_more_grants = Guest::named("asks-more").with_build(2);
    let host = Setup::new().plugin("c", &with_more_grants).start();
    await_versions(&host, 1);
    host.replace("c", &Guest::named("asks-more").with_build(1));
    await_versions(&host, 2);
    let tracker = ScriptedServer::start(|_| Reply::created(7));
    let settings = json!({"url": tracker.url()});
    let connection = host.add_connection("old", "c", settings, json!({"key": "k3y-of-qa"}));
    let (succeeded, printed) = host.run_cli(&["connectors", "rollback", "c"]);
    assert!(succeeded && printed.contains(&with_more_grants.sha256()), "{printed}");
    assert!(printed.contains("jackfield connections accept old"), "{printed}");
    assert_eq!(host.connection("old")["status"], "needs-consent");
    assert_eq!(serving_build(&host, &connection), "build 1", "a version without consent serves");
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
    await_versions(&host, 1);
    fs::remove_file(&script).expect("the script is removed");
    host.replace("c", &guest_with_build(1));
    await_versions(&host, 2);
    let rolled_back = roll_back(&host, &[]);
    assert_eq!(rolled_back["title"], "Counts", "{rolled_back}");
    assert_eq!(fs::read_to_string(&script).expect("the script"), SCRIPT);
    assert!(!host.plugin("c").exists(), "the connector has two files");
    let rolled_forward = roll_back(&host, &[]);
    assert_eq!(rolled_forward["sha256"], guest_with_build(1).sha256(), "{rolled_forward}");
    assert!(!script.exists(), "the connector has two files");
}
