//! Tests of report settings: which ones are refused, and what the accepted ones do.

use serde_json::json;

use super::*;
use crate::report::{Field, FieldValue, Markup, Report};

fn settings_object(value: Value) -> Settings {
    value.as_object().expect("an object").clone()
}

/// Returns the problems of settings that must be refused, one in each line.
fn problems_of(value: Value) -> String {
    let problems = ReportSettings::check(&settings_object(value)).expect_err("refused");
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

#[test]
fn invalid_settings_are_refused_with_their_position() {
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
            "needs too much computing time",
        ),
        (json!({"title_template": "{{ tset_set.name }}"}), "did you mean `test_set`?"),
        (json!({"title_template": "{% include 'x' %}"}), "line 1, column "),
        (json!({"title_template": "{{ link|safe }}"}), "unknown filter"),
        (json!({"title_template": "x".repeat(40_000)}), "at most 32768 bytes"),
        (json!({"fields": [{"field": "a"}]}), "`fields[0]`: give either `text` or `json`"),
        (json!({"fields": [{"field": "a", "txt": ""}]}), "unknown field `txt`"),
        (
            json!({"fields": [{"field": "a", "text": ""}, {"field": "a", "text": ""}]}),
            "`fields[1]`: the field \"a\" is configured twice",
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
        let problems = problems_of(value.clone());
        assert!(problems.contains(why), "{value}: {problems}");
    }
}

#[test]
fn the_default_templates_are_valid() {
    assert_eq!(template_problem(defaults::TITLE, OutputMode::Text), None);
    assert_eq!(template_problem(defaults::DESCRIPTION, OutputMode::Markdown), None);
    assert_eq!(template_problem(defaults::COMMENT, OutputMode::Markdown), None);
}

#[test]
fn only_subjects_that_the_settings_use_are_needed() {
    let subjects =
        |value| ReportSettings::check(&settings_object(value)).expect("settings").subjects();
    assert_eq!(
        subjects(json!({})),
        BTreeSet::from([
            Subject::Project,
            Subject::TestCase,
            Subject::TestExecution,
            Subject::TestCaseLog,
            Subject::Assertions,
            Subject::RobotLogs,
        ])
    );
    let minimal = json!({
        "title_template": "{{ test_case_id }}",
        "description_template": "",
        "comment_template": "",
        "fields": [{"field": "x", "json": "{{ history }}"}],
        "attachments": {"files_max": 0},
        "routing": [{"label": "a"}, {"requirement": "b"}],
    });
    assert_eq!(
        subjects(minimal),
        BTreeSet::from([Subject::History]),
        "data for routing rules is fetched separately"
    );
}

/// Returns the examples of the operator's manual, each with the heading above it.
fn examples_of_manual() -> Vec<(&'static str, Settings)> {
    let manual = include_str!("../../../../docs/operator.md");
    let (mut heading, mut examples) = ("", Vec::new());
    let mut rest = manual;
    while let Some((before, after)) = rest.split_once("\n~~~") {
        heading = before.rsplit_once("\n### ").map_or(heading, |(_, after)| after);
        let name = heading.lines().next().expect("a heading");
        let (example, after) = after.split_once("\n~~~").expect(name);
        let settings = match example.split_once('\n').expect(name) {
            ("toml", text) => toml::from_str(text).expect(name),
            ("json", text) => serde_json::from_str(text).expect(name),
            (format, _) => panic!("{name}: unknown format {format}"),
        };
        examples.push((name, settings));
        rest = after;
    }
    examples
}

#[test]
fn each_example_of_the_manual_works_as_the_manual_says() {
    let examples = examples_of_manual();
    for (heading, object) in &examples {
        let settings = ReportSettings::check(object).expect(heading);
        let report = Report::new(&settings, sample_test_data());
        for text in [
            report.description(Markup::Plain, u32::MAX, None).expect("a text"),
            report.comment(Markup::Plain, u32::MAX, None).expect("a text"),
        ] {
            assert!(!text.contains("template of the"), "{heading}: {text}");
        }
    }
    for (heading, markup, title, fields, routed) in [
        (
            "Redmine",
            Markup::Textile,
            "[SHOP] Pay by invoice: Failed",
            json!({"Affected version": "1.4.0", "assigned_to_id": "5"}),
            json!({"project": "payments", "tracker": "Bug"}),
        ),
        (
            "Jira",
            Markup::JiraWiki,
            "Pay by invoice",
            json!({
                "components": r#"[{"name":"checkout"}]"#,
                "customfield_10042": r#"{"value":"Nightly, 28 November"}"#,
            }),
            json!({"project": "TAX"}),
        ),
        (
            "GitHub",
            Markup::Markdown,
            "SHOP:12 Pay by invoice",
            json!({"labels": r#"["checkout"]"#, "assignees": r#"["octo-tester"]"#}),
            json!({"repository": "shop-web"}),
        ),
    ] {
        let example = examples.iter().find(|(name, _)| *name == heading).expect(heading);
        let settings = ReportSettings::check(&example.1).expect(heading);
        let report = Report::new(&settings, sample_test_data());
        assert_eq!(report.title(255), title);
        let value = |field: &Field| match &field.value {
            FieldValue::Text(text) | FieldValue::Json(text) => json!(text),
        };
        let filed = report.fields().iter().map(|field| (field.name.clone(), value(field)));
        assert_eq!(json!(filed.collect::<serde_json::Map<_, _>>()), fields, "{heading}");
        for markup in [markup, Markup::Plain] {
            let text = report.description(markup, u32::MAX, None).expect("a text");
            assert!(!text.contains("A-100"), "{heading}: {text}");
            assert!(markup != Markup::Plain || text.contains("***"), "{heading} masks: {text}");
        }
        let rule =
            settings.routing.iter().find(|rule| rule.matches(&sample_test_data())).expect(heading);
        assert_eq!(json!(rule.settings), routed, "{heading}");
    }
}
