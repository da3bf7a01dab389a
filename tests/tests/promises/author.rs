//! The author's way in each language, outside the repository: `new`, `build`, `check`, `invoke` with
//! the recording, and then a defect and counts of a real Redmine through `trigger`. A mistake in the
//! source is shown in the words of the language's own tool, and leaves the last build as it is.

mod bad_input;
mod project;

use std::fs;

use jackfield_tests::{Guest, Setup};
use serde_json::{Value, json};

use project::Project;

const REPLAY: [&str; 6] =
    ["--settings", "settings.json", "--secret", "api-key=@api-key.txt", "--replay", "recording"];

#[test]
fn rust() {
    let project = Project::new("rust", &[]);
    project.build();
    works(&project, "my-tracker.wasm");
    project.breaks("src/lib.rs", "fn find(", "fn fnd(", &["E0407", "cargo build --release failed"]);
}

#[test]
fn javascript() {
    let project = Project::new("javascript", &[]);
    project.build();
    works(&project, "my-tracker.wasm");
    project.breaks(
        "connector.js",
        "find(marker) {",
        "find(marker) {{",
        &["connector.js:", "esbuild failed"],
    );
    let forgotten =
        ["connector.js: it does not export `defects`", "`export const defects = { … }`"];
    project.breaks("connector.js", "export const defects", "const defects", &forgotten);
    let refused = ["the server would not load", "the manifest's `settings` must be JSON"];
    project.breaks("connector.js", "JSON.stringify(schema)", "'{'", &refused);
}

#[test]
fn typescript() {
    let project = Project::new("typescript", &[]);
    project.build();
    works(&project, "my-tracker.wasm");
    let wrong_type = ["connector.ts(", "TS2322", "tsc failed"];
    project.breaks("connector.ts", "closed: count", "closed: '' + count", &wrong_type);
}

#[test]
fn python() {
    let project = Project::new("python", &[]);
    project.build();
    let types = project.path(".build/types/wit_world/exports/__init__.py");
    let types = fs::read_to_string(types).expect("the types for an editor");
    assert!(types.contains("Creates the defect of a failed test."), "{types}");
    works(&project, "my-tracker.wasm");
    project.breaks(
        "connector.py",
        "def user()",
        "def user(",
        &["connector.py\", line", "SyntaxError"],
    );
    let forgotten = ["does not export `kpis`", "`class Kpis(exports.Kpis)`"];
    project.breaks("connector.py", "class Kpis(", "class Counts(", &forgotten);
}

#[test]
fn a_script_needs_no_build() {
    let project = Project::new("script", &[]);
    let printed = project.run("build", &["."]).succeeds();
    assert!(printed.contains("my-tracker.js is a script"), "{printed}");
}

#[test]
fn the_redmine_example_is_built_outside_the_repository() {
    for language in ["rust", "javascript"] {
        let project = Project::new(language, &["--like", "redmine"]);
        let built = project.build();
        assert_eq!(built["interfaces"], json!(["defects", "kpis", "follow-up"]), "{built}");
    }
}

/// Answers from the recording, and then those of a real Redmine.
fn works(project: &Project, file: &str) {
    let checked = project.json("check", &[file]);
    assert_eq!(checked["interfaces"], json!(["defects", "kpis"]), "{checked}");
    answers_from_the_recording(project, file);
    let guest = Guest { bytes: fs::read(project.path(file)).expect("the connector") };
    let host = Setup::new().start();
    host.replace("my-tracker", &guest);
    let redmine = host.connect_to_redmine("qa", "my-tracker", json!({}));
    let trigger = |event: &str| {
        let (done, printed) = host.run_cli(&["trigger", event, "--connection", "qa", "--json"]);
        assert!(done, "{printed}");
        let json = printed.find('{').map(|at| serde_json::Deserializer::from_str(&printed[at..]));
        let answer = json.and_then(|json| json.into_iter::<Value>().next());
        answer.and_then(Result::ok).unwrap_or_else(|| panic!("no JSON: {printed}"))
    };
    let defect = trigger("create-defect");
    let issue = redmine.project.only_issue();
    assert_eq!(defect["id"], issue.id, "{defect}");
    assert_eq!(defect["name"], issue.subject, "{defect}");
    redmine.project.add(5);
    redmine.project.close(redmine.project.add(1));
    let counts = trigger("kpis");
    for (name, count) in
        [("openDefects", 2), ("closedDefects", 1), ("criticalDefects", 1), ("moderateDefects", 1)]
    {
        assert_eq!(counts[name], count, "{name} in {counts}");
    }
}

fn answers_from_the_recording(project: &Project, file: &str) {
    let answer = |call: &str, words: &[&str]| {
        project.json("invoke", &[&[file, call], &REPLAY[..], words].concat())["answer"].take()
    };
    let event = ["--event", "event.json"];
    let created = answer("create-defect", &event);
    assert_eq!(created["key"], "8", "{created}");
    assert_eq!(created["link"], "https://tracker.example.com/issues/8", "{created}");
    assert_eq!(answer("find", &event), json!([created]));
    let link = "https://tracker.example.com/projects/qa/issues?status_id=open&priority_id=4%7C5";
    let counts =
        json!({"open": 6, "closed": 2, "critical": 1, "moderate": 5, "critical_link": link});
    assert_eq!(answer("kpis", &["--project", "any"]), counts);
    assert_eq!(answer("check", &[]), "reached as demo, 6 open issues");
}
