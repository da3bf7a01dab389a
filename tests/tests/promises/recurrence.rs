//! With the policy `comment`, each further failure of a test case adds exactly one comment to its
//! open defect, also if the server or the tracker fails in between. The tests use a real Redmine.

mod attachments;

use jackfield_tests::{
    Click, Exchange, Gate, Guest, Redmine, RedmineConnection, RedmineFixture, Reply, Request,
    ScriptedServer, Setup, TestHost, failed_test, rounds, wait_for,
};
use serde_json::{Value, json};

/// Starts a server with short waits. Its connection "qa" to Redmine has this policy for
/// recurrences.
fn start_with_policy(policy: &str) -> RedmineFixture {
    let fixture = Setup::new()
        .config(
            "lease_ms = 1500\nsweep_ms = 200\n[create]\nin_doubt_s = 1\n[limits]\nrun_ms = 2000\n\
             create_answer_ms = 6000",
        )
        .start_with_redmine("redmine", &Guest::example("redmine"), json!({}));
    set_policy(&fixture.host, policy);
    fixture
}

fn set_policy(host: &TestHost, policy: &str) {
    let edit = json!({"on_recurrence": policy});
    host.admin().json("PATCH", "/connections/qa", &edit).assert_status(200);
}

/// Returns a failed test of the same test case in another execution.
pub(crate) fn same_test_case_failed_again(test: &Value) -> Value {
    let mut failed_again = failed_test();
    failed_again["testCaseId"] = test["testCaseId"].clone();
    failed_again
}

fn shown_defect(host: &TestHost, test: &Value) -> Value {
    let mut cursor = String::new();
    loop {
        let page = host.admin().get(&format!("/defects?limit=200{cursor}")).expect(200);
        let mut defects = page["defects"].as_array().expect("defects").iter();
        let defect = defects.find(|it| it["test_execution_id"] == test["testExecutionId"]);
        if let Some(defect) = defect {
            return defect.clone();
        }
        let next = page["next"].as_str().expect("a defect of the failed test");
        cursor = format!("&cursor={next}");
    }
}

pub(crate) fn await_step(host: &TestHost, test: &Value, step: &str, state: &str) -> Value {
    wait_for(&format!("`{step}` to be {state}"), 90, || {
        let steps = shown_defect(host, test)["follow_ups"].as_array().expect("steps").clone();
        let mut steps = steps.into_iter();
        steps.find(|it| it["step"] == step && it["state"] == state)
    })
}

fn comments_on(id: &str) -> Vec<String> {
    let path = format!("/issues/{id}.json?include=journals");
    let issue = Redmine::shared().client().get(&path).expect(200);
    let journals = issue["issue"]["journals"].as_array().expect("journals").clone();
    let notes = journals.into_iter().filter_map(|it| it["notes"].as_str().map(str::to_owned));
    notes.filter(|notes| !notes.is_empty()).collect()
}

fn assert_one_comment_each(id: &str, tests: &[Value]) {
    let comments = comments_on(id);
    for test in tests {
        let execution = test["testExecutionId"].as_str().expect("an id");
        let of_test = comments.iter().filter(|comment| comment.contains(execution)).count();
        assert_eq!(of_test, 1, "{execution}: {comments:#?}");
    }
    assert_eq!(comments.len(), tests.len(), "{comments:#?}");
}

fn is_put(request: &Request) -> bool {
    request.method == "PUT"
}

/// Lets the tracker add each comment, and drops the tracker's answer to it.
fn lose_answers_to_comments(exchange: &Exchange<'_>) -> Reply {
    let answer = exchange.pass();
    if is_put(exchange.request) { Reply::reset() } else { answer }
}

/// Makes the proxy drop each request that would add a comment.
fn lose_comments(exchange: &Exchange<'_>) -> Reply {
    if is_put(exchange.request) { Reply::reset() } else { exchange.pass() }
}

#[test]
fn a_test_case_that_fails_again_adds_a_comment_to_its_open_defect() {
    let fixture = start_with_policy("comment");
    let first = failed_test();
    let created = fixture.create(&first).expect(200);
    let second = same_test_case_failed_again(&first);
    let answer = fixture.create(&second);
    assert_eq!(answer.json()["url"], created["url"]);
    assert_eq!(fixture.host.event_of(&answer)["outcome"], "recurred");
    await_step(&fixture.host, &second, "comment", "done");
    let issue = fixture.project.only_issue();
    assert_one_comment_each(&issue.id, std::slice::from_ref(&second));
    let marker =
        shown_defect(&fixture.host, &second)["marker"].as_str().expect("a marker").to_owned();
    assert!(comments_on(&issue.id)[0].contains(&marker));
    assert_eq!(
        shown_defect(&fixture.host, &second)["recurrence_of"],
        shown_defect(&fixture.host, &first)["id"]
    );

    // A repeat of either click adds neither a comment nor an issue.
    for test in [&first, &second] {
        assert_eq!(fixture.create(test).json()["url"], created["url"]);
    }
    let third = same_test_case_failed_again(&first);
    fixture.create(&third).assert_status(200);
    await_step(&fixture.host, &third, "comment", "done");
    assert_one_comment_each(&issue.id, &[second, third]);
    assert_eq!(fixture.project.issues().len(), 1);
}

