//! Crashes at each step of a Create Defect event. After the restart, a repeated click returns the
//! defect, and Redmine never has two issues for one failed test.

use jackfield_tests::{
    Guest, KillPoint, RedmineFixture, Request, Setup, TestHost, defect_states, failed_test,
    lose_writes,
};
use serde_json::{Value, json};

/// What the proxy holds until strace is attached to the server or, without strace, until the server
/// is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum HeldByProxy {
    Nothing,
    /// Redmine's answer to the connector's read.
    ReadAnswer,
    /// The complete write, which Redmine then never receives.
    Write,
    /// Redmine's answer to the write.
    WriteAnswer,
}

/// The result of the repeated click after the restart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RepeatResult {
    /// The connector runs and creates the defect.
    Runs,
    /// The server answers 503 or 504 while the tracker may still process the write. Then the
    /// connector runs again.
    Waits,
    /// The host finds the issue by its marker, or the row is already `created`.
    Finds,
}

struct Step {
    name: &'static str,
    held_by_proxy: HeldByProxy,
    /// Returns the system call at which strace kills the server. If it returns `None`, the test
    /// kills the server while the proxy holds the write.
    kill_point: fn(&TestHost) -> Option<KillPoint>,
    /// `None` if the row is not stored.
    row_state: Option<&'static str>,
    repeat_result: RepeatResult,
}

const STEPS: [Step; 7] = [
    Step {
        name: "before `intent` is committed",
        held_by_proxy: HeldByProxy::Nothing,
        kill_point: next_commit,
        row_state: None,
        repeat_result: RepeatResult::Runs,
    },
    Step {
        name: "after `intent` is committed",
        held_by_proxy: HeldByProxy::Nothing,
        kill_point: |_| Some(KillPoint::outgoing_connection()),
        row_state: Some("intent"),
        repeat_result: RepeatResult::Runs,
    },
    Step {
        name: "connected, before `sent` is committed",
        held_by_proxy: HeldByProxy::ReadAnswer,
        kill_point: next_commit,
        row_state: Some("intent"),
        repeat_result: RepeatResult::Runs,
    },
    Step {
        name: "after `sent` is committed, before the first byte",
        held_by_proxy: HeldByProxy::ReadAnswer,
        kill_point: |_| Some(KillPoint::nth_send(1)),
        row_state: Some("sent"),
        repeat_result: RepeatResult::Waits,
    },
    Step {
        name: "after the last byte",
        held_by_proxy: HeldByProxy::Write,
        kill_point: |_| None,
        row_state: Some("sent"),
        repeat_result: RepeatResult::Waits,
    },
    Step {
        name: "answered, before `created` is committed",
        held_by_proxy: HeldByProxy::WriteAnswer,
        kill_point: next_commit,
        row_state: Some("sent"),
        repeat_result: RepeatResult::Finds,
    },
    Step {
        name: "after `created` is committed, before the answer",
        held_by_proxy: HeldByProxy::WriteAnswer,
        kill_point: |_| Some(KillPoint::nth_send(1)),
        row_state: Some("created"),
        repeat_result: RepeatResult::Finds,
    },
];

fn next_commit(host: &TestHost) -> Option<KillPoint> {
    Some(KillPoint::write_to(host.data("jackfield.db-wal")))
}

/// Short waits make the test fast.
fn start_fixture(connector: &str, guest: &Guest, settings: Value) -> RedmineFixture {
    Setup::new()
        .config(
            "sweep_ms = 500\n[create]\nin_doubt_s = 2\n[limits]\nrun_ms = 4000\n\
             create_answer_ms = 3000",
        )
        .start_with_redmine(connector, guest, settings)
}

