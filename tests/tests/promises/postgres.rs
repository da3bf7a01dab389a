//! A server stores its data in PostgreSQL and uses a real Redmine. A failed test gets only one
//! defect, also after a crash of the server or of the database, and after a migration from SQLite.

use std::fs;

use jackfield_tests::{Guest, Postgres, RedmineFixture, Request, Setup, failed_test};
use serde_json::{Value, json};

/// For how many failed tests each thread sends clicks while the database restarts.
const CLICKS_PER_THREAD: usize = 8;
const RESTARTS: usize = 3;

fn start_with_redmine(setup: Setup) -> RedmineFixture {
    setup.start_with_redmine("redmine", &Guest::example("redmine"), json!({}))
}

#[test]
fn with_postgresql_a_create_a_repeat_and_counts_are_answered() {
    let postgres = Postgres::start();
    let mut fixture = start_with_redmine(postgres.setup());
    let test = failed_test();
    let created = fixture.host.create(&fixture.connection, &test);
    let defect = created.expect(200)["id"].clone();
    fixture.assert_one_issue(&test, &defect);
    let event = fixture.host.event_of(&created);
    assert_eq!(event["outcome"], "created", "{event}");
    let kpis = fixture.host.kpis(&fixture.connection, "QA");
    assert_eq!(kpis.status, 200, "{kpis:?}");
    assert!(!fixture.host.data("jackfield.db").exists(), "the server used a SQLite file");

    fixture.host.restart();
    fixture.assert_one_issue(&test, &defect);
    let output = fixture.host.output();
    assert!(!output.contains(postgres.password()), "the password was printed:\n{output}");
}

#[test]
fn after_a_crash_during_a_write_no_second_issue_is_created() {
    let postgres = Postgres::start();
    let short_times = "lease_ms = 1000\nsweep_ms = 500\n[create]\nin_doubt_s = 2\n[limits]\n\
                 run_ms = 4000\ncreate_answer_ms = 3000";
    let mut fixture = start_with_redmine(postgres.setup().config(short_times));
    let test = failed_test();
    let gate = fixture.proxy.hold_answers(Request::is_post);
    let click = fixture.host.create_in_background(&fixture.connection, &test);
    gate.await_held(1);
    fixture.host.kill();
    gate.open();
    click.assert_unanswered();
    fixture.proxy.forward_all();
    let posts = fixture.proxy.posts();

    fixture.host.restart();
    let defect = fixture.create_until_final(&test).expect("the defect")["id"].clone();
    fixture.assert_one_issue(&test, &defect);
    assert_eq!(fixture.proxy.posts(), posts, "the repeat wrote instead of searching");
}

#[test]
fn an_event_during_a_database_outage_is_stored_afterwards() {
    let postgres = Postgres::start();
    let fixture = start_with_redmine(postgres.setup());
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
fn a_server_with_another_secret_key_does_not_start() {
    let postgres = Postgres::start();
    let mut host = postgres.setup().start();
    host.stop();
    let key_file = host.data("secret-key");
    let key = fs::read(&key_file).expect("the key");
    let moved_file = host.data("moved-key");
    fs::rename(&key_file, &moved_file).expect("the key is moved");
    let error = host.start_refusal();
    assert!(error.contains("secret-key is missing") && !key_file.exists(), "{error}");
    let other_key = if key.starts_with(b"0") { "1" } else { "0" }.repeat(64);
    fs::copy(&moved_file, &key_file).expect("a file with the same mode");
    fs::write(&key_file, other_key).expect("another key");
    let error = host.start_refusal();
    assert!(error.contains("were sealed with another key"), "{error}");
    assert!(!error.contains(postgres.password()), "{error}");
    fs::rename(&moved_file, &key_file).expect("the key is restored");
    host.restart();
}

#[test]
fn after_a_migration_from_sqlite_a_repeat_gets_the_same_defect() {
    let postgres = Postgres::start();
    let mut fixture = start_with_redmine(Setup::new());
    let test = failed_test();
    let defect = fixture.host.create(&fixture.connection, &test).expect(200)["id"].clone();
    fixture.host.stop();

    let (variable, password) = postgres.password_variable();
    let sqlite_url = format!("sqlite:{}", fixture.host.data("jackfield.db").display());
    let password_source = format!("env:{variable}");
    let postgres_url = postgres.url();
    let arguments = [
        "migrate",
        "--from",
        &sqlite_url,
        "--to",
        &postgres_url,
        "--password",
        &password_source,
        "--json",
    ];
    let migrate = || {
        let output = fixture.host.cli(&arguments).env(variable, password).output();
        let output = output.expect("the binary starts");
        let printed = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&printed).into_owned())
    };
    let (succeeded, report) = migrate();
    assert!(succeeded, "{report}");
    let report: Value = serde_json::from_str(&report).expect("JSON");
    let row_count = |table: &str| {
        let tables = report["tables"].as_array().expect("a list");
        tables.iter().find(|it| it["table"] == table).expect(table)["rows"].clone()
    };
    assert_eq!((row_count("defects"), row_count("connections")), (json!(1), json!(1)));
    let (succeeded_again, second_report) = migrate();
    assert!(!succeeded_again && second_report.contains("was moved to"), "{second_report}");
    let error = fixture.host.start_refusal();
    assert!(error.contains("was moved to"), "the server used the SQLite file: {error}");

    let config_file = fixture.host.folder().join("jackfield.toml");
    let other_settings = fs::read_to_string(&config_file).expect("the configuration");
    fs::write(&config_file, postgres.config() + &other_settings)
        .expect("the configuration is written");
    fixture.host.set_env(variable, password);
    fixture.host.restart();
    fixture.assert_one_issue(&test, &defect);
}

#[test]
fn no_defect_is_lost_or_created_twice_while_the_database_restarts_under_load() {
    let postgres = Postgres::start();
    let short_times = "lease_ms = 2000\nsweep_ms = 500\n[create]\nin_doubt_s = 2\n[limits]\n\
                 run_ms = 4000\ncreate_answer_ms = 3000";
    let fixture = start_with_redmine(postgres.setup().config(short_times));
    fixture.click_while(CLICKS_PER_THREAD, |clicks| {
        for restart in 1..=RESTARTS {
            fixture.await_posts(restart * clicks / (RESTARTS + 1));
            postgres.kill();
            postgres.start_again();
        }
    });
}