#[test]
fn another_test_case_variation_or_policy_creates_another_defect() {
    let fixture = start_with_policy("new");
    let first = failed_test();
    fixture.create(&first).assert_status(200);
    fixture.create(&same_test_case_failed_again(&first)).assert_status(200);
    assert_eq!(fixture.project.issues().len(), 2, "the policy is `new`");
    set_policy(&fixture.host, "comment");
    fixture.create(&failed_test()).assert_status(200);
    let mut variation = same_test_case_failed_again(&first);
    variation["variationId"] = json!("row 2");
    fixture.create(&variation).assert_status(200);
    assert_eq!(fixture.project.issues().len(), 4);
}

#[test]
fn a_closed_defect_is_opened_again_or_another_defect_is_created() {
    let fixture = start_with_policy("comment");
    let first = failed_test();
    fixture.create(&first).assert_status(200);
    let closed = fixture.project.only_issue().id;
    fixture.project.close(closed.parse().expect("a number"));
    fixture.create(&same_test_case_failed_again(&first)).assert_status(200);
    assert_eq!(fixture.project.issues().len(), 2, "a closed defect got a comment");
    assert_eq!(comments_on(&closed), Vec::<String>::new());

    set_policy(&fixture.host, "reopen");
    let opened = fixture.project.issues().pop().expect("an issue").id;
    fixture.project.close(opened.parse().expect("a number"));
    let third = same_test_case_failed_again(&first);
    fixture.create(&third).assert_status(200);
    await_step(&fixture.host, &third, "reopen", "done");
    await_step(&fixture.host, &third, "comment", "done");
    assert_eq!(fixture.project.issues().len(), 2);
    let issue = fixture.project.issues().pop().expect("an issue");
    assert_eq!(issue.json["status"]["is_closed"], false);
    assert_one_comment_each(&opened, &[third]);
}

#[test]
fn connectors_in_three_languages_comment_reopen_and_replace_deleted_issues() {
    let languages = ["redmine", "javascript", "python"];
    let setup = languages
        .iter()
        .fold(Setup::new(), |setup, name| setup.plugin(name, &Guest::example(name)));
    let host = setup.config("sweep_ms = 200").start();
    for language in languages {
        let RedmineConnection { project, connection, proxy: _proxy } =
            host.add_redmine_connection(language, language, json!({}));
        let path = format!("/connections/{language}");
        let edit = json!({"on_recurrence": "reopen"});
        host.admin().json("PATCH", &path, &edit).assert_status(200);
        let first = failed_test();
        host.create(&connection, &first).assert_status(200);
        let issue = project.only_issue();
        project.close(issue.id.parse().expect("a number"));
        let second = same_test_case_failed_again(&first);
        let answer = host.create(&connection, &second).expect(200);
        assert_eq!(answer["id"], issue.id, "{language}");
        await_step(&host, &second, "comment", "done");
        assert_one_comment_each(&issue.id, &[second]);
        assert_eq!(project.only_issue().json["status"]["is_closed"], false, "{language}");

        project.delete(&issue.id);
        host.create(&connection, &same_test_case_failed_again(&first)).assert_status(200);
        // `Project::delete` has added one issue. The other issue is the new defect.
        assert_eq!(project.issues().len(), 2, "{language}: the deleted issue was not replaced");
    }
}

#[test]
fn if_the_defect_is_closed_one_of_several_concurrent_failures_creates_and_the_others_comment() {
    let fixture = start_with_policy("comment");
    let first = failed_test();
    fixture.create(&first).assert_status(200);
    fixture.project.close(fixture.project.only_issue().id.parse().expect("a number"));
    // All four clicks read the closed issue before one of them creates another issue.
    let gate = fixture.proxy.hold_answers(|request| request.target.starts_with("/issues/"));
    let tests: Vec<_> = (0..4).map(|_| same_test_case_failed_again(&first)).collect();
    let clicks: Vec<_> = tests
        .iter()
        .map(|test| fixture.host.create_in_background(&fixture.connection, test))
        .collect();
    gate.await_held(4);
    gate.open();
    let answers: Vec<_> = clicks.into_iter().map(Click::answer).collect();
    let issues = fixture.project.issues();
    assert_eq!(issues.len(), 2, "{answers:?}");
    for answer in &answers {
        assert_eq!(answer.expect(200)["url"], answers[0].json()["url"]);
    }
    let is_comment = |test: &&Value| !shown_defect(&fixture.host, test)["recurrence_of"].is_null();
    let others: Vec<_> = tests.iter().filter(is_comment).cloned().collect();
    assert_eq!(others.len(), 3);
    for test in &others {
        await_step(&fixture.host, test, "comment", "done");
    }
    assert_one_comment_each(&issues[1].id, &others);
}

