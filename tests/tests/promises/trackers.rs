//! Tests connectors with recordings, because the tests cannot run most of the trackers. If the
//! tests cannot run a vendor's tracker, its recording follows the vendor's public reference. The
//! module `openapi` compares the requests of some recordings with the vendor's OpenAPI file.

mod openapi;
mod refusals;

use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::sync::Mutex;

use jackfield_tests::{Guest, Reply, Request, ScriptedServer, root};
use serde_json::{Value, json};

use crate::author::project::{NAME, Project};

struct Connector {
    name: &'static str,
    /// The file of the connector's settings, and the folder of its recording.
    settings_and_recording: [&'static str; 2],
    /// The name of the secret that the tests set.
    secret: &'static str,
    /// The key of an open defect in the recording, and the key of a closed defect.
    keys: [&'static str; 2],
    /// The link to the open defect.
    link: &'static str,
    accepts_attachments: bool,
}

const SETTINGS_AND_RECORDING: [&str; 2] = ["settings.json", "recording"];

/// Jira occurs twice: once for Jira Cloud, and once for Jira Data Center.
const CONNECTORS: [Connector; 8] = [
    Connector {
        name: "rest",
        settings_and_recording: SETTINGS_AND_RECORDING,
        secret: "bearer-token",
        keys: ["6", "4"],
        link: "https://tracker.example.com/tickets/6",
        accepts_attachments: true,
    },
    Connector {
        name: "github",
        settings_and_recording: SETTINGS_AND_RECORDING,
        secret: "token",
        keys: ["octo-org/shop#6", "octo-org/shop#4"],
        link: "https://github.com/octo-org/shop/issues/6",
        accepts_attachments: false,
    },
    Connector {
        name: "jira",
        settings_and_recording: SETTINGS_AND_RECORDING,
        secret: "api-token",
        keys: ["SHOP-6", "SHOP-4"],
        link: "https://example.atlassian.net/browse/SHOP-6",
        accepts_attachments: true,
    },
    Connector {
        name: "jira",
        settings_and_recording: ["settings.data-center.json", "recording-data-center"],
        secret: "personal-access-token",
        keys: ["SHOP-6", "SHOP-4"],
        link: "https://jira.example.com/browse/SHOP-6",
        accepts_attachments: true,
    },
    Connector {
        name: "azure-devops",
        settings_and_recording: SETTINGS_AND_RECORDING,
        secret: "token",
        keys: ["6", "4"],
        link: "https://dev.azure.com/fabrikam/Web%20Shop/_workitems/edit/6",
        accepts_attachments: true,
    },
    Connector {
        name: "request-tracker",
        settings_and_recording: SETTINGS_AND_RECORDING,
        secret: "token",
        keys: ["10", "8"],
        link: "https://rt.example.com/Ticket/Display.html?id=10",
        accepts_attachments: true,
    },
    Connector {
        name: "servicenow",
        settings_and_recording: SETTINGS_AND_RECORDING,
        secret: "password",
        keys: ["INC0010006", "INC0010004"],
        link: "https://example.service-now.com/nav_to.do?uri=incident.do%3Fsys_id%3D1679091c5a880faf6fb5e6087eb1b2dc",
        accepts_attachments: true,
    },
    Connector {
        name: "gitlab",
        settings_and_recording: SETTINGS_AND_RECORDING,
        secret: "token",
        keys: ["shop/web#6", "shop/web#4"],
        link: "https://gitlab.com/shop/web/-/issues/6",
        accepts_attachments: true,
    },
];

const COMPONENT_FILE: &str = "my-tracker.wasm";

impl Connector {
    /// Creates a project from the connector, with the built component and with report settings.
    fn create_project(&self) -> Project {
        let project = Project::like(self.name);
        let component = project.path(&format!("{NAME}.wasm"));
        fs::write(component, &Guest::example(self.name).bytes).expect("the component");
        fs::write(project.path("report.json"), r#"{"attachments":{"kinds":["screenshot"]}}"#)
            .expect("the settings of the report");
        project
    }

    /// Runs `jackfield invoke` with this call. The answers of the tracker come from this folder of
    /// the recording.
    fn replay(&self, project: &Project, call: &str, folder: &str, arguments: &[&str]) -> Value {
        let [settings, recording] = self.settings_and_recording;
        let (folder, secret) =
            (format!("{recording}/{folder}"), format!("{}=@api-key.txt", self.secret));
        let common_arguments = ["--settings", settings, "--secret", &secret, "--replay", &folder];
        let arguments =
            [&[COMPONENT_FILE, call], &common_arguments[..], arguments, &["--json"]].concat();
        project.run("invoke", &arguments).json()
    }
}

#[test]
fn each_connector_passes_the_conformance_suite() {
    for connector in &CONNECTORS {
        println!("--- {}", connector.name);
        let project = connector.create_project();
        let secret = format!("{}=@api-key.txt", connector.secret);
        let [settings, recording] = connector.settings_and_recording;
        let arguments =
            [COMPONENT_FILE, "--secret", &secret, "--settings", settings, "--replay", recording];
        let tested = project.json("test", &arguments);
        let counts = ["findings", "not_run"].map(|name| &tested[name]);
        assert_eq!(counts, [&json!(0), &json!(0)], "{}: {tested:#}", connector.name);
    }
}

#[test]
fn each_connector_answers_the_follow_up_calls() {
    for connector in &CONNECTORS {
        println!("--- {}", connector.name);
        let (project, [key, closed]) = (connector.create_project(), connector.keys);
        let call = |call: &str, folder: &str, arguments: &[&str]| {
            let answer = connector.replay(&project, call, folder, arguments);
            assert_eq!(answer["outcome"], "ok", "{}, {folder}: {answer:#}", connector.name);
            answer
        };
        let state = call("state", "state", &["--key", key])["answer"].take();
        assert_eq!((&state["exists"], &state["open"]), (&json!(true), &json!(true)), "{state}");
        assert_eq!(state["defect"]["link"], connector.link, "{state}");
        let state = call("state", "closed", &["--key", closed])["answer"].take();
        assert_eq!((&state["exists"], &state["open"]), (&json!(true), &json!(false)), "{state}");

        let commented = call("comment", "comment", &["--key", key, "--event", "event.json"]);
        assert_eq!(commented["warnings"], json!([]), "the write has no marker: {commented:#}");
        let marker = commented["marker"].as_str().expect("a marker").to_owned();
        let find_comment = |marker: &str| {
            call("find-comment", "find-comment", &["--key", key, "--marker", marker])["answer"]
                .take()
        };
        assert_eq!(
            [find_comment(&marker), find_comment(&"z".repeat(26))],
            [json!(true), json!(false)]
        );
        let reopened = call("reopen", "reopen", &["--key", closed]);
        let calls = reopened["calls"].as_array().expect("calls");
        assert!(calls.iter().any(|call| call["effect"] == "write"), "{reopened:#}");
        check_attachments(connector, &project);
    }
}

/// Checks that the connector attaches a file. A multipart body has a random boundary, so it would
/// not match the recorded request. Therefore, a server answers the requests with the recorded
/// answers. If the connector cannot attach files, its error must say where to find them.
fn check_attachments(connector: &Connector, project: &Project) {
    let key = ["--key", connector.keys[0]];
    let folder = if connector.accepts_attachments { "attached" } else { "state" };
    let listed = connector.replay(project, "attached", folder, &key);
    if !connector.accepts_attachments {
        assert_eq!(listed["outcome"], "unsupported", "{listed:#}");
        assert!(listed.to_string().contains("open the test case log"), "{listed:#}");
        return;
    }
    let names = listed["answer"].as_array().expect("names");
    assert_eq!(names.len(), 1, "{listed:#}");
    let [settings, recording] = connector.settings_and_recording;
    let mut answers: Vec<_> = read_exchanges(&project.path(recording).join("attach"));
    answers.sort_by_key(|(file, _)| std::cmp::Reverse(file.clone()));
    let answers = Mutex::new(answers);
    let server = ScriptedServer::start(move |_| {
        let (_, exchange) = answers.lock().expect("answers").pop().expect("a recorded answer");
        let status = exchange["response"]["status"].as_u64().expect("a status");
        let body = exchange["response"]["body"].as_str().unwrap_or_default();
        Reply::json(status.try_into().expect("a status"), body)
    });
    let settings_json = fs::read_to_string(project.path(settings)).expect("the settings");
    let settings_json: Value = serde_json::from_str(&settings_json).expect("JSON");
    let path =
        settings_json["url"].as_str().and_then(|url| url.splitn(4, '/').nth(3)).unwrap_or_default();
    let url = format!("url={}/{path}", server.url());
    let secret = format!("{}=@api-key.txt", connector.secret);
    let common_arguments = ["--settings", settings, "--set", &url, "--secret", &secret, "--json"];
    let arguments = [COMPONENT_FILE, "attach", "--sample-data", "--report", "report.json"];
    let attached =
        project.run("invoke", &[&arguments[..], &common_arguments, &key].concat()).json();
    assert_eq!(attached["outcome"], "ok", "{attached:#}");
    let requests = server.requests();
    let has_name = |request: &Request| {
        let sent = request.target.clone() + &String::from_utf8_lossy(&request.body);
        sent.contains(names[0].as_str().expect("a name"))
    };
    assert!(requests.iter().any(has_name), "{}: no request has the name", connector.name);
}

/// Returns the exchanges in a folder, each with the name of its file.
fn read_exchanges(folder: &Path) -> Vec<(OsString, Value)> {
    let files = fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let files = files.map(|file| file.expect("a file"));
    let read = |file: fs::DirEntry| {
        let text = fs::read_to_string(file.path()).expect("an exchange");
        (file.file_name(), serde_json::from_str(&text).expect("JSON"))
    };
    files.map(read).collect()
}

fn recorded_exchanges(name: &str) -> Vec<Value> {
    let folder = root().join("guest-examples").join(name).join("recording");
    let calls = fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let calls = calls.map(|call| read_exchanges(&call.expect("a call").path()));
    calls.flatten().map(|(_, exchange)| exchange).collect()
}
