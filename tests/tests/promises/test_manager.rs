//! The host reads data of a failed test from Test Manager. A person configures this for a
//! connection through the API or the CLI, and `connections try` shows whether it works.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use jackfield_tests::{Exchange, Reply, Response, ScriptedServer, Setup, TestHost};
use serde_json::{Value, json};

const CLIENT_SECRET: &str = "the-s3cr3t-of-the-application";
/// The OAuth token that the fake Test Manager accepts.
pub(crate) const TOKEN: &str = "t0ken-of-test-manager";
/// The id of the execution of the failed test whose data the fake Test Manager has.
pub(crate) const EXECUTION_ID: &str = "0e000000-0000-0000-0000-00000000000e";
/// The id of the test case of the failed test whose data the fake Test Manager has.
pub(crate) const CASE_ID: &str = "0c000000-0000-0000-0000-00000000000c";

/// Starts a server with the connector `calls`, and its tracker.
fn start_host() -> (TestHost, ScriptedServer) {
    let tracker = ScriptedServer::start(|_| Reply::new(200, "reached"));
    (Setup::new().guests(["calls"]).start(), tracker)
}

/// Returns the body of the request that creates the connection "qa".
pub(crate) fn connection_body(tracker: &ScriptedServer, test_manager: &ScriptedServer) -> Value {
    json!({
        "name": "qa",
        "connector": "calls",
        "settings": {"url": tracker.url(), "target": tracker.url() + "/x"},
        "test_manager": {
            "base_url": test_manager.url() + "/org/tenant/tm_/",
            "token_url": test_manager.url() + "/identity/token",
            "client_id": "jackfield",
        },
        "test_manager_client_secret": CLIENT_SECRET,
    })
}

fn create_connection(host: &TestHost, body: &Value) -> Value {
    host.admin().json("POST", "/connections", body).expect(201)
}

/// Tries the connection "qa" with a failed test. Returns the steps that concern Test Manager.
fn try_qa(host: &TestHost) -> Vec<Value> {
    let link = "https://tm.example/SHOP/testexecution-results/1/2";
    let test = json!({"test_execution_id": EXECUTION_ID, "test_case_id": CASE_ID, "link": link});
    let tried = host.admin().json("POST", "/connections/qa/try", &json!({"failed_test": test}));
    let steps = tried.expect(200)["steps"].as_array().cloned().expect("steps");
    let last_tracker_step = steps.iter().position(|step| step["name"] == "check").expect("a check");
    steps[last_tracker_step + 1..].to_vec()
}

fn last_step(steps: &[Value]) -> (String, String, String) {
    let text = |name: &str| steps.last().expect("a step")[name].as_str().unwrap_or_default();
    (text("name").to_owned(), text("error").to_owned(), text("note").to_owned())
}

/// Returns the path of a request without its query, and without the prefix of Test Manager's API.
fn api_path(target: &str) -> &str {
    let path = target.split('?').next().unwrap_or_default();
    path.strip_prefix("/org/tenant/tm_/api/v2").unwrap_or(path)
}

fn json_reply(value: &Value) -> Reply {
    Reply::json(200, &value.to_string())
}

/// Answers a request as a Test Manager without faults does. Redirects a request for a screenshot to
/// the URL `files`.
pub(crate) fn answer_without_faults(exchange: &Exchange<'_>, files: &str) -> Reply {
    let path = api_path(&exchange.request.target);
    let is_authorized =
        exchange.request.header("authorization") == Some(&format!("Bearer {TOKEN}"));
    if path == "/identity/token" {
        return json_reply(&json!({"access_token": TOKEN, "expires_in": 3600}));
    }
    if !is_authorized {
        return Reply::new(401, "");
    }
    if path == "/projects/prefix/SHOP" {
        return json_reply(&json!({"id": "p1", "projectPrefix": "SHOP", "name": "Shop"}));
    }
    let Some(path) = path.strip_prefix("/p1/") else { return Reply::new(404, "") };
    if path == format!("testcaselogs/testexecution/{EXECUTION_ID}/paged") {
        let log = json!({"id": "l1", "testCaseId": CASE_ID, "variationId": null, "result": "Failed",
            "info": format!("echo {CLIENT_SECRET}"),
            "inputArguments": json!({"user": "bot", "password": "hunter-22"}).to_string(),
            "testCase": {"id": CASE_ID, "name": "Pay", "description": "All"}});
        return json_reply(&json!({"data": [log], "paging": {"total": 1}}));
    }
    match path {
        "testcaselogartifacts/l1/assertions" => json_reply(&json!([
            {"id": "a1", "message": "1 = 2", "succeeded": false, "hasScreenshot": true,
             "screenshotFileName": "end.png"}
        ])),
        "testcaselogartifacts/l1/assertions/a1/downloadscreenshot" => {
            Reply::Answer(Response::new(302, "").with_header("Location", files))
        }
        path if path.ends_with("/robotlogs/paged") => {
            json_reply(&json!({"data": [{"message": format!("{TOKEN} was used")}]}))
        }
        path if path.starts_with("customfieldvalues") => Reply::new(403, ""),
        _ => json_reply(&json!([])),
    }
}

