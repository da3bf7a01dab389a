//! If a create cannot add attachments to the defect, the server adds each of them later, exactly
//! once, or gives up a file that is too large. The tests use a real Redmine.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use jackfield_tests::{
    Guest, Redmine, RedmineFixture, Reply, Setup, SimulatedTestManager, wait_for, with_database,
};
use serde_json::{Value, json};

use super::{await_step, is_put, shown_defect, start_with_policy};

/// Connects the connection `qa` to the stand-in for Test Manager. Returns one of its failed tests,
/// which has a screenshot and at least one more attachment.
fn connect_to_simulator(simulator: &SimulatedTestManager, fixture: &RedmineFixture) -> Value {
    let edit = json!({
        "test_manager": {
            "base_url": simulator.printed_field("base_url"),
            "token_url": simulator.printed_field("token_url"),
            "client_id": simulator.printed_field("client_id"),
        },
        "test_manager_client_secret": simulator.printed_field("client_secret"),
    });
    let edited = fixture.host.admin().json("PATCH", "/connections/qa", &edit).expect(200);
    assert_eq!(edited["grants"]["test_data"], true, "{edited}");
    let has_screenshot = |failed: &Value| {
        let test = json!({
            "test_execution_id": failed["execution"],
            "test_case_id": failed["case"],
            "variation_id": failed["variation"],
            "link": failed["link"],
        });
        let body = json!({ "failed_test": test });
        let preview = fixture.host.admin().json("POST", "/connections/qa/preview", &body);
        let attachments = preview.expect(200)["attachments"].as_array().expect("a list").clone();
        attachments.len() >= 2 && attachments.iter().any(|it| it["kind"] == "screenshot")
    };
    let mut failed = simulator.failed_tests("SHOP").into_iter();
    let failed = failed.find(has_screenshot).expect("a failed test with a screenshot");
    json!({
        "testExecutionId": failed["execution"],
        "testCaseId": failed["case"],
        "variationId": failed["variation"],
        "linkToTestCaseLog": failed["link"],
    })
}

fn attachment_names(id: &str) -> Vec<String> {
    let path = format!("/issues/{id}.json?include=attachments");
    let issue = Redmine::shared().client().get(&path).expect(200);
    let attached = issue["issue"]["attachments"].as_array().expect("attachments").clone();
    attached.iter().map(|it| it["filename"].as_str().expect("a name").to_owned()).collect()
}

#[test]
fn each_attachment_that_a_create_could_not_add_is_added_later_exactly_once() {
    let simulator = SimulatedTestManager::start(&[]);
    let fixture = start_with_policy("new");
    let test = connect_to_simulator(&simulator, &fixture);
    let (is_created, is_answer_lost) = (AtomicBool::new(false), AtomicBool::new(false));
    fixture.proxy.set_script(move |exchange| {
        let request = exchange.request;
        if request.target.starts_with("/uploads.json") && !is_created.load(Relaxed) {
            return Reply::json(503, "{}");
        }
        is_created.fetch_or(request.is_post() && request.target == "/issues.json", Relaxed);
        let answer = exchange.pass();
        // The tracker adds the first attachment, but the proxy drops the tracker's answer.
        if is_put(request) && !is_answer_lost.swap(true, Relaxed) { Reply::reset() } else { answer }
    });
    fixture.create(&test).assert_status(200);
    await_step(&fixture.host, &test, "list-attachments", "done");
    let steps = wait_for("all attachments", 30, || {
        let steps =
            shown_defect(&fixture.host, &test)["follow_ups"].as_array().expect("steps").clone();
        let attach_steps: Vec<_> = steps.into_iter().filter(|it| it["step"] == "attach").collect();
        attach_steps.iter().all(|step| step["state"] == "done").then_some(attach_steps)
    });
    let expected_names: BTreeSet<_> =
        steps.iter().map(|step| step["name"].as_str().expect("a name").to_owned()).collect();
    assert!(
        expected_names.len() >= 2 && expected_names.iter().any(|name| name.ends_with(".png")),
        "{expected_names:?}"
    );
    let added_names = attachment_names(&fixture.project.only_issue().id);
    assert_eq!(added_names.iter().cloned().collect::<BTreeSet<_>>(), expected_names);
    assert_eq!(
        added_names.len(),
        expected_names.len(),
        "an attachment was added twice: {added_names:?}"
    );
}

#[test]
fn attachments_do_not_wait_for_a_sweep_if_the_defect_is_stored_late() {
    let simulator = SimulatedTestManager::start(&[]);
    let fixture = Setup::new().config("sweep_ms = 600000").start_with_redmine(
        "redmine",
        &Guest::example("redmine"),
        json!({}),
    );
    let test = connect_to_simulator(&simulator, &fixture);
    fixture.proxy.set_script(|exchange| {
        match exchange.request.target.starts_with("/uploads.json") {
            true => Reply::json(503, "{}"),
            false => exchange.pass(),
        }
    });
    let change_database = |sql: &str| {
        with_database(&fixture.host.data_folder(), |database| database.execute(sql, []));
    };
    change_database(
        "CREATE TRIGGER refuse BEFORE UPDATE ON defects WHEN NEW.state = 'created'
         BEGIN SELECT RAISE(ABORT, 'the test refuses it'); END",
    );
    fixture.create(&test).assert_status(200);
    assert_eq!(shown_defect(&fixture.host, &test)["state"], "sent");
    fixture.proxy.set_script(|exchange| exchange.pass());
    change_database("DROP TRIGGER refuse");
    await_step(&fixture.host, &test, "list-attachments", "done");
}

#[test]
fn attachments_that_the_create_added_are_not_added_again() {
    let simulator = SimulatedTestManager::start(&[]);
    let fixture = start_with_policy("new");
    let test = connect_to_simulator(&simulator, &fixture);
    fixture.create(&test).assert_status(200);
    // The create added every attachment, so no follow-up step is needed.
    assert_eq!(shown_defect(&fixture.host, &test)["follow_ups"], json!([]));
    assert!(attachment_names(&fixture.project.only_issue().id).len() >= 2);
}

#[test]
fn an_attachment_that_proves_to_be_too_large_is_given_up_after_one_attempt() {
    let simulator = SimulatedTestManager::start(&[]);
    let fixture = start_with_policy("new");
    let test = connect_to_simulator(&simulator, &fixture);
    let policy = json!({ "attachments": { "kinds": ["file"], "file_bytes_max": 1_000_000 } });
    let edit = json!({ "report": policy });
    fixture.host.admin().json("PATCH", "/connections/qa", &edit).assert_status(200);
    simulator.set_faults(&["no-file-sizes", "large-attachment=2000000"]);
    fixture.create(&test).assert_status(200);
    let step = await_step(&fixture.host, &test, "attach", "given-up");
    assert_eq!((&step["name"], &step["tries"]), (&json!("memory.dmp"), &json!(1)), "{step}");
    let reason = step["reason"].as_str().expect("a reason");
    assert!(reason.contains("larger than `file_bytes_max`"), "{reason}");
    let added_names = attachment_names(&fixture.project.only_issue().id);
    assert!(!added_names.contains(&"memory.dmp".to_owned()), "{added_names:?}");
}
