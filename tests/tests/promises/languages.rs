//! Connectors in three languages use a real Redmine; the JavaScript source also runs as a script. A
//! failed test becomes one issue with the data of Test Manager.

use jackfield_tests::{
    Client, Evidence, EvidenceFile, Guest, IssueFile, Redmine, RedmineConnection, Reply,
    ScriptedServer, Setup, SimulatedTestManager, TestHost, as_shown, failed_test, merge, root,
    webhook_body,
};
use serde_json::{Value, json};

/// `redmine` is written in Rust; the other two are named after their language.
const CONNECTORS: [&str; 3] = ["redmine", "javascript", "python"];
/// The JavaScript source as a script.
const SCRIPT_NAME: &str = "redmine-script";

/// All connectors run on one server, because compiling them takes most of the time of this test.
#[test]
fn connectors_in_three_languages_and_a_script_create_find_and_count_defects() {
    let setup = CONNECTORS
        .iter()
        .fold(Setup::new(), |setup, name| setup.plugin(name, &Guest::example(name)));
    let source = root().join("guest-examples/javascript/connector.js");
    let source = std::fs::read_to_string(source).expect("the source of the connector");
    let host = setup.script(SCRIPT_NAME, &source).start();
    let simulator = SimulatedTestManager::start(&[]);
    for connector in CONNECTORS.into_iter().chain([SCRIPT_NAME]) {
        println!("--- {connector}");
        let settings = json!({"priority": "High", "critical-priorities": ["Urgent", "Immediate"],
            "moderate-priorities": ["High"]});
        let redmine = host.add_redmine_connection(connector, connector, settings);
        assert_one_issue_per_failed_test(&host, &redmine);
        redmine.assert_defect_is_found_after_lost_answer(&host);
        assert_counts_equal_redmine(&host, &redmine);
        assert_issue_contains_the_report(&host, &simulator, &redmine, connector);
        assert_detail_names_the_exception(&host, connector);
        assert_404_is_a_returned_error(&host, connector);
    }
}

/// Checks that an issue contains the report of its failed test, in each markup of the setting
/// `markup`. If the project lacks a field of the report, the issue is created with the other
/// fields.
fn assert_issue_contains_the_report(
    host: &TestHost,
    simulator: &SimulatedTestManager,
    redmine: &RedmineConnection,
    name: &str,
) {
    let severity = Redmine::shared().custom_field("Severity");
    let report = json!({
        "fields": [
            {"field": "robot", "text": "{{ log.robot }}"},
            {"field": severity.to_string(), "json": "{{ 'Major' }}"},
            {"field": "due_date", "text": "2031-02-03"},
            {"field": "no such field", "text": "x"},
        ],
        "attachments": {"kinds": ["screenshot", "robot-log", "file"]},
    });
    let checkouts = simulator.failed_tests_named("Checkout with a valid card");
    for (markup, heading, failed) in
        [("textile", "h2. ", &checkouts[0]), ("markdown", "## ", &checkouts[1])]
    {
        let edit = json!({"settings": {"markup": markup}, "report": report});
        let edit = merge(simulator.credentials(), edit);
        host.admin().json("PATCH", &format!("/connections/{name}"), &edit).assert_status(200);
        let defect = host.create(&redmine.connection, &webhook_body(failed)).expect(200);
        let id = defect["id"].as_str().expect("an id");
        let issue = Redmine::shared().client().get(&format!("/issues/{id}.json")).expect(200);
        let issue = &issue["issue"];

        let evidence = simulator.evidence(failed);
        assert!(
            issue["subject"].as_str().is_some_and(|text| text.starts_with(&evidence.name)),
            "{issue}"
        );
        let description =
            as_shown(issue["description"].as_str().expect("a text")).replace('\\', "");
        let heading = heading.to_owned() + "What was expected";
        let link = failed["link"].as_str().expect("a link");
        let robot_line = "Error: Expected total 42.00 EUR";
        for part in [&evidence.info, &heading, link, robot_line, "Not set: there is no field"] {
            assert!(description.contains(part), "{markup}: {part} in {description}");
        }
        assert!(!description.contains("What is missing"), "{description}");
        assert_eq!(issue["due_date"], "2031-02-03", "{issue}");
        let fields = issue["custom_fields"].as_array().expect("custom fields");
        let field =
            |name: &str| fields.iter().find(|field| field["name"] == name).expect("a field");
        assert!(
            field("Robot")["value"].as_str().is_some_and(|text| text.starts_with("Robot-")),
            "{issue}"
        );
        assert_eq!(field("Severity")["value"], "Major", "{issue}");
        assert_files_equal_test_manager(&redmine.project.files(id), &evidence);
    }
}

/// Checks that each attached file equals the file of Test Manager. The attached log of the robot
/// must equal Test Manager's log, except that passwords are masked.
fn assert_files_equal_test_manager(attached: &[IssueFile], evidence: &Evidence) {
    let names: Vec<_> = attached.iter().map(|file| file.name.as_str()).collect();
    assert_eq!(attached.len(), evidence.files.len() + 1, "{names:?}");
    assert_eq!(evidence.files.len(), 3, "a screenshot and two files");
    for EvidenceFile { name, bytes } in &evidence.files {
        let found = attached.iter().find(|file| file.name == *name);
        let found = found.unwrap_or_else(|| panic!("no {name} in {names:?}"));
        assert!(found.bytes == *bytes, "{name}: {} bytes are {}", bytes.len(), found.bytes.len());
        assert_eq!(name.ends_with(".png"), found.media_type == "image/png", "{found:?}");
    }
    let log = attached.iter().find(|file| file.name == "robot-log.txt").expect("the robot's log");
    let log = String::from_utf8_lossy(&log.bytes).replace('\r', "");
    let masked = |text: &str| {
        let line = |line: &str| match line.split_once("password=") {
            Some((before, _)) => format!("{before}password=***"),
            None => line.to_owned(),
        };
        text.lines().map(line).collect::<Vec<_>>()
    };
    assert_eq!(log.lines().collect::<Vec<_>>(), masked(&evidence.robot_log));
}