/// Without a kill point, kills the server while the proxy holds the write. Returns the state that
/// the row had after the kill; `None` if the row is not stored.
fn click_and_crash(
    fixture: &mut RedmineFixture,
    test: &Value,
    held_by_proxy: HeldByProxy,
    kill_point: Option<&KillPoint>,
) -> Option<String> {
    let RedmineFixture { host, proxy, connection, .. } = fixture;
    let is_read = |request: &Request| !request.is_post();
    let gate = match held_by_proxy {
        HeldByProxy::Nothing => None,
        HeldByProxy::ReadAnswer => {
            proxy.set_script(|exchange| exchange.pass_and_keep_open());
            Some(proxy.hold_answers(is_read))
        }
        HeldByProxy::Write => {
            proxy.set_script(lose_writes);
            Some(proxy.hold_requests(Request::is_post))
        }
        HeldByProxy::WriteAnswer => Some(proxy.hold_answers(Request::is_post)),
    };
    if gate.is_none() {
        host.kill_at(kill_point.expect("a kill point"));
    }
    let click = host.create_in_background(connection, test);
    if let Some(gate) = gate {
        gate.await_held(1);
        match kill_point {
            Some(point) => host.kill_at(point),
            None => host.kill(),
        }
        gate.open();
    }
    if kill_point.is_some() {
        host.await_kill();
    }
    click.assert_unanswered();
    let id = test["testExecutionId"].as_str().expect("a uuid");
    let row_state = defect_states(&host.data_folder()).remove(id);
    proxy.forward_all();
    host.restart();
    row_state
}

/// Repeats the click until the answer is the defect. Checks that the repeated click has this
/// result, and that Redmine has one issue for the failed test.
fn assert_one_issue(fixture: &RedmineFixture, test: &Value, repeat_result: RepeatResult) {
    let issues = || fixture.project.issues_of(test).into_iter().map(|issue| issue.id);
    let writes = fixture.proxy.posts();
    if repeat_result == RepeatResult::Waits {
        let first_repeat = fixture.create(test);
        assert!(
            [503, 504].contains(&first_repeat.status),
            "the click did not wait for the write, which may still arrive: {first_repeat:?}"
        );
        assert_eq!(issues().count(), 0, "a second write was sent before the wait was over");
    }
    let defect = fixture.create_until_final(test).expect("the defect");
    let written = fixture.proxy.posts() - writes;
    assert_eq!(
        written,
        usize::from(repeat_result != RepeatResult::Finds),
        "the repeat sent an unexpected number of writes"
    );
    assert_eq!(issues().collect::<Vec<_>>(), [defect["id"].as_str().expect("an id")]);
    assert_eq!(fixture.create_until_final(test), Ok(defect), "a repeat has another answer");
}

#[test]
fn a_crash_at_any_step_makes_no_second_issue() {
    let settings = json!({"priority": "High"}); // makes the connector read before it writes
    let mut fixture = start_fixture("redmine", &Guest::example("redmine"), settings);
    for Step { name, held_by_proxy, kill_point, row_state, repeat_result } in STEPS {
        let test = failed_test();
        let kill_point = kill_point(&fixture.host);
        let state = click_and_crash(&mut fixture, &test, held_by_proxy, kill_point.as_ref());
        println!("{name}: the row is {state:?}");
        assert_eq!(state.as_deref(), row_state, "{name}");
        assert_one_issue(&fixture, &test, repeat_result);
    }
}

#[test]
fn a_crash_in_the_middle_of_a_write_makes_no_second_issue() {
    let mut fixture = start_fixture("large", &Guest::named("large"), json!({}));
    let test = failed_test();
    let before = fixture.proxy.posts();
    let row_state = click_and_crash(
        &mut fixture,
        &test,
        HeldByProxy::ReadAnswer,
        Some(&KillPoint::nth_send(2)),
    );
    assert_eq!(row_state.as_deref(), Some("sent"));
    assert_eq!(fixture.proxy.posts(), before, "the write arrived completely");
    assert_eq!(fixture.proxy.truncated_connections(), 1, "the write was not begun");
    assert_one_issue(&fixture, &test, RepeatResult::Waits);
}