/// Starts a fake Test Manager without faults, which redirects requests for screenshots to `files`.
pub(crate) fn start_test_manager(files: &ScriptedServer) -> ScriptedServer {
    let files = files.url() + "/end.png?sig=1";
    ScriptedServer::start(move |exchange| answer_without_faults(exchange, &files))
}

/// Starts a server that has the screenshots.
pub(crate) fn start_file_server() -> ScriptedServer {
    ScriptedServer::start(|_| Reply::new(200, b"\x89PNG"))
}

#[test]
fn a_try_shows_each_step_to_test_manager_and_what_was_found() {
    let (host, tracker) = start_host();
    let (files, limited_requests) = (start_file_server(), Arc::<AtomicUsize>::default());
    let files_url = files.url() + "/end.png";
    let test_manager = ScriptedServer::start(move |exchange| {
        let is_log = exchange.request.target.contains("/testcaselogs/testexecution/");
        if is_log && limited_requests.fetch_add(1, Ordering::SeqCst) == 0 {
            let answer = Response::new(429, "").with_header("RateLimit-Reset", "1");
            return Reply::Answer(answer);
        }
        answer_without_faults(exchange, &files_url)
    });
    let mut body = connection_body(&tracker, &test_manager);
    body["test_manager"]["asset_origins"] = json!([files.url()]);
    create_connection(&host, &body);
    let steps = try_qa(&host);
    let names: Vec<_> = steps.iter().map(|step| step["name"].as_str().unwrap()).collect();
    let test_manager_steps =
        ["token", "scope", "project", "log"].map(|step| format!("test-manager-{step}"));
    assert_eq!(
        names,
        [&["dns", "connect"].map(str::to_owned), &test_manager_steps[..]].concat(),
        "{steps:?}"
    );
    assert!(steps.iter().all(|step| step["error"].is_null()), "{steps:?}");
    assert_eq!(steps[0]["origin"], test_manager.url());
    assert_eq!(steps[4]["note"], "SHOP, Shop");
    let (_, _, note) = last_step(&steps);
    let expected_note = "Failed, with 1 assertion, 1 robot log line and 1 file";
    assert!(note.starts_with(expected_note), "{note}");
    for expected in ["the custom fields: ", "403", "TM.CustomFieldValues.Read"] {
        assert!(note.contains(expected), "{expected} in {note}");
    }
    assert!(!note.contains("end.png"), "{note}");

    let requests = test_manager.requests();
    let token = requests.iter().find(|it| it.is_post()).expect("a request for a token");
    let form = format!(
        "grant_type=client_credentials&client_id=jackfield&client_secret={CLIENT_SECRET}\
         &scope=TM.Projects.Read"
    );
    assert!(token.text().starts_with(&form), "{}", token.text());
    assert!(!token.text().contains("Write"), "{}", token.text());
    assert_eq!(requests.iter().filter(|it| it.is_post()).count(), 1);
    for request in &requests {
        let agent = request.header("user-agent").unwrap_or_default();
        assert!(agent.starts_with("jackfield/"), "{request:?}");
        assert!(request.is_post() || request.method == "GET", "{request:?}");
    }

    let arguments = ["connections", "try", "qa", "--execution", EXECUTION_ID, "--case", CASE_ID];
    let link = ["--link", "https://tm.example/SHOP/testexecution-results/1/2"];
    let (succeeded, printed) = host.run_cli(&[&arguments[..], &link].concat());
    assert!(
        succeeded && printed.contains(expected_note) && printed.contains("SHOP, Shop"),
        "{printed}"
    );
    let (succeeded, printed) = host.run_cli(&["connections", "try", "qa"]);
    let failed_step = "test-manager-project";
    assert!(
        !succeeded && printed.contains(failed_step),
        "the step did not fail, but the fake Test Manager lists no projects: {printed}"
    );
}

