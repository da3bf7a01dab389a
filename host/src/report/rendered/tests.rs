//! Tests of whole reports, from settings and data to texts.

use proptest::prelude::*;
use serde_json::json;

use crate::domain::{Settings, StringEnum as _};
use crate::report::{Gap, RobotLog, TestCase, sample_test_data};

use super::*;

fn checked_settings(value: serde_json::Value) -> ReportSettings {
    let object: Settings = value.as_object().expect("an object").clone();
    ReportSettings::check(&object).expect("settings")
}

/// Reads settings that an earlier version stored and that this version would refuse to save.
fn unchecked_settings(value: serde_json::Value) -> ReportSettings {
    let object: Settings = value.as_object().expect("an object").clone();
    ReportSettings::read(&object).expect("settings")
}

fn description_text(report: &Report) -> String {
    report.description(Markup::Plain, u32::MAX, None).expect("a text")
}

#[test]
fn the_default_report_shows_the_test_data() {
    let report = Report::new(&ReportSettings::default(), sample_test_data());
    assert_eq!(report.title(200), "Pay by invoice (SHOP:12) failed");
    let text = description_text(&report);
    for part in [
        "The test case Pay by invoice (SHOP:12) ended with the result Failed.",
        "Open the test case log in Test Manager (https://testmanager.example.com/SHOP/",
        "System.Exception: the tax is wrong",
        "- Expected 19.00 as tax, but 16.00 was shown\n  - currency: EUR",
        "2026-11-28 09:31:00 UTC Error: Verification failed: the tax is 16.00",
        "\"amount\": 100,",
        "\"tax\": \"16.00\"",
        "- Project: Web shop (SHOP)\n- Test execution: Nightly, 28 November\n- Variation: express\n\
         - Started: 2026-11-28 09:30:00 UTC",
        "- Executed by: robot@example.com\n- Robot: robot-3\n- Machine: test-machine-3\n\
         - Automation: PayByInvoice.xaml (ShopTests)",
        "What is missing or incomplete here\n\n- the file trace.zip: Test Manager answered 404",
    ] {
        assert!(text.contains(part), "{part:?} is not in:\n{text}");
    }
    assert!(!text.contains("The total is 100.00"), "{text}");
    let comment = report.comment(Markup::Plain, u32::MAX, Some("m1")).expect("a text");
    let first = comment.lines().next().unwrap_or_default();
    assert!(first.ends_with(": m1") && comment.contains("failed again"), "{comment}");
    assert!(report.robot_log().ends_with("Error Verification failed: the tax is 16.00\n"));
    let files: Vec<_> = report.attachments().iter().map(|file| file.name.as_str()).collect();
    assert_eq!(files, ["basket.png", "robot-log.txt"]);
}

#[test]
fn a_report_needs_only_the_ids_of_the_webhook() {
    let data = TestData {
        test_execution_id: "e1".to_owned(),
        test_case_id: "c1".to_owned(),
        gaps: vec![Gap { what: "the log".to_owned(), why: "there is no client".to_owned() }],
        ..TestData::default()
    };
    let report = Report::new(&ReportSettings::default(), data);
    assert_eq!(report.title(200), "Test case c1 failed");
    assert_eq!(
        description_text(&report),
        "The test case c1 ended with the result Failed.\n\nWhere and when\n\n- Test execution: e1\n\n\
         What is missing or incomplete here\n\n- the log: there is no client"
    );
    assert!(report.fields().is_empty() && report.attachments().is_empty());
}

