//! The report settings of a connection are checked when an admin saves them, and survive a restart.
//! A preview renders the report without creating a defect.

use std::fs;

use jackfield_tests::{Guest, Setup, SimulatedTestManager, TestHost, merge};
use serde_json::{Value, json};

const EXECUTION: &str = "5b8f5c4e-7c1d-4e0b-9a43-0c2d8a6f1e01";
const CASE: &str = "5b8f5c4e-7c1d-4e0b-9a43-0c2d8a6f1e02";

fn failed_test() -> Value {
    json!({"test_execution_id": EXECUTION, "test_case_id": CASE})
}

fn host() -> TestHost {
    Setup::new().plugin("redmine", &Guest::example("redmine")).start()
}

fn create(host: &TestHost, report: &Value) -> jackfield_tests::Answer {
    let body = json!({
        "name": "qa",
        "connector": "redmine",
        "settings": {"url": "http://127.0.0.1:9", "project": "qa"},
        "secrets": {"api-key": "0123456789abcdef"},
        "report": report,
    });
    host.admin().json("POST", "/connections", &body)
}

fn preview(host: &TestHost, more: &Value) -> Value {
    let test = merge(failed_test(), more.get("failed_test").cloned().unwrap_or_else(|| json!({})));
    let body = merge(more.clone(), json!({"failed_test": test}));
    let answer = host.admin().json("POST", "/connections/qa/preview", &body);
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

#[test]
fn what_cannot_be_used_is_refused_when_it_is_saved() {
    let host = host();
    for (report, name, why) in [
        (json!({"titel_template": ""}), "report.titel_template", "did you mean `title_template`?"),
        (
            json!({"title_template": "a\n{{ test_case.name"}),
            "report.title_template",
            "line 2, column ",
        ),
        (
            json!({"description_template": "{{ test_case.nme }}"}),
            "report.description_template",
            "line 1, column 14: there is no `test_case.nme`; did you mean `test_case.name`?",
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
        let answer = create(&host, &report);
        answer.assert_problem(422, "invalid-values");
        let errors = &answer.json()["errors"];
        let found = errors.as_array().expect("errors").iter().any(|error| {
            error["name"] == name && error["why"].as_str().is_some_and(|it| it.contains(why))
        });
        assert!(found, "{report}: {errors}");
    }
    assert_eq!(create(&host, &json!({})).status, 201);
    let edit = json!({"report": {"comment_template": "{% if %}"}});
    let answer = host.admin().json("PATCH", "/connections/qa", &edit);
    answer.assert_problem(422, "invalid-values");
    assert_eq!(host.connection("qa")["report"], json!({}));
}

#[test]
fn an_edit_changes_one_member_and_survives_a_restart() {
    let mut host = host();
    let routing = json!([{"label": "shop", "settings": {"project": "shop"}}]);
    let report = json!({"title_template": "{{ test_case_id }}", "routing": routing});
    assert_eq!(create(&host, &report).status, 201);
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
    let host = host();
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
    assert_eq!(create(&host, &report).status, 201);
    let more = json!({
        "failed_test": {"variation_id": "*row* <7>", "link": "https://tm.example/x"},
        "markup": "textile",
    });
    let shown = preview(&host, &more);
    assert_eq!(shown["title"], format!("Failed: {CASE} *row* <7>"));
    assert_eq!(
        shown["description"],
        "*&#42;row&#42; &#60;7&#62;* failed, see \"the log\":https://tm.example/x "
    );
    assert_eq!((&shown["comment"], &shown["markup"]), (&json!("again"), &json!("textile")));
    let fields = json!([
        {"field": "Variation", "value": "*row* <7>"},
        {"field": "severity", "value": {"id": 4, "case": CASE}},
    ]);
    assert_eq!(shown["fields"], fields);
    assert_eq!(
        (&shown["attachments"], &shown["settings"]),
        (&json!([]), &json!({"project": "all"}))
    );

    // A preview tries an edit without saving it.
    let other = preview(&host, &json!({"report": {"title_template": null}, "markup": "html"}));
    assert_eq!(other["title"], format!("Test case {CASE} failed"));
    assert_eq!(host.connection("qa")["report"], report);
    let cut = preview(&host, &json!({"characters_max": 6}));
    assert_eq!(cut["description"], "faile…");

    for body in [
        json!({"failed_test": {"test_case_id": CASE}}),
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

/// The preview has the data of Test Manager about a failed checkout. Data that nothing uses is not
/// fetched.
#[test]
fn a_preview_shows_what_test_manager_knows() {
    let (host, simulator) = (host(), SimulatedTestManager::start(&[]));
    assert_eq!(create(&host, &json!({})).status, 201);
    let credentials = simulator.credentials();
    host.admin().json("PATCH", "/connections/qa", &credentials).assert_status(200);
    let failed = simulator.failed_tests("SHOP");
    let shown = failed.iter().map(|log| {
        let test = json!({
            "test_execution_id": log["execution"], "test_case_id": log["case"],
            "variation_id": log["variation"], "link": log["link"],
        });
        preview(&host, &json!({"failed_test": test}))
    });
    let shown = shown.into_iter().find(|it| {
        it["title"].as_str().is_some_and(|title| title.starts_with("Checkout with a valid card"))
    });
    let shown = shown.expect("a failed checkout");
    let description = shown["description"].as_str().expect("a text");
    for part in ["## What was expected", "## End of the robot's log", "- Test execution: "] {
        assert!(description.contains(part), "{part:?} is not in {description}");
    }
    // Whoever may see a preview may not switch the mask off.
    let unmasked = json!({"mask": {"defaults": false}});
    for log in &failed {
        let test = json!({
            "test_execution_id": log["execution"], "test_case_id": log["case"],
            "variation_id": log["variation"], "link": log["link"],
        });
        let shown = preview(&host, &json!({"failed_test": test, "report": unmasked}));
        assert!(!shown.to_string().contains("S3cr3t-of-the-test!"), "{shown}");
    }
    let kinds: Vec<_> = shown["attachments"].as_array().expect("files").iter().collect();
    assert!(kinds.iter().any(|file| file["kind"] == "screenshot"), "{shown}");
    assert!(kinds.iter().any(|file| file["kind"] == "robot-log"), "{shown}");
    let requests = simulator.requests();
    let unused = ["customfield", "objectlabels", "teststeplogs", "history", "/testsets/"];
    let is_unused = |request: &&String| unused.iter().any(|path| request.contains(path));
    assert_eq!(requests.iter().find(is_unused), None, "{requests:#?}");
}

#[test]
fn commands_set_and_preview_the_report_from_files() {
    let host = host();
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
    let (ok, out) = host
        .run_cli(&[&create[..], &["--set", url, "--set", "project=qa", "--report", file]].concat());
    assert!(ok, "{out}");
    let shown = host.run_cli(&["connections", "show", "qa"]).1;
    assert!(shown.contains("from a file") && shown.contains("Payments"), "{shown}");

    let ids = ["--execution", EXECUTION, "--case", CASE, "--variation", "row 7"];
    let words = [&["connections", "preview", "qa"][..], &ids].concat();
    let (ok, out) = host.run_cli(&words);
    let lines = [
        format!("Title: {CASE} from a file"),
        "Field Team: Payments".to_owned(),
        "Description (markdown):".to_owned(),
        "## row 7".to_owned(),
    ];
    assert!(ok && lines.iter().all(|line| out.contains(line)), "{out}");

    for (template, title) in [("{{ variation_id }}", "Title: row 7"), ("", "Title: Test case")] {
        let (ok, out) = host.run_cli(&["connections", "edit", "qa", "--title-template", template]);
        assert!(ok, "{out}");
        let (ok, out) = host.run_cli(&words);
        assert!(ok && out.contains(title), "{out}");
    }
    let (ok, out) = host.run_cli(&["connections", "edit", "qa", "--comment-template", "{{ x"]);
    assert!(
        !ok && out.contains("report.comment_template") && out.contains("line 1, column"),
        "{out}"
    );
}

/// The Redmine example of the operator's manual with its commands, as an operator copies them.
#[test]
fn the_redmine_example_of_the_manual_can_be_copied() {
    let host = host();
    assert_eq!(create(&host, &json!({})).status, 201);
    let manual = fs::read_to_string(jackfield_tests::root().join("docs/operator.md"));
    let manual = manual.expect("the manual");
    let section = manual.split("\n### Redmine\n").nth(1).expect("the section");
    let block = |begin: &str, end: &str| {
        let rest = section.split(begin).nth(1).expect(begin);
        rest.split(end).next().expect(end).to_owned()
    };
    fs::write(host.folder().join("redmine.toml"), block("~~~toml\n", "\n~~~\n")).expect("a file");
    let commands = block("```sh\n", "\n```\n");
    assert_eq!(commands.lines().count(), 2, "{commands}");
    for line in commands.lines() {
        let line = line.replacen("UUID", EXECUTION, 1).replace("UUID", CASE);
        let words: Vec<_> = line.split_whitespace().skip(1).collect();
        let (ok, printed) = host.run_cli(&words);
        assert!(ok, "{line}: {printed}");
    }
    let routing = &host.connection("qa")["report"]["routing"];
    assert_eq!(routing[0]["settings"], json!({"project": "payments", "tracker": "Bug"}));
}
