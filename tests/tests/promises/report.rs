//! Admins save the report settings of a connection. The server checks these settings before it
//! stores them, and they survive a restart. A preview renders the report and creates no defect.

use std::fs;

use jackfield_tests::{Guest, Setup, SimulatedTestManager, TestHost, merge};
use serde_json::{Value, json};

const EXECUTION_ID: &str = "5b8f5c4e-7c1d-4e0b-9a43-0c2d8a6f1e01";
const CASE_ID: &str = "5b8f5c4e-7c1d-4e0b-9a43-0c2d8a6f1e02";

/// Returns a failed test as the member `failed_test` of a preview request contains it.
fn failed_test() -> Value {
    json!({"test_execution_id": EXECUTION_ID, "test_case_id": CASE_ID})
}

fn start_host() -> TestHost {
    Setup::new().plugin("redmine", &Guest::example("redmine")).start()
}

fn create_connection(host: &TestHost, report: &Value) -> jackfield_tests::Answer {
    let body = json!({
        "name": "qa",
        "connector": "redmine",
        "settings": {"url": "http://127.0.0.1:9", "project": "qa"},
        "secrets": {"api-key": "0123456789abcdef"},
        "report": report,
    });
    host.admin().json("POST", "/connections", &body)
}

/// `more` contains further members of the request.
fn preview(host: &TestHost, more: &Value) -> Value {
    let test = merge(failed_test(), more.get("failed_test").cloned().unwrap_or_else(|| json!({})));
    let body = merge(more.clone(), json!({"failed_test": test}));
    let answer = host.admin().json("POST", "/connections/qa/preview", &body);
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

#[test]
fn unusable_report_settings_are_refused_when_they_are_saved() {
    let host = start_host();
    for (report, name, expected) in [
        (json!({"titel_template": ""}), "report.titel_template", "did you mean `title_template`?"),
        (
            json!({"title_template": "a\n{{ test_case.name"}),
            "report.title_template",
            "line 2, column ",
        ),
        (
            json!({"description_template": "{{ test_case.nme }}"}),
            "report.description_template",
            "line 1, column 14: the data has no `test_case.nme`; did you mean `test_case.name`?",
        ),
        (json!({"fields": [{"field": "a", "json": "{"}]}), "report.fields[0]", "is not JSON"),
        (json!({"mask": {"patterns": ["("]}}), "report.mask", "the pattern `(`"),
        (json!({"attachments": {"kinds": ["x"]}}), "report.attachments", "the kinds are"),
        (
            json!({"routing": [{"settings": {"projct": "x"}}]}),
            "report.routing[0].settings.projct",
            "project",
        ),
        (
            json!({"routing": [{"settings": {"api-key": "x"}}]}),
            "report.routing[0].settings.api-key",
            "secret",
        ),
        (
            json!({"routing": [{"settings": {"url": "http://127.0.0.1:10"}}]}),
            "report.routing[0].settings",
            "cannot change where",
        ),
    ] {
        let answer = create_connection(&host, &report);
        answer.assert_problem(422, "invalid-values");
        let errors = &answer.json()["errors"];
        let is_reported = errors.as_array().expect("errors").iter().any(|error| {
            error["name"] == name && error["why"].as_str().is_some_and(|it| it.contains(expected))
        });
        assert!(is_reported, "{report}: {errors}");
    }
    assert_eq!(create_connection(&host, &json!({})).status, 201);
    let edit = json!({"report": {"comment_template": "{% if %}"}});
    let answer = host.admin().json("PATCH", "/connections/qa", &edit);
    answer.assert_problem(422, "invalid-values");
    assert_eq!(host.connection("qa")["report"], json!({}));
}

#[test]
fn an_edit_changes_only_the_named_report_settings_and_survives_a_restart() {
    let mut host = start_host();
    let routing = json!([{"label": "shop", "settings": {"project": "shop"}}]);
    let report = json!({"title_template": "{{ test_case_id }}", "routing": routing});
    assert_eq!(create_connection(&host, &report).status, 201);
    assert_eq!(host.connection("qa")["report"], report);
    let edit = json!({"report": {
        "title_template": null,
        "fields": [{"field": "b", "text": "2"}, {"field": "a", "text": "1"}],
    }});
    let answer = host.admin().json("PATCH", "/connections/qa", &edit);
    assert_eq!(answer.status, 200, "{answer:?}");
    let expected = json!({"routing": routing, "fields": edit["report"]["fields"]});
    assert_eq!(host.connection("qa")["report"], expected);
    host.restart();
    assert_eq!(host.connection("qa")["report"], expected);
}

#[test]
fn a_preview_shows_the_report_and_creates_nothing() {
    let host = start_host();
    let report = json!({
        "title_template": "Failed: {{ test_case_id }} {{ variation_id }}",
        "description_template": "**{{ variation_id }}** failed, see [the log]({{ link }})",
        "comment_template": "again",
        "fields": [
            {"field": "Variation", "text": "{{ variation_id }}"},
            {"field": "severity", "json": "{\"id\": 4, \"case\": {{ test_case_id }}}"},
            {"field": "empty", "text": "{{ test_case.name }}"},
        ],
        "routing": [{"settings": {"project": "all"}}],
    });
    assert_eq!(create_connection(&host, &report).status, 201);
    let request = json!({
        "failed_test": {"variation_id": "*row* <7>", "link": "https://tm.example/x"},
        "markup": "textile",
    });
    let previewed = preview(&host, &request);
    assert_eq!(previewed["title"], format!("Failed: {CASE_ID} *row* <7>"));
    assert_eq!(
        previewed["description"],
        "*&#42;row&#42; &#60;7&#62;* failed, see \"the log\":https://tm.example/x "
    );
    assert_eq!((&previewed["comment"], &previewed["markup"]), (&json!("again"), &json!("textile")));
    let fields = json!([
        {"field": "Variation", "value": "*row* <7>"},
        {"field": "severity", "value": {"id": 4, "case": CASE_ID}},
    ]);
    assert_eq!(previewed["fields"], fields);
    assert_eq!(
        (&previewed["attachments"], &previewed["settings"]),
        (&json!([]), &json!({"project": "all"}))
    );

    // A preview can use edited report settings without saving them.
    let edited = preview(&host, &json!({"report": {"title_template": null}, "markup": "html"}));
    assert_eq!(edited["title"], format!("Test case {CASE_ID} failed"));
    assert_eq!(host.connection("qa")["report"], report);
    let shortened = preview(&host, &json!({"characters_max": 6}));
    assert_eq!(shortened["description"], "faile…");

    for body in [
        json!({"failed_test": {"test_case_id": CASE_ID}}),
        json!({"failed_test": failed_test(), "unknown": 1}),
    ] {
        let answer = host.admin().json("POST", "/connections/qa/preview", &body);
        answer.assert_problem(400, "bad-request");
    }
    let body = json!({"failed_test": failed_test(), "markup": "rst"});
    let answer = host.admin().json("POST", "/connections/qa/preview", &body);
    answer.assert_problem(422, "invalid-values");
    let events = host.admin().get("/events").json();
    let defects = host.admin().get("/defects").json();
    assert_eq!((&events["events"], &defects["defects"]), (&json!([]), &json!([])));
}

/// Data that the report does not use is not fetched.
#[test]
fn a_preview_shows_data_of_test_manager() {
    let (host, simulator) = (start_host(), SimulatedTestManager::start(&[]));
    assert_eq!(create_connection(&host, &json!({})).status, 201);
    let credentials = simulator.credentials();
    host.admin().json("PATCH", "/connections/qa", &credentials).assert_status(200);
    let failed_tests = simulator.failed_tests("SHOP");
    let previewed = failed_tests.iter().map(|log| {
        let test = json!({
            "test_execution_id": log["execution"], "test_case_id": log["case"],
            "variation_id": log["variation"], "link": log["link"],
        });
        preview(&host, &json!({"failed_test": test}))
    });
    let previewed = previewed.into_iter().find(|it| {
        it["title"].as_str().is_some_and(|title| title.starts_with("Checkout with a valid card"))
    });
    let previewed = previewed.expect("a failed checkout");
    let description = previewed["description"].as_str().expect("a text");
    for expected in ["## What was expected", "## End of the robot's log", "- Test execution: "] {
        assert!(description.contains(expected), "{expected:?} is not in {description}");
    }
    // A preview cannot switch the default mask off, because some accounts may see previews but may
    // not change the mask.
    let unmasked = json!({"mask": {"defaults": false}});
    for log in &failed_tests {
        let test = json!({
            "test_execution_id": log["execution"], "test_case_id": log["case"],
            "variation_id": log["variation"], "link": log["link"],
        });
        let previewed = preview(&host, &json!({"failed_test": test, "report": unmasked}));
        assert!(!previewed.to_string().contains("S3cr3t-of-the-test!"), "{previewed}");
    }
    let kinds: Vec<_> = previewed["attachments"].as_array().expect("files").iter().collect();
    assert!(kinds.iter().any(|file| file["kind"] == "screenshot"), "{previewed}");
    assert!(kinds.iter().any(|file| file["kind"] == "robot-log"), "{previewed}");
    let requests = simulator.requests();
    let unused = ["customfield", "objectlabels", "teststeplogs", "history", "/testsets/"];
    let is_unused = |request: &&String| unused.iter().any(|path| request.contains(path));
    assert_eq!(requests.iter().find(is_unused), None, "{requests:#?}");
}

#[test]
fn commands_set_and_preview_the_report_from_files() {
    let host = start_host();
    let file = host.folder().join("report.toml");
    let report = r#"
        title_template = "{{ test_case_id }} from a file"
        description_template = '''
## {{ variation_id }}
{% if link %}
- [log]({{ link }})
{% endif %}
'''
        [[fields]]
        field = "Team"
        text = "Payments"
        [attachments]
        files_max = 0
    "#;
    fs::write(&file, report).expect("the file is written");
    let file = file.to_str().expect("a path");
    let key = host.folder().join("key");
    fs::write(&key, "0123456789abcdef").expect("the file is written");
    let key = format!("api-key=@{}", key.display());
    let url = "url=http://127.0.0.1:9";
    let create = ["connections", "create", "qa", "--connector", "redmine", "--secret", &key];
    let (succeeded, printed) = host
        .run_cli(&[&create[..], &["--set", url, "--set", "project=qa", "--report", file]].concat());
    assert!(succeeded, "{printed}");
    let connection = host.run_cli(&["connections", "show", "qa"]).1;
    assert!(connection.contains("from a file") && connection.contains("Payments"), "{connection}");

    let ids = ["--execution", EXECUTION_ID, "--case", CASE_ID, "--variation", "row 7"];
    let preview_arguments = [&["connections", "preview", "qa"][..], &ids].concat();
    let (succeeded, printed) = host.run_cli(&preview_arguments);
    let lines = [
        format!("Title: {CASE_ID} from a file"),
        "Field Team: Payments".to_owned(),
        "Description (markdown):".to_owned(),
        "## row 7".to_owned(),
    ];
    assert!(succeeded && lines.iter().all(|line| printed.contains(line)), "{printed}");

    for (template, title) in [("{{ variation_id }}", "Title: row 7"), ("", "Title: Test case")] {
        let (succeeded, printed) =
            host.run_cli(&["connections", "edit", "qa", "--title-template", template]);
        assert!(succeeded, "{printed}");
        let (succeeded, printed) = host.run_cli(&preview_arguments);
        assert!(succeeded && printed.contains(title), "{printed}");
    }
    let (succeeded, printed) =
        host.run_cli(&["connections", "edit", "qa", "--comment-template", "{{ x"]);
    assert!(
        !succeeded
            && printed.contains("report.comment_template")
            && printed.contains("line 1, column"),
        "{printed}"
    );
}

/// Runs the commands of the Redmine example in the operator's manual, as an operator would copy
/// them. Only the word `UUID` is replaced by ids.
#[test]
fn the_redmine_example_of_the_manual_can_be_copied() {
    let host = start_host();
    assert_eq!(create_connection(&host, &json!({})).status, 201);
    let manual = fs::read_to_string(jackfield_tests::root().join("docs/operator.md"));
    let manual = manual.expect("the manual");
    let section = manual.split("\n### Redmine\n").nth(1).expect("the section");
    let code_block = |begin: &str, end: &str| {
        let rest = section.split(begin).nth(1).expect(begin);
        rest.split(end).next().expect(end).to_owned()
    };
    fs::write(host.folder().join("redmine.toml"), code_block("~~~toml\n", "\n~~~\n"))
        .expect("a file");
    let commands = code_block("```sh\n", "\n```\n");
    assert_eq!(commands.lines().count(), 2, "{commands}");
    for line in commands.lines() {
        let line = line.replacen("UUID", EXECUTION_ID, 1).replace("UUID", CASE_ID);
        let arguments: Vec<_> = line.split_whitespace().skip(1).collect();
        let (succeeded, printed) = host.run_cli(&arguments);
        assert!(succeeded, "{line}: {printed}");
    }
    let routing = &host.connection("qa")["report"]["routing"];
    assert_eq!(routing[0]["settings"], json!({"project": "payments", "tracker": "Bug"}));
}
