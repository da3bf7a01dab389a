//! `jackfield test` and its checks of a connector. For each check, there is one connector that has
//! exactly one mistake, and fails only this check. A connector that follows the manual (the text of
//! `wit/connector.wit`) passes all checks.

use std::collections::BTreeSet;
use std::fs;
use std::sync::Mutex;

use jackfield_tests::{
    ConnectorFolder, Exchange, Guest, Redmine, Reply, ScriptedServer, root, unreachable_url,
};
use serde_json::{Value, json};

#[track_caller]
fn run_test(author: &ConnectorFolder, options: &[&str]) -> Value {
    let ended = author.run(&[&["test", "connector.wasm", "--json"], options].concat());
    let report: Value = serde_json::from_str(&ended.out)
        .unwrap_or_else(|error| panic!("{options:?}: {error} in {ended:?}"));
    let code = i32::from(report["findings"] != 0);
    assert_eq!(ended.code, Some(code), "{report:#}");
    report
}

#[track_caller]
fn assert_fails(author: &ConnectorFolder, arguments: &[&str]) -> String {
    let ended = author.run(arguments);
    assert_eq!(ended.code, Some(1), "{arguments:?}: {}", ended.err);
    ended.err
}

fn checks_with_result(report: &Value, result: &str) -> BTreeSet<String> {
    let checks = report["checks"].as_array().expect("checks").iter();
    let with = checks.filter(|check| check["result"] == result);
    with.map(|check| check["check"].as_str().expect("a name").to_owned()).collect()
}

#[track_caller]
fn assert_all_passed(report: &Value) {
    let checks = report["checks"].as_array().expect("checks").iter();
    let not_passed: Vec<_> = checks.filter(|check| check["result"] != "passed").collect();
    assert!(not_passed.is_empty() && report["passed"].as_u64() > Some(10), "{not_passed:#?}");
}

/// A fake tracker for the connectors `conforming` and `defective-…`.
fn start_tracker() -> ScriptedServer {
    let texts = Mutex::new(Vec::new());
    ScriptedServer::start(move |exchange| {
        answer_as_tracker(exchange, &mut texts.lock().expect("texts"))
    })
}

