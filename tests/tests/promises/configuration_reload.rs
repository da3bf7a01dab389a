//! On SIGHUP, the server reads its configuration again. It applies the settings that need no
//! restart, and names the changed settings that need one. If the file is not valid, the server
//! keeps the earlier settings.

use std::fs;

use jackfield_tests::{Answer, Connection, Setup, TestHost, failed_test, wait_for};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

fn write_config(host: &TestHost, config: &str) {
    fs::write(host.folder().join("jackfield.toml"), config).expect("the configuration is written");
}

/// Sends SIGHUP, and waits until the server logs this text once more.
#[track_caller]
fn reload(host: &TestHost, line: &str) {
    let before = host.output().matches(line).count();
    let id = i32::try_from(host.process_id()).ok().and_then(Pid::from_raw).expect("a process");
    kill_process(id, Signal::HUP).expect("the server gets the signal");
    wait_for(line, 20, || (host.output().matches(line).count() > before).then_some(()));
}

fn create_at_path(host: &TestHost, connection: &Connection, path: &str) -> Answer {
    let path = format!("{}{path}", connection.webhook_path);
    host.anonymous().json("POST", &path, &failed_test())
}

#[test]
fn a_reload_applies_what_it_can_and_names_settings_that_need_a_restart() {
    let (mut host, connection) = Setup::new().start_with_guest("instant", json!({}));
    create_at_path(&host, &connection, "/tm/new").assert_problem(404, "not-found");
    write_config(&host, "lease_ms = 5000\n[webhook]\ncreate_defect_paths = [\"/tm/new\"]");
    reload(&host, "the configuration was read again");
    create_at_path(&host, &connection, "/tm/new").assert_status(200);
    let output = host.output();
    assert!(output.contains("changed=\"webhook\""), "{output}");
    assert!(output.contains("need a restart") && output.contains("keys=\"lease_ms\""), "{output}");
    let (_, doctor) = host.run_cli(&["doctor"]);
    assert!(doctor.contains("lease_ms") && doctor.contains("restart the server"), "{doctor}");

    write_config(&host, "keep_alive_s = \"long\"");
    reload(&host, "the earlier configuration remains in use");
    let output = host.output();
    assert!(output.contains("`keep_alive_s` must be a whole number"), "{output}");
    create_at_path(&host, &connection, "/tm/new").assert_status(200);
    let (_, doctor) = host.run_cli(&["doctor", "--config", "jackfield.toml"]);
    assert!(doctor.contains("`keep_alive_s` must be a whole number"), "{doctor}");

    write_config(&host, "");
    reload(&host, "the configuration was read again");
    create_at_path(&host, &connection, "/tm/new").assert_problem(404, "not-found");
    let (_, doctor) = host.run_cli(&["doctor"]);
    assert!(!doctor.contains("restart the server"), "{doctor}");
    assert!(host.stop().success());
}

#[test]
fn a_reload_changes_the_trusted_proxies() {
    let host = Setup::new().guests(["instant"]).start();
    let body = json!({"name": "qa", "connector": "instant",
        "webhook_auth": {"allowed_clients": ["203.0.113.9"]}});
    let created = host.admin().json("POST", "/connections", &body).expect(201);
    let connection = Connection::from_json(&created);
    let probe = || {
        let headers = [("x-forwarded-for", "203.0.113.9")];
        host.anonymous().send("GET", &connection.webhook_path, &headers, b"")
    };
    probe().assert_problem(403, "address-refused");
    write_config(&host, "trusted_proxies = [\"127.0.0.1\"]");
    reload(&host, "the configuration was read again");
    assert_eq!(probe().expect(200), json!({"status": "alive"}));
}
