//! Version 0.1.0 of the contract is frozen: its types, its names and their order never change.
//! Every later host must run the connectors in `tests/components/`, which were built with this
//! version.

use std::fs::{self, File};
use std::io::Read as _;
use std::sync::Mutex;

use flate2::read::GzDecoder;
use jackfield_tests::{
    Exchange, Guest, Reply, ScriptedServer, Setup, SimulatedTestManager, TestHost, failed_test,
    merge, root, sha256, webhook_body,
};
use serde_json::{Value, json};
use wit_bindgen_core::wit_parser::Resolve;
use wit_component::WitPrinter;

use crate::recurrence::{await_step, same_test_case_failed_again};

/// The SHA-256 of the resolved contract without comments.
const FROZEN_SHA256: &str = "2398875b564286523c172ccaee8b47731bdda428e5e878a089977b7a1cb1886b";
const FROZEN_ADVICE: &str = "\
version 0.1.0 of wit/connector.wit is frozen, because connectors that were built with it are in use. \
Undo the change. A change of a type, a name or an order needs a new version beside this one; \
wit/next.md explains how, and lists the changes for it.";
/// The connectors in `tests/components/` that were made from the templates, one for each language.
const LANGUAGES: [&str; 7] = ["rust", "javascript", "typescript", "python", "go", "c", "cpp"];

fn read_contract() -> String {
    fs::read_to_string(root().join("wit/connector.wit")).expect("the contract")
}

/// Returns the contract with resolved names and without comments, as a toolchain reads it.
fn resolve_contract(wit: &str) -> String {
    let mut resolve = Resolve::default();
    let package = resolve.push_str("connector.wit", wit).expect("valid WIT");
    let mut printer = WitPrinter::default();
    printer.emit_docs(false).print(&resolve, package, &[]).expect("a text");
    printer.output.to_string()
}

#[test]
fn the_contract_equals_the_frozen_contract() {
    let current = resolve_contract(&read_contract());
    assert!(
        sha256(current.as_bytes()) == FROZEN_SHA256,
        "{FROZEN_ADVICE}\n{}",
        sha256(current.as_bytes())
    );
}

#[test]
fn a_changed_type_name_or_order_is_detected_and_a_changed_comment_is_ignored() {
    let (contract, current) = (read_contract(), resolve_contract(&read_contract()));
    let with = |from: &str, to: &str| {
        assert!(contract.contains(from), "{from:?} is not in the contract");
        resolve_contract(&contract.replacen(from, to, 1))
    };
    assert_eq!(with("/// The contract between", "/// It is between"), current);
    assert_ne!(with("status: u16,", "status: u32,"), current);
    assert_ne!(with("critical: u32,", "urgent: u32,"), current);
    assert_ne!(with("get, head,", "head, get,"), current);
    assert_ne!(with("  import log;\n", ""), current);
}

