//! Tests the faults of the stand-in for Test Manager.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use jackfield_tests::{Client, SimulatedTestManager};
use serde_json::Value;

use super::{failed_checkout, id, log_path};

/// Returns the API path of the logs of a failed test's execution.
fn logs_path(failed: &Value) -> String {
    let (project, execution) = (id(failed, "project"), id(failed, "execution"));
    format!("/api/v2/{project}/testcaselogs/testexecution/{execution}/paged")
}

#[test]
fn faults_are_replaced_at_run_time_and_unknown_faults_are_refused() {
    let simulator = SimulatedTestManager::start(&["--fault", "slow=1", "--fault", "two-logs"]);
    let page = simulator.page();
    let faults = |page: &Client| page.get("/simulator/faults").expect(200)["faults"].take();
    assert_eq!(faults(&page), serde_json::json!(["two-logs", "slow=1"]));
    simulator.set_faults(&["many-logs"]);
    assert_eq!(faults(&page), serde_json::json!(["many-logs=10000"]));
    let wrong = serde_json::json!({"faults": ["many-log"]});
    let refused = page.json("POST", "/simulator/faults", &wrong).expect(400);
    let error = refused["error"].as_str().expect("a text");
    assert!(error.contains("did you mean many-logs?"), "{error}");
    let unknown = serde_json::json!({"faults": [], "fault": 1});
    assert_eq!(page.json("POST", "/simulator/faults", &unknown).status, 422);
    assert_eq!(faults(&page), serde_json::json!(["many-logs=10000"]));
}

#[test]
fn tokens_are_refused_or_expire_early() {
    let simulator = SimulatedTestManager::start(&[]);
    let path = log_path(&failed_checkout(&simulator), "");
    let api = simulator.api("");

    simulator.set_faults(&["expired-token"]);
    assert_eq!([api.get(&path).status, api.get(&path).status], [401, 401]);
    let api_with_new_token = simulator.api("");
    assert_eq!(api_with_new_token.get(&path).status, 200);

    simulator.set_faults(&["clock-skew=0"]);
    assert_eq!(simulator.request_token(&[]).expect(200)["expires_in"], 3600);
    assert_eq!(simulator.api("").get(&path).status, 401);
    assert_eq!(api_with_new_token.get(&path).status, 200);

    for (fault, error) in
        [("wrong-credentials", "invalid_client"), ("ungranted-scope", "invalid_scope")]
    {
        simulator.set_faults(&[fault]);
        let answer = simulator.request_token(&[("scope", "TM.Projects.Read TM.TestCases.Read")]);
        assert_eq!(answer.expect(400)["error"], error, "{fault}");
    }
    simulator.set_faults(&["ungranted-scope"]);
    let _ = simulator.token("TM.Projects.Read");
}

