//! The connectors for trackers that cannot run here. Each is a project of `jackfield new --like`,
//! passes the conformance suite, and works on a defect later. The answers in its `recording/` are
//! written from the vendor's public reference; where the vendor publishes an OpenAPI file, the
//! requests are checked against it.

mod openapi;
mod refusals;

use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::sync::Mutex;

use jackfield_tests::{Guest, Reply, Request, ScriptedServer, root};
use serde_json::{Value, json};

use crate::author::project::{NAME, Project};

/// A connector and what its recording has.
struct Connector {
    name: &'static str,
    /// The files of its settings and the folder of its recording.
    test: [&'static str; 2],
    secret: &'static str,
    /// The defect that `recording/create-defect` made, and a closed one.
    keys: [&'static str; 2],
    page: &'static str,
    /// Whether the tracker takes files.
    attaches: bool,
}

const TEST: [&str; 2] = ["settings.json", "recording"];

const CONNECTORS: [Connector; 8] = [
    Connector {
        name: "rest",
        test: TEST,
        secret: "bearer-token",
        keys: ["6", "4"],
        page: "https://tracker.example.com/tickets/6",
        attaches: true,
    },
    Connector {
        name: "github",
        test: TEST,
        secret: "token",
        keys: ["octo-org/shop#6", "octo-org/shop#4"],
        page: "https://github.com/octo-org/shop/issues/6",
        attaches: false,
    },
    Connector {
        name: "jira",
        test: TEST,
        secret: "api-token",
        keys: ["SHOP-6", "SHOP-4"],
        page: "https://example.atlassian.net/browse/SHOP-6",
        attaches: true,
    },
    Connector {
        name: "jira",
        test: ["settings.data-center.json", "recording-data-center"],
        secret: "personal-access-token",
        keys: ["SHOP-6", "SHOP-4"],
        page: "https://jira.example.com/browse/SHOP-6",
        attaches: true,
    },
    Connector {
        name: "azure-devops",
        test: TEST,
        secret: "token",
        keys: ["6", "4"],
        page: "https://dev.azure.com/fabrikam/Web%20Shop/_workitems/edit/6",
        attaches: true,
    },
    Connector {
        name: "request-tracker",
        test: TEST,
        secret: "token",
        keys: ["10", "8"],
        page: "https://rt.example.com/Ticket/Display.html?id=10",
        attaches: true,
    },
    Connector {
        name: "servicenow",
        test: TEST,
        secret: "password",
        keys: ["INC0010006", "INC0010004"],
        page: "https://example.service-now.com/nav_to.do?uri=incident.do%3Fsys_id%3D1679091c5a880faf6fb5e6087eb1b2dc",
        attaches: true,
    },
    Connector {
        name: "gitlab",
        test: TEST,
        secret: "token",
        keys: ["shop/web#6", "shop/web#4"],
        page: "https://gitlab.com/shop/web/-/issues/6",
        attaches: true,
    },
];

const FILE: &str = "my-tracker.wasm";

impl Connector {
    /// Creates the project and puts the built component into it.
    fn project(&self) -> Project {
        let project = Project::like(self.name);
        let component = project.path(&format!("{NAME}.wasm"));
        fs::write(component, &Guest::example(self.name).bytes).expect("the component");
        fs::write(project.path("report.json"), r#"{"attachments":{"kinds":["screenshot"]}}"#)
            .expect("the settings of the report");
        project
    }

    /// Calls an export with the answers of a folder of the recording.
    fn replay(&self, project: &Project, call: &str, folder: &str, words: &[&str]) -> Value {
        let [settings, recording] = self.test;
        let (folder, secret) =
            (format!("{recording}/{folder}"), format!("{}=@api-key.txt", self.secret));
        let common = ["--settings", settings, "--secret", &secret, "--replay", &folder];
        let words = [&[FILE, call], &common[..], words, &["--json"]].concat();
        project.run("invoke", &words).json()
    }
}

#[test]
fn each_connector_passes_the_conformance_suite() {
    for connector in &CONNECTORS {
        println!("--- {}", connector.name);
        let project = connector.project();
        let secret = format!("{}=@api-key.txt", connector.secret);
        let [settings, recording] = connector.test;
        let words = [FILE, "--secret", &secret, "--settings", settings, "--replay", recording];
        let tested = project.json("test", &words);
        let open = ["findings", "not_run"].map(|count| &tested[count]);
        assert_eq!(open, [&json!(0), &json!(0)], "{}: {tested:#}", connector.name);
    }
}

#[test]
fn each_connector_works_on_a_defect_later() {
    for connector in &CONNECTORS {
        println!("--- {}", connector.name);
        let (project, [key, closed]) = (connector.project(), connector.keys);
        let call = |call: &str, folder: &str, words: &[&str]| {
            let answer = connector.replay(&project, call, folder, words);
            assert_eq!(answer["outcome"], "ok", "{}, {folder}: {answer:#}", connector.name);
            answer
        };
        let state = call("state", "state", &["--key", key])["answer"].take();
        assert_eq!((&state["exists"], &state["open"]), (&json!(true), &json!(true)), "{state}");
        assert_eq!(state["defect"]["link"], connector.page, "{state}");
        let state = call("state", "closed", &["--key", closed])["answer"].take();
        assert_eq!((&state["exists"], &state["open"]), (&json!(true), &json!(false)), "{state}");

        let commented = call("comment", "comment", &["--key", key, "--event", "event.json"]);
        assert_eq!(commented["warnings"], json!([]), "the write has no marker: {commented:#}");
        let marker = commented["marker"].as_str().expect("a marker").to_owned();
        let found = |marker: &str| {
            call("find-comment", "find-comment", &["--key", key, "--marker", marker])["answer"]
                .take()
        };
        assert_eq!([found(&marker), found(&"z".repeat(26))], [json!(true), json!(false)]);
        let reopened = call("reopen", "reopen", &["--key", closed]);
        let calls = reopened["calls"].as_array().expect("calls");
        assert!(calls.iter().any(|call| call["effect"] == "write"), "{reopened:#}");
        files_are_attached(connector, &project);
    }
}

/// The last request has the file. A body in several parts has another boundary each time, so the
/// requests are sent, and a server answers them as recorded. Where the tracker takes no files, the
/// error says where they are.
fn files_are_attached(connector: &Connector, project: &Project) {
    let key = ["--key", connector.keys[0]];
    let folder = if connector.attaches { "attached" } else { "state" };
    let listed = connector.replay(project, "attached", folder, &key);
    if !connector.attaches {
        assert_eq!(listed["outcome"], "unsupported", "{listed:#}");
        assert!(listed.to_string().contains("open the test case log"), "{listed:#}");
        return;
    }
    let names = listed["answer"].as_array().expect("names");
    assert_eq!(names.len(), 1, "{listed:#}");
    let [settings, recording] = connector.test;
    let mut answers: Vec<_> = exchanges(&project.path(recording).join("attach"));
    answers.sort_by_key(|(file, _)| std::cmp::Reverse(file.clone()));
    let answers = Mutex::new(answers);
    let server = ScriptedServer::start(move |_| {
        let (_, exchange) = answers.lock().expect("answers").pop().expect("a recorded answer");
        let status = exchange["response"]["status"].as_u64().expect("a status");
        let body = exchange["response"]["body"].as_str().unwrap_or_default();
        Reply::json(status.try_into().expect("a status"), body)
    });
    let given = fs::read_to_string(project.path(settings)).expect("the settings");
    let given: Value = serde_json::from_str(&given).expect("JSON");
    let path = given["url"].as_str().and_then(|url| url.splitn(4, '/').nth(3)).unwrap_or_default();
    let url = format!("url={}/{path}", server.url());
    let secret = format!("{}=@api-key.txt", connector.secret);
    let common = ["--settings", settings, "--set", &url, "--secret", &secret, "--json"];
    let words = [FILE, "attach", "--sample-data", "--report", "report.json"];
    let done = project.run("invoke", &[&words[..], &common, &key].concat()).json();
    assert_eq!(done["outcome"], "ok", "{done:#}");
    let requests = server.requests();
    let has_name = |request: &Request| {
        let sent = request.target.clone() + &String::from_utf8_lossy(&request.body);
        sent.contains(names[0].as_str().expect("a name"))
    };
    assert!(requests.iter().any(has_name), "{}: no request has the name", connector.name);
}

/// The exchanges of a folder, with the names of their files.
fn exchanges(folder: &Path) -> Vec<(OsString, Value)> {
    let files = fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let files = files.map(|file| file.expect("a file"));
    let read = |file: fs::DirEntry| {
        let text = fs::read_to_string(file.path()).expect("an exchange");
        (file.file_name(), serde_json::from_str(&text).expect("JSON"))
    };
    files.map(read).collect()
}

/// The requests that the recordings of a connector have.
fn recorded(name: &str) -> Vec<Value> {
    let folder = root().join("guest-examples").join(name).join("recording");
    let calls = fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let calls = calls.map(|call| exchanges(&call.expect("a call").path()));
    calls.flatten().map(|(_, exchange)| exchange).collect()
}
