//! Tests `jackfield simulate test-manager`, the stand-in for Test Manager. The stand-in has only
//! the parts of Test Manager's API that the file `known_api.json` lists. It refuses wrong tokens
//! and all other paths of the API.

mod client;
mod faults;
mod known_api;
mod page;

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use jackfield_tests::{Client, SimulatedTestManager, binary, wait_for};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// Returns a failed test of the sample project SHOP. This test has a screenshot and files.
fn failed_checkout(simulator: &SimulatedTestManager) -> Value {
    let mut failed = simulator.failed_tests("SHOP").into_iter();
    let api = simulator.api("TM.TestExecutions.Read");
    let is_checkout = |log: &Value| {
        let path = log_path(log, "");
        let log = api.get(&path).expect(200);
        log["testCase"]["name"] == "Checkout with a valid card"
    };
    failed.find(is_checkout).expect("a failed checkout")
}

/// Returns the API path of a failed test's log, followed by `below`.
fn log_path(failed: &Value, below: &str) -> String {
    format!("/api/v2/{}/testcaselogs/{}{below}", id(failed, "project"), id(failed, "log"))
}

fn id<'a>(failed: &'a Value, member: &str) -> &'a str {
    failed[member].as_str().expect("an id")
}

#[test]
fn a_wrong_token_request_is_refused_with_an_oauth_error() {
    let simulator = SimulatedTestManager::start(&[]);
    let token = simulator.request_token(&[("scope", "TM.Projects.Read TM.Defects")]).expect(200);
    assert_eq!(token["expires_in"], 3600);
    assert_eq!(token["token_type"], "Bearer");
    for (field, value, error) in [
        ("client_secret", "wrong", "invalid_client"),
        ("client_id", "wrong", "invalid_client"),
        ("scope", "TM.Projects.Read TM.Users.Read", "invalid_scope"),
        ("scope", "OR.Jobs", "invalid_scope"),
        ("grant_type", "password", "unsupported_grant_type"),
    ] {
        let answer = simulator.request_token(&[(field, value)]);
        assert_eq!(answer.expect(400)["error"], error, "{field}={value}");
    }
}

#[test]
fn a_request_needs_a_token_a_scope_and_an_existing_path() {
    let simulator = SimulatedTestManager::start(&[]);
    let failed = failed_checkout(&simulator);
    let page = simulator.page();
    let base_path =
        simulator.printed_field("base_url").replace(simulator.printed_field("page_url"), "/");
    let log = log_path(&failed, "");
    let project = id(&failed, "project");
    page.get(&format!("{base_path}{log}")).assert_status(401);
    let wrong_token = [("authorization", "Bearer junk")];
    let answer = page.send("GET", &format!("{base_path}{log}"), &wrong_token, b"");
    assert_eq!((answer.status, answer.body.as_str()), (401, ""));
    assert!(answer.header("www-authenticate").is_some_and(|value| value.starts_with("Bearer")));

    for (scope, status) in [
        ("TM.Projects.Read TM.TestCases", 403),
        ("TM.TestExecutions.Read", 200),
        ("TM.TestExecutions", 200),
        ("", 200),
    ] {
        assert_eq!(simulator.api(scope).get(&log).status, status, "with {scope:?}");
    }

    let api = simulator.api("");
    let unknown = "00000000-0000-0000-0000-000000000001";
    for path in [
        format!("/api/v2/{project}/testcaselogs/{unknown}"),
        format!("/api/v2/{unknown}/testcaselogs/{}", id(&failed, "log")),
        format!("/api/v2/{project}/testcaselogs/not-an-id"),
        format!("/api/v2/{project}/testexecutions/{unknown}"),
        format!("/api/v2/{project}/testcaselogs/testexecution/{unknown}/paged"),
        format!("/api/v2/{project}/testcases/{unknown}/assignedrequirements"),
        format!("/api/v2/{project}/attachments/{unknown}/download"),
        "/api/v2/projects/prefix/NONE".to_owned(),
        "/api/v3/projects".to_owned(),
        "/swagger/v2/swagger.json".to_owned(),
    ] {
        assert_eq!(api.get(&path).status, 404, "{path}");
    }
    for query in ["top=x", "skip=-1", "top=1&TOP=x"] {
        assert_eq!(api.get(&format!("/api/v2/projects?{query}")).status, 400, "{query}");
    }
    let write_methods = ["POST", "PUT", "PATCH", "DELETE"];
    let statuses = write_methods.map(|method| api.send(method, &log, &[], b"{}").status);
    assert_eq!(statuses, [405; 4], "the stand-in accepts a write");
}