/// `texts` contains the texts of the tracker's issues.
fn answer_as_tracker(exchange: &Exchange<'_>, texts: &mut Vec<String>) -> Reply {
    let request = exchange.request;
    let target = request.target.split("random=").next().unwrap_or_default();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    // A client without the right token is a visitor, whose searches find no issue.
    let is_visitor = request.header("authorization") != Some("Bearer s3cr3t-token");
    let issue =
        |(id, text): (usize, &String)| json!({"id": id, "title": "A test failed", "text": text});
    let issues = |word: &str| {
        let found = texts.iter().enumerate().filter(|(_, text)| text.contains(word) && !is_visitor);
        Reply::json(200, &json!({"issues": found.map(issue).collect::<Vec<_>>()}).to_string())
    };
    match (request.method.as_str(), path) {
        ("GET", "/me") if is_visitor => Reply::new(401, ""),
        ("GET", "/me") => Reply::json(200, r#"{"user":"bot"}"#),
        ("POST", "/issues") => {
            let sent: Value = serde_json::from_slice(&request.body).expect("JSON");
            texts.push(sent["text"].as_str().expect("a text").to_owned());
            let id = texts.len() - 1;
            Reply::json(201, &json!({"issue": issue((id, &texts[id]))}).to_string())
        }
        ("POST", _) => Reply::json(201, r#"{"comment":{"id":1}}"#),
        ("GET", "/issues") => issues(query.trim_start_matches("text=").trim_end_matches('&')),
        ("GET", "/newest") => issues(""),
        ("GET", "/counts") => Reply::json(
            200,
            r#"{"counts":{"open":3,"closed":4,"total":7,"critical":1,"moderate":2}}"#,
        ),
        ("GET", _) => Reply::json(200, &json!({"issue": issue((0, &texts[0]))}).to_string()),
        _ => Reply::new(405, ""),
    }
}

/// The options of `jackfield test` that read the secret from a file and record the exchanges.
const RECORD_OPTIONS: [&str; 4] = ["--secret", "token=@secret", "--record", "recording"];

#[test]
fn a_connector_with_one_mistake_fails_only_the_check_for_this_mistake() {
    let folder = fs::read_dir(root().join("tests/guests/examples")).expect("the guests");
    let names = folder.map(|entry| entry.expect("an entry").file_name().into_string());
    let names = names.map(|name| name.expect("a name"));
    let mistakes: BTreeSet<_> = names
        .filter_map(|name| Some(name.strip_prefix("defective-")?.strip_suffix(".rs")?.to_owned()))
        .collect();
    let mut checks = BTreeSet::new();
    for mistake in &mistakes {
        let tracker = start_tracker();
        let guest = Guest::named(&format!("defective-{mistake}"));
        let author = ConnectorFolder::new(&guest, &json!({"url": tracker.url()}), "s3cr3t-token");
        let report = run_test(&author, &RECORD_OPTIONS);
        assert_eq!(
            checks_with_result(&report, "finding"),
            BTreeSet::from([mistake.clone()]),
            "{report:#}"
        );
        if mistake == "empty-find" {
            for words in ["status 401", "`find-wrong-secret` returned a list of 0 defects"] {
                assert!(report.to_string().contains(words), "{words} is missing: {report:#}");
            }
        }
        if mistake == "effects" {
            let not_run = checks_with_result(&report, "not run");
            for check in ["one-write", "create-once", "ok-after-write"] {
                assert!(not_run.contains(check), "{check} without a write: {report:#}");
            }
        }
        checks = checks_with_result(&report, "passed");
        checks.extend(checks_with_result(&report, "not run"));
        checks.insert(mistake.clone());
    }
    assert_eq!(mistakes, checks, "there is not exactly one defective connector for each check");
}

#[test]
fn a_connector_that_follows_the_manual_passes_and_a_replay_needs_neither_tracker_nor_secret() {
    let tracker = start_tracker();
    let settings = json!({"url": tracker.url()});
    let author = ConnectorFolder::new(&Guest::named("conforming"), &settings, "s3cr3t-token");
    let recorded = run_test(&author, &RECORD_OPTIONS);
    assert_all_passed(&recorded);
    assert_eq!(tracker.posts(), 1, "a check sent a second write to the tracker");
    drop(tracker);

    let replayed = run_test(&author, &[]);
    assert_all_passed(&replayed);
    let check = &replayed["checks"][0];
    let line = check["manual"]["line"].as_u64().expect("a line") as usize;
    let wit = fs::read_to_string(root().join("wit/connector.wit")).expect("the manual");
    let sentence = check["manual"]["sentence"].as_str().expect("a sentence");
    let first_words = sentence.split(' ').take(4).collect::<Vec<_>>().join(" ");
    assert!(
        wit.lines().nth(line - 1).is_some_and(|text| text.contains(&first_words)),
        "{first_words} in {line}"
    );

    let one_check = run_test(&author, &["--check", "empty-find"]);
    assert_eq!(checks_with_result(&one_check, "passed"), BTreeSet::from(["empty-find".to_owned()]));
    assert!(one_check["checks"].as_array().is_some_and(|checks| checks.len() == 1), "{one_check}");
    let calls = |report: &Value| report["calls"].as_u64().expect("a number");
    assert!(calls(&one_check) < calls(&replayed), "{one_check}");
    assert_eq!(author.run(&["test", "connector.wasm", "--check", "none"]).code, Some(2));

    // A second recording does not replace the first one.
    let err = assert_fails(&author, &[&["test", "connector.wasm"], &RECORD_OPTIONS[..]].concat());
    assert!(err.contains("recording has files already"), "{err}");
}

#[test]
fn a_check_that_cannot_run_names_the_missing_option_or_recording() {
    let url = unreachable_url();
    let settings = json!({"url": url});
    let author = ConnectorFolder::new(&Guest::named("conforming"), &settings, "s3cr3t-token");
    let needs = |report: &Value, name: &str| {
        let mut checks = report["checks"].as_array().expect("checks").iter();
        let check = checks.find(|check| check["check"] == name).cloned().unwrap_or_default();
        check["needs"].as_str().unwrap_or_default().to_owned()
    };
    let report = run_test(&author, &[]);
    assert_eq!((&report["passed"], &report["findings"]), (&json!(1), &json!(0)), "{report:#}");
    assert!(needs(&report, "counts").contains("--record FOLDER"), "{report:#}");

    // The checks of one call need only a recording of this call.
    let kpis_folder = author.path("recording/kpis");
    fs::create_dir_all(&kpis_folder).expect("a folder");
    let exchange = json!({
        "request": {"method": "GET", "url": format!("{url}/counts")},
        "response": {"status": 200, "headers": [["content-type", "application/json"]],
            "body": r#"{"counts":{"open":2,"closed":4,"total":7,"critical":1,"moderate":1}}"#},
    });
    fs::write(kpis_folder.join("0001.json"), exchange.to_string()).expect("the file is written");
    let report = run_test(&author, &[]);
    assert_eq!(checks_with_result(&report, "finding"), BTreeSet::from(["counts".to_owned()]));
    assert!(report.to_string().contains("open 2 and closed 4 are 6, but the tracker has 7"));
    assert!(needs(&report, "marker-found").contains("`find`: it is not recorded"), "{report:#}");
    assert!(checks_with_result(&report, "passed").contains("tracker-down"), "{report:#}");
    let shown = author.run(&["test", "connector.wasm"]).out;
    for words in ["wit/connector.wit:", "Counts open defects only", "1 with findings"] {
        assert!(shown.contains(words), "{words} is missing in {shown}");
    }

    // The connector sends other requests than the recorded ones.
    let find_folder = author.path("recording/find");
    fs::create_dir(&find_folder).expect("a folder");
    fs::copy(kpis_folder.join("0001.json"), find_folder.join("0001.json")).expect("a copy");
    let report = run_test(&author, &["--check", "same-requests"]);
    assert!(report.to_string().contains("the nearest is 0001.json"), "{report:#}");
    fs::remove_dir_all(&find_folder).expect("the folder is removed");

    // The recording of all calls may also be in one folder.
    fs::rename(kpis_folder.join("0001.json"), author.path("recording/0001.json"))
        .expect("a rename");
    fs::remove_dir(&kpis_folder).expect("an empty folder");
    let report = run_test(&author, &[]);
    assert_eq!(checks_with_result(&report, "finding"), BTreeSet::from(["counts".to_owned()]));

    fs::remove_file(author.path("settings.json")).expect("the file is removed");
    let report = run_test(&author, &[]);
    assert!(needs(&report, "counts").contains("--settings FILE"), "{report:#}");
    let err = assert_fails(&author, &["test", "connector.wasm", "--set", "url=none"]);
    assert!(err.contains("would not create this connection"), "{err}");
    let record = ["test", "connector.wasm", "--record", "new"];
    assert!(assert_fails(&author, &record).contains("--settings FILE"));
    let settings = format!("url={url}");
    let record = [&record[..], &["--set", &settings, "--secret", "token=@secret"]].concat();
    let err = assert_fails(&author, &record);
    assert!(err.contains("create-defect failed"), "{err}");
    assert!(!author.path("new").exists(), "an incomplete recording remains");
}

#[test]
fn the_shipped_connectors_pass_each_check() {
    let redmine = Redmine::shared();
    let secrets = redmine.secrets();
    let key = secrets["api-key"].as_str().expect("a key");
    for name in ["redmine", "javascript", "python"] {
        println!("--- {name}");
        let (project, proxy) = (redmine.project(), ScriptedServer::proxy_to(redmine.address()));
        project.close(project.add(5));
        let settings = project.settings(&proxy.url());
        let author = ConnectorFolder::new(&Guest::example(name), &settings, key);
        let secret = ["--secret", "api-key=@secret"];
        if name == "redmine" {
            record_each_call(&author);
        } else {
            run_test(
                &author,
                &[&secret[..], &["--record", "recording", "--check", "limits"]].concat(),
            );
        }
        drop(proxy);
        let report = run_test(&author, &[]);
        assert_all_passed(&report);
        assert_eq!(project.issues().len(), 2);
    }
}

/// Records each call with a separate command `jackfield invoke --record`.
fn record_each_call(author: &ConnectorFolder) {
    let unknown = "z".repeat(26);
    for (folder, words) in [
        ("check", &["check"][..]),
        ("create-defect", &["create-defect", "--event", "event.json"]),
        ("find", &["find", "--event", "event.json"]),
        ("find-unknown", &["find", "--marker", &unknown]),
        ("kpis", &["kpis", "--project", "00000000-0000-4000-8000-000000000001"]),
    ] {
        let target_folder = format!("recording/{folder}");
        let common = [
            "--settings",
            "settings.json",
            "--secret",
            "api-key=@secret",
            "--record",
            &target_folder,
        ];
        let ended = author.run(&[&["invoke", "connector.wasm"], words, &common].concat());
        assert_eq!(ended.code, Some(0), "{folder}: {}", ended.err);
    }
}
