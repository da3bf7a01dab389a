//! The pages of connectors on the console. A person uploads a connector, rolls back to an earlier
//! version, and removes the connector.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use jackfield_tests::{Setup, TestHost, with_database};
use serde_json::json;

use crate::accounts::Browser;
use crate::replay::{script, start_fixture};

use super::browse;

/// Creates the files that a person uploads. Returns their folder.
fn create_upload_files(host: &TestHost) -> String {
    let folder = host.folder().join("uploads");
    fs::create_dir(&folder).expect("the folder");
    let write = |name: &str, text: &str| fs::write(folder.join(name), text).expect("the file");
    write("first.js", &script("1.0.0", "", "Fails", ""));
    write("my-tracker.js", &script("1.0.0", "", "Fails", ""));
    write("second.js", &script("2.0.0", "", "Broken", ""));
    write("broken.js", "export const plugin = {;");
    folder.display().to_string()
}

fn is_installed(host: &TestHost) -> bool {
    let plugins: &Path = &host.folder().join("plugins");
    plugins.join("my-tracker.js").exists()
}

#[test]
fn a_person_uploads_rolls_back_and_removes_a_connector() {
    let host = Setup::new().start();
    let folder = create_upload_files(&host);
    browse(&host, "connector", host.admin_token(), &[("FILES", &folder)]);
    assert!(!is_installed(&host));
    let audit = host.admin().get("/audit").expect(200).to_string();
    for entry in ["connector.upload", "connector.rollback", "connector.remove", "my-tracker"] {
        assert!(audit.contains(entry), "{entry}: {audit}");
    }
}

#[test]
fn without_javascript_an_author_uploads_a_connector() {
    let host = Setup::new().start();
    let folder = create_upload_files(&host);
    let body = json!({"name": "ann", "role": "author"});
    let created = host.admin().json("POST", "/tokens", &body).expect(201);
    let token = created["token"].as_str().expect("a token");
    browse(&host, "connector-without-scripts", token, &[("FILES", &folder)]);
    assert!(is_installed(&host));
}

#[test]
fn the_page_of_a_connector_shows_its_use_of_limits_and_the_error_of_a_broken_file() {
    let fixture = start_fixture();
    fixture.create();
    let file = fixture.host.folder().join("plugins/r.js");
    fs::write(file, "export const plugin = {;").expect("the script is written");
    fixture.host.await_connector("r", "broken", None);
    browse(&fixture.host, "used-connector", fixture.host.admin_token(), &[]);
}

#[test]
fn a_form_with_a_file_needs_the_csrf_token_of_the_session_and_may_be_large() {
    let host = Setup::new().start();
    let browser = Browser::sign_in(&host, host.admin_token());
    let account = browser.get("/api/v1/account").expect(200);
    let csrf = account["csrf"].as_str().expect("a CSRF token");
    let form_type = [("content-type", "multipart/form-data; boundary=b0")];
    let send = |csrf: &str, content: &str| {
        let part = |name: &str, attributes: &str, value: &str| {
            format!(
                "--b0\r\nContent-Disposition: form-data; name=\"{name}\"{attributes}\r\n\r\n{value}\r\n"
            )
        };
        let file = part("file", "; filename=\"big.wasm\"", content);
        let form = part("csrf", "", csrf) + &part("name", "", "big") + &file + "--b0--\r\n";
        browser.send("POST", "/connectors", &form_type, &form)
    };
    let refused = send("wrong", "x");
    assert!(refused.status == 403 && refused.body.contains("another site"), "{refused:?}");
    let refused = send(csrf, &"x".repeat(3 << 20));
    assert_eq!(refused.status, 422, "{refused:?}");
    assert!(refused.body.contains("The file was refused"), "{}", refused.body);
    let headers = [("content-type", "application/json"), ("x-csrf-token", csrf)];
    let refused = browser.send("POST", "/connectors", &headers, "{}");
    assert_eq!(refused.status, 400, "{refused:?}");
}

/// SQL that stores 200,000 events of the only connection. Every second event has a run. The CPU
/// times of the runs, from the newest on, are 0 ms to 99 ms, again and again.
const INSERT_MANY_EVENTS: &str = "
    WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 199999),
        t (i, ms) AS (SELECT i, unixepoch() * 1000 - 86000000 + i * 400 FROM n)
    INSERT INTO events (id, connection_id, kind, received_at, ms, status, outcome, bytes, detail,
        request, runs)
    SELECT unhex(printf('%012x7000%016x', ms, i)), (SELECT id FROM connections), 'create-defect', ms,
        5, 200, 'created', 400, '', '{\"method\":\"POST\",\"path\":\"/defects\"}',
        iif(i % 2, NULL, '[{\"call\":\"create\",\"usage\":{\"cpu_ms\":' || ((199998 - i) / 2 % 100)
            || ',\"memory_bytes\":65536,\"run_ms\":7,\"outbound_calls\":2}}]')
    FROM t";

#[test]
fn the_use_of_limits_is_computed_from_the_newest_1000_runs() {
    let mut fixture = start_fixture();
    fixture.host.stop();
    let stored =
        with_database(&fixture.host.data_folder(), |db| db.execute(INSERT_MANY_EVENTS, []));
    assert_eq!(stored, 200_000);
    fixture.host.restart();
    let shown = fixture.host.admin().get("/connectors/r").expect(200);
    let usage = &shown["recent_usage"];
    assert_eq!(usage["runs"], 1_000, "{usage}");
    assert_eq!(usage["limits"]["cpu_ms"], json!({"p50": 49, "p99": 98, "limit": 1_000}));
    assert_eq!(usage["limits"]["outbound_calls"], json!({"p50": 2, "p99": 2, "limit": 30}));
    let (succeeded, printed) = fixture.host.run_cli(&["connectors", "show", "r"]);
    assert!(succeeded && printed.contains("p99") && printed.contains("98"), "{printed}");
    let browser = fixture.host.client_as(fixture.host.admin_token());
    let time_page = || {
        let begin = Instant::now();
        let page = browser.get("/connectors/r");
        assert!(page.body.contains("98 ms"), "{}", page.body);
        begin.elapsed()
    };
    // Other tests use the processor at the same time, so the test checks only the fastest of ten
    // requests.
    let fastest = (0..10).map(|_| time_page()).min().expect("ten pages");
    assert!(fastest <= Duration::from_millis(100), "{fastest:?}");
}