#[test]
fn a_token_endpoint_hangs_without_an_answer() {
    let simulator = SimulatedTestManager::start(&["--fault", "token-hangs"]);
    let address =
        simulator.printed_field("page_url").trim_start_matches("http://").trim_end_matches('/');
    let mut stream = TcpStream::connect(address).expect("a TCP connection");
    stream.set_read_timeout(Some(Duration::from_millis(500))).expect("a timeout");
    let head =
        "POST /sample/identity_/connect/token HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n";
    stream.write_all(head.as_bytes()).expect("sent");
    let error = stream.read(&mut [0]).expect_err("no answer");
    assert!(matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{error}");
    // The fault does not affect the API.
    assert_eq!(
        simulator.page().get("/sample/DefaultTenant/testmanager_/api/serverinfo").status,
        401
    );
}

#[test]
fn a_firewall_answers_403_with_a_page() {
    let simulator = SimulatedTestManager::start(&[]);
    let (path, api) = (log_path(&failed_checkout(&simulator), ""), simulator.api(""));
    simulator.set_faults(&["html-403"]);
    let answer = api.get(&path);
    assert_eq!(answer.status, 403);
    assert!(answer.header("content-type").is_some_and(|kind| kind.starts_with("text/html")));
    assert!(answer.body.contains("<title>Access denied</title>"), "{answer:?}");
    let _ = simulator.token("");
    simulator.set_faults(&["token-html-403"]);
    assert_eq!(simulator.request_token(&[]).status, 403);
    assert_eq!(api.get(&path).status, 200);
}

#[test]
fn an_execution_is_unknown_or_has_wrong_duplicate_or_many_logs() {
    let simulator = SimulatedTestManager::start(&[]);
    let failed = failed_checkout(&simulator);
    let (path, api) = (logs_path(&failed), simulator.api(""));
    let before = api.get(&path).expect(200);
    let total = before["paging"]["total"].as_u64().expect("a number");

    simulator.set_faults(&["unknown-execution"]);
    assert_eq!(api.get(&path).status, 404);

    simulator.set_faults(&["no-variation"]);
    let wrong_logs = api.get(&path).expect(200);
    assert_eq!(wrong_logs["paging"]["total"], total);
    let is_changed =
        |log: &Value| log["variationId"].as_str().is_some_and(|id| id.starts_with("other"));
    assert!(wrong_logs["data"].as_array().expect("a list").iter().all(is_changed), "{wrong_logs}");

    simulator.set_faults(&["two-logs"]);
    let both = api.get(&path).expect(200);
    assert_eq!(both["paging"]["total"], total * 2);
    let (one, other) = (&both["data"][0], &both["data"][1]);
    assert_eq!(
        (&one["testCaseId"], &one["variationId"]),
        (&other["testCaseId"], &other["variationId"])
    );
    assert_ne!(one["id"], other["id"]);
    let copy = other["id"].as_str().expect("an id");
    let project = id(&failed, "project");
    assert_eq!(api.get(&format!("/api/v2/{project}/testcaselogs/{copy}")).status, 200);

    simulator.set_faults(&["many-logs"]);
    let many = api.get(&format!("{path}?top=1000&skip=9999&onlyFailed=true")).expect(200);
    let rows = many["data"].as_array().expect("a list");
    assert!(many["paging"]["total"].as_u64() > Some(10_000), "{}", many["paging"]);
    let is_searched_log = |log: &Value| log["id"] == failed["log"];
    assert!(
        !is_searched_log(&rows[0]) && rows.iter().any(is_searched_log),
        "the log of the failed test must come after the added logs"
    );
}

#[test]
fn a_large_attachment_is_sent_in_pieces() {
    let simulator = SimulatedTestManager::start(&["--fault", "large-attachment=5000001"]);
    let failed = failed_checkout(&simulator);
    let api = simulator.api("");
    let project = id(&failed, "project");
    let list_path = format!("/api/v2/{project}/attachments/testCaseLog/{}/all", id(&failed, "log"));
    let files = |api: &Client| api.get(&list_path).expect(200).as_array().expect("a list").clone();
    let large = files(&api).into_iter().find(|file| file["fileName"] == "memory.dmp");
    let large = large.expect("a large file");
    assert_eq!(large["fileSize"], 5_000_001);
    let download_path = format!("/api/v2/{project}/attachments/{}/download", id(&large, "id"));
    let answer = api.get(&download_path);
    assert_eq!(answer.header("content-length"), Some("5000001"));
    assert_eq!(answer.body.len(), 5_000_001);
    simulator.set_faults(&["large-attachment"]);
    assert!(files(&api).iter().any(|file| file["fileSize"] == 200_000_000));
    simulator.set_faults(&[]);
    assert_eq!(api.get(&download_path).status, 404);
}

#[test]
fn a_screenshot_is_missing_or_at_another_origin() {
    let simulator = SimulatedTestManager::start(&[]);
    let failed = failed_checkout(&simulator);
    let api = simulator.api("");
    let assertions = api.get(&log_path(&failed, "/assertions")).expect(200);
    let rows = assertions["data"].as_array().expect("a list");
    let assertion = rows.iter().find(|row| row["hasScreenshot"] == true).expect("a screenshot");
    let (project, log) = (id(&failed, "project"), id(&failed, "log"));
    let path = format!(
        "/api/v2/{project}/testcaselogartifacts/{log}/assertions/{}/downloadscreenshot",
        id(assertion, "id")
    );
    let image = api.get(&path);
    assert_eq!((image.status, image.header("content-type")), (200, Some("image/png")));
    let size = assertion["screenshotFileSize"].as_u64().expect("a number").to_string();
    assert_eq!(image.header("content-length"), Some(size.as_str()));
    assert!(image.body.contains("PNG\r\n"), "{:?}", &image.body[..20]);

    simulator.set_faults(&["screenshot-gone"]);
    assert_eq!(api.get(&path).status, 404);

    simulator.set_faults(&["screenshot-redirect"]);
    let redirect = api.get(&path);
    assert_eq!(redirect.status, 302);
    let location = redirect.header("location").expect("a location").to_owned();
    assert!(location.starts_with(simulator.printed_field("files_url")), "{location}");
    assert!(!location.starts_with(simulator.printed_field("page_url")), "{location}");
    let token = [("authorization", "Bearer x")];
    assert_eq!(
        Client::new(&location, &token).get("").status,
        400,
        "the other origin accepts a request with the token"
    );
    let redirected_image = Client::new(&location, &[]).get("");
    assert_eq!((redirected_image.status, redirected_image.body == image.body), (200, true));
}

#[test]
fn answers_are_slow_broken_or_limited() {
    let simulator = SimulatedTestManager::start(&[]);
    let (path, api) = (log_path(&failed_checkout(&simulator), ""), simulator.api(""));

    simulator.set_faults(&["slow=300"]);
    let start = Instant::now();
    assert_eq!(api.get(&path).status, 200);
    assert!(start.elapsed() >= Duration::from_millis(300), "{:?}", start.elapsed());

    simulator.set_faults(&["server-errors=2"]);
    assert_eq!([1, 2, 3].map(|_| api.get(&path).status), [503, 503, 200]);

    simulator.set_faults(&["rate-limit=2", "rate-window=3600"]);
    let _ = api.get(&path);
    let _ = api.get(&path);
    let limited = api.get(&path);
    assert_eq!(limited.status, 429);
    let header = |name: &str| limited.header(name).map(str::to_owned).unwrap_or_default();
    assert_eq!(header("ratelimit-limit"), "2");
    assert_eq!(header("ratelimit-remaining"), "0");
    assert_eq!(header("ratelimit-policy"), "2;w=3600");
    assert!(header("ratelimit-reset").parse::<u64>().is_ok_and(|s| (1..=3600).contains(&s)));
    let last = simulator.requests().pop();
    assert_eq!(last, Some(format!("GET 429 /sample/DefaultTenant/testmanager_{path}")));
    simulator.set_faults(&[]);
    assert_eq!(api.get(&path).status, 200, "the default limit must be much higher");
}
