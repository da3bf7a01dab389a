//! Defects are created in Redmine while Test Manager or the report settings have a fault. The issue
//! is created, and names what is missing or wrong. The event names missing data, too.

mod any_fault;

use jackfield_tests::{
    Guest, RedmineConnection, Setup, SimulatedTestManager, TestHost, as_shown, merge, webhook_body,
};
use serde_json::{Value, json};

enum Cause {
    /// A fault of the stand-in for Test Manager.
    Fault(&'static str),
    /// Wrong report settings of the connection.
    Report(Value),
}

/// A template that loops too long, but not with the example data of the server, whose test case is
/// SHOP:12. The server renders each template with this data before it saves the template.
const LOOPING_TEMPLATE: &str = "{% if project.prefix == 'SHOP' and test_case.key != 'SHOP:12' %}\
                     {% for n in range(99999) %}{{ n }}{% endfor %}{% endif %}";

/// Starts a server that has the connector for Redmine under two names. With `quick`, the server
/// waits for Test Manager for 3 seconds only, so that faults without an answer end soon. With
/// `redmine`, the server waits longer than by default, because a test build needs seconds to read
/// 10,000 logs.
fn start_host() -> TestHost {
    let redmine = Guest::example("redmine");
    let limits = "[connectors.quick.limits]\ncreate_answer_ms = 6000\n\
                  [connectors.redmine.limits]\ncreate_answer_ms = 60000";
    Setup::new().config(limits).plugin("redmine", &redmine).plugin("quick", &redmine).start()
}

/// Creates a connection to a new project of Redmine, with credentials for the stand-in. The
/// connection attaches all files.
fn add_connection(
    host: &TestHost,
    simulator: &SimulatedTestManager,
    name: &str,
    connector: &str,
    report: Value,
) -> RedmineConnection {
    let redmine = host.add_redmine_connection(name, connector, json!({}));
    let all = json!({"attachments": {"kinds": ["screenshot", "robot-log", "file"]}});
    let edit = json!({"report": merge(all, report)});
    let edit = merge(simulator.credentials(), edit);
    host.admin().json("PATCH", &format!("/connections/{name}"), &edit).assert_status(200);
    redmine
}

#[test]
fn each_fault_leaves_an_issue_that_names_what_is_missing() {
    use Cause::{Fault, Report};
    let (host, simulator) = (start_host(), SimulatedTestManager::start(&[]));
    let failed = simulator.failed_tests_named("Checkout with a valid card").remove(0);
    // An empty text means that the host overcomes the fault, so nothing is missing.
    let rows: [(Cause, &str); 22] = [
        (Fault("wrong-credentials"), "invalid_client"),
        (Fault("expired-token"), ""),
        (Fault("ungranted-scope"), "TM.TestExecutions.Read"),
        (Fault("html-403"), "403 with a web page (\"Access denied\")"),
        (Fault("token-html-403"), "403 with a web page"),
        (Fault("unknown-execution"), "Test Manager answered 404"),
        (Fault("no-variation"), "no log of the test case is without a variation"),
        (Fault("two-logs"), "2 logs match; this is about the newest one that failed"),
        (Fault("many-logs"), ""),
        (Fault("many-logs=100000"), "100004 entries"),
        (Fault("large-attachment"), "memory.dmp: the file has 200000000 bytes"),
        (Fault("no-file-sizes"), ""),
        (Fault("screenshot-gone"), "Test Manager answered 404"),
        (Fault("screenshot-redirect"), "--test-manager-asset-origin"),
        (Fault("clock-skew=0"), "Test Manager answered 401"),
        (Fault("clock-skew=5"), ""),
        (Fault("token-hangs"), "/connect/token did not answer in time"),
        (Fault("slow=1200"), "in time"),
        (Fault("rate-limit=0"), "rate limit"),
        (Fault("server-errors=2"), ""),
        (
            Report(json!({"description_template": LOOPING_TEMPLATE})),
            "description failed, and the default was",
        ),
        (Report(json!({"fields": [{"field": "no such field", "text": "x"}]})), "there is no field"),
    ];
    for (number, (cause, expected)) in (1..).zip(rows) {
        let (name, faults, report) = match &cause {
            Fault(fault) => ((*fault).to_owned(), vec![*fault], json!({})),
            Report(report) => (report.to_string(), Vec::new(), report.clone()),
        };
        println!("--- {name}");
        let slow_faults = ["token-hangs", "slow=1200", "many-logs=100000"];
        let is_slow = faults.iter().any(|fault| slow_faults.contains(fault));
        let connector = if is_slow { "quick" } else { "redmine" };
        let redmine = add_connection(&host, &simulator, &format!("c{number}"), connector, report);
        simulator.set_faults(&faults);
        let answer = host.create(&redmine.connection, &webhook_body(&failed));
        let defect = answer.expect(200);
        let issue = redmine.project.only_issue();
        assert_eq!(defect["id"], issue.id, "{name}");
        let text = as_shown(&issue.description);
        let is_complete = !["What is missing", "Not attached", "Not set", "the default was used"]
            .iter()
            .any(|it| text.contains(it));
        assert!(text.contains(expected), "{name}: {expected} in {text}");
        assert_eq!(expected.is_empty(), is_complete, "{name}: {text}");
        // The log of the run names faults, too.
        if !expected.is_empty() && !faults.is_empty() {
            let log = host.run_of(&answer)["log"].to_string();
            let expected = expected.replace('"', "\\\"");
            assert!(log.contains(&expected), "{name}: {expected} in {log}");
        }
    }
}