#[test]
fn templates_and_fields_of_the_connection_replace_the_defaults() {
    let settings = checked_settings(json!({
        "title_template": "{{ test_case.key }}\n {{ log.result }}",
        "description_template": "{% if labels %}\n**{{ labels }}**\n{% endif %}",
        "fields": [
            {"field": "Team", "text": "{{ custom_fields[0].value }}"},
            {"field": "empty", "text": " {{ '' }} "},
            {"field": "labels", "json": "{\"all\": {{ labels }}, \"name\": {{ test_case.name }}}"},
            {"field": "none", "json": "{{ none }}"},
        ],
    }));
    let report = Report::new(&settings, sample_test_data());
    assert_eq!(report.title(200), "SHOP:12 Failed");
    assert_eq!(report.title(6), "SHOP:…");
    assert_eq!(report.title(0), "");
    let gap =
        "What is missing or incomplete here\n\n- the file trace.zip: Test Manager answered 404";
    assert_eq!(description_text(&report), format!("checkout\n\n{gap}"));
    let fields: Vec<_> =
        report.fields().iter().map(|field| (field.name.as_str(), &field.value)).collect();
    let json = FieldValue::Json(r#"{"all":["checkout"],"name":"Pay by invoice"}"#.to_owned());
    assert_eq!(fields, [("Team", &FieldValue::Text("Payments".to_owned())), ("labels", &json)]);
}

#[test]
fn a_note_reports_each_template_that_failed() {
    let settings = unchecked_settings(json!({
        "title_template": "{{ test_case.name|shout }}",
        "description_template": "{% for a in range(90000) %}{{ a }}{% endfor %}",
        "fields": [{"field": "P", "json": "{"}],
        "mask": {"patterns": ["("]},
    }));
    let report = Report::new(&settings, sample_test_data());
    assert_eq!(report.title(200), "Pay by invoice (SHOP:12) failed");
    let text = description_text(&report);
    for part in [
        "The template of the title failed, and the default was used: line 1, column ",
        "The template of the description failed, and the default was used: line 1, column ",
        "The template of the field P failed, and the field was left out",
        "Logs, arguments, assertions, steps and custom fields are left out",
    ] {
        assert!(text.contains(part), "{part:?} is not in:\n{text}");
    }
    assert!(!text.contains("tax is wrong") && report.robot_log().is_empty(), "{text}");
}

#[test]
fn gaps_are_shown_in_a_cut_text_and_are_not_repeated() {
    let mut data = sample_test_data();
    let log = data.log.as_mut().expect("a log");
    log.info = Some("long ".repeat(1_000));
    for markup in Markup::ALL {
        let report = Report::new(&ReportSettings::default(), data.clone());
        let description = report.description(*markup, 2_000, Some("m1")).expect("a text");
        assert!(description.chars().count() <= 2_000, "{markup}");
        assert!(description.contains("Test Manager answered 404"), "{markup}: {description}");
        let short = report.description(*markup, 300, Some("m1")).expect("a text");
        assert!(short.contains("m1") && short.chars().count() <= 300, "{markup}: {short}");
    }
    let custom = checked_settings(
        json!({"description_template": "Gaps: {% for gap in gaps %}{{ gap.why }}{% endfor %}"}),
    );
    let text = description_text(&Report::new(&custom, sample_test_data()));
    assert_eq!(text, "Gaps: Test Manager answered 404");
}

#[test]
fn a_secret_is_masked_in_every_part_of_a_report() {
    let mut data = sample_test_data();
    let log = data.log.as_mut().expect("a log");
    log.info = Some("password=hunter2".to_owned());
    log.input_arguments = Some("{\"in_Password\":\"hunter2\"}".to_owned());
    data.robot_logs =
        vec![RobotLog { message: "token: hunter2".to_owned(), ..RobotLog::default() }];
    data.assertions[1].message = Some("secret='hunter2'".to_owned());
    let report = Report::new(&ReportSettings::default(), data);
    let text = description_text(&report);
    assert!(!text.contains("hunter2") && text.contains("password=***"), "{text}");
    assert!(!report.robot_log().contains("hunter2"));
    assert!(!format!("{:?}", report.data()).contains("hunter2"));
}

#[test]
fn the_default_templates_can_render_the_largest_data() {
    let long = "x\n".repeat(20_000);
    let mut data = sample_test_data();
    data.robot_logs = vec![RobotLog { message: long.clone(), ..RobotLog::default() }; 2_000];
    data.assertions = vec![data.assertions[1].clone(); 2_000];
    for assertion in &mut data.assertions {
        (assertion.message, assertion.payload) = (Some(long.clone()), Some(long.clone()));
    }
    data.gaps = vec![Gap { what: long.clone(), why: long }; 2_000];
    let report = Report::new(&ReportSettings::default(), data);
    let text = description_text(&report);
    assert!(
        text.contains("and 180 more") && !text.contains("failed, and the default"),
        "{}",
        text.len()
    );
    assert!(report.robot_log().len() <= ROBOT_LOG_BYTES_MAX + 100);
}

proptest! {
    #[test]
    fn values_are_never_read_as_templates_or_markdown(name in "[^\\p{C}\u{e000}\u{e001}]{0,40}") {
        let data = TestData {
            test_case: Some(TestCase { name: Some(name.clone()), ..TestCase::default() }),
            ..TestData::default()
        };
        let settings = checked_settings(json!({
            "title_template": "{{ test_case.name }}",
            "description_template": "```\n{{ test_case.name }}\n```",
        }));
        let report = Report::new(&settings, data);
        let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        prop_assert_eq!(report.title(u32::MAX), words(&name));
        prop_assert_eq!(words(&description_text(&report)), words(&name));
    }
}
