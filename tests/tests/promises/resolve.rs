//! A person decides about a defect in doubt, or releases a created or failed defect, through the
//! admin API or the CLI. The server stores the decision with the person and the time.

use jackfield_tests::{
    Guest, Reply, ScriptedServer, Setup, failed_test, lose_writes, wait_for, with_database,
};
use serde_json::{Value, json};

#[test]
fn after_a_lost_write_repeats_are_refused_until_a_person_requests_a_retry() {
    let fixture = Setup::new()
        .config("[limits]\nkpi_answer_ms = 2000\ncreate_answer_ms = 4000")
        .start_with_redmine("redmine", &Guest::example("redmine"), json!({}));
    fixture.proxy.set_script(lose_writes);
    let test = failed_test();
    let detail = fixture.create(&test).problem(503, "tracker-unavailable");
    assert!(detail.contains("A create request was sent"), "{detail}");
    let waiting = fixture.create(&test);
    waiting.assert_problem(503, "outcome-pending");
    let seconds = waiting.header("retry-after").and_then(|text| text.parse::<u32>().ok());
    assert!(seconds.is_some_and(|seconds| (800..=900).contains(&seconds)), "{waiting:?}");
    assert_eq!(fixture.proxy.posts(), 1, "a second create was sent");
    fixture.proxy.forward_all();
    fixture.create(&test).assert_problem(503, "outcome-pending");
    fixture.host.retry_by_api();
    let defect = fixture.create_until_final(&test).expect("the retry creates the defect");
    assert_eq!(defect["id"], fixture.project.only_issue().id);
}

#[test]
fn after_a_lost_write_a_repeat_creates_the_defect_when_the_wait_is_over() {
    let fixture = Setup::new()
        .config("[create]\nin_doubt_s = 2\n[limits]\ncreate_answer_ms = 1000")
        .start_with_redmine("redmine", &Guest::example("redmine"), json!({}));
    fixture.proxy.set_script(lose_writes);
    let test = failed_test();
    fixture.create(&test).assert_problem(503, "tracker-unavailable");
    fixture.proxy.forward_all();
    fixture.create(&test).assert_problem(503, "outcome-pending");
    let defect = fixture.create_until_final(&test).expect("the defect is created after the wait");
    assert_eq!(defect["id"], fixture.project.only_issue().id);
}

#[test]
fn a_person_can_adopt_give_up_and_release_a_defect() {
    let tracker = ScriptedServer::start(|exchange| {
        if exchange.request.is_post() { Reply::reset() } else { Reply::json(200, "[]") }
    });
    let (host, connection) = Setup::new()
        .config("[create]\nin_doubt_s = \"never\"")
        .start_with_guest("good", json!({"url": tracker.url()}));
    let create_in_doubt = |test: &Value| {
        wait_for("the defect to be in doubt", 30, || {
            (host.create(&connection, test).status == 409).then_some(())
        });
        host.defect_in_doubt().expect("a defect in doubt")
    };
    let decide = |id: &str, arguments: &[&str], decision: &str| {
        let (succeeded, printed) = host.run_cli(&[&["defects"], arguments].concat());
        assert!(succeeded, "{arguments:?}: {printed}");
        let defect = host.admin().get(&format!("/defects/{id}")).expect(200);
        let last_decision = defect["decisions"].as_array().expect("decisions").last().cloned();
        let last_decision = last_decision.expect("a decision");
        assert_eq!(last_decision["decision"], decision, "{defect}");
        assert!(
            last_decision["by"].is_string() && last_decision["at"].is_string(),
            "the decision lacks the person or the time: {last_decision}"
        );
    };

    let adopted = failed_test();
    let id = create_in_doubt(&adopted);
    decide(&id, &["resolve", &id, "--adopt", "QA-17"], "adopt");
    assert_eq!(host.create(&connection, &adopted).expect(200)["id"], "QA-17");

    let given_up = failed_test();
    let id = create_in_doubt(&given_up);
    decide(&id, &["resolve", &id, "--give-up"], "give-up");
    tracker.set_script(|exchange| {
        if exchange.request.is_post() { Reply::created(9) } else { Reply::json(200, "[]") }
    });
    assert_eq!(
        host.create(&connection, &given_up).expect(200)["id"],
        "9",
        "the click after the decision did not create the defect"
    );

    let posts_before = tracker.posts();
    decide(&id, &["release", &id], "release");
    host.create(&connection, &given_up).assert_status(200);
    host.create(&connection, &given_up).assert_status(200);
    assert_eq!(
        tracker.posts() - posts_before,
        1,
        "the release did not allow exactly one more create"
    );
}

#[test]
fn the_page_of_a_defect_offers_only_the_decisions_that_the_store_allows() {
    let tracker = ScriptedServer::start(|exchange| {
        if exchange.request.is_post() { Reply::new(422, "{}") } else { Reply::json(200, "[]") }
    });
    let (host, connection) = Setup::new()
        .config("[create]\nin_doubt_s = \"never\"")
        .start_with_guest("good", json!({"url": tracker.url()}));
    let offered_decisions = |id: &str| {
        let page = host.client_as(host.admin_token()).get(&format!("/defects/{id}"));
        page.assert_status(200);
        let is_offered =
            |decision: &&str| page.body.contains(&format!("/defects/{id}/{decision}\""));
        ["adopt", "retry", "give-up", "release"].into_iter().filter(is_offered).collect::<Vec<_>>()
    };
    host.create(&connection, &failed_test()).assert_status(422);
    let failed = host.admin().get("/defects").expect(200)["defects"][0].clone();
    assert_eq!((&failed["state"], &failed["needs_person"]), (&json!("failed"), &Value::Null));
    let failed_id = failed["id"].as_str().expect("an id");
    assert_eq!(offered_decisions(failed_id), ["adopt", "release"]);
    let (succeeded, printed) = host.run_cli(&["defects", "release", failed_id]);
    assert!(succeeded, "{printed}");
    let released = host.admin().get(&format!("/defects/{failed_id}")).expect(200);
    assert_eq!(released["released"], true, "{released}");
    assert!(offered_decisions(failed_id).is_empty(), "a decision is offered for a released defect");

    tracker.set_script(|exchange| {
        if exchange.request.is_post() { Reply::reset() } else { Reply::json(200, "[]") }
    });
    let test = failed_test();
    wait_for("the defect to be in doubt", 30, || {
        (host.create(&connection, &test).status == 409).then_some(())
    });
    let id = host.defect_in_doubt().expect("a defect in doubt");
    assert_eq!(offered_decisions(&id), ["adopt", "retry", "give-up"]);

    let gate = tracker.hold_requests(|request| !request.is_post());
    let search = host.create_in_background(&connection, &test);
    gate.await_held(1);
    assert!(offered_decisions(&id).is_empty(), "a decision is offered while a run has the defect");
    gate.open();
    search.answer().assert_status(409);
    assert_eq!(offered_decisions(&id), ["adopt", "retry", "give-up"]);

    with_database(&host.data_folder(), |database| {
        let lost = "UPDATE defects SET state = 'sent', lease_until = NULL WHERE state = 'in-doubt'";
        database.execute(lost, [])
    });
    assert_eq!(host.admin().get(&format!("/defects/{id}")).expect(200)["state"], "sent");
    assert_eq!(offered_decisions(&id), ["adopt", "retry", "give-up"]);
}
