//! `jackfield test`: for each check, a connector with exactly that defect fails exactly that check,
//! and connectors that keep to the manual pass all of them.

use std::collections::BTreeSet;
use std::fs;
use std::sync::Mutex;

use jackfield_tests::{
    ConnectorFolder, Exchange, Guest, Redmine, Reply, ScriptedServer, root, unreachable_url,
};
use serde_json::{Value, json};

/// Runs `test` and returns its report.
#[track_caller]
fn test(author: &ConnectorFolder, words: &[&str]) -> Value {
    let ended = author.run(&[&["test", "connector.wasm", "--json"], words].concat());
    let report: Value = serde_json::from_str(&ended.out)
        .unwrap_or_else(|error| panic!("{words:?}: {error} in {ended:?}"));
    let code = i32::from(report["findings"] != 0);
    assert_eq!(ended.code, Some(code), "{report:#}");
    report
}

/// Runs a command that must fail, and returns what it printed on stderr.
#[track_caller]
fn fails(author: &ConnectorFolder, words: &[&str]) -> String {
    let ended = author.run(words);
    assert_eq!(ended.code, Some(1), "{words:?}: {}", ended.err);
    ended.err
}

/// The names of the checks with this result.
fn with_result(report: &Value, result: &str) -> BTreeSet<String> {
    let checks = report["checks"].as_array().expect("checks").iter();
    let with = checks.filter(|check| check["result"] == result);
    with.map(|check| check["check"].as_str().expect("a name").to_owned()).collect()
}

#[track_caller]
fn assert_all_passed(report: &Value) {
    let checks = report["checks"].as_array().expect("checks").iter();
    let others: Vec<_> = checks.filter(|check| check["result"] != "passed").collect();
    assert!(others.is_empty() && report["passed"].as_u64() > Some(10), "{others:#?}");
}

/// A tracker of the connectors `conforming` and `defective-…`. It keeps the texts of its issues.
fn tracker() -> ScriptedServer {
    let texts = Mutex::new(Vec::new());
    ScriptedServer::start(move |exchange| answer(exchange, &mut texts.lock().expect("texts")))
}

