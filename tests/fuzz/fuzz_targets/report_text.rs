//! Fuzzes the rendering of a report. The input is a template and, after a line `---`, a text of the
//! failed test. Without this line, the whole input is the text. The report is rendered in each
//! markup, in full and shortened.
#![no_main]

use jackfield::domain::{Settings, StringEnum as _};
use jackfield::report::{FieldValue, Markup, Report, ReportSettings, TestData, sample_test_data};
use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};

/// The marker that the rendered text must contain.
const MARKER: &str = "0abc9marker000000000000xyz";
/// Maximum length of the first line with the marker in any markup, characters. Rendering may fail
/// only if less space is available.
const FIRST_LINE_CHARS_MAX: usize = 200;
/// The texts that may follow `<` or `</` in rendered HTML.
const TAG_STARTS: [&str; 13] = [
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
    check_report(text);
});

fn check_report(text: &str) {
    let (template, test_text) = text.split_once("\n---\n").unwrap_or(("{{ log.info }}", text));
    let object = report_settings(template);
    // Each problem of the settings has a reason. Settings with problems are rendered anyway,
    // because they may have been stored earlier.
    if let Err(problems) = ReportSettings::check(&object) {
        assert!(problems.iter().all(|problem| !problem.why.is_empty()), "{problems:?}");
    }
    let settings = ReportSettings::read(&object).expect("texts are read as templates");
    let report = Report::new(&settings, test_data(test_text));
    let max = u32::try_from(text.len() % 997).unwrap_or_default();
    assert_title_valid(&report.title(max), max);
    for markup in Markup::ALL {
        for (max, marker) in [(u32::MAX, None), (max, Some(MARKER)), (max, None)] {
            match report.description(*markup, max, marker) {
                Ok(text) => assert_text_valid(*markup, &text, max, marker),
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

fn report_settings(template: &str) -> Settings {
    let object = json!({
        "title_template": template,
        "description_template": template,
        "fields": [{ "field": "a", "text": template }, { "field": "b", "json": template }],
    });
    object.as_object().cloned().unwrap_or_default()
}

/// Returns the sample test data, in which `test_text` replaces the texts that the author of a test
/// can choose.
fn test_data(test_text: &str) -> TestData {
    let mut data = sample_test_data();
    let test_text = || test_text.to_owned();
    (data.variation_id, data.link) = (Some(test_text()), Some(test_text()));
    data.labels = vec![test_text()];
    if let Some(test_case) = &mut data.test_case {
        test_case.name = Some(test_text());
    }
    if let Some(log) = &mut data.log {
        (log.info, log.input_arguments) = (Some(test_text()), Some(test_text()));
    }
    for assertion in &mut data.assertions {
        assertion.message = Some(test_text());
    }
    for line in &mut data.robot_logs {
        line.message = test_text();
    }
    data
}

fn assert_title_valid(title: &str, max: u32) {
    assert!(title.chars().count() <= max as usize && !title.contains(['\n', '\r']), "{title:?}");
}

/// Asserts that a text is not longer than `max` characters, and that its first line contains the
/// marker. Also checks the tags of HTML, and that ADF is a JSON document.
fn assert_text_valid(markup: Markup, text: &str, max: u32, marker: Option<&str>) {
    assert!(text.chars().count() <= max as usize, "{markup}: too long");
    let first = text.lines().next().unwrap_or_default();
    assert!(marker.is_none_or(|marker| first.contains(marker)), "{markup}: {first:?}");
    match markup {
        Markup::Html => {
            for tag in text.split('<').skip(1) {
                let name = tag.strip_prefix('/').unwrap_or(tag);
                assert!(TAG_STARTS.iter().any(|start| name.starts_with(start)), "<{tag}");
            }
        }
        Markup::Adf => {
            let json = serde_json::from_str::<Value>(text).expect("ADF is JSON");
            assert_eq!(json["type"], "doc");
        }
        _ => {}
    }
}