/// Checks that a 404 of the tracker is an error that the connector returns, not an exception.
fn assert_404_is_a_returned_error(host: &TestHost, name: &str) {
    let tracker = ScriptedServer::start(|_| Reply::new(404, ""));
    let settings = json!({"url": tracker.url(), "project": "qa"});
    let secrets = json!({"api-key": "k3y-of-the-test"});
    let connection = host.add_connection(&format!("{name} finds nothing"), name, settings, secrets);
    let detail = host.kpis(&connection, "any").problem(422, "rejected");
    assert!(detail.contains("404"), "{name}: {detail}");
}

/// Checks nothing for the connector in Rust, which has no exceptions.
fn assert_detail_names_the_exception(host: &TestHost, name: &str) {
    let place = match name {
        "javascript" => "connector.js:",
        "python" => "connector.py\", line ",
        SCRIPT_NAME => "redmine-script.js:",
        _ => return,
    };
    // The tracker sends a number instead of a list. The connectors do not check this type.
    let tracker = ScriptedServer::start(|_| Reply::new(200, "{\"issue_priorities\": 1}"));
    let settings = json!({"url": tracker.url(), "project": "qa", "priority": "High"});
    let secrets = json!({"api-key": "k3y-of-the-test"});
    let connection = host.add_connection(&format!("{name} traps"), name, settings, secrets);
    let detail = host.create(&connection, &failed_test()).problem(502, "connector-fault");
    let (_, thrown) = detail.split_once("the connector threw: ").unwrap_or_default();
    assert!(thrown.contains(place) && !detail.contains("panicked"), "{name}: {detail}");
    println!("{thrown}");
}

fn assert_one_issue_per_failed_test(host: &TestHost, redmine: &RedmineConnection) {
    let mut test = failed_test();
    test["variationId"] = json!("Zeile \"ä\" & <1>");
    let answer = host.create(&redmine.connection, &test);
    let defect = answer.expect(200);

    let issue = redmine.project.only_issue();
    assert_eq!(defect["id"], issue.id);
    assert_eq!(defect["name"], issue.subject);
    assert_eq!(defect["link"], format!("{}/issues/{}", redmine.proxy.url(), issue.id));
    assert_eq!(defect["priority"], "High");
    assert_eq!(issue.json["priority"]["name"], "High");
    assert!(defect["linkLabel"].as_str().is_some_and(|label| label.contains(&issue.id)));
    for member in ["testExecutionId", "testCaseId", "variationId", "linkToTestCaseLog"] {
        let text = test[member].as_str().expect("a text");
        assert!(
            as_shown(&issue.description).contains(text),
            "the description lacks {member}: {}",
            issue.description
        );
    }

    // Only writes are counted, because the server may search for the issue at any time, to measure
    // the index delay of the tracker.
    let writes = || {
        let requests = redmine.proxy.requests();
        requests.iter().filter(|request| request.method != "GET").count()
    };
    let before = writes();
    let repeat = host.create(&redmine.connection, &test);
    assert_eq!(repeat.expect(200), defect);
    assert_eq!(writes(), before, "a repeat sent a write");
    assert_eq!(host.event_of(&repeat)["runs"], json!([]), "a repeat ran the connector");
    assert_eq!(redmine.project.issues().len(), 1);

    let event = host.event_of(&answer);
    assert_eq!(event["kind"], "create-defect");
    assert_eq!(event["status"], 200);
    let calls = event["runs"][0]["calls"].as_array().expect("the outbound calls").clone();
    let write = calls.iter().find(|call| call["method"] == "POST").expect("the write");
    assert_eq!((&write["path"], &write["status"]), (&json!("/issues.json"), &json!(201)));
    assert_eq!(write["origin"], redmine.proxy.url());
}

fn assert_counts_equal_redmine(host: &TestHost, redmine: &RedmineConnection) {
    let created = redmine.project.issues().len() as u64;
    for priority in [5, 4, 1] {
        redmine.project.add(priority);
    }
    redmine.project.close(redmine.project.add(5));
    let counts = host.kpis(&redmine.connection, "any%20project").expect(200);
    let expected = json!({"totalDefects": created + 4, "openDefects": created + 3,
        "closedDefects": 1, "criticalDefects": 2, "moderateDefects": created});
    for (name, count) in expected.as_object().expect("an object") {
        assert_eq!(&counts[name], count, "{name} in {counts}");
    }
    assert_eq!(
        counts.get("status"),
        None::<&Value>,
        "the counts contain `status`, whose values are not documented"
    );
    let link = counts["criticalDefectsLink"].as_str().expect("a link").to_owned();
    let (base, path) = link.split_at(redmine.proxy.url().len());
    assert_eq!(base, redmine.proxy.url());
    let page = Client::new(base, &[]).get(path);
    assert_eq!(page.status, 200);
    let issues = page.body.matches("<tr id=\"issue-").count();
    assert_eq!(issues, 2, "the page does not list two open critical issues");
}
