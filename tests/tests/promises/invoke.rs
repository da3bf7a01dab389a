//! `jackfield invoke` calls one function of a connector without a server. A tracker or a recording
//! answers the requests of the connector.

use std::fs;
use std::path::PathBuf;

use jackfield_tests::{
    ConnectorFolder, EndedCommand, Guest, Project, Redmine, Reply, ScriptedServer, Setup,
    failed_test, unreachable_url,
};
use serde_json::{Value, json};

#[track_caller]
fn invoke(author: &ConnectorFolder, call: &str, options: &[&str]) -> EndedCommand {
    let command = ["invoke", "connector.wasm", call, "--settings", "settings.json"];
    author.run(&[&command[..], options].concat())
}

#[track_caller]
fn invoke_ok(author: &ConnectorFolder, call: &str, options: &[&str]) -> Value {
    let ended = invoke(author, call, &[options, &["--json"]].concat());
    assert_eq!(ended.code, Some(0), "{call} {options:?}: {}\n{}", ended.out, ended.err);
    serde_json::from_str(&ended.out).unwrap_or_else(|error| panic!("{error} in {}", ended.out))
}

/// The error on stderr must be one line that contains these words. Returns what the command printed
/// on stdout.
#[track_caller]
fn assert_fails(author: &ConnectorFolder, call: &str, options: &[&str], words: &[&str]) -> String {
    let EndedCommand { code, out, err } = invoke(author, call, options);
    assert_eq!(code, Some(1), "{call} {options:?}: {out}\n{err}");
    assert_eq!(err.trim_end().lines().count(), 1, "not one line: {err}");
    for word in words {
        assert!(err.contains(word), "{word:?} is missing in: {err}");
    }
    out
}

fn recorded_texts(author: &ConnectorFolder, folder: &str) -> Vec<String> {
    let entries = fs::read_dir(author.path(folder)).expect("the recording");
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    paths.iter().map(|path| fs::read_to_string(path).expect("a text")).collect()
}

/// The option that reads the API key of Redmine from the file `secret`.
const KEY_OPTION: [&str; 2] = ["--secret", "api-key=@secret"];

/// The connector reaches Redmine through the returned proxy.
fn create_redmine_folder() -> (ConnectorFolder, Project, ScriptedServer) {
    let redmine = Redmine::shared();
    let (project, proxy) = (redmine.project(), ScriptedServer::proxy_to(redmine.address()));
    let secrets = redmine.secrets();
    let key = secrets["api-key"].as_str().expect("a key");
    let author =
        ConnectorFolder::new(&Guest::example("redmine"), &project.settings(&proxy.url()), key);
    (author, project, proxy)
}