#[test]
fn after_a_deletion_or_in_a_later_generation_a_new_issue_is_created_instead_of_a_comment() {
    let fixture = start_with_policy("comment");
    let first = failed_test();
    fixture.create(&first).assert_status(200);
    let deleted_id = fixture.project.only_issue().id;
    fixture.project.delete(&deleted_id);
    let other_id = fixture.project.only_issue().id;
    let second = same_test_case_failed_again(&first);
    fixture.create(&second).assert_status(200);
    let ids: Vec<_> = fixture.project.issues().into_iter().map(|issue| issue.id).collect();
    assert!(ids.len() == 2 && ids[0] == other_id && ids[1] != deleted_id, "{ids:?}");

    // A person releases both defects.
    for test in [&first, &second] {
        let id = shown_defect(&fixture.host, test)["id"].as_str().expect("an id").to_owned();
        let path = format!("/defects/{id}/release");
        fixture.host.admin().json("POST", &path, &json!({})).assert_status(200);
    }
    fixture.create(&second).assert_status(200);
    assert_eq!(fixture.project.issues().len(), 3, "a later generation is not a recurrence");
}

#[test]
fn one_of_several_concurrent_first_failures_creates_and_the_others_comment() {
    let fixture = start_with_policy("comment");
    let first = failed_test();
    let tests: Vec<_> = std::iter::once(first.clone())
        .chain((0..5).map(|_| same_test_case_failed_again(&first)))
        .collect();
    let clicks: Vec<_> = tests
        .iter()
        .map(|test| fixture.host.create_in_background(&fixture.connection, test))
        .collect();
    let answers: Vec<_> = clicks.into_iter().map(Click::answer).collect();
    for answer in &answers {
        assert_eq!(answer.expect(200)["url"], answers[0].json()["url"]);
    }
    let issue = fixture.project.only_issue();
    let is_first = |test: &&Value| shown_defect(&fixture.host, test)["recurrence_of"].is_null();
    let (creators, others): (Vec<_>, Vec<_>) = tests.iter().partition(is_first);
    assert_eq!(creators.len(), 1);
    let others: Vec<_> = others.into_iter().cloned().collect();
    for test in &others {
        await_step(&fixture.host, test, "comment", "done");
    }
    assert_one_comment_each(&issue.id, &others);
}

#[test]
fn a_recurrence_waits_for_a_create_in_doubt() {
    let fixture = start_with_policy("comment");
    let first = failed_test();
    fixture.proxy.set_script(|exchange| {
        let answer = exchange.pass();
        if exchange.request.is_post() { Reply::reset() } else { answer }
    });
    fixture.create(&failed_test()).assert_status(200);
    // The search fails, so the defect stays in doubt.
    fixture.proxy.set_script(|exchange| {
        let _ = exchange.pass();
        Reply::reset()
    });
    assert_ne!(fixture.create(&first).status, 200);
    let second = same_test_case_failed_again(&first);
    let detail = fixture.create(&second).problem(503, "outcome-pending");
    assert!(detail.contains("an earlier failure of the same test case"), "{detail}");
    fixture.proxy.forward_all();
    wait_for("the recurrence", 30, || (fixture.create(&second).status == 200).then_some(()));
    await_step(&fixture.host, &second, "comment", "done");
    assert_eq!(fixture.project.issues().len(), 2);
    let issue = &fixture.project.issues_of(&first)[0];
    assert_one_comment_each(&issue.id, &[second]);
}