#[test]
fn a_try_names_the_step_to_test_manager_that_failed_and_the_fix() {
    let (host, tracker) = start_host();
    let files = start_file_server();
    let test_manager = start_test_manager(&files);
    create_connection(&host, &connection_body(&tracker, &test_manager));
    let error_page = "<html><head><title>Attention required</title></head></html>";
    let log_path =
        format!("/org/tenant/tm_/api/v2/p1/testcaselogs/testexecution/{EXECUTION_ID}/paged");
    let project_path = "/org/tenant/tm_/api/v2/projects/prefix/SHOP";
    let cases: [(&str, Reply, &str, &[&str]); 9] = [
        (
            project_path,
            Reply::new(404, ""),
            "test-manager-project",
            &["no project has the prefix SHOP of the link", "--test-manager-project ID"],
        ),
        (
            "/identity/token",
            Reply::json(401, r#"{"error":"invalid_client"}"#),
            "test-manager-token",
            &["401, invalid_client", "jackfield", "check the token URL, the client id"],
        ),
        (
            "/identity/token",
            Reply::new(403, error_page),
            "test-manager-token",
            &["no OAuth token", "403 with a web page"],
        ),
        (
            "/identity/token",
            Reply::json(400, r#"{"error":"invalid_scope"}"#),
            "test-manager-scope",
            &["invalid_scope", "TM.Projects.Read TM.TestExecutions.Read", "request fewer scopes"],
        ),
        (
            project_path,
            Reply::new(403, error_page),
            "test-manager-project",
            &["403 with a web page (\"Attention required\")", "the scope TM.Projects.Read"],
        ),
        (
            project_path,
            Reply::new(200, error_page),
            "test-manager-project",
            &["instead of JSON", "check the address"],
        ),
        (
            project_path,
            Reply::Answer(Response::new(429, "").with_header("RateLimit-Reset", "600")),
            "test-manager-project",
            &["rate limit", "600 s"],
        ),
        (&log_path, Reply::json(404, "{}"), "test-manager-log", &["404"]),
        (&log_path, Reply::json(200, "[]"), "test-manager-log", &["no log of the test case"]),
    ];
    for (target, reply, step, expected_texts) in cases {
        let (faulty_path, files) = (target.to_owned(), files.url());
        test_manager.set_script(move |exchange| {
            let is_faulty = exchange.request.target.split('?').next() == Some(faulty_path.as_str());
            if is_faulty { reply.clone() } else { answer_without_faults(exchange, &files) }
        });
        // After a change of the secret, the connection no longer waits for the end of a rate limit.
        let edit = json!({"test_manager_client_secret": format!("{CLIENT_SECRET}-{step}")});
        host.admin().json("PATCH", "/connections/qa", &edit).assert_status(200);
        let steps = try_qa(&host);
        let (name, error, _) = last_step(&steps);
        assert_eq!(name, step, "{steps:?}");
        for expected in expected_texts {
            assert!(error.contains(expected), "{expected} in {error}");
        }
        assert!(steps[..steps.len() - 1].iter().all(|step| step["error"].is_null()), "{steps:?}");
    }
    let metadata = "http://169.254.169.254/tm".to_owned();
    for (url, step) in [(jackfield_tests::unreachable_url(), "connect"), (metadata, "dns")] {
        let edit = json!({"test_manager": {"base_url": url}});
        host.admin().json("PATCH", "/connections/qa", &edit).assert_status(200);
        let (name, error, _) = last_step(&try_qa(&host));
        assert_eq!(name, step, "{error}");
    }
}

#[test]
fn the_page_of_a_try_shows_a_failure_if_test_manager_cannot_be_reached() {
    let (host, tracker) = start_host();
    let settings = json!({"url": tracker.url(), "target": tracker.url() + "/x"});
    let qa = host.add_connection("qa", "calls", settings, json!({}));
    let path = format!("/connections/{}/try", qa.id);
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let try_page = || host.client_as(host.admin_token()).send("POST", &path, &form, b"").body;
    let page = try_page();
    assert!(page.contains("It works"), "{page}");
    let url = jackfield_tests::unreachable_url();
    let test_manager = json!({"base_url": url, "token_url": url, "client_id": "jackfield"});
    let edit = json!({"test_manager": test_manager, "test_manager_client_secret": CLIENT_SECRET});
    host.admin().json("PATCH", "/connections/qa", &edit).assert_status(200);
    let page = try_page();
    assert!(page.contains("The try failed") && !page.contains("It works"), "{page}");
}

/// A try must notice that Test Manager no longer shows the project, so a try does not use the
/// cached project.
#[test]
fn a_second_try_requests_the_project_again() {
    let (host, tracker) = start_host();
    let files = start_file_server();
    let test_manager = start_test_manager(&files);
    create_connection(&host, &connection_body(&tracker, &test_manager));
    let (name, error, _) = last_step(&try_qa(&host));
    assert_eq!((name.as_str(), error.as_str()), ("test-manager-log", ""));
    test_manager.set_script(move |exchange| match api_path(&exchange.request.target) {
        "/projects/prefix/SHOP" => Reply::new(403, ""),
        _ => answer_without_faults(exchange, ""),
    });
    let (name, error, _) = last_step(&try_qa(&host));
    assert_eq!(name, "test-manager-project");
    assert!(error.contains("403") && error.contains("TM.Projects.Read"), "{error}");
}

#[test]
fn no_credential_for_test_manager_goes_to_another_origin() {
    let (host, tracker) = start_host();
    let files = start_file_server();
    let test_manager = start_test_manager(&files);
    create_connection(&host, &connection_body(&tracker, &test_manager));
    let (_, error, note) = last_step(&try_qa(&host));
    let refused = format!("the file \"end.png\": Test Manager redirects to {}", files.url());
    assert!(error.is_empty() && note.contains(&refused), "{note}");
    assert!(note.contains("--test-manager-asset-origin"), "{note}");
    assert_eq!(files.requests().len(), 0);

    let edit = json!({"test_manager": {"asset_origins": [files.url()]}});
    host.admin().json("PATCH", "/connections/qa", &edit).assert_status(200);
    let (_, _, note) = last_step(&try_qa(&host));
    assert!(!note.contains("end.png"), "{note}");
    let request = files.last_request();
    assert_eq!(request.target, "/end.png?sig=1");
    for name in ["authorization", "cookie", "proxy-authorization"] {
        assert_eq!(request.header(name), None, "{request:?}");
    }
    let sent = format!("{request:?}");
    assert!(!sent.contains(TOKEN) && !sent.contains(CLIENT_SECRET), "{sent}");
    for request in tracker.requests() {
        let sent = format!("{request:?}{}", request.text());
        assert!(!sent.contains(TOKEN) && !sent.contains(CLIENT_SECRET), "{sent}");
    }
}

#[test]
fn the_client_secret_and_tokens_of_test_manager_are_shown_nowhere() {
    let (mut host, tracker) = start_host();
    let test_manager = ScriptedServer::start(|exchange| {
        let echo = format!("{CLIENT_SECRET} {TOKEN}");
        match api_path(&exchange.request.target) {
            path if path.ends_with("/paged") => Reply::new(500, echo),
            path if path.ends_with("/assertions") => {
                Reply::Answer(Response::new(302, "").with_header("Location", &format!("/{TOKEN}")))
            }
            _ => answer_without_faults(exchange, &echo),
        }
    });
    create_connection(&host, &connection_body(&tracker, &test_manager));
    let steps = try_qa(&host);
    test_manager.set_script(|_| {
        let error = json!({"error": "x", "error_description": format!("not {CLIENT_SECRET}")});
        Reply::json(400, &error.to_string())
    });
    let refused = try_qa(&host);
    assert!(last_step(&refused).1.contains("not [secret]"), "{refused:?}");
    let mut all_output = format!("{steps:?}{refused:?}");
    for path in ["/connections", "/connections/qa", "/events", "/defects"] {
        all_output += &host.admin().get(path).body;
    }
    all_output += &host.run_cli(&["connections", "show", "qa"]).1;
    all_output += &host.output();
    assert!(host.stop().success());
    let files = host.files_in_data_folder();
    for secret in [CLIENT_SECRET, TOKEN] {
        assert!(!all_output.contains(secret), "{secret} is shown");
        for (path, bytes) in &files {
            let is_in_file = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
            assert!(!is_in_file, "{secret} is in {path}");
        }
    }
}

#[test]
fn the_settings_for_test_manager_are_checked_merged_and_removed() {
    let (mut host, tracker) = start_host();
    let files = start_file_server();
    let test_manager = start_test_manager(&files);
    let valid_body = connection_body(&tracker, &test_manager);

    let mut body = valid_body.clone();
    body["test_manager"]["base_uri"] = json!("x");
    let refused = host.admin().json("POST", "/connections", &body).problem(400, "bad-request");
    assert!(refused.contains("base_uri"), "{refused}");
    let mut body = valid_body.clone();
    body["test_manager"] = json!({"base_url": "https://tm.example/api/v2", "client_id": "a b"});
    body.as_object_mut().unwrap().remove("test_manager_client_secret");
    let answer = host.admin().json("POST", "/connections", &body);
    assert_eq!(answer.status, 422, "{answer:?}");
    for name in ["base_url", "token_url", "client_id"] {
        assert!(answer.body.contains(&format!("test_manager.{name}")), "{name}: {answer:?}");
    }
    body["test_manager"] = valid_body["test_manager"].clone();
    let answer = host.admin().json("POST", "/connections", &body);
    assert!(
        answer.status == 422 && answer.body.contains("test_manager_client_secret"),
        "{answer:?}"
    );

    let created = create_connection(&host, &valid_body);
    assert_eq!(created["test_manager"]["base_url"], test_manager.url() + "/org/tenant/tm_");
    assert_eq!(created["secrets_set"], json!([]));
    let scopes = created["test_manager"]["scopes"].as_array().expect("the default scopes");
    assert!(scopes.iter().all(|it| it.as_str().unwrap().ends_with(".Read")), "{scopes:?}");

    fs::write(host.folder().join("secret"), "another-s3cr3t\n").expect("the file is created");
    let edit = [
        "connections",
        "edit",
        "qa",
        "--test-manager-project",
        "p7",
        "--test-manager-scope",
        "TM.Projects.Read",
        "--test-manager-client-secret=@secret",
    ];
    let (succeeded, printed) = host.run_cli(&edit);
    assert!(succeeded, "{printed}");
    host.restart();
    let connection = host.connection("qa");
    assert_eq!(connection["test_manager"]["project_id"], "p7", "{connection}");
    assert_eq!(connection["test_manager"]["scopes"], json!(["TM.Projects.Read"]));
    assert_eq!(
        connection["test_manager"]["client_id"], "jackfield",
        "the edit changed another setting"
    );
    assert_eq!(connection["has_test_manager_client_secret"], true);
    try_qa(&host);
    let token = test_manager.requests().into_iter().find(|it| it.is_post()).expect("a token");
    assert!(token.text().contains("client_secret=another-s3cr3t&"), "{}", token.text());

    let (succeeded, printed) = host.run_cli(&["connections", "edit", "qa", "--no-test-manager"]);
    assert!(succeeded, "{printed}");
    let connection = host.connection("qa");
    assert_eq!(connection["test_manager"], Value::Null, "{connection}");
    assert_eq!(connection["has_test_manager_client_secret"], false);
    assert_eq!(try_qa(&host), Vec::<Value>::new());
    let secret_only = json!({"test_manager_client_secret": CLIENT_SECRET});
    let answer = host.admin().json("PATCH", "/connections/qa", &secret_only);
    assert!(answer.status == 422 && answer.body.contains("test_manager"), "{answer:?}");
    let plain_secret_argument = "--test-manager-client-secret=plain-s3cr3t";
    let (succeeded, printed) = host.run_cli(&["connections", "edit", "qa", plain_secret_argument]);
    assert!(!succeeded && printed.contains("must not be on the command line"), "{printed}");
    assert!(!printed.contains("plain-s3cr3t"), "{printed}");
}
