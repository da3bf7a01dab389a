//! The author's way in each language, outside the repository: `new`, `build`, `check`, `invoke`
//! with the recording, and then a defect and counts of a real Redmine through `trigger`. A mistake
//! in the source is shown in the words of the language's own tool, and leaves the last build as it
//! is.

mod bad_input;
mod collections;
mod errors;
pub(crate) mod project;
mod starlingmonkey;

use std::fs;

use jackfield_tests::{Setup, TestHost};
use serde_json::{Value, json};

use project::Project;

const CONNECTION: [&str; 4] = ["--settings", "settings.json", "--secret", "api-key=@api-key.txt"];

#[test]
fn rust() {
    let project = Project::new("rust", &[]);
    is_at_most(200_000, &project.build());
    works(&project, "my-tracker.wasm");
    project.breaks("src/lib.rs", "fn find(", "fn fnd(", &["E0407", "cargo build --release failed"]);
}

#[test]
fn javascript() {
    let project = Project::new("javascript", &[]);
    is_at_most(2_000_000, &project.build());
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
    is_at_most(2_000_000, &project.build());
    works(&project, "my-tracker.wasm");
    let wrong_type = ["connector.ts(", "TS2322", "tsc failed"];
    project.breaks("connector.ts", "closed: count", "closed: '' + count", &wrong_type);
}

#[test]
fn python() {
    let project = Project::new("python", &[]);
    is_at_most(20_000_000, &project.build());
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
fn c() {
    let project = Project::new("c", &[]);
    is_at_most(200_000, &project.build());
    works(&project, "my-tracker.wasm");
    let wrong_type = ["connector.c:", "incompatible", "zig cc failed"];
    project.breaks("connector.c", "setting_text(\"url\")", "setting(\"url\")", &wrong_type);
    let no_function = ["exports_jackfield_connector_defects_find", "zig cc failed"];
    project.breaks("connector.c", "defects_find(", "defects_fnd(", &no_function);
    let forgotten = ["does not export `follow-up`", "`exports_jackfield_connector_follow_up_…`"];
    project.breaks("connector.toml", "\"connector\"", "\"follow-up-connector\"", &forgotten);
}

#[test]
fn cpp() {
    let project = Project::new("cpp", &[]);
    is_at_most(200_000, &project.build());
    let bindings = project.path(".build/bindings/connector_cpp.h");
    let bindings = fs::read_to_string(bindings).expect("the bindings");
    assert!(bindings.contains("Creates the defect of a failed test."), "{bindings}");
    works(&project, "my-tracker.wasm");
    let wrong_type = ["connector.cpp:", "no viable conversion", "zig c++ failed"];
    project.breaks("connector.cpp", "return list(", "return (", &wrong_type);
    let forgotten = ["does not export `kpis`", "`exports::jackfield::connector::kpis`"];
    let kpis = "exports::jackfield::connector::kpis::Count(";
    project.breaks("connector.cpp", kpis, "count(", &forgotten);
    project.breaks("sources.txt", "sha256:5f61", "sha256:0000", &["HASHES", "pip download failed"]);
}

#[test]
fn go() {
    let project = Project::new("go", &[]);
    is_at_most(6_000_000, &project.build());
    works(&project, "my-tracker.wasm");
    let wrong_type = ["connector.go:", "cannot use", "go build failed"];
    project.breaks("connector.go", "fmt.Sprint(it.ID)", "it.ID", &wrong_type);
    let no_function = ["undefined: connector.Find", "go build failed"];
    project.breaks("connector.go", "func Find(", "func find(", &no_function);
    let forgotten = ["does not export `kpis`", "`func Count`"];
    project.breaks("connector.go", "func Count(", "func tally(", &forgotten);
}

#[test]
fn script() {
    let project = Project::new("script", &[]);
    let printed = project.run("build", &["."]).succeeds();
    assert!(printed.contains("my-tracker.js is a script"), "{printed}");
    works(&project, "my-tracker.js");
}

#[test]
fn the_redmine_example_is_built_outside_the_repository() {
    for language in ["rust", "javascript"] {
        let project = Project::new(language, &["--like", "redmine"]);
        let built = project.build();
        assert_eq!(built["interfaces"], json!(["defects", "kpis", "follow-up"]), "{built}");
    }
}

/// Checks the size of a component that was built.
fn is_at_most(most: u64, built: &Value) {
    assert!(built["bytes"].as_u64().is_some_and(|bytes| bytes <= most), "{built}");
}

/// The conformance suite, answers from the recording, those of a real Redmine, then errors.
fn works(project: &Project, file: &str) {
    let checked = project.json("check", &[file]);
    assert_eq!(checked["interfaces"], json!(["defects", "kpis"]), "{checked}");
    answers_from_the_recording(project, file);
    let tested = project.json("test", &[file, "--secret", "api-key=@api-key.txt"]);
    assert_eq!((&tested["findings"], &tested["not_run"]), (&json!(0), &json!(0)), "{tested}");
    let host = serve(project, file);
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
    redmine.find_defect_whose_answer_was_lost(&host);
    redmine.project.add(5);
    redmine.project.close(redmine.project.add(1));
    let counts = trigger("kpis");
    for (name, count) in
        [("openDefects", 3), ("closedDefects", 1), ("criticalDefects", 1), ("moderateDefects", 2)]
    {
        assert_eq!(counts[name], count, "{name} in {counts}");
    }
    errors::say_what_to_do(&host);
}

/// A server with the project's connector.
fn serve(project: &Project, file: &str) -> TestHost {
    let host = Setup::new().start();
    let plugins = host.folder().join("plugins");
    fs::copy(project.path(file), plugins.join("unfinished")).expect("a copy");
    fs::rename(plugins.join("unfinished"), plugins.join(file)).expect("the connector");
    host.await_connector("my-tracker", "ready", None);
    host
}

fn answers_from_the_recording(project: &Project, file: &str) {
    let answer = |call: &str, words: &[&str]| {
        let recording = format!("recording/{call}");
        let replay = ["--replay", recording.as_str()];
        let words = [&[file, call], &CONNECTION[..], &replay, words].concat();
        project.json("invoke", &words)["answer"].take()
    };
    let created = answer("create-defect", &["--event", "event.json"]);
    assert_eq!(created["key"], "8", "{created}");
    assert_eq!(created["link"], "https://tracker.example.com/issues/8", "{created}");
    let link = "https://tracker.example.com/projects/qa/issues?status_id=open&priority_id=4%7C5";
    let counts =
        json!({"open": 6, "closed": 2, "critical": 1, "moderate": 5, "critical_link": link});
    assert_eq!(answer("kpis", &["--project", "any"]), counts);
}
