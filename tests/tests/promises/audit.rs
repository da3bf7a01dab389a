//! The audit log. Every change through the admin API or the console has an entry in the log, which
//! contains no secret. If the server cannot store the entry, it does not make the change.

use jackfield_tests::{Client, Setup, TestHost, failed_test, with_database};
use serde_json::{Value, json};

/// Returns the newest entries of the audit log, at most 200, the newest first.
fn audit_entries(host: &TestHost) -> Vec<Value> {
    let list = host.admin().get("/audit?limit=200").expect(200);
    list["entries"].as_array().expect("entries").clone()
}

fn newest_entry(host: &TestHost, action: &str) -> Value {
    let entries = audit_entries(host);
    let found = entries.iter().find(|entry| entry["action"] == action);
    found.unwrap_or_else(|| panic!("no entry {action} in {entries:?}")).clone()
}

#[test]
fn each_change_is_recorded_with_account_and_object_and_without_secrets() {
    let host = Setup::new().config("trusted_proxies = [\"127.0.0.1\"]").guests(["instant"]).start();
    let connection = host.add_connection("qa", "instant", json!({}), json!({}));
    let created = newest_entry(&host, "connection.create");
    assert_eq!(created["account"], "admin");
    assert_eq!((&created["object"], &created["outcome"]), (&json!("qa"), &json!("ok")));

    let body = json!({"name": "ann", "role": "operator"});
    let token = host.admin().json("POST", "/tokens", &body).expect(201)["token"].clone();
    let bearer = format!("Bearer {}", token.as_str().expect("a token"));
    let ann = Client::new(
        &format!("{}/api/v1", host.url()),
        &[("authorization", &bearer), ("x-forwarded-for", "203.0.113.7")],
    );
    let pause = format!("/connections/{}/pause", connection.id);
    ann.send("POST", &pause, &[], b"").assert_status(200);
    let paused = newest_entry(&host, "connection.pause");
    for (member, expected) in [
        ("account", "ann"),
        ("role", "operator"),
        ("client", "203.0.113.7"),
        ("via", "api"),
        ("object", "qa"),
        ("outcome", "ok"),
    ] {
        assert_eq!(paused[member], expected, "{paused}");
    }
    ann.send("POST", "/connections/qa/resume", &[], b"").assert_status(200);

    let test = failed_test();
    let triggered = ann.json("POST", "/connections/qa/hook/defects", &test);
    assert_eq!(newest_entry(&host, "connection.trigger")["event"], triggered.event());
    let edit = json!({"no-such-member": "s3cret-value"});
    host.admin().json("PATCH", "/connections/qa", &edit).assert_status(400);
    assert_eq!(newest_entry(&host, "connection.edit")["outcome"], "bad-request");

    let before = audit_entries(&host).len();
    ann.get("/connections").assert_status(200);
    assert_eq!(audit_entries(&host).len(), before, "a read was recorded as a change");

    let all = host.admin().get("/audit?limit=200").body;
    let webhook = connection.webhook_path.trim_start_matches("/hooks/");
    for secret in [token.as_str().expect("a token"), host.admin_token(), webhook, "s3cret-value"] {
        assert!(!all.contains(secret), "{secret} is in {all}");
    }
    let by_ann = host.admin().get("/audit?account=ann&object=qa").expect(200);
    assert_eq!(by_ann["entries"].as_array().map(Vec::len), Some(3), "{by_ann}");
}

#[test]
fn repeated_refusals_are_recorded_in_one_entry_with_their_number() {
    let host = Setup::new().config("trusted_proxies = [\"127.0.0.1\"]").guests(["instant"]).start();
    let _ = host.add_connection("qa", "instant", json!({}), json!({}));
    let body = json!({"name": "ann", "role": "viewer"});
    let token = host.admin().json("POST", "/tokens", &body).expect(201)["token"].clone();
    let ann = host.api_as(token.as_str().expect("a token"));
    for _ in 0..5 {
        ann.json("PATCH", "/connections/qa", &json!({})).assert_problem(403, "role-too-low");
    }
    ann.get("/audit").assert_problem(403, "role-too-low");
    let edit = newest_entry(&host, "connection.edit");
    let recorded = ["account", "outcome", "repeats"].map(|member| edit[member].clone());
    assert_eq!(recorded, [json!("ann"), json!("role-too-low"), json!(4)], "{edit}");
    assert!(edit["object"].as_str().is_some_and(|path| path.contains("qa")), "{edit}");
    assert_eq!(newest_entry(&host, "read")["account"], "ann");
    assert_eq!(host.connection("qa")["revision"], 1, "a refused edit was made");

    // A page of another site sends a form. The browser adds the cookie of a session to the request.
    let form = format!("token={}", host.admin_token());
    let form_type = ("content-type", "application/x-www-form-urlencoded");
    let signed_in = host.anonymous().send("POST", "/sign-in", &[form_type], form.as_bytes());
    let cookie =
        signed_in.header("set-cookie").and_then(|value| value.split(';').next()).expect("a cookie");
    let cross_site_headers = [form_type, ("cookie", cookie), ("sec-fetch-site", "cross-site")];
    let refused =
        host.anonymous().send("POST", "/connections/qa/pause", &cross_site_headers, b"csrf=x");
    assert_eq!(refused.status, 403, "{refused:?}");
    assert_eq!(newest_entry(&host, "connection.pause")["outcome"], "cross-site-request");

    let status_of_wrong_token = |address: &str| {
        let headers = [("authorization", "Bearer wrong"), ("x-forwarded-for", address)];
        host.anonymous().send("GET", "/api/v1/status", &headers, b"").status
    };
    let before = audit_entries(&host).len();
    let addresses: Vec<_> = (0..300).map(|n| format!("203.0.{}.{}", n / 250, n % 250)).collect();
    assert!(addresses.iter().all(|address| status_of_wrong_token(address) == 401));
    let all = audit_entries(&host);
    assert!((50..=101).contains(&(all.len() - before)), "{} entries", all.len() - before);
    // Beyond a maximum number of entries, refused attempts share one entry with the address
    // 0.0.0.0.
    let shared = all.iter().find(|entry| entry["client"] == "0.0.0.0").expect("the shared entry");
    let attempts = all.len() as u64 - before as u64 + shared["repeats"].as_u64().expect("a number");
    assert_eq!(attempts, 300, "an attempt is not counted");
    assert!(all.iter().all(|entry| entry["action"] != "token.use" || entry["account"].is_null()));
    let refused = host.anonymous().send("POST", "/sign-in", &[form_type], b"token=wrong");
    assert_eq!(refused.status, 401);
    assert!(!host.admin().get("/audit?limit=200").body.contains("wrong"));
}