#[test]
fn an_author_calls_each_export_without_a_server() {
    let (author, project, _proxy) = create_redmine_folder();
    let words = ["--event", "event.json", "--sample-data"];
    let created = invoke_ok(&author, "create-defect", &[&KEY_OPTION[..], &words].concat());
    let issue = project.only_issue();
    assert_eq!(created["answer"]["key"], json!(issue.id), "{created}");
    assert!(issue.description.contains("16.00"), "{}", issue.description);
    let marker = created["marker"].as_str().expect("a marker");
    assert!(issue.description.contains(marker), "{}", issue.description);
    let granted = created["granted"].to_string();
    assert!(
        granted.contains("reach http://127.0.0.1") && granted.contains("`api-key`"),
        "{granted}"
    );
    let calls = created["calls"].as_array().expect("calls");
    let is_create = |call: &&Value| call["path"] == "/issues.json" && call["status"] == 201;
    assert_eq!(calls.iter().filter(is_create).count(), 1, "{created}");
    let limit = |name: &str| {
        let limits = created["limits"].as_array().expect("limits").iter();
        limits.clone().find(|entry| entry["limit"] == name).cloned().unwrap_or_default()
    };
    assert_eq!(limit("outbound_calls")["max"], 30);
    assert_eq!(limit("outbound_calls")["used"], calls.len());

    let call = |name: &str, words: &[&str]| {
        invoke_ok(&author, name, &[&KEY_OPTION[..], words].concat())["answer"].clone()
    };
    assert_eq!(call("find", &["--marker", marker])[0]["key"], json!(issue.id));
    assert_eq!(call("find", &["--event", "event.json"])[0]["key"], json!(issue.id));
    assert_eq!(call("find", &["--marker", &"z".repeat(26)]), json!([]));
    assert_eq!(call("kpis", &[])["open"], 1);
    assert!(call("check", &[]).as_str().is_some_and(|line| !line.is_empty()));
    assert_eq!(call("describe", &[])["name"], "Redmine");
    let trackers = call("choices", &["--setting", "tracker"]);
    assert!(trackers["choices"].to_string().contains("Bug"), "{trackers}");
    let key = ["--key", issue.id.as_str()];
    assert_eq!(call("state", &key)["open"], true);
    let event = ["--event", "event.json"];
    assert_eq!(call("find-comment", &[&key[..], &event].concat()), false);
    assert_eq!(call("comment", &[&key[..], &event].concat()), Value::Null);
    assert_eq!(call("find-comment", &[&key[..], &event].concat()), true);
    assert_eq!(call("attached", &[&key[..]].concat()).as_array().map(Vec::is_empty), Some(false));
    call("reopen", &key);

    let shown = invoke(&author, "kpis", &KEY_OPTION);
    for word in ["outcome", "ok", "memory_bytes", "GET", "/issues.json", "granted"] {
        assert!(shown.out.contains(word), "{word} is missing in: {}", shown.out);
    }
}

#[test]
fn a_replay_answers_recorded_requests_and_shows_where_a_changed_request_differs() {
    let (author, project, proxy) = create_redmine_folder();
    let words = [&KEY_OPTION[..], &["--event", "event.json"]].concat();
    let create =
        |options: &[&str]| invoke_ok(&author, "create-defect", &[&words, options].concat());
    let recorded = create(&["--record", "create"]);
    assert_eq!(
        recorded["recording"]["exchanges_written"].as_u64(),
        recorded["calls"].as_array().map(|calls| calls.len() as u64)
    );
    assert_fails(
        &author,
        "create-defect",
        &[&words[..], &["--record", "create"]].concat(),
        &["create has recorded exchanges already"],
    );
    let before = proxy.requests().len();
    drop(proxy);

    // The replay works with another key, because credentials are neither recorded nor compared.
    author.write("secret", "another-key-of-the-tests");
    let replayed = create(&["--replay", "create"]);
    for member in ["answer", "marker", "outcome"] {
        assert_eq!(replayed[member], recorded[member], "{member}");
    }
    assert_eq!(replayed["recording"]["files_not_used"], json!([]));
    assert_eq!(project.issues().len(), 1);
    assert_eq!(before, recorded_texts(&author, "create").len());

    author.write("event.json", failed_test().to_string());
    let replay = [&words[..], &["--replay", "create"]].concat();
    let last = format!("{before:04}.json");
    assert_fails(
        &author,
        "create-defect",
        &replay,
        &["cannot be replayed", &last, "body differs at byte"],
    );
    // The call fails even if the connector handles the error of the missing exchange.
    assert_fails(
        &author,
        "find",
        &[&KEY_OPTION[..], &["--event", "event.json", "--replay", "create"]].concat(),
        &["cannot be replayed", "no recorded exchange answers GET"],
    );
}