#[test]
fn lists_can_be_paged_filtered_and_sorted() {
    let simulator = SimulatedTestManager::start(&[]);
    let failed = failed_checkout(&simulator);
    let api = simulator.api("");
    let project = format!("/api/v2/{}", id(&failed, "project"));
    let logs = format!("{project}/testcaselogs/testexecution/{}/paged", id(&failed, "execution"));
    let all = api.get(&logs).expect(200);
    let total = all["paging"]["total"].as_u64().expect("a number");
    assert!(total > 4, "{total} logs");

    let page = api.get(&format!("{logs}?Top=2&Skip=2")).expect(200);
    let paging = &page["paging"];
    assert_eq!(page["data"].as_array().map(|rows| rows[0].clone()), Some(all["data"][2].clone()));
    assert_eq!(paging["returned"], 2);
    assert_eq!(paging["pages"], total.div_ceil(2));
    assert_eq!((paging["page"].clone(), paging["pageSize"].clone()), (2.into(), 2.into()));
    assert_eq!((&paging["previousPage"], &paging["nextPage"]), (&true.into(), &true.into()));

    let failed_only = api.get(&format!("{logs}?onlyFailed=true&orderBy=ExecutionEnd%20desc"));
    let failed_only = failed_only.expect(200);
    let rows = failed_only["data"].as_array().expect("a list");
    assert!(rows.iter().all(|log| log["result"] == "Failed"), "{failed_only}");
    assert!(!rows.is_empty() && (rows.len() as u64) < total, "{} of {total}", rows.len());
    let end_times: Vec<_> = rows.iter().map(|log| log["executionEnd"].as_str()).collect();
    assert!(end_times.is_sorted_by(|one, next| one >= next), "{end_times:?}");

    let search_result = api.get(&format!("{logs}?search=CHECKOUT")).expect(200);
    assert_eq!(search_result["paging"]["total"], 2, "{search_result}");

    let requirements = api.get(&format!("{project}/requirements?top=1")).expect(200);
    let paging_members = ["totalPages", "totalItems", "currentPage", "maxPageSize"];
    assert_eq!(
        paging_members.map(|name| requirements[name].as_u64()),
        [Some(3), Some(3), Some(1), Some(1)]
    );
    assert_eq!(requirements["hasNextPage"], true);
}

#[test]
fn the_seed_decides_the_data() {
    let failed = |seed: &str| {
        let mut failed = SimulatedTestManager::start(&["--seed", seed]).failed_tests("SHOP");
        // The link contains the port, which differs in each run.
        failed.iter_mut().for_each(|log| log["link"] = Value::Null);
        failed
    };
    assert_eq!(failed("7"), failed("7"));
    assert_ne!(failed("7"), failed("8"));
}

