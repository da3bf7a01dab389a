//! Several servers share their connectors, but one server cannot write into its plugins folder.
//! This server runs the connectors in its folder, reports what it cannot write, and changes nothing
//! at the other servers.

use std::process::Command;

use jackfield_tests::{Guest, Postgres, TestHost, binary, failed_test, wait_for};
use serde_json::json;

/// A shell script that makes the plugins folder read-only for the server, and starts the server.
const READ_ONLY_SCRIPT: &str = "mount --bind plugins plugins && \
                                mount -o remount,bind,ro plugins && exec \"$0\" \"$@\"";

fn guest_with_build(number: u32) -> Guest {
    Guest::named("instant").with_build(number)
}

/// Returns an empty text if the server does not use the connector `c`.
fn sha256_in_use(host: &TestHost) -> String {
    let answer = host.admin().get("/connectors/c");
    let sha256 = || answer.json()["sha256"].as_str().map(str::to_owned);
    (answer.status == 200).then(sha256).flatten().unwrap_or_default()
}

#[test]
fn a_server_with_a_read_only_folder_runs_its_files_and_changes_nothing_at_other_servers() {
    let postgres = Postgres::start();
    let a = postgres
        .server_setup()
        .plugin("c", &guest_with_build(1))
        .plugin("g", &guest_with_build(6))
        .plugin("h", &guest_with_build(7))
        .start();
    let under = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", READ_ONLY_SCRIPT];
    let mut b = postgres
        .server_setup()
        .run_under(&under)
        .plugin("c", &guest_with_build(1))
        .plugin("g", &guest_with_build(6))
        .plugin("h", &guest_with_build(7))
        .start();
    let has_warned = || b.output().contains("cannot write into the plugins folder");
    wait_for("the warning", 20, || has_warned().then_some(()));
    let connection = a.add_connection("qa", "c", json!({}), json!({}));
    wait_for("the connection", 20, || {
        (b.create(&connection, &failed_test()).status == 200).then_some(())
    });

    a.install("c", &guest_with_build(2));
    a.install("d", &guest_with_build(3));
    wait_for("the messages about the connectors that it cannot write", 60, || {
        let output = b.output();
        let reports = |name: &str| {
            let mut lines = output.lines();
            lines.any(|it| it.contains("differs from the store") && it.contains(name))
        };
        (reports("connector=c") && reports("connector=d")).then_some(())
    });
    assert_eq!(sha256_in_use(&b), guest_with_build(1).sha256());
    b.create(&connection, &failed_test()).assert_status(200);
    let of_d = a.add_connection("of-d", "d", json!({}), json!({}));
    let missing = wait_for("the connection at the other server", 20, || {
        let answer = b.create(&of_d, &failed_test());
        (answer.status != 404).then_some(answer)
    });
    let why = missing.problem(503, "connector-unavailable");
    assert!(why.contains("there is no connector `d`"), "{why}");
    let (_, printed) = a.run_cli(&["doctor"]);
    assert!(printed.contains("connectors of the servers"), "{printed}");
    let refused = b.admin().send("PUT", "/connectors/e", &[], &guest_with_build(4).bytes);
    assert!(refused.status >= 400 && refused.body.contains("Read-only"), "{refused:?}");

    let rollback = b.admin().json("POST", "/connectors/c/rollback", &json!({}));
    assert!(rollback.problem(409, "conflict").contains("cannot write"), "{rollback:?}");
    let removal = b.admin().send("DELETE", "/connectors/h", &[], b"");
    assert!(removal.problem(409, "conflict").contains("cannot remove"), "{removal:?}");
    a.admin().send("DELETE", "/connectors/g", &[], b"").assert_status(204);
    b.restart();
    wait_for("the warning", 20, || {
        b.output().contains("cannot write into the plugins folder").then_some(())
    });
    b.create(&connection, &failed_test()).assert_status(200);
    // When a later connector is reported, the read-only server has handled all earlier changes.
    a.install("f", &guest_with_build(5));
    wait_for("the message about the later connector", 60, || {
        b.output().contains("connector=f").then_some(())
    });
    for (name, number) in [("c", 2), ("d", 3), ("f", 5), ("h", 7)] {
        a.await_connector(name, "ready", Some(&guest_with_build(number).sha256()));
        assert!(a.plugin(name).exists(), "{name} was removed at the other server");
    }
    assert_eq!(a.admin().get("/connectors/g").status, 404, "the removed connector came back");
    assert!(!b.output().contains("panicked"), "{}", b.output());
    assert_doctor_reports_read_only_folder(&postgres, &b);
}

fn assert_doctor_reports_read_only_folder(postgres: &Postgres, host: &TestHost) {
    let mut command = Command::new("nsenter");
    command.args(["--user", "--mount", "--preserve-credentials", "--target"]);
    command.arg(host.process_id().to_string()).arg(binary());
    command.arg("doctor");
    let folders = [("--config", "jackfield.toml"), ("--data", "data"), ("--plugins", "plugins")];
    for (option, name) in folders {
        command.arg(option).arg(host.folder().join(name));
    }
    let (variable, password) = postgres.password_variable();
    command.env(variable, password);
    let done = command.output().expect("nsenter runs");
    let printed = String::from_utf8_lossy(&done.stdout).into_owned();
    let line = printed.lines().find(|it| it.contains("Read-only file system"));
    assert!(line.is_some_and(|it| it.contains("plugins_source")), "{printed}");
}
