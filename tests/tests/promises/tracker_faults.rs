//! A tracker refuses requests, fails or is slow, or its answers are lost. The tests check how the
//! server answers, and that no failed test gets a second issue.

use jackfield_tests::{
    Connection, Exchange, Guest, Redmine, RedmineConnection, Reply, Response, ScriptedServer,
    Setup, TestHost, age_counts, failed_test, unreachable_url, wait_for,
};
use serde_json::{Value, json};

fn start_host() -> TestHost {
    Setup::new().plugin("redmine", &Guest::example("redmine")).start()
}

type Script = fn(&Exchange<'_>) -> Reply;

/// A fault that a proxy simulates, and the problem with which the server then answers.
struct Fault {
    /// The name of the fault, and of the connection on which it happens.
    name: &'static str,
    script: Script,
    status: u16,
    code: &'static str,
    /// A part of the problem's detail.
    detail: &'static str,
}

const fn fault(
    name: &'static str,
    script: Script,
    (status, code, detail): (u16, &'static str, &'static str),
) -> Fault {
    Fault { name, script, status, code, detail }
}

/// Answers of a tracker that works but refuses the request.
const REFUSALS: [Fault; 5] = [
    fault("401", |_| Reply::json(401, "{}"), (502, "credentials-refused", "credentials")),
    fault("403", |_| Reply::json(403, "{}"), (502, "credentials-refused", "credentials")),
    fault("404", |_| Reply::json(404, "{}"), (422, "rejected", "404")),
    fault(
        "422",
        |_| Reply::json(422, r#"{"errors":["Subject is silly"]}"#),
        (422, "rejected", "Subject is silly"),
    ),
    fault(
        "429",
        |_| Reply::Answer(Response::json(429, "{}").with_header("Retry-After", "17")),
        (503, "tracker-rate-limited", "wait 17 s: Redmine answered 429"),
    ),
];

/// Faults that show that the tracker does not work.
const FAILURES: [Fault; 3] = [
    fault("500", |_| Reply::new(500, "internal error"), (503, "tracker-unavailable", "500")),
    fault(
        "html",
        |_| {
            let page = Response::new(200, "<html>Welcome</html>");
            Reply::Answer(page.with_header("Content-Type", "text/html"))
        },
        (503, "tracker-unavailable", "JSON"),
    ),
    fault("reset", |_| Reply::reset(), (503, "tracker-unavailable", "unavailable")),
];

#[test]
fn a_count_is_answered_with_the_problem_of_the_trackers_fault() {
    let host = start_host();
    for Fault { name, script, status, code, detail } in REFUSALS.into_iter().chain(FAILURES) {
        let redmine = host.add_redmine_connection(name, "redmine", json!({}));
        redmine.proxy.set_script(script);
        let answer = host.kpis(&redmine.connection, "1");
        let text = answer.problem(status, code);
        assert!(text.contains(detail), "{name}: {text}");
        assert_eq!(host.event_of(&answer)["status"], status);
        if name == "429" {
            assert_eq!(answer.header("retry-after"), Some("17"));
        }
        redmine.proxy.forward_all();
        host.kpis(&redmine.connection, "1").assert_status(200);
    }
}

#[test]
fn a_tracker_that_is_down_or_slow_is_named_in_the_problem() {
    let host = Setup::new()
        .config("[limits]\nkpi_answer_ms = 2000\ncreate_answer_ms = 4000")
        .plugin("redmine", &Guest::example("redmine"))
        .start();
    let redmine = Redmine::shared();
    let settings = redmine.project().settings(&unreachable_url());
    let down = host.add_connection("down", "redmine", settings, redmine.secrets());
    host.kpis(&down, "1").assert_problem(503, "tracker-unavailable");
    assert!(host.create(&down, &failed_test()).header("retry-after").is_some());

    let slow = host.add_redmine_connection("slow", "redmine", json!({}));
    let gate = slow.proxy.hold_requests(|_| true);
    host.kpis(&slow.connection, "1").assert_problem(504, "deadline-exceeded");
    let test = failed_test();
    host.create(&slow.connection, &test).assert_problem(504, "deadline-exceeded");
    gate.open();
    let defect = wait_for("the run to finish after the deadline", 20, || {
        let answer = host.create(&slow.connection, &test);
        (answer.status == 200).then(|| answer.json())
    });
    assert_eq!(defect["id"], slow.project.only_issue().id);
}

#[test]
fn a_refused_create_makes_no_issue_and_a_repeat_runs_again() {
    let host = start_host();
    for Fault { name, script, status, code, detail } in REFUSALS {
        let redmine = host.add_redmine_connection(name, "redmine", json!({}));
        // After a 403, the server trusts a search that finds nothing only if another search finds
        // an earlier defect of the connection. The next line creates this earlier defect.
        host.create(&redmine.connection, &failed_test()).assert_status(200);
        redmine.proxy.set_script(script);
        let test = failed_test();
        let text = host.create(&redmine.connection, &test).problem(status, code);
        assert!(text.contains(detail), "{name}: {text}");
        assert_eq!(redmine.project.issues().len(), 1);
        redmine.proxy.forward_all();
        host.create(&redmine.connection, &test).assert_status(200);
        assert_eq!(redmine.project.issues().len(), 2);
    }
}

/// The name and the status of each answer of the proxy to a write that it does not forward.
const NOTHING_CREATED: [(&str, u16); 9] = [
    ("moved permanently", 308),
    ("moved", 307),
    ("login", 302),
    ("sign-in page", 203),
    ("sleeping instance", 200),
    ("not found", 404),
    ("conflict", 409),
    ("overloaded", 503),
    ("gateway timeout", 504),
];

#[test]
fn a_write_that_created_nothing_needs_no_person() {
    let host = Setup::new()
        .config("[create]\nin_doubt_s = 1")
        .plugin("redmine", &Guest::example("redmine"))
        .start();
    for (name, status) in NOTHING_CREATED {
        let RedmineConnection { project, proxy, connection } =
            host.add_redmine_connection(name, "redmine", json!({}));
        proxy.set_script(move |exchange| {
            if !exchange.request.is_post() {
                return exchange.pass();
            }
            let page = Response::new(status, "<html>Welcome</html>");
            Reply::Answer(page.with_header("Location", "/login"))
        });
        let test = failed_test();
        let refused = host.create(&connection, &test);
        assert!([422, 502, 503].contains(&refused.status), "{name}: {refused:?}");
        assert_eq!(proxy.posts(), 1, "{name}: the click did not send exactly one create");
        proxy.forward_all();
        let defect = click_until_created(&host, &connection, &test, name);
        assert_eq!(defect["id"], project.only_issue().id, "{name}");
        assert_eq!(proxy.posts(), 2, "{name}");
    }
}

/// The tracker answers a create with 403, and then no search finds a defect. At first, the
/// connection has no other defect with which the server can test the search. Later it has one,
/// which the search does not find.
#[test]
fn a_search_without_the_permission_to_read_needs_a_person() {
    let tracker = ScriptedServer::start(|exchange| {
        if exchange.request.is_post() { Reply::created(7) } else { Reply::json(200, "[]") }
    });
    let (host, connection) = Setup::new().start_with_guest("good", json!({"url": tracker.url()}));
    let forbidden = |exchange: &Exchange<'_>| {
        if exchange.request.is_post() { Reply::json(403, "{}") } else { Reply::json(200, "[]") }
    };
    tracker.set_script(forbidden);
    let first = failed_test();
    host.create(&connection, &first).assert_problem(502, "credentials-refused");
    let detail = host.create(&connection, &first).problem(409, "in-doubt");
    assert!(detail.contains("403"), "{detail}");

    tracker.set_script(|_| Reply::created(7));
    host.create(&connection, &failed_test()).assert_status(200);
    tracker.set_script(forbidden);
    let second = failed_test();
    host.create(&connection, &second).assert_problem(502, "credentials-refused");
    let detail = host.create(&connection, &second).problem(409, "in-doubt");
    assert!(detail.contains("does not find known records either: 7"), "{detail}");
    assert_eq!(tracker.posts(), 3, "a second create was sent");
}

/// Ways in which the tracker's answer is lost or replaced, although the tracker created the issue.
const DAMAGED_ANSWERS: [(&str, Script); 13] = [
    ("reset", |_| Reply::reset()),
    ("closed", |_| Reply::Raw(Vec::new())),
    ("truncated", |_| {
        Reply::Raw(b"HTTP/1.1 201 Created\r\ncontent-length: 500\r\n\r\n{\"issue\":".to_vec())
    }),
    ("404", |_| Reply::json(404, "{}")),
    ("403", |_| Reply::json(403, "{}")),
    ("307", |_| Reply::Answer(Response::new(307, "").with_header("Location", "/moved"))),
    ("203", |_| Reply::new(203, "<html>Sign in</html>")),
    ("408", |_| Reply::new(408, "")),
    ("500", |_| Reply::new(500, "internal error")),
    ("502", |_| Reply::new(502, "<html>Bad Gateway</html>")),
    ("504", |_| Reply::new(504, "")),
    ("garbage", |_| Reply::new(201, "\u{1}\u{2}garbage")),
    ("302", |_| Reply::Answer(Response::new(302, "").with_header("Location", "/issues/1"))),
];

#[test]
fn an_issue_whose_answer_was_damaged_is_adopted_and_never_created_twice() {
    let host = start_host();
    for (name, damaged) in DAMAGED_ANSWERS {
        let RedmineConnection { project, proxy, connection } =
            host.add_redmine_connection(name, "redmine", json!({}));
        proxy.set_script(move |exchange| {
            let answer = exchange.pass();
            if exchange.request.is_post() { damaged(exchange) } else { answer }
        });
        let test = failed_test();
        let defect = click_until_created(&host, &connection, &test, name);
        assert_eq!(defect["id"], project.only_issue().id, "{name}");
        assert_eq!(proxy.posts(), 1, "{name}: not exactly one write was sent");
    }
}

/// Clicks until the answer is the defect. Panics if this takes more than 30 seconds, or after an
/// answer with a status other than 200, 503 and 504.
fn click_until_created(
    host: &TestHost,
    connection: &Connection,
    test: &Value,
    name: &str,
) -> Value {
    wait_for(&format!("{name}: the defect"), 30, || {
        let answer = host.create(connection, test);
        if answer.status == 200 {
            return Some(answer.json());
        }
        assert!([503, 504].contains(&answer.status), "{name}: {answer:?}");
        None
    })
}

#[test]
fn old_counts_are_answered_with_their_age_and_refreshed_in_the_background() {
    let fixture = Setup::new().config("kpi_fresh_ms = 1").start_with_redmine(
        "redmine",
        &Guest::example("redmine"),
        json!({}),
    );
    let kpis = || fixture.host.kpis(&fixture.connection, "1");
    fixture.project.add(5);
    let counts = kpis().expect(200);
    fixture.proxy.set_script(|_| Reply::reset());
    let old_counts = kpis();
    assert_eq!(old_counts.expect(200), counts);
    assert!(old_counts.header("age").is_some(), "{old_counts:?}");
    fixture.proxy.forward_all();
    fixture.project.add(5);
    wait_for("fresh counts", 20, || (kpis().json()["criticalDefects"] == 2).then_some(()));
}

#[test]
fn the_last_counts_are_answered_as_stale_while_the_tracker_is_down_for_a_day() {
    let tracker = ScriptedServer::start(|_| Reply::new(200, "7"));
    let (mut host, connection) =
        Setup::new().start_with_guest("good", json!({"url": tracker.url()}));
    let counts = host.kpis(&connection, "1").expect(200);
    assert_eq!(counts["openDefects"], 7);
    tracker.set_script(|_| Reply::reset());
    let mut kpis_after = |hours: u64| {
        assert!(host.stop().success());
        age_counts(&host.data_folder(), hours * 3_600_000);
        host.restart();
        host.kpis(&connection, "1")
    };
    let stale = kpis_after(23);
    assert_eq!(stale.expect(200), counts);
    assert_eq!(stale.header("jackfield-stale"), Some("true"));
    let age = stale.header("age").and_then(|text| text.parse::<u64>().ok());
    assert!(age.is_some_and(|age| (23 * 3_600..24 * 3_600).contains(&age)), "{stale:?}");
    kpis_after(2).assert_problem(503, "tracker-unavailable");
}
