//! The host reads the stand-in for Test Manager: every kind of failed test, and each fault.

use jackfield_tests::{Reply, ScriptedServer, Setup, SimulatedTestManager, TestHost};
use serde_json::{Value, json};

/// A server whose connection "qa" reads the stand-in, with all scopes that it knows of.
fn host(simulator: &SimulatedTestManager, tracker: &ScriptedServer) -> TestHost {
    let host = Setup::new().guests(["calls"]).start();
    let families = ["Projects", "TestExecutions", "TestCases", "TestSets", "Attachments"];
    let optional = ["Requirements", "CustomFieldValues"];
    let scopes = families.into_iter().chain(optional).map(|family| format!("TM.{family}.Read"));
    let body = json!({
        "name": "qa",
        "connector": "calls",
        "settings": {"url": tracker.url(), "target": tracker.url()},
        "test_manager": {
            "base_url": simulator.printed("base_url"),
            "token_url": simulator.printed("token_url"),
            "client_id": simulator.printed("client_id"),
            "scopes": scopes.collect::<Vec<_>>(),
        },
        "test_manager_client_secret": simulator.printed("client_secret"),
    });
    host.admin().json("POST", "/connections", &body).assert_status(201);
    host
}

/// Tries "qa" with a failed test; returns the name of the last step, its error and its note.
fn try_with(host: &TestHost, failed: &Value) -> (String, String, String) {
    let test = json!({
        "test_execution_id": failed["execution"],
        "test_case_id": failed["case"],
        "variation_id": failed["variation"],
        "link": failed["link"],
    });
    let body = json!({"failed_test": test});
    let tried = host.admin().json("POST", "/connections/qa/try", &body).expect(200);
    let steps = tried["steps"].as_array().expect("steps");
    let text = |member: &str| {
        steps.last().and_then(|step| step[member].as_str()).unwrap_or_default().to_owned()
    };
    (text("name"), text("error"), text("note"))
}

#[test]
fn each_failed_test_of_the_stand_in_is_read_without_a_gap() {
    let simulator = SimulatedTestManager::start(&[]);
    let tracker = ScriptedServer::start(|_| Reply::new(200, "reached"));
    let host = host(&simulator, &tracker);
    for failed in simulator.failed_tests("SHOP").iter().take(8) {
        let (step, error, note) = try_with(&host, failed);
        assert_eq!((step.as_str(), error.as_str()), ("test-manager-log", ""), "{failed}");
        assert!(note.starts_with("Failed, with ") && !note.contains(';'), "{failed}: {note}");
    }
    for request in simulator.requests() {
        assert!(request.contains(" 200 "), "the stand-in does not know {request}");
    }
}

#[test]
fn each_fault_of_the_stand_in_is_named_by_its_step() {
    let simulator = SimulatedTestManager::start(&[]);
    let tracker = ScriptedServer::start(|_| Reply::new(200, "reached"));
    let host = host(&simulator, &tracker);
    let mut all = simulator.failed_tests("SHOP").into_iter();
    let has_screenshot = |it: &Value| !try_with(&host, it).2.contains("with 0 assertions");
    let failed = all.find(|it| it["variation"].is_null() && has_screenshot(it));
    let failed = failed.expect("an automated test without a variation");
    let log = "test-manager-log";
    let cases: [(&str, &str, &str); 12] = [
        ("wrong-credentials", "test-manager-token", "invalid_client"),
        ("token-html-403", "test-manager-token", "403 with a web page"),
        ("ungranted-scope", "test-manager-scope", "TM.TestExecutions.Read"),
        ("html-403", "test-manager-project", "403 with a web page"),
        ("unknown-execution", log, "404"),
        ("many-logs", log, "more than the 2000"),
        ("two-logs", log, "2 logs match"),
        ("screenshot-gone", log, "404"),
        ("screenshot-redirect", log, "--test-manager-asset-origin"),
        ("expired-token", log, "Failed, with "),
        ("server-errors", log, "Failed, with "),
        // The requests so far count, so the first one is beyond the limit.
        ("rate-limit", "test-manager-project", "rate limit"),
    ];
    for (number, (fault, step, said)) in (1..).zip(cases) {
        // What was learnt of the rate limit ends with an edit.
        let edit = json!({"index_delay_s": number});
        host.admin().json("PATCH", "/connections/qa", &edit).assert_status(200);
        simulator.set_faults(&[fault]);
        let (name, error, note) = try_with(&host, &failed);
        assert_eq!(name, step, "{fault}: {error}");
        assert!(error.contains(said) || note.contains(said), "{fault}: {error}{note}");
    }
}
