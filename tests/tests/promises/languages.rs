//! The main use on a real Redmine, with connectors in three languages: a failed test becomes one
//! issue with fields and files, a repeated click has the same answer, an issue whose answer was
//! lost is found again, and the counts equal those of Redmine.

use jackfield_tests::{
    Client, Guest, Redmine, RedmineConnection, Reply, Setup, TestHost, failed_test,
};
use serde_json::{Value, json};

use crate::test_manager::{CASE, EXECUTION, connection, files, test_manager};

const LANGUAGES: [&str; 3] = ["redmine", "javascript", "python"];

/// One server for all three connectors, because compiling the larger ones takes most of the time.
#[test]
fn connectors_in_every_language_create_find_and_count_defects() {
    let setup = LANGUAGES
        .iter()
        .fold(Setup::new(), |setup, name| setup.plugin(name, &Guest::example(name)));
    let host = setup.start();
    for connector in LANGUAGES {
        println!("--- {connector}");
        let settings = json!({"priority": "High", "critical-priorities": "Urgent, Immediate",
            "moderate-priorities": "High"});
        let redmine = host.connect_to_redmine(connector, connector, settings);
        one_failed_test_is_one_issue(&host, &redmine);
        an_issue_whose_answer_was_lost_is_found(&host, &redmine);
        the_counts_are_those_of_redmine(&host, &redmine);
        an_issue_has_the_fields_and_files_of_the_report(&host, &redmine, connector);
    }
}

/// A field that the project does not have prevents neither the issue nor the other fields.
fn an_issue_has_the_fields_and_files_of_the_report(
    host: &TestHost,
    redmine: &RedmineConnection,
    name: &str,
) {
    let files = files();
    let test_manager = test_manager(&files);
    let given = connection(&redmine.proxy, &test_manager);
    let mut edit = json!({"report": {"fields": [
        {"field": "due_date", "text": "2031-02-03"}, {"field": "no such field", "text": "x"}]}});
    for member in ["test_manager", "test_manager_client_secret"] {
        edit[member] = given[member].clone();
    }
    edit["test_manager"]["asset_origins"] = json!([files.url()]);
    host.admin().json("PATCH", &format!("/connections/{name}"), &edit).assert_status(200);
    let mut test = failed_test();
    test["testExecutionId"] = json!(EXECUTION);
    test["testCaseId"] = json!(CASE);
    test["linkToTestCaseLog"] = json!("https://tm.example/SHOP/testexecution-results/1/2");
    let defect = host.create(&redmine.connection, &test).expect(200);

    let id = defect["id"].as_str().expect("an id");
    let path = format!("/issues/{id}.json?include=attachments");
    let issue = Redmine::shared().client().get(&path).expect(200)["issue"].clone();
    assert_eq!(issue["due_date"], "2031-02-03", "{issue}");
    let description = without_entities(issue["description"].as_str().expect("a text"));
    for part in ["Pay", "1 = 2", "no such field"] {
        assert!(description.contains(part), "{part} in {description}");
    }
    let attached = issue["attachments"].as_array().expect("attachments");
    let screenshot = attached.iter().find(|file| file["filename"] == "end.png");
    let screenshot = screenshot.unwrap_or_else(|| panic!("no screenshot: {issue}"));
    assert_eq!(
        (&screenshot["filesize"], &screenshot["content_type"]),
        (&json!(4), &json!("image/png"))
    );
}

fn one_failed_test_is_one_issue(host: &TestHost, redmine: &RedmineConnection) {
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
            without_entities(&issue.description).contains(text),
            "the description lacks {member}: {}",
            issue.description
        );
    }

    let before = redmine.proxy.requests().len();
    assert_eq!(host.create(&redmine.connection, &test).expect(200), defect);
    assert_eq!(redmine.proxy.requests().len(), before, "a repeat sent a request");
    assert_eq!(redmine.project.issues().len(), 1);

    let event = host.event_of(&answer);
    assert_eq!(event["kind"], "create-defect");
    assert_eq!(event["status"], 200);
    let calls = event["runs"][0]["calls"].as_array().expect("the outbound calls").clone();
    let write = calls.iter().find(|call| call["method"] == "POST").expect("the write");
    assert_eq!((&write["path"], &write["status"]), (&json!("/issues.json"), &json!(201)));
    assert_eq!(write["origin"], redmine.proxy.url());
}

/// A text as Redmine shows it: the host writes the characters of markup as numbers.
fn without_entities(textile: &str) -> String {
    let characters =
        [("&#34;", "\""), ("&#60;", "<"), ("&#61;", "="), ("&#62;", ">"), ("&#38;", "&")];
    characters.iter().fold(textile.to_owned(), |text, (entity, it)| text.replace(entity, it))
}

fn an_issue_whose_answer_was_lost_is_found(host: &TestHost, redmine: &RedmineConnection) {
    let before = redmine.project.issues().len();
    redmine.proxy.set_script(|exchange| {
        let answer = exchange.pass();
        if exchange.request.is_post() { Reply::reset() } else { answer }
    });
    let test = failed_test();
    let first = host.create(&redmine.connection, &test);
    redmine.proxy.forward_all();
    let defect = match first.status {
        200 => first.json(),
        _ => host.create(&redmine.connection, &test).expect(200),
    };
    let issues = redmine.project.issues();
    assert_eq!(issues.len(), before + 1);
    assert_eq!(defect["id"], issues[before].id);
}

fn the_counts_are_those_of_redmine(host: &TestHost, redmine: &RedmineConnection) {
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
