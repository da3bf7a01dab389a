//! The steps of a connector's author in each language, in a project outside the repository: `new`,
//! `build`, `check`, `invoke` with the project's recording, `test` and `trigger`. With `trigger`, a
//! server creates and counts defects in a real Redmine.

mod bad_input;
mod errors;
mod garbage_collection;
pub(crate) mod project;
mod starlingmonkey;

use std::fs;

use jackfield_tests::{Setup, TestHost};
use serde_json::{Value, json};

use project::Project;

/// The options of `jackfield invoke` that name the files with the settings and with the secret.
const CONNECTION_OPTIONS: [&str; 4] =
    ["--settings", "settings.json", "--secret", "api-key=@api-key.txt"];

#[test]
fn a_project_in_rust_works() {
    let project = Project::new("rust", &[]);
    assert_size_at_most(200_000, &project.build());
    assert_works(&project, "my-tracker.wasm");
    project.assert_build_fails(
        "src/lib.rs",
        "fn find(",
        "fn fnd(",
        &["E0407", "cargo build --release failed"],
    );
}

#[test]
fn a_project_in_javascript_works() {
    let project = Project::new("javascript", &[]);
    assert_size_at_most(2_000_000, &project.build());
    assert_works(&project, "my-tracker.wasm");
    project.assert_build_fails(
        "connector.js",
        "find(marker) {",
        "find(marker) {{",
        &["connector.js:", "esbuild failed"],
    );
    let missing_export =
        ["connector.js: the connector does not export `defects`", "`export const defects = { … }`"];
    project.assert_build_fails(
        "connector.js",
        "export const defects",
        "const defects",
        &missing_export,
    );
    let bad_manifest = ["the server would not load", "the manifest's `settings` must be JSON"];
    project.assert_build_fails("connector.js", "JSON.stringify(schema)", "'{'", &bad_manifest);
}

#[test]
fn a_project_in_typescript_works() {
    let project = Project::new("typescript", &[]);
    assert_size_at_most(2_000_000, &project.build());
    assert_works(&project, "my-tracker.wasm");
    let wrong_type = ["connector.ts(", "TS2322", "tsc failed"];
    project.assert_build_fails("connector.ts", "closed: count", "closed: '' + count", &wrong_type);
}

#[test]
fn a_project_in_python_works() {
    let project = Project::new("python", &[]);
    assert_size_at_most(20_000_000, &project.build());
    let types = project.path(".build/types/wit_world/exports/__init__.py");
    let types = fs::read_to_string(types).expect("the types for an editor");
    assert!(types.contains("Creates the defect of a failed test."), "{types}");
    assert_works(&project, "my-tracker.wasm");
    project.assert_build_fails(
        "connector.py",
        "def user()",
        "def user(",
        &["connector.py\", line", "SyntaxError"],
    );
    let missing_export = ["does not export `kpis`", "`class Kpis(exports.Kpis)`"];
    project.assert_build_fails("connector.py", "class Kpis(", "class Counts(", &missing_export);
}

#[test]
fn a_project_in_c_works() {
    let project = Project::new("c", &[]);
    assert_size_at_most(200_000, &project.build());
    assert_works(&project, "my-tracker.wasm");
    let wrong_type = ["connector.c:", "incompatible", "zig cc failed"];
    project.assert_build_fails(
        "connector.c",
        "setting_text(\"url\")",
        "setting(\"url\")",
        &wrong_type,
    );
    let missing_function = ["exports_jackfield_connector_defects_find", "zig cc failed"];
    project.assert_build_fails("connector.c", "defects_find(", "defects_fnd(", &missing_function);
    let missing_export =
        ["does not export `follow-up`", "`exports_jackfield_connector_follow_up_…`"];
    project.assert_build_fails(
        "connector.toml",
        "\"connector\"",
        "\"follow-up-connector\"",
        &missing_export,
    );
}

#[test]
fn a_project_in_cpp_works() {
    let project = Project::new("cpp", &[]);
    assert_size_at_most(200_000, &project.build());
    let bindings = project.path(".build/bindings/connector_cpp.h");
    let bindings = fs::read_to_string(bindings).expect("the bindings");
    assert!(bindings.contains("Creates the defect of a failed test."), "{bindings}");
    assert_works(&project, "my-tracker.wasm");
    let wrong_type = ["connector.cpp:", "no viable conversion", "zig c++ failed"];
    project.assert_build_fails("connector.cpp", "return list(", "return (", &wrong_type);
    let missing_export = ["does not export `kpis`", "`exports::jackfield::connector::kpis`"];
    let kpis = "exports::jackfield::connector::kpis::Count(";
    project.assert_build_fails("connector.cpp", kpis, "count(", &missing_export);
    project.assert_build_fails(
        "sources.txt",
        "sha256:5f61",
        "sha256:0000",
        &["HASHES", "pip download failed"],
    );
}

