//! The server's client for Test Manager reads from the stand-in, without a fault and with many of
//! the faults that the stand-in can simulate.

use jackfield_tests::{ScriptedServer, Setup, SimulatedTestManager, TestHost, merge};
use serde_json::{Value, json};

use super::failed_checkout;

/// Creates a connection that reads from the stand-in. Use a new connection for each fault, because
/// a connection waits for the end of a rate limit, even in a later try.
fn add_connection(
    host: &TestHost,
    tracker: &ScriptedServer,
    simulator: &SimulatedTestManager,
    name: &str,
) {
    let mut body = json!({
        "name": name,
        "connector": "calls",
        "settings": {"url": tracker.url(), "target": tracker.url() + "/x"},
    });
    body = merge(body, simulator.credentials());
    let families = ["Projects", "TestExecutions", "TestCases", "TestSets", "Attachments"];
    let optional = ["Requirements", "CustomFieldValues"];
    let scopes = families.into_iter().chain(optional).map(|family| format!("TM.{family}.Read"));
    body["test_manager"]["scopes"] = scopes.collect();
    host.admin().json("POST", "/connections", &body).assert_status(201);
}

/// Tries a connection with a failed test. Returns the name of the last step, and its error or note.
fn last_step(host: &TestHost, name: &str, failed: &Value) -> (String, String) {
    let test = json!({
        "test_execution_id": failed["execution"],
        "test_case_id": failed["case"],
        "variation_id": failed["variation"],
        "link": failed["link"],
    });
    let path = format!("/connections/{name}/try");
    let tried = host.admin().json("POST", &path, &json!({"failed_test": test})).expect(200);
    let step = tried["steps"].as_array().and_then(|steps| steps.last()).expect("a step").clone();
    let text = |member: &str| step[member].as_str().map(str::to_owned);
    let error = text("error").map(|text| format!("failed: {text}"));
    (text("name").expect("a name"), error.or_else(|| text("note")).unwrap_or_default())
}

#[test]
fn a_try_of_a_connection_shows_each_fault_of_the_stand_in() {
    let tracker = ScriptedServer::start(|_| jackfield_tests::Reply::new(200, "reached"));
    let host = Setup::new().guests(["calls"]).start();
    let simulator = SimulatedTestManager::start(&[]);
    let failed = failed_checkout(&simulator);
    let complete = "Failed, with 3 assertions, 40 robot log lines and 3 files";
    for (number, (faults, step, expected)) in [
        (&[][..], "log", complete),
        (&["expired-token"], "log", complete),
        (&["server-errors=1"], "log", complete),
        (&["screenshot-gone"], "log", complete),
        (&["no-file-sizes"], "log", complete),
        (&["many-logs=300"], "log", complete),
        (&["two-logs"], "log", "Failed, with 3 assertions"),
        (&["no-variation"], "log", "failed: "),
        (&["unknown-execution"], "log", "404"),
        (&["wrong-credentials"], "token", "invalid_client"),
        (&["token-html-403"], "token", "403 with a web page"),
        (&["ungranted-scope"], "scope", "invalid_scope"),
        (&["html-403"], "project", "403 with a web page (\"Access denied\")"),
        (&["rate-limit=0", "rate-window=3600"], "project", "rate limit"),
        (&["many-logs"], "log", complete),
        (&["many-logs=100000"], "log", "the search stopped"),
        (&["screenshot-gone"], "log", "404"),
        (&["screenshot-redirect"], "log", "--test-manager-asset-origin"),
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("c{number}");
        add_connection(&host, &tracker, &simulator, &name);
        simulator.set_faults(faults);
        let (last, text) = last_step(&host, &name, &failed);
        assert_eq!(last, format!("test-manager-{step}"), "{faults:?}: {text}");
        assert!(text.contains(expected), "{faults:?}: {text}");
    }
}

#[test]
fn each_failed_test_of_the_stand_in_is_read_without_a_gap() {
    let tracker = ScriptedServer::start(|_| jackfield_tests::Reply::new(200, "reached"));
    let host = Setup::new().guests(["calls"]).start();
    let simulator = SimulatedTestManager::start(&[]);
    add_connection(&host, &tracker, &simulator, "qa");
    // The project ODD has robots whose logs have more lines than the server reads.
    for (prefix, count, allowed) in
        [("SHOP", 8, ""), ("ODD", 16, "; the robot's log: only the newest")]
    {
        for failed in simulator.failed_tests(prefix).iter().take(count) {
            let (last, text) = last_step(&host, "qa", failed);
            assert!(
                last == "test-manager-log" && text.starts_with("Failed, with"),
                "{failed}: {text}"
            );
            let gaps = text.find(';').map_or("", |at| &text[at..]);
            let is_allowed = !allowed.is_empty() && gaps.starts_with(allowed);
            assert!(gaps.is_empty() || is_allowed, "{failed}: {text}");
        }
    }
    for request in simulator.requests() {
        assert!(request.contains(" 200 "), "the stand-in refused {request}");
    }
}
