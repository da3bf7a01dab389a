//! Settings that are refused, and what the others lead to.

use serde_json::json;

use super::*;

fn object(value: Value) -> Settings {
    value.as_object().expect("an object").clone()
}

fn problems(value: Value) -> String {
    let problems = ReportSettings::check(&object(value)).expect_err("refused");
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

#[test]
fn what_is_wrong_is_refused_with_its_place() {
    for (value, why) in [
        (json!({"title": "x"}), "`title`: unknown member; did you mean `title_template`"),
        (json!({"title_template": 7}), "`title_template`: invalid type"),
        (json!({"title_template": "a\n{{ log.info "}), "`title_template`: line 2, column "),
        (
            json!({"description_template": "{{ log.info|shout }}"}),
            "`description_template`: line 1, column 13: unknown filter",
        ),
        (
            json!({"comment_template": "{% for n in range(90000) %}{{ n }}{% endfor %}"}),
            "it computes too much",
        ),
        (json!({"title_template": "{{ tset_set.name }}"}), "did you mean `test_set`?"),
        (json!({"title_template": "{% include 'x' %}"}), "line 1, column "),
        (json!({"title_template": "{{ link|safe }}"}), "unknown filter"),
        (json!({"title_template": "x".repeat(40_000)}), "at most 32768 bytes"),
        (json!({"fields": [{"field": "a"}]}), "`fields[0]`: give either `text` or `json`"),
        (json!({"fields": [{"field": "a", "txt": ""}]}), "unknown field `txt`"),
        (
            json!({"fields": [{"field": "a", "text": ""}, {"field": "a", "text": ""}]}),
            "`fields[1]`: the field \"a\" is there twice",
        ),
        (
            json!({"fields": [{"field": "a", "json": "{\"name\": {{ link }}"}]}),
            "with the example, the result is not JSON",
        ),
        (json!({"mask": {"patterns": ["("]}}), "`mask`: the pattern `(`"),
        (json!({"attachments": {"kinds": ["video"]}}), "unknown kind \"video\""),
        (json!({"attachments": {"files": 3}}), "unknown field `files`"),
        (json!({"routing": [{"project": "A", "setings": {}}]}), "unknown field `setings`"),
    ] {
        let problems = problems(value.clone());
        assert!(problems.contains(why), "{value}: {problems}");
    }
}

#[test]
fn the_default_templates_are_valid() {
    assert_eq!(template_problem(defaults::TITLE, Mode::Text), None);
    assert_eq!(template_problem(defaults::DESCRIPTION, Mode::Markdown), None);
    assert_eq!(template_problem(defaults::COMMENT, Mode::Markdown), None);
}

#[test]
fn only_what_is_used_is_fetched() {
    let read = |value| ReportSettings::check(&object(value)).expect("settings").subjects();
    assert_eq!(
        read(json!({})),
        BTreeSet::from([
            Subject::Project,
            Subject::TestCase,
            Subject::TestExecution,
            Subject::TestCaseLog,
            Subject::Assertions,
            Subject::RobotLogs,
        ])
    );
    let least = json!({
        "title_template": "{{ test_case_id }}",
        "description_template": "",
        "comment_template": "",
        "fields": [{"field": "x", "json": "{{ history }}"}],
        "attachments": {"files_max": 0},
        "routing": [{"label": "a"}, {"requirement": "b"}],
    });
    assert_eq!(
        read(least),
        BTreeSet::from([Subject::History]),
        "rules have a request of their own"
    );
}

/// The TOML examples of the operator's manual.
#[test]
fn each_example_of_the_manual_is_valid_and_fits_the_example_data() {
    let manual = include_str!("../../../../docs/operator.md");
    let examples: Vec<_> = manual
        .split("\n~~~toml\n")
        .skip(1)
        .filter_map(|rest| rest.split("\n~~~\n").next())
        .collect();
    assert_eq!(examples.len(), 3);
    for example in examples {
        let object: Settings = toml::from_str(example).expect(example);
        let settings = ReportSettings::check(&object).expect(example);
        let report = crate::report::Report::new(&settings, sample());
        assert!(!report.fields().is_empty(), "{example}");
        let text = report.description(crate::report::Markup::Plain, u32::MAX, None);
        let text = text.expect("a text");
        assert!(!text.contains("template of the"), "{text}");
    }
}