#[test]
fn a_project_in_go_works() {
    let project = Project::new("go", &[]);
    assert_size_at_most(6_000_000, &project.build());
    assert_works(&project, "my-tracker.wasm");
    let wrong_type = ["connector.go:", "cannot use", "go build failed"];
    project.assert_build_fails("connector.go", "fmt.Sprint(it.ID)", "it.ID", &wrong_type);
    let missing_function = ["undefined: connector.Find", "go build failed"];
    project.assert_build_fails("connector.go", "func Find(", "func find(", &missing_function);
    let missing_export = ["does not export `kpis`", "`func Count`"];
    project.assert_build_fails("connector.go", "func Count(", "func tally(", &missing_export);
}

#[test]
fn a_project_of_a_script_works() {
    let project = Project::new("script", &[]);
    let printed = project.run("build", &["."]).assert_success();
    assert!(printed.contains("my-tracker.js is a script"), "{printed}");
    assert_works(&project, "my-tracker.js");
}

#[test]
fn the_redmine_example_is_built_outside_the_repository() {
    for language in ["rust", "javascript"] {
        let project = Project::new(language, &["--like", "redmine"]);
        let built = project.build();
        assert_eq!(built["interfaces"], json!(["defects", "kpis", "follow-up"]), "{built}");
    }
}

/// `built` is the JSON that `build` printed.
fn assert_size_at_most(bytes_max: u64, built: &Value) {
    assert!(built["bytes"].as_u64().is_some_and(|bytes| bytes <= bytes_max), "{built}");
}

fn assert_works(project: &Project, file: &str) {
    let checked = project.json("check", &[file]);
    assert_eq!(checked["interfaces"], json!(["defects", "kpis"]), "{checked}");
    assert_answers_from_recording(project, file);
    let tested = project.json("test", &[file, "--secret", "api-key=@api-key.txt"]);
    assert_eq!((&tested["findings"], &tested["not_run"]), (&json!(0), &json!(0)), "{tested}");
    let host = start_server_with_connector(project, file);
    let redmine = host.add_redmine_connection("qa", "my-tracker", json!({}));
    let trigger = |event: &str| {
        let arguments = ["trigger", event, "--connection", "qa", "--json"];
        let (succeeded, printed) = host.run_cli(&arguments);
        assert!(succeeded, "{printed}");
        let json =
            printed.find('{').map(|start| serde_json::Deserializer::from_str(&printed[start..]));
        let answer = json.and_then(|json| json.into_iter::<Value>().next());
        answer.and_then(Result::ok).unwrap_or_else(|| panic!("no JSON: {printed}"))
    };
    let defect = trigger("create-defect");
    let issue = redmine.project.only_issue();
    assert_eq!(defect["id"], issue.id, "{defect}");
    assert_eq!(defect["name"], issue.subject, "{defect}");
    redmine.assert_defect_is_found_after_lost_answer(&host);
    redmine.project.add(5);
    redmine.project.close(redmine.project.add(1));
    let counts = trigger("kpis");
    for (name, count) in
        [("openDefects", 3), ("closedDefects", 1), ("criticalDefects", 1), ("moderateDefects", 2)]
    {
        assert_eq!(counts[name], count, "{name} in {counts}");
    }
    errors::assert_errors_say_what_to_do(&host);
}

fn start_server_with_connector(project: &Project, file: &str) -> TestHost {
    let host = Setup::new().start();
    let plugins = host.folder().join("plugins");
    fs::copy(project.path(file), plugins.join("unfinished")).expect("a copy");
    fs::rename(plugins.join("unfinished"), plugins.join(file)).expect("the connector");
    host.await_connector("my-tracker", "ready", None);
    host
}

/// A recording answers the connector's requests in place of the tracker.
fn assert_answers_from_recording(project: &Project, file: &str) {
    let answer = |call: &str, options: &[&str]| {
        let recording = format!("recording/{call}");
        let replay = ["--replay", recording.as_str()];
        let arguments = [&[file, call], &CONNECTION_OPTIONS[..], &replay, options].concat();
        project.json("invoke", &arguments)["answer"].take()
    };
    let created = answer("create-defect", &["--event", "event.json"]);
    assert_eq!(created["key"], "8", "{created}");
    assert_eq!(created["link"], "https://tracker.example.com/issues/8", "{created}");
    let link = "https://tracker.example.com/projects/qa/issues?status_id=open&priority_id=4%7C5";
    let counts =
        json!({"open": 6, "closed": 2, "critical": 1, "moderate": 5, "critical_link": link});
    assert_eq!(answer("kpis", &["--project", "any"]), counts);
}