#[test]
fn a_recording_has_no_secret_and_no_cookie() {
    const SECRET: &str = "s3cr3t-of-the-tracker";
    const COOKIE: &str = "c00kie-of-the-session";
    let tracker = ScriptedServer::start(|exchange| {
        let sent = format!("{} {}", exchange.request.target, exchange.request.text());
        let answer = Reply::new(200, format!("{sent} {SECRET}"));
        let Reply::Answer(answer) = answer else { return answer };
        Reply::Answer(
            answer
                .with_header("set-cookie", &format!("session={COOKIE}"))
                .with_header("x-echo", SECRET),
        )
    });
    for (place, more) in [
        ("key-bearer", json!({})),
        ("key-header", json!({})),
        ("key-basic", json!({"user": "bot"})),
        ("key-query", json!({})),
        (
            "key-json",
            json!({"headers": "Content-Type=application/json",
                "body": r#"{"user": {"password": "{secret}"}}"#}),
        ),
    ] {
        let mut settings = jackfield_tests::merge(
            json!({"url": tracker.url(), "target": "/x", "method": "POST", "effect": "prepare"}),
            more,
        );
        if settings.get("body").is_none() {
            settings["body"] = json!("text");
        }
        let author = ConnectorFolder::new(&Guest::named("calls"), &settings, SECRET);
        let secret = format!("{place}=@secret");
        let words = ["--secret", &secret, "--event", "event.json"];
        let recorded =
            invoke_ok(&author, "create-defect", &[&words[..], &["--record", "r"]].concat());
        let files = recorded_texts(&author, "r");
        assert_eq!(files.len(), 1, "{place}");
        assert!(files[0].contains("[secret]"), "{place}: {}", files[0]);
        let basic = data_encoding::BASE64.encode(format!("bot:{SECRET}").as_bytes());
        for hidden in [SECRET, COOKIE, &basic, "authorization", "set-cookie", "x-api-key"] {
            assert!(!files[0].contains(hidden), "{place}: {hidden} in {}", files[0]);
        }
        let replayed =
            invoke_ok(&author, "create-defect", &[&words[..], &["--replay", "r"]].concat());
        assert_eq!(replayed["answer"]["key"], recorded["answer"]["key"], "{place}");
    }
    assert_eq!(tracker.requests().len(), 5, "a replay sent a request");
}

#[test]
fn invoke_renders_a_report_from_the_test_data_in_a_file() {
    let (author, project, _proxy) = create_redmine_folder();
    let data = json!({"test_case": {"name": "Check the total"}, "labels": ["checkout"],
        "assertions": [{"message": "Expected 7, found 8", "succeeded": false}]});
    author.write("data.json", data.to_string());
    let words = [&KEY_OPTION[..], &["--event", "event.json", "--test-data", "data.json"]].concat();
    invoke_ok(&author, "create-defect", &words);
    let issue = project.only_issue();
    assert!(issue.description.contains("Expected 7, found 8"), "{}", issue.description);
    author.write("data.json", json!({"lables": []}).to_string());
    assert_fails(&author, "create-defect", &words, &["data.json is not test data", "lables"]);
    assert_fails(
        &author,
        "kpis",
        &[&KEY_OPTION[..], &["--test-data", "data.json"]].concat(),
        &["--test-data"],
    );
}

#[test]
fn a_second_call_of_the_same_file_does_not_compile_it_again() {
    let author = ConnectorFolder::new(&Guest::named("instant"), &json!({}), "");
    let compiled_files = |folder: &str| {
        let entries = fs::read_dir(author.path(folder)).map(|entries| entries.collect::<Vec<_>>());
        let entries = entries.unwrap_or_default().into_iter();
        let paths = entries.map(|entry| entry.expect("an entry").path());
        let is_code = |path: &PathBuf| path.extension().is_some_and(|name| name == "cwasm");
        let with_time = |path: PathBuf| {
            let modified = fs::metadata(&path).and_then(|metadata| metadata.modified());
            (path, modified.expect("a time"))
        };
        paths.filter(is_code).map(with_time).collect::<Vec<_>>()
    };
    invoke_ok(&author, "describe", &[]);
    let compiled = compiled_files("cache/jackfield/compiled");
    assert_eq!(compiled.len(), 1);
    invoke_ok(&author, "describe", &[]);
    assert_eq!(
        compiled_files("cache/jackfield/compiled"),
        compiled,
        "the second command compiled the file again"
    );

    // The command does not run compiled code that was changed, but compiles the connector again.
    fs::write(&compiled[0].0, "no code").expect("the code is damaged");
    invoke_ok(&author, "describe", &[]);
    assert_ne!(compiled_files("cache/jackfield/compiled"), compiled);

    fs::create_dir(author.path("data")).expect("a data folder");
    invoke_ok(&author, "describe", &["--data", "data"]);
    assert_eq!(compiled_files("data/compiled").len(), 1);
    assert_fails(&author, "describe", &["--data", "none"], &["there is no data folder none"]);
    // A cache that cannot be used does not prevent a call.
    fs::remove_dir_all(author.path("cache")).expect("the cache is removed");
    author.write("cache", "a file");
    invoke_ok(&author, "describe", &[]);
}

#[test]
fn a_call_that_fails_prints_the_reason_and_ends_with_exit_code_1() {
    let tracker = ScriptedServer::start(|_| Reply::new(200, "bad"));
    let settings = json!({"url": tracker.url()});
    let author = ConnectorFolder::new(&Guest::named("traps-on-demand"), &settings, "");
    let shown =
        assert_fails(&author, "create-defect", &[], &["create-defect failed", "connector-fault"]);
    assert!(shown.contains("panicked at"), "{shown}");
    assert!(shown.contains("/health"), "{shown}");

    author.write("settings.json", json!({"url": unreachable_url()}).to_string());
    assert_fails(&author, "create-defect", &[], &["create-defect failed"]);
    author.write("settings.json", "{}");
    assert_fails(&author, "create-defect", &[], &["would not create this connection", "url"]);
    author.write("settings.json", "[]");
    assert_fails(&author, "create-defect", &[], &["settings.json is not a JSON object"]);
    author.write("settings.json", settings.to_string());
    author.write("bad.json", "{\"testCaseId\":7}");
    assert_fails(
        &author,
        "create-defect",
        &["--event", "bad.json"],
        &["bad.json", "testExecutionId"],
    );
    for (call, words, why) in [
        ("find", &[][..], "--marker"),
        ("state", &[], "--key"),
        ("state", &["--key", "1"], "follow-up"),
        ("choices", &[], "--setting"),
        ("check", &["--event", "event.json"], "does not use --event"),
        ("create-defect", &["--record", "r"], "--event"),
        ("create-defect", &["--event", "event.json", "--replay", "none"], "none"),
        ("create-defect", &["--secret", "key=topsecret"], "must not be on the command line"),
    ] {
        let shown = assert_fails(&author, call, words, &[why]);
        assert!(!shown.contains("topsecret"), "{shown}");
    }
    author.write("settings.json", "{}");
    assert_eq!(invoke_ok(&author, "describe", &[])["answer"]["name"], "test guest");
    author.write("connector.wasm", "no component");
    assert_fails(&author, "check", &[], &["the server would not load connector.wasm"]);
}

#[test]
fn a_defect_without_a_confirmed_write_is_a_failure_and_a_write_without_marker_causes_a_warning() {
    let tracker = ScriptedServer::start(|exchange| {
        let status = if exchange.request.target == "/refused" { 422 } else { 201 };
        Reply::new(status, "answer")
    });
    let settings = |target: &str| json!({"url": tracker.url(), "target": target, "method": "POST", "body": "text"});
    let author = ConnectorFolder::new(&Guest::named("calls"), &settings("/refused"), "");
    assert_fails(&author, "create-defect", &[], &["the tracker confirmed no write"]);
    author.write("settings.json", settings("/taken").to_string());
    let warnings = invoke_ok(&author, "create-defect", &[])["warnings"].to_string();
    assert!(warnings.contains("does not contain the marker"), "{warnings}");
    // As on the server, `kpis` may not write.
    assert_fails(&author, "kpis", &[], &["kpis failed"]);
    assert_eq!(tracker.posts(), 2);

    // The log of a run on the server contains the same warning.
    let host = Setup::new().guests(["calls"]).start();
    let connection = host.add_connection("qa", "calls", settings("/taken"), json!({}));
    let answer = host.create(&connection, &failed_test());
    let log = host.run_of(&answer)["log"].clone();
    let is_warning = |line: &Value| {
        line["level"] == "warn" && warnings.contains(line["message"].as_str().expect("a message"))
    };
    assert!(log.as_array().expect("a log").iter().any(is_warning), "{log} lacks {warnings}");
}
