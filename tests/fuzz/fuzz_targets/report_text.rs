//! A template of a report and, after a line `---`, what a test says: rendered, cut, in each markup.
#![no_main]

use jackfield::domain::{Settings, StringEnum as _};
use jackfield::report::{FieldValue, Markup, Report, ReportSettings, TestData, sample_test_data};
use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};

const MARKER: &str = "0abc9marker000000000000xyz";
/// A longer first line with the marker does not exist in any markup.
const FIRST_LINE_CHARS_MAX: usize = 200;
/// What HTML may have after `<`.
const TAGS: [&str; 13] = [
    "p>",
    "h",
    "ul>",
    "ol start=\"",
    "ol>",
    "li>",
    "strong>",
    "em>",
    "code>",
    "pre>",
    "blockquote>",
    "br>",
    "a",
];

fuzz_target!(|input: &[u8]| {
    let Ok(text) = std::str::from_utf8(input) else { return };
    check(text);
});

fn check(text: &str) {
    let (template, said) = text.split_once("\n---\n").unwrap_or(("{{ log.info }}", text));
    let object = settings(template);
    // What is refused is refused with a reason; what was stored once is rendered anyway.
    if let Err(problems) = ReportSettings::check(&object) {
        assert!(problems.iter().all(|problem| !problem.why.is_empty()), "{problems:?}");
    }
    let settings = ReportSettings::read(&object).expect("texts are read as templates");
    let report = Report::new(&settings, data(said));
    let max = u32::try_from(text.len() % 997).unwrap_or_default();
    check_title(&report.title(max), max);
    for markup in Markup::ALL {
        for (max, marker) in [(u32::MAX, None), (max, Some(MARKER)), (max, None)] {
            match report.description(*markup, max, marker) {
                Ok(text) => check_text(*markup, &text, max, marker),
                Err(_) => assert!((max as usize) < FIRST_LINE_CHARS_MAX, "{markup}: {max}"),
            }
        }
    }
    for field in report.fields() {
        if let FieldValue::Json(json) = &field.value {
            serde_json::from_str::<Value>(json).expect("a field is JSON");
        }
    }
}

fn settings(template: &str) -> Settings {
    let object = json!({
        "title_template": template,
        "description_template": template,
        "fields": [{ "field": "a", "text": template }, { "field": "b", "json": template }],
    });
    object.as_object().cloned().unwrap_or_default()
}

/// The sample test data, in which the texts that a test can choose are `said`.
fn data(said: &str) -> TestData {
    let mut data = sample_test_data();
    let said = || said.to_owned();
    (data.variation_id, data.link) = (Some(said()), Some(said()));
    data.labels = vec![said()];
    if let Some(test_case) = &mut data.test_case {
        test_case.name = Some(said());
    }
    if let Some(log) = &mut data.log {
        (log.info, log.input_arguments) = (Some(said()), Some(said()));
    }
    for assertion in &mut data.assertions {
        assertion.message = Some(said());
    }
    for line in &mut data.robot_logs {
        line.message = said();
    }
    data
}

fn check_title(title: &str, max: u32) {
    assert!(title.chars().count() <= max as usize && !title.contains(['\n', '\r']), "{title:?}");
}

fn check_text(markup: Markup, text: &str, max: u32, marker: Option<&str>) {
    assert!(text.chars().count() <= max as usize, "{markup}: too long");
    let first = text.lines().next().unwrap_or_default();
    assert!(marker.is_none_or(|marker| first.contains(marker)), "{markup}: {first:?}");
    match markup {
        Markup::Html => {
            for tag in text.split('<').skip(1) {
                let name = tag.strip_prefix('/').unwrap_or(tag);
                assert!(TAGS.iter().any(|known| name.starts_with(known)), "<{tag}");
            }
        }
        Markup::Adf => {
            let json = serde_json::from_str::<Value>(text).expect("ADF is JSON");
            assert_eq!(json["type"], "doc");
        }
        _ => {}
    }
}