fn read_stored_file(name: &str) -> Vec<u8> {
    let path = root().join(format!("tests/components/0.1.0/{name}.gz"));
    let file = File::open(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let mut bytes = Vec::new();
    GzDecoder::new(file).read_to_end(&mut bytes).expect("a file of gzip");
    bytes
}

fn stored_component(name: &str) -> Guest {
    Guest { bytes: read_stored_file(&format!("{name}.wasm")) }
}

#[test]
fn a_connector_of_contract_0_1_0_in_each_language_creates_finds_and_counts() {
    let script = String::from_utf8(read_stored_file("script.js")).expect("a script");
    let setup = LANGUAGES
        .iter()
        .fold(Setup::new(), |setup, name| setup.plugin(name, &stored_component(name)))
        .script("script", &script);
    // The connector `later` names version 0.1.7 of the interfaces, but uses only what version 0.1.0
    // contains.
    let host = setup.plugin("later", &later_version(stored_component("c"))).start();
    for connector in LANGUAGES.into_iter().chain(["script", "later"]) {
        println!("--- {connector}");
        assert_creates_finds_and_counts(&host, connector);
    }
}

/// Returns the same component with version 0.1.7 in the names of its interfaces.
fn later_version(guest: Guest) -> Guest {
    let (from, to) = (b"@0.1.0", b"@0.1.7");
    let mut bytes = guest.bytes;
    while let Some(start) = bytes.windows(from.len()).position(|window| window == from) {
        bytes[start..start + to.len()].copy_from_slice(to);
    }
    Guest { bytes }
}

/// The tracker's answer to the second create is lost, so the connector must find the issue that the
/// tracker created.
fn assert_creates_finds_and_counts(host: &TestHost, connector: &str) {
    let issues = Mutex::new(Vec::new());
    let tracker = ScriptedServer::start(move |exchange| {
        answer_as_redmine(exchange, &mut issues.lock().expect("issues"))
    });
    let settings = json!({"url": tracker.url(), "project": "qa"});
    let secrets = json!({"api-key": "k3y-of-the-test"});
    let connection = host.add_connection(connector, connector, settings, secrets);
    for (outcome, id) in [("created", "1"), ("adopted", "2")] {
        let answer = host.create(&connection, &failed_test());
        assert_eq!(host.event_of(&answer)["outcome"], outcome, "{connector}");
        let defect = answer.expect(200);
        assert_eq!(defect["id"], id, "{connector}: {defect}");
        assert_eq!(defect["link"], format!("{}/issues/{id}", tracker.url()), "{connector}");
    }
    assert_eq!(tracker.posts(), 2, "{connector}");
    let answer = host.kpis(&connection, "any");
    assert_eq!(host.event_of(&answer)["outcome"], "counted", "{connector}");
    let counts = answer.expect(200);
    let expected = [("openDefects", 2), ("closedDefects", 4), ("criticalDefects", 1)];
    for (name, count) in expected {
        assert_eq!(counts[name], count, "{connector}: {name} in {counts}");
    }
}

/// Supports only the part of Redmine's API that the connectors use.
fn answer_as_redmine(exchange: &Exchange<'_>, issues: &mut Vec<Value>) -> Reply {
    let request = exchange.request;
    let (path, query) = request.target.split_once('?').unwrap_or((&request.target, ""));
    let parameter = |name: &str| query.split('&').find_map(|pair| pair.strip_prefix(name));
    let (status, body) = match (request.method.as_str(), path) {
        ("GET", "/users/current.json") => (200, json!({"user": {"login": "bot"}})),
        ("GET", "/enumerations/issue_priorities.json") => {
            let priorities = [(4, "Normal"), (6, "Urgent"), (7, "Immediate")];
            let priorities = priorities.map(|(id, name)| json!({"id": id, "name": name}));
            (200, json!({"issue_priorities": priorities}))
        }
        ("POST", "/issues.json") => {
            let mut sent: Value = serde_json::from_slice(&request.body).expect("JSON");
            let mut issue = sent["issue"].take();
            issue["id"] = json!(issues.len() + 1);
            issue["status"] = json!({"id": 1, "name": "New"});
            issue["priority"] = json!({"id": 4, "name": "Normal"});
            issues.push(issue.clone());
            if issues.len() == 2 {
                return Reply::reset();
            }
            (201, json!({"issue": issue}))
        }
        ("GET", "/issues.json") => {
            let word = parameter("description=").expect("a search");
            let word = word.trim_start_matches('~').trim_start_matches("%7E");
            let contains_word = |issue: &&Value| {
                issue["description"].as_str().is_some_and(|text| text.contains(word))
            };
            (200, json!({"issues": issues.iter().filter(contains_word).collect::<Vec<_>>()}))
        }
        ("GET", "/projects/qa/issues.json") => {
            let is_closed = parameter("status_id=") == Some("closed");
            let is_critical = parameter("priority_id=").is_some_and(|ids| !ids.is_empty());
            let count = if is_closed {
                4
            } else if is_critical {
                1
            } else {
                issues.len()
            };
            (200, json!({"total_count": count}))
        }
        _ => (404, json!({"errors": ["there is nothing here"]})),
    };
    Reply::json(status, &body.to_string())
}

/// The stored connector `redmine` imports `report` and exports `follow-up`.
#[test]
fn a_connector_of_contract_0_1_0_attaches_files_and_comments_when_a_test_fails_again() {
    let simulator = SimulatedTestManager::start(&[]);
    let fixture = Setup::new().config("sweep_ms = 200").start_with_redmine(
        "redmine",
        &stored_component("redmine"),
        json!({}),
    );
    let edit = json!({"on_recurrence": "comment",
        "report": {"attachments": {"kinds": ["screenshot", "robot-log", "file"]}}});
    let edit = merge(simulator.credentials(), edit);
    fixture.host.admin().json("PATCH", "/connections/qa", &edit).assert_status(200);
    let checkout = &simulator.failed_tests_named("Checkout with a valid card")[0];
    let first = webhook_body(checkout);
    let answer = fixture.create(&first);
    assert_eq!(fixture.host.event_of(&answer)["outcome"], "created");
    let id = answer.json()["id"].as_str().expect("an id").to_owned();
    assert_eq!(fixture.project.files(&id).len(), 4);

    let second = same_test_case_failed_again(&first);
    let answer = fixture.create(&second);
    assert_eq!(fixture.host.event_of(&answer)["outcome"], "recurred");
    await_step(&fixture.host, &second, "comment", "done");
    assert_eq!(fixture.project.only_issue().id, id);
}