#[test]
fn the_stand_in_prints_the_settings_of_a_connection_and_ends_with_ctrl_c() {
    let mut child = Command::new(binary())
        .args(["simulate", "test-manager", "--listen", "127.0.0.1:0"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    let mut printed = String::new();
    while !printed.contains("Ctrl-C") {
        printed += &lines.next().expect("another line").expect("text");
        printed += "\n";
    }
    for expected in ["base URL", "/testmanager_", "/connect/token", "client id", "protects nothing"]
    {
        assert!(printed.contains(expected), "{expected} is missing in:\n{printed}");
    }
    let _ = kill_process(Pid::from_child(&child), Signal::INT);
    let status = wait_for("the stand-in to end", 20, || child.try_wait().expect("a child"));
    assert_eq!(status.code(), Some(0));
}

#[test]
fn wrong_arguments_are_refused_at_the_start() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let used_address = listener.local_addr().expect("an address").to_string();
    let run = |arguments: &[&str]| {
        let output = Command::new(binary())
            .args(["simulate", "test-manager"])
            .args(arguments)
            .output()
            .expect("the binary starts");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    for (arguments, code, expected) in [
        (&["--fault", "token-hang"][..], 2, "did you mean token-hangs?"),
        (&["--fault", "slow=soon"], 2, "a number from 0 to 600000"),
        (&["--webhook-url", "ftp://x"], 1, "--webhook-url must begin with http"),
        (&["--listen", &used_address], 1, "give another address with --listen"),
    ] {
        let (exit_code, error) = run(arguments);
        assert_eq!(exit_code, Some(code), "{arguments:?}: {error}");
        assert!(error.contains(expected), "{arguments:?}: {error}");
    }
}

#[test]
fn the_page_behind_the_link_of_a_failed_test_escapes_every_text() {
    let simulator = SimulatedTestManager::start(&[]);
    let base_url = simulator.printed_field("page_url").trim_end_matches('/');
    let mut pages_with_script_text = 0;
    for failed in simulator.failed_tests("ODD").iter().take(20) {
        let link = failed["link"].as_str().expect("a link");
        let expected_end = format!(
            "/testmanager_/ODD/testexecution-results/{}/{}",
            id(failed, "execution"),
            id(failed, "case")
        );
        assert!(link.ends_with(&expected_end), "{link}");
        let page =
            Client::new(base_url, &[]).get(link.strip_prefix(base_url).expect("its own link"));
        assert_eq!(page.status, 200, "{link}");
        let policy = page.header("content-security-policy").unwrap_or_default();
        assert!(policy.starts_with("default-src 'none'"), "{policy}");
        for markup in ["<script", "<img", "<b>", "<i>", "<pre> #1", "javascript:alert(1)\""] {
            assert!(!page.body.contains(markup), "{markup} on {link}");
        }
        pages_with_script_text += usize::from(page.body.contains("&lt;script&gt;"));
    }
    assert!(pages_with_script_text > 0, "no page contained the escaped text");
    let overview = simulator.page().get("/").body;
    assert!(!overview.contains("<script") && overview.contains("&lt;script&gt;"));
    let missing = simulator.page().get(
        "/sample/DefaultTenant/testmanager_/ODD/testexecution-results/\
         00000000-0000-0000-0000-000000000001/00000000-0000-0000-0000-000000000001",
    );
    assert_eq!(missing.status, 404);
}

#[test]
fn a_page_of_another_origin_changes_nothing() {
    let simulator = SimulatedTestManager::start(&[]);
    let page = simulator.page();
    let headers = [("origin", "http://evil.example")];
    for action in ["settings", "create-defect", "run-again", "kpis", "faults"] {
        let answer = page.send("POST", &format!("/simulator/{action}"), &headers, b"url=http://x");
        assert_eq!(answer.status, 403, "{action}");
    }
    assert!(page.get("/").body.contains("No webhook URL is set"));
}

#[test]
fn the_page_is_not_served_for_another_host_name_and_never_shows_a_webhook_token() {
    let url = "http://127.0.0.1:9/hooks/the-token";
    let simulator = SimulatedTestManager::start(&["--webhook-url", url]);
    let page = simulator.page();
    let page_html = page.get("/").body;
    assert!(
        page_html.contains("http://127.0.0.1:9/…") && !page_html.contains("the-token"),
        "{page_html}"
    );
    for (host, status) in [("evil.example:8090", 403), ("localhost:8090", 200), ("[::1]", 200)] {
        for path in ["/", "/simulator/api", "/simulator/requests"] {
            assert_eq!(page.send("GET", path, &[("host", host)], b"").status, status, "{host}");
        }
    }
}
