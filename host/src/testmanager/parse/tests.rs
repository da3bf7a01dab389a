//! Tests that Test Manager's JSON is read into the data of a failed test.

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::domain::StringEnum as _;

fn parse_subject(subject: Subject, value: &Value) -> TestData {
    let mut data = TestData::default();
    set_fields_of_subject(&mut data, subject, value);
    data
}

#[test]
fn a_log_is_read_although_members_are_missing() {
    let data = parse_subject(
        Subject::TestCaseLog,
        &json!({"Id": "1", "result": "Failed", "info": null, "inputArguments": {"a": 1},
                "outputArguments": "{}", "unknown": [1, 2]}),
    );
    let log = data.log.unwrap();
    assert_eq!((log.id.as_str(), log.result.as_deref()), ("1", Some("Failed")));
    assert_eq!(log.input_arguments.as_deref(), Some(r#"{"a":1}"#));
    assert_eq!((log.output_arguments.as_deref(), log.info), (Some("{}"), None));
    for broken in [json!(null), json!([]), json!("x"), json!({"result": "Failed"})] {
        assert_eq!(parse_subject(Subject::TestCaseLog, &broken), TestData::default(), "{broken}");
    }
}

#[test]
fn every_subject_accepts_any_json() {
    for subject in Subject::ALL {
        for value in [json!(null), json!([null, 1, "x", [], {}]), json!({"id": {"id": 1}})] {
            parse_subject(*subject, &value);
        }
    }
}

proptest! {
    #[test]
    fn any_json_is_read_without_a_panic(value in random_json(), index in 0..Subject::ALL.len()) {
        parse_subject(Subject::ALL[index], &value);
        crate::testmanager::json::list_items(&value);
    }
}

/// Creates random JSON with names that the parser reads, and with other names.
fn random_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,9}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 5, |inner| {
        let name = prop_oneof![
            "(id|name|message|data|value|label|size|hasScreenshot|screenshotFileName|fileName)",
            ".{0,5}",
        ];
        let members = prop::collection::btree_map(name, inner.clone(), 0..5);
        prop_oneof![
            prop::collection::vec(inner, 0..5).prop_map(Value::from),
            members.prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

#[test]
fn robot_logs_are_oldest_first_and_earlier_results_newest_first() {
    let lines = json!([
        {"message": "first", "timeStamp": "2026-01-01T00:00:00.1000000Z"},
        {"message": "second", "timeStamp": "2026-01-01T00:00:00.2000000Z"},
    ]);
    let lines = parse_subject(Subject::RobotLogs, &lines).robot_logs;
    assert_eq!(lines[0].message, "first", "the answer lists the oldest line first");
    let mut data = TestData { test_execution_id: "e1".to_owned(), ..TestData::default() };
    let history = json!([
        {"testExecutionId": "e0", "executionEnd": "2026-01-01T00:00:00Z"},
        {"testExecutionId": "E1", "executionEnd": "2026-01-03T00:00:00Z"},
        {"testExecutionId": "e2", "executionEnd": "2026-01-02T00:00:00Z"},
    ]);
    set_fields_of_subject(&mut data, Subject::History, &history);
    let ids: Vec<_> =
        data.history.iter().filter_map(|past| past.test_execution_id.as_deref()).collect();
    assert_eq!(ids, ["e2", "e0"]);
}

#[test]
fn screenshots_of_failed_assertions_come_first() {
    let data = parse_subject(
        Subject::Assertions,
        &json!([
            {"id": "1", "succeeded": true, "hasScreenshot": true},
            {"id": "2", "message": "a = b", "succeeded": false, "hasScreenshot": "true",
             "screenshotFileName": "C:\\shots\\..\\end.JPG", "screenshotFileSize": 7},
            {"id": "3", "status": "Passed"},
            {"id": "4", "hasScreenshot": true, "screenshotFileName": ".."},
        ]),
    );
    let succeeded: Vec<_> = data.assertions.iter().map(|assertion| assertion.succeeded).collect();
    assert_eq!(succeeded, [true, false, true, false]);
    let files: Vec<_> = data
        .attachments
        .iter()
        .map(|file| {
            (file.source_id.as_str(), file.name.as_str(), file.media_type.as_str(), file.size)
        })
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
    let data = parse_subject(
        Subject::Attachments,
        &json!([
            {"id": "1", "fileName": "../../a b.log", "size": "12"},
            {"id": "2", "name": "x\u{202e}gnp.exe", "contentType": "text/plain\r\nx: y"},
            {"id": "3", "name": "", "contentType": "image/png"},
            {"name": "without an id"},
        ]),
    );
    let file = |index: usize| &data.attachments[index];
    assert_eq!((file(0).name.as_str(), file(0).size), ("a b.log", Some(12)));
    assert_eq!(file(0).media_type, "text/plain");
    assert!(!file(1).name.contains('\u{202e}'), "{}", file(1).name);
    assert_eq!(file(1).media_type, "application/octet-stream");
    assert_eq!((file(2).name.as_str(), file(2).media_type.as_str()), ("attachment", "image/png"));
    assert_eq!(data.attachments.len(), 3);
}

#[test]
fn labels_fields_and_robot_logs_are_read_with_several_member_names() {
    let labels = json!(["a", {"name": "b"}, {"label": {"name": "c"}}, {"x": 1}]);
    assert_eq!(parse_subject(Subject::Labels, &labels).labels, ["a", "b", "c"]);
    let fields = json!([{"customFieldDefinition": {"name": "team"}, "value": ["x"]}]);
    let fields = parse_subject(Subject::CustomFields, &fields).custom_fields;
    assert_eq!((fields[0].name.as_str(), fields[0].value.as_str()), ("team", r#"["x"]"#));
    let lines = json!([{"Level": "Error", "Message": "new"}, {"message": "old"}, {"level": 1}]);
    let lines = parse_subject(Subject::RobotLogs, &lines).robot_logs;
    let texts: Vec<_> = lines.iter().map(|line| line.message.as_str()).collect();
    assert_eq!(texts, ["old", "new"]);
}