#[test]
fn an_audit_entry_names_the_cli_or_the_console_that_made_the_change() {
    let host = Setup::new().guests(["instant"]).start();
    let _ = host.add_connection("qa", "instant", json!({}), json!({}));
    let (succeeded, printed) = host.run_cli(&["connections", "pause", "qa"]);
    assert!(succeeded, "{printed}");
    assert_eq!(newest_entry(&host, "connection.pause")["via"], "cli");
    let form = format!("token={}", host.admin_token());
    let form_type = [("content-type", "application/x-www-form-urlencoded")];
    let signed_in = host.anonymous().send("POST", "/sign-in", &form_type, form.as_bytes());
    assert_eq!(signed_in.status, 303, "{signed_in:?}");
    assert_eq!(newest_entry(&host, "session.begin")["via"], "console");
    let (succeeded, printed) = host.run_cli(&["audit", "--object", "qa"]);
    assert!(
        succeeded && printed.contains("connection.pause") && printed.contains("(cli)"),
        "{printed}"
    );
}

#[test]
fn no_change_is_made_without_its_audit_entry() {
    let host = Setup::new().guests(["instant"]).start();
    let connection = host.add_connection("qa", "instant", json!({}), json!({}));
    with_database(&host.data_folder(), |database| {
        let refuse = "CREATE TRIGGER refuse BEFORE INSERT ON audit
                      BEGIN SELECT RAISE(ABORT, 'the test refuses it'); END";
        database.execute(refuse, [])
    });
    let pause = format!("/connections/{}/pause", connection.id);
    let refused = host.admin().send("POST", &pause, &[], b"");
    refused.assert_problem(503, "store-unavailable");
    assert_eq!(host.connection("qa")["paused"], false, "the change was made without an entry");
}

#[test]
fn audit_entries_are_deleted_after_audit_days() {
    let host = Setup::new().config("audit_days = 30\nsweep_ms = 50").guests(["instant"]).start();
    let _ = host.add_connection("qa", "instant", json!({}), json!({}));
    let _ = newest_entry(&host, "connection.create");
    with_database(&host.data_folder(), |database| {
        let age = "UPDATE audit SET at = at - 31 * 86400000 WHERE action = 'connection.create'";
        database.execute(age, [])
    });
    host.admin().send("POST", "/connections/qa/pause", &[], b"").assert_status(200);
    jackfield_tests::wait_for("the old entry to be deleted", 10, || {
        let all = audit_entries(&host);
        let is_old = |entry: &&Value| entry["action"] == "connection.create";
        (all.iter().filter(is_old).count() == 0).then_some(())
    });
    assert_eq!(newest_entry(&host, "connection.pause")["outcome"], "ok");
}

#[test]
fn each_connection_that_a_file_changes_gets_its_own_audit_entry() {
    let host = Setup::new().guests(["instant"]).start();
    host.add_connection("old", "instant", json!({}), json!({}));
    let file = json!({"connections": {
        "old": {"connector": "instant", "index_delay_s": 7},
        "new": {"connector": "instant"},
    }});
    host.admin().json("POST", "/apply?dry_run=true", &file).assert_status(200);
    let before = audit_entries(&host);
    assert!(!before.iter().any(|entry| entry["object"] == "new"), "{before:?}");
    host.admin().json("POST", "/apply", &file).assert_status(200);
    assert_eq!(newest_entry(&host, "connection.create")["object"], "new");
    assert_eq!(newest_entry(&host, "connection.edit")["object"], "old");
    let before = audit_entries(&host).len();
    host.admin().json("POST", "/apply", &file).assert_status(200);
    assert_eq!(audit_entries(&host).len(), before + 1, "an unchanged connection has an entry");
}

/// Even a client without an account can send requests with long paths.
#[test]
fn an_audit_entry_is_small_even_if_the_path_of_the_request_is_long() {
    let host = Setup::new().start();
    let long = "a".repeat(20_000);
    for path in [format!("/connections/{long}/pause"), format!("/defects/{long}/release")] {
        let by_admin = host.admin().attempt("POST", &path, &[], b"{}").expect("an answer");
        assert!((400..500).contains(&by_admin.status), "{by_admin:?}");
        let path = format!("/api/v1{path}");
        let by_client = host.anonymous().attempt("POST", &path, &[], b"{}").expect("an answer");
        by_client.assert_problem(401, "unauthorized");
    }
    let list = host.admin().get("/audit?limit=200").expect(200).to_string();
    assert!(list.len() < 5_000, "the audit log has {} bytes", list.len());
}