#[test]
fn a_comment_with_a_lost_answer_is_found_and_a_lost_comment_is_added_again() {
    let fixture = start_with_policy("comment");
    let first = failed_test();
    fixture.create(&first).assert_status(200);
    let issue = fixture.project.only_issue();
    let mut tests = Vec::new();
    type Script = fn(&Exchange<'_>) -> Reply;
    for script in [lose_answers_to_comments as Script, lose_comments] {
        fixture.proxy.set_script(script);
        let test = same_test_case_failed_again(&first);
        // The answer to the click does not wait for the comment.
        fixture.create(&test).assert_status(200);
        wait_for("a comment in doubt", 30, || {
            let steps = shown_defect(&fixture.host, &test)["follow_ups"].clone();
            (steps[0]["class"] == "open").then_some(())
        });
        fixture.proxy.forward_all();
        let comment = await_step(&fixture.host, &test, "comment", "done");
        assert!(comment["tries"].as_u64() > Some(1), "{comment}");
        tests.push(test);
        assert_one_comment_each(&issue.id, &tests);
    }
}

#[test]
fn a_refused_comment_is_given_up_with_the_reason() {
    let fixture = start_with_policy("comment");
    let first = failed_test();
    fixture.create(&first).assert_status(200);
    fixture.proxy.set_script(|exchange| match is_put(exchange.request) {
        true => Reply::json(422, r#"{"errors": ["Notes is too long"]}"#),
        false => exchange.pass(),
    });
    let second = same_test_case_failed_again(&first);
    fixture.create(&second).assert_status(200);
    let comment = await_step(&fixture.host, &second, "comment", "given-up");
    assert!(comment["reason"].to_string().contains("Notes is too long"), "{comment}");
    let events = fixture.host.admin().get("/events?kind=follow-up").expect(200);
    assert_eq!(events["events"][0]["outcome"], "rejected", "{events}");
}

#[test]
fn a_connector_without_follow_up_has_only_the_policy_new() {
    let (host, _) = Setup::new().start_with_guest("good", json!({"url": "http://127.0.0.1:9"}));
    let edit = json!({"on_recurrence": "comment"});
    let refused = host.admin().json("PATCH", "/connections/qa", &edit);
    assert!(refused.problem(422, "invalid-values").contains("on_recurrence"));
    let (succeeded, printed) =
        host.run_cli(&["connections", "edit", "qa", "--on-recurrence", "sometimes"]);
    assert!(!succeeded && printed.contains("[possible values: new, comment, reopen]"), "{printed}");
}

#[test]
fn after_a_change_of_the_tracker_url_the_same_test_case_gets_a_new_defect() {
    let fixture = start_with_policy("comment");
    let first = failed_test();
    fixture.create(&first).assert_status(200);
    let first_id = fixture.project.only_issue().id;
    let other_proxy = ScriptedServer::proxy_to(Redmine::shared().address());
    let edit = json!({"settings": {"url": other_proxy.url()}});
    fixture.host.admin().json("PATCH", "/connections/qa", &edit).assert_status(200);
    let second = same_test_case_failed_again(&first);
    let answer = fixture.create(&second).expect(200);
    assert_ne!(answer["id"], first_id);
    assert!(shown_defect(&fixture.host, &second)["recurrence_of"].is_null());
    assert_eq!(comments_on(&first_id), Vec::<String>::new());
}

/// The server is killed before the tracker gets the request for a comment, before the server gets
/// the answer to this request, or at an arbitrary moment.
#[test]
fn random_crashes_make_no_second_comment() {
    let rounds = rounds();
    let mut fixture = start_with_policy("comment");
    let first = failed_test();
    fixture.create(&first).assert_status(200);
    let issue = fixture.project.only_issue();
    let mut tests = Vec::new();
    for round in 0..rounds {
        let new_tests: Vec<_> = (0..2).map(|_| same_test_case_failed_again(&first)).collect();
        let RedmineFixture { host, proxy, connection, .. } = &mut fixture;
        proxy.forward_all();
        let gate = match round % 3 {
            0 => {
                proxy.set_script(lose_comments);
                Some(proxy.hold_requests(is_put))
            }
            1 => Some(proxy.hold_answers(is_put)),
            _ => None,
        };
        let clicks: Vec<_> =
            new_tests.iter().map(|test| host.create_in_background(connection, test)).collect();
        match &gate {
            Some(gate) => gate.await_held(1),
            // The moment is arbitrary, so there is no request to wait for.
            None => {
                std::thread::sleep(std::time::Duration::from_millis(u64::from(round * 37 % 200)))
            }
        }
        host.kill();
        gate.iter().for_each(Gate::open);
        clicks.into_iter().for_each(|click| drop(click.finish()));
        host.restart();
        proxy.forward_all();
        tests.extend(new_tests);
    }
    for test in &tests {
        wait_for("the defect of the failed test", 90, || {
            (fixture.create(test).status == 200).then_some(())
        });
    }
    for test in &tests {
        await_step(&fixture.host, test, "comment", "done");
    }
    assert_eq!(fixture.project.issues().len(), 1, "a recurrence created an issue");
    assert_one_comment_each(&issue.id, &tests);
}
