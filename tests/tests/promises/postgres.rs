//! The store in PostgreSQL, with a real Redmine: a failed test has one defect through crashes of
//! this server and of the database, and after a move from SQLite.

use std::fs;

use jackfield_tests::{Guest, Postgres, RedmineFixture, Request, Setup, failed_test};
use serde_json::{Value, json};

/// Number of clicks of each thread, while the database restarts.
const CLICKS: usize = 8;
const RESTARTS: usize = 3;

fn with_redmine(setup: Setup) -> RedmineFixture {
    setup.start_with_redmine("redmine", &Guest::example("redmine"), json!({}))
}

#[test]
fn a_create_its_repeats_and_the_kpis_are_answered() {
    let postgres = Postgres::start();
    let mut fixture = with_redmine(postgres.setup());
    let test = failed_test();
    let created = fixture.host.create(&fixture.connection, &test);
    let defect = created.expect(200)["id"].clone();
    fixture.assert_one_issue(&test, &defect);
    let event = fixture.host.event_of(&created);
    assert_eq!(event["outcome"], "created", "{event}");
    let kpis = fixture.host.kpis(&fixture.connection, "QA");
    assert_eq!(kpis.status, 200, "{kpis:?}");
    assert!(!fixture.host.data("jackfield.db").exists(), "a file was used");

    fixture.host.restart();
    fixture.assert_one_issue(&test, &defect);
    let shown = fixture.host.output();
    assert!(!shown.contains(postgres.password()), "the password was printed:\n{shown}");
}

#[test]
fn a_crash_between_sent_and_the_answer_makes_no_second_issue() {
    let postgres = Postgres::start();
    let short = "lease_ms = 1000\nsweep_ms = 500\n[create]\nin_doubt_s = 2\n[limits]\n\
                 run_ms = 4000\ncreate_answer_ms = 3000";
    let mut fixture = with_redmine(postgres.setup().config(short));
    let test = failed_test();
    let answer = fixture.proxy.hold_answers(Request::is_post);
    let click = fixture.host.create_in_background(&fixture.connection, &test);
    answer.await_held(1);
    fixture.host.kill();
    answer.open();
    click.assert_unanswered();
    fixture.proxy.forward_all();
    let writes = fixture.proxy.posts();

    fixture.host.restart();
    let defect = fixture.create_until_final(&test).expect("the defect")["id"].clone();
    fixture.assert_one_issue(&test, &defect);
    assert_eq!(fixture.proxy.posts(), writes, "the repeat wrote instead of searching");
}

#[test]
fn an_event_while_the_database_is_away_is_stored_when_it_is_back() {
    let postgres = Postgres::start();
    let fixture = with_redmine(postgres.setup());
    let first = fixture.host.create(&fixture.connection, &failed_test());
    assert_eq!(fixture.host.event_of(&first)["outcome"], "created");
    postgres.kill();
    let refused = fixture.host.create(&fixture.connection, &failed_test());
    assert_eq!(refused.status, 503, "{refused:?}");
    postgres.start_again();
    let event = fixture.host.event_of(&refused);
    assert_eq!((&event["status"], &event["outcome"]), (&json!(503), &json!("store-unavailable")));
}

#[test]
fn a_server_with_another_key_is_refused() {
    let postgres = Postgres::start();
    let mut host = postgres.setup().start();
    host.stop();
    let key = fs::read(host.data("secret-key")).expect("the key");
    fs::remove_file(host.data("secret-key")).expect("no key");
    let error = host.refuses_to_start();
    assert!(error.contains("were sealed with another key"), "{error}");
    assert!(!error.contains(postgres.password()), "{error}");
    fs::write(host.data("secret-key"), key).expect("the key again");
    host.restart();
}

#[test]
fn a_moved_database_answers_the_same_click_with_the_same_defect() {
    let postgres = Postgres::start();
    let mut fixture = with_redmine(Setup::new());
    let test = failed_test();
    let defect = fixture.host.create(&fixture.connection, &test).expect(200)["id"].clone();
    fixture.host.stop();

    let (variable, password) = postgres.variable();
    let from = format!("sqlite:{}", fixture.host.data("jackfield.db").display());
    let password_from = format!("env:{variable}");
    let url = postgres.url();
    let arguments =
        ["migrate", "--from", &from, "--to", &url, "--password", &password_from, "--json"];
    let migrate = || {
        let output = fixture.host.cli(&arguments).env(variable, password).output();
        let output = output.expect("the binary starts");
        let printed = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&printed).into_owned())
    };
    let (moved, report) = migrate();
    assert!(moved, "{report}");
    let report: Value = serde_json::from_str(&report).expect("JSON");
    let rows = |table: &str| {
        let tables = report["tables"].as_array().expect("a list");
        tables.iter().find(|it| it["table"] == table).expect(table)["rows"].clone()
    };
    assert_eq!((rows("defects"), rows("connections")), (json!(1), json!(1)));
    let (again, why) = migrate();
    assert!(!again && why.contains("was moved to"), "{why}");
    let error = fixture.host.refuses_to_start();
    assert!(error.contains("was moved to"), "the file was used: {error}");

    let file = fixture.host.folder().join("jackfield.toml");
    let before = fs::read_to_string(&file).expect("the configuration");
    fs::write(&file, postgres.config() + &before).expect("another configuration");
    fixture.host.set_env(variable, password);
    fixture.host.restart();
    fixture.assert_one_issue(&test, &defect);
}

#[test]
fn a_database_that_restarts_under_load_loses_and_doubles_no_defect() {
    let postgres = Postgres::start();
    let short = "lease_ms = 2000\nsweep_ms = 500\n[create]\nin_doubt_s = 2\n[limits]\n\
                 run_ms = 4000\ncreate_answer_ms = 3000";
    let fixture = with_redmine(postgres.setup().config(short));
    fixture.click_while(CLICKS, |clicks| {
        for restart in 1..=RESTARTS {
            fixture.await_posts(restart * clicks / (RESTARTS + 1));
            postgres.kill();
            postgres.start_again();
        }
    });
}
