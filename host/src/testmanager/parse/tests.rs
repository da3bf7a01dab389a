//! Tests of reading Test Manager's JSON.

use serde_json::json;

use super::*;

fn filled(subject: Subject, value: &Value) -> TestData {
    let mut data = TestData::default();
    fill(&mut data, subject, value);
    data
}

#[test]
fn a_log_is_read_whatever_is_missing() {
    let data = filled(
        Subject::TestCaseLog,
        &json!({"Id": "1", "result": "Failed", "info": null, "inputArguments": {"a": 1},
                "outputArguments": "{}", "unknown": [1, 2]}),
    );
    let log = data.log.unwrap();
    assert_eq!((log.id.as_str(), log.result.as_deref()), ("1", Some("Failed")));
    assert_eq!(log.input_arguments.as_deref(), Some(r#"{"a":1}"#));
    assert_eq!((log.output_arguments.as_deref(), log.info), (Some("{}"), None));
    for broken in [json!(null), json!([]), json!("x"), json!({"result": "Failed"})] {
        assert_eq!(filled(Subject::TestCaseLog, &broken), TestData::default(), "{broken}");
    }
}

#[test]
fn every_subject_accepts_any_json() {
    use crate::domain::StringEnum as _;
    for subject in Subject::ALL {
        for value in [json!(null), json!([null, 1, "x", [], {}]), json!({"id": {"id": 1}})] {
            filled(*subject, &value);
        }
    }
}

#[test]
fn assertions_list_their_screenshots_and_failed_ones_come_first() {
    let data = filled(
        Subject::Assertions,
        &json!([
            {"id": "1", "succeeded": true, "hasScreenshot": true},
            {"id": "2", "message": "a = b", "succeeded": false, "hasScreenshot": "true",
             "screenshotFileName": "C:\\shots\\..\\end.JPG", "screenshotFileSize": 7},
            {"id": "3", "status": "Passed"},
            {"id": "4", "hasScreenshot": true, "screenshotFileName": ".."},
        ]),
    );
    let succeeded: Vec<_> = data.assertions.iter().map(|it| it.succeeded).collect();
    assert_eq!(succeeded, [true, false, true, false]);
    let files: Vec<_> = data
        .attachments
        .iter()
        .map(|it| (it.source_id.as_str(), it.name.as_str(), it.media_type.as_str(), it.size))
        .collect();
    assert_eq!(
        files,
        [
            ("2", "end.JPG", "image/jpeg", Some(7)),
            ("4", "screenshot-2.png", "image/png", None),
            ("1", "screenshot-3.png", "image/png", None),
        ]
    );
}

#[test]
fn files_have_a_plain_name_and_a_media_type() {
    let data = filled(
        Subject::Attachments,
        &json!([
            {"id": "1", "fileName": "../../a b.log", "size": "12"},
            {"id": "2", "name": "x\u{202e}gnp.exe", "contentType": "text/plain\r\nx: y"},
            {"id": "3", "name": "", "contentType": "image/png"},
            {"name": "without an id"},
        ]),
    );
    let of = |at: usize| &data.attachments[at];
    assert_eq!((of(0).name.as_str(), of(0).size), ("a b.log", Some(12)));
    assert_eq!(of(0).media_type, "text/plain");
    assert!(!of(1).name.contains('\u{202e}'), "{}", of(1).name);
    assert_eq!(of(1).media_type, "application/octet-stream");
    assert_eq!((of(2).name.as_str(), of(2).media_type.as_str()), ("attachment", "image/png"));
    assert_eq!(data.attachments.len(), 3);
}

#[test]
fn labels_fields_and_robot_logs_have_several_spellings() {
    let labels = json!(["a", {"name": "b"}, {"label": {"name": "c"}}, {"x": 1}]);
    assert_eq!(filled(Subject::Labels, &labels).labels, ["a", "b", "c"]);
    let fields = json!([{"customFieldDefinition": {"name": "team"}, "value": ["x"]}]);
    let fields = filled(Subject::CustomFields, &fields).custom_fields;
    assert_eq!((fields[0].name.as_str(), fields[0].value.as_str()), ("team", r#"["x"]"#));
    let lines = json!([{"Level": "Error", "Message": "new"}, {"message": "old"}, {"level": 1}]);
    let lines = filled(Subject::RobotLogs, &lines).robot_logs;
    let texts: Vec<_> = lines.iter().map(|line| line.message.as_str()).collect();
    assert_eq!(texts, ["old", "new"]);
}
