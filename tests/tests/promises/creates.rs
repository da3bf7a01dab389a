//! The main job, on a real Redmine and in three languages: a failed test becomes one issue, its repeat
//! the same answer, a lost answer is found again, and the counts are Redmine's.

use jackfield_tests::{
    Connection, Guest, Peer, Project, Redmine, Reply, Setup, TestHost, failed_test,
};
use serde_json::{Value, json};

const LANGUAGES: [&str; 3] = ["redmine", "javascript", "python"];

/// A project, a connection to it, and the way between that a test may break.
struct Bench {
    project: Project,
    way: Peer,
    connection: Connection,
}

fn bench(host: &TestHost, connector: &str) -> Bench {
    let redmine = Redmine::shared();
    let project = redmine.project();
    let way = Peer::before(redmine.address());
    let mut settings = project.settings(&way.url());
    settings["priority"] = json!("High");
    settings["critical-priorities"] = json!("Urgent, Immediate");
    settings["moderate-priorities"] = json!("High");
    let connection = host.connect(connector, connector, settings, redmine.secrets());
    Bench { project, way, connection }
}

/// One host for all three: compiling the larger connectors is what takes the time.
#[test]
fn every_language_does_the_whole_job() {
    let host = LANGUAGES
        .iter()
        .fold(Setup::new(), |setup, name| setup.plugin(name, &Guest::example(name)));
    let host = host.start();
    for connector in LANGUAGES {
        println!("--- {connector}");
        let bench = bench(&host, connector);
        one_failed_test_is_one_issue(&host, &bench);
        what_was_made_without_an_answer_is_found(&host, &bench);
        the_counts_are_redmines(&host, &bench);
    }
}

fn one_failed_test_is_one_issue(host: &TestHost, bench: &Bench) {
    let mut test = failed_test();
    test["variationId"] = json!("Zeile \"ä\" & <1>");
    let answer = host.create(&bench.connection, &test);
    let event = answer.event();
    let defect = answer.expect(200);

    let issues = bench.project.issues();
    assert_eq!(issues.len(), 1, "{issues:?}");
    let issue = &issues[0];
    assert_eq!(defect["id"], issue.id.to_string());
    assert_eq!(defect["name"], issue.subject);
    assert_eq!(defect["link"], format!("{}/issues/{}", bench.way.url(), issue.id));
    assert_eq!(defect["priority"], "High");
    assert_eq!(issue.json["priority"]["name"], "High");
    assert!(
        defect["linkLabel"].as_str().is_some_and(|label| label.contains(&issue.id.to_string()))
    );
    for told in ["testExecutionId", "testCaseId", "variationId", "linkToTestCaseLog"] {
        let text = test[told].as_str().expect("a text");
        assert!(issue.description.contains(text), "{told} is missing: {}", issue.description);
    }

    let before = bench.way.requests().len();
    assert_eq!(host.create(&bench.connection, &test).expect(200), defect);
    assert_eq!(bench.way.requests().len(), before, "a repeat asks nobody");
    assert_eq!(bench.project.issues().len(), 1);

    let event = host.event(&event);
    assert_eq!(event["kind"], "create-defect");
    assert_eq!(event["status"], 200);
    let calls = event["runs"][0]["calls"].as_array().expect("the outbound calls").clone();
    let write = calls.iter().find(|call| call["method"] == "POST").expect("the write");
    assert_eq!((&write["path"], &write["status"]), (&json!("/issues.json"), &json!(201)));
    assert_eq!(write["origin"], bench.way.url());
}

fn what_was_made_without_an_answer_is_found(host: &TestHost, bench: &Bench) {
    let before = bench.project.issues().len();
    bench.way.script(|exchange| match exchange.request.method.as_str() {
        "POST" => {
            let _ = exchange.forward();
            Reply::Reset(Vec::new())
        }
        _ => exchange.pass(),
    });
    let test = failed_test();
    let first = host.create(&bench.connection, &test);
    bench.way.heal();
    let defect = match first.status {
        200 => first.json(),
        _ => host.create(&bench.connection, &test).expect(200),
    };
    let issues = bench.project.issues();
    assert_eq!(issues.len(), before + 1);
    assert_eq!(defect["id"], issues[before].id.to_string());
}

fn the_counts_are_redmines(host: &TestHost, bench: &Bench) {
    let made = bench.project.issues().len() as u64;
    for priority in [5, 4, 1] {
        bench.project.add(priority);
    }
    bench.project.close(bench.project.add(5));
    let counts = host.kpis(&bench.connection, "any%20project").expect(200);
    let expected = json!({"totalDefects": made + 4, "openDefects": made + 3, "closedDefects": 1,
        "criticalDefects": 2, "moderateDefects": made});
    for (name, count) in expected.as_object().expect("an object") {
        assert_eq!(&counts[name], count, "{name} in {counts}");
    }
    assert_eq!(counts.get("status"), None::<&Value>, "its values are not public");
    let link = counts["criticalDefectsLink"].as_str().expect("a link").to_owned();
    let (base, path) = link.split_at(bench.way.url().len());
    assert_eq!(base, bench.way.url());
    let page = jackfield_tests::Client::new(base, &[]).get(path);
    assert_eq!(page.status, 200);
    assert_eq!(
        page.body.matches("<tr id=\"issue-").count(),
        2,
        "two open critical issues are listed"
    );
}