fn answer(exchange: &Exchange<'_>, texts: &mut Vec<String>) -> Reply {
    let request = exchange.request;
    let target = request.target.split("random=").next().unwrap_or_default();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    // Whoever has a wrong token is a visitor, who sees no issue.
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

const RECORD: [&str; 4] = ["--secret", "token=@secret", "--record", "recording"];

#[test]
fn a_connector_with_one_defect_fails_exactly_its_check() {
    let folder = fs::read_dir(root().join("tests/guests/examples")).expect("the guests");
    let names = folder.map(|entry| entry.expect("an entry").file_name().into_string());
    let names = names.map(|name| name.expect("a name"));
    let defects: BTreeSet<_> = names
        .filter_map(|name| Some(name.strip_prefix("defective-")?.strip_suffix(".rs")?.to_owned()))
        .collect();
    let mut checks = BTreeSet::new();
    for defect in &defects {
        let tracker = tracker();
        let guest = Guest::named(&format!("defective-{defect}"));
        let author = ConnectorFolder::new(&guest, &json!({"url": tracker.url()}), "s3cr3t-token");
        let report = test(&author, &RECORD);
        assert_eq!(with_result(&report, "finding"), BTreeSet::from([defect.clone()]), "{report:#}");
        if defect == "empty-find" {
            for words in ["status 401", "`find-wrong-secret` returned a list of 0 defects"] {
                assert!(report.to_string().contains(words), "{words} is missing: {report:#}");
            }
        }
        checks = with_result(&report, "passed");
        checks.extend(with_result(&report, "not run"));
        checks.insert(defect.clone());
    }
    assert_eq!(defects, checks, "each check has a connector that fails it");
}

#[test]
fn a_connector_that_keeps_to_the_manual_passes_and_a_replay_needs_neither_tracker_nor_secret() {
    let tracker = tracker();
    let settings = json!({"url": tracker.url()});
    let author = ConnectorFolder::new(&Guest::named("conforming"), &settings, "s3cr3t-token");
    let recorded = test(&author, &RECORD);
    assert_all_passed(&recorded);
    assert_eq!(tracker.posts(), 1, "a fault was sent to the tracker");
    drop(tracker);

    let replayed = test(&author, &[]);
    assert_all_passed(&replayed);
    let check = &replayed["checks"][0];
    let line = check["manual"]["line"].as_u64().expect("a line") as usize;
    let wit = fs::read_to_string(root().join("wit/connector.wit")).expect("the manual");
    let sentence = check["manual"]["sentence"].as_str().expect("a sentence");
    let begin = sentence.split(' ').take(4).collect::<Vec<_>>().join(" ");
    assert!(wit.lines().nth(line - 1).is_some_and(|it| it.contains(&begin)), "{begin} in {line}");

    // Only what is asked for, with fewer calls.
    let one = test(&author, &["--check", "empty-find"]);
    assert_eq!(with_result(&one, "passed"), BTreeSet::from(["empty-find".to_owned()]));
    assert!(one["checks"].as_array().is_some_and(|checks| checks.len() == 1), "{one}");
    assert!(one["calls"].as_u64() < replayed["calls"].as_u64(), "{one}");
    assert_eq!(author.run(&["test", "connector.wasm", "--check", "none"]).code, Some(2));

    // A second recording does not replace the first one.
    let err = fails(&author, &[&["test", "connector.wasm"], &RECORD[..]].concat());
    assert!(err.contains("recording has files already"), "{err}");
}

#[test]
fn what_cannot_be_checked_is_listed_with_what_to_give() {
    let url = unreachable_url();
    let settings = json!({"url": url});
    let author = ConnectorFolder::new(&Guest::named("conforming"), &settings, "s3cr3t-token");
    let needs = |report: &Value, name: &str| {
        let mut checks = report["checks"].as_array().expect("checks").iter();
        let check = checks.find(|check| check["check"] == name).cloned().unwrap_or_default();
        check["needs"].as_str().unwrap_or_default().to_owned()
    };
    let report = test(&author, &[]);
    assert_eq!((&report["passed"], &report["findings"]), (&json!(1), &json!(0)), "{report:#}");
    assert!(needs(&report, "counts").contains("--record FOLDER"), "{report:#}");

    // A recording of one call is enough for the checks of that call.
    let count = author.path("recording/kpis");
    fs::create_dir_all(&count).expect("a folder");
    let exchange = json!({
        "request": {"method": "GET", "url": format!("{url}/counts")},
        "response": {"status": 200, "headers": [["content-type", "application/json"]],
            "body": r#"{"counts":{"open":2,"closed":4,"total":7,"critical":1,"moderate":1}}"#},
    });
    fs::write(count.join("0001.json"), exchange.to_string()).expect("the file is written");
    let report = test(&author, &[]);
    assert_eq!(with_result(&report, "finding"), BTreeSet::from(["counts".to_owned()]));
    assert!(report.to_string().contains("open 2 and closed 4 are 6, and the tracker has 7"));
    assert!(needs(&report, "marker-found").contains("`find`: it is not recorded"), "{report:#}");
    assert!(with_result(&report, "passed").contains("tracker-down"), "{report:#}");
    let shown = author.run(&["test", "connector.wasm"]).out;
    for words in ["wit/connector.wit:", "Counts open defects only", "1 with findings"] {
        assert!(shown.contains(words), "{words} is missing in {shown}");
    }

    // A recording of other requests is a finding, so that it is not forgotten.
    let find = author.path("recording/find");
    fs::create_dir(&find).expect("a folder");
    fs::copy(count.join("0001.json"), find.join("0001.json")).expect("a copy");
    let report = test(&author, &["--check", "same-requests"]);
    assert!(report.to_string().contains("the nearest is 0001.json"), "{report:#}");
    fs::remove_dir_all(&find).expect("the folder is removed");

    // The same exchanges may be in one folder for all calls.
    fs::rename(count.join("0001.json"), author.path("recording/0001.json")).expect("a rename");
    fs::remove_dir(&count).expect("an empty folder");
    let flat = test(&author, &[]);
    assert_eq!(with_result(&flat, "finding"), BTreeSet::from(["counts".to_owned()]));

    fs::remove_file(author.path("settings.json")).expect("the file is removed");
    let report = test(&author, &[]);
    assert!(needs(&report, "counts").contains("--settings FILE"), "{report:#}");
    let err = fails(&author, &["test", "connector.wasm", "--set", "url=none"]);
    assert!(err.contains("would not create this connection"), "{err}");
    let record = ["test", "connector.wasm", "--record", "new"];
    assert!(fails(&author, &record).contains("--settings FILE"));
    let settings = format!("url={url}");
    let record = [&record[..], &["--set", &settings, "--secret", "token=@secret"]].concat();
    let err = fails(&author, &record);
    assert!(err.contains("create-defect failed"), "{err}");
    assert!(!author.path("new").exists(), "half a recording is left");
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
            invoke_each_call(&author);
        } else {
            test(&author, &[&secret[..], &["--record", "recording", "--check", "limits"]].concat());
        }
        drop(proxy);
        let report = test(&author, &[]);
        assert_all_passed(&report);
        assert_eq!(project.issues().len(), 2);
    }
}

/// Records each call by itself, as an author may.
fn invoke_each_call(author: &ConnectorFolder) {
    let unknown = "z".repeat(26);
    for (folder, words) in [
        ("check", &["check"][..]),
        ("create-defect", &["create-defect", "--event", "event.json"]),
        ("find", &["find", "--event", "event.json"]),
        ("find-unknown", &["find", "--marker", &unknown]),
        ("kpis", &["kpis", "--project", "00000000-0000-4000-8000-000000000001"]),
    ] {
        let to = format!("recording/{folder}");
        let common =
            ["--settings", "settings.json", "--secret", "api-key=@secret", "--record", &to];
        let ended = author.run(&[&["invoke", "connector.wasm"], words, &common].concat());
        assert_eq!(ended.code, Some(0), "{folder}: {}", ended.err);
    }
}
