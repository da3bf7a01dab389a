//! The text after the options in `jackfield invoke --help`.

pub(super) const AFTER_HELP: &str = r#"The connector gets the grants that it requests for these settings, as if a connection were
created. Prints what the export returned, the log, the requests, and the use of each limit. The
exit code is 0 if the export returned ok and the recording or replay is complete.

With --record, each exchange with the tracker is stored in a folder, without credentials. With
--replay, requests are answered from that folder by method, URL and body, without network. So the
folder and an event file are a test of the connector. A folder that `jackfield fixture` wrote also
contains the event, the settings and the other arguments; arguments of the command replace them.

--test-data is a file with the data that a connector reads through `report` and `test-manager`, a
JSON object. Its members have the names that templates use; each may be missing:
  {"project": {"prefix": "SHOP", "name": "Web shop"}, "test_set": {"key": "SHOP:40", "name": "Smoke"},
   "test_case": {"key": "SHOP:12", "name": "Check the total", "description": "…"},
   "execution": {"name": "Nightly", "started_at": "2026-01-31T08:00:00Z"},
   "log": {"result": "Failed", "info": "…", "machine": "robot-1", "input_arguments": "{}"},
   "assertions": [{"message": "Expected 19, found 16", "succeeded": false}],
   "robot_logs": [{"at": "…", "level": "Error", "message": "…"}],
   "steps": [{"description": "…", "expected": "…", "actual": "…", "result": "Failed"}],
   "requirements": [{"key": "SHOP:7", "name": "Taxes"}], "labels": ["checkout"],
   "custom_fields": [{"name": "Team", "value": "Payments"}],
   "history": [{"result": "Passed", "finished_at": "…"}],
   "attachments": [{"kind": "screenshot", "name": "a.png", "media_type": "image/png"}],
   "gaps": [{"what": "the robot's log", "why": "Test Manager answered 403"}]}

The compiled connector is cached for the next call: in the data folder of --data, or else in
$XDG_CACHE_HOME/jackfield or ~/.cache/jackfield, which gets at most 1 GiB of compiled connectors.

Examples:
  jackfield invoke redmine.wasm check --settings settings.json --secret api-key=@key-file
  jackfield invoke redmine.wasm create-defect --settings settings.json --secret api-key=@key-file \
      --event event.json --record create
  jackfield invoke redmine.wasm create-defect --settings settings.json --secret api-key=@key-file \
      --event event.json --replay create
  jackfield invoke redmine.wasm find --marker MARKER --set url=https://redmine.example.com \
      --set project=qa --secret api-key=env:JACKFIELD_SECRET_KEY
  jackfield invoke redmine.wasm choices --setting project --settings settings.json \
      --secret api-key=@key-file"#;

#[cfg(test)]
mod tests {
    use crate::domain::Settings;
    use crate::report::TestData;

    use super::AFTER_HELP;

    #[test]
    fn the_test_data_in_the_help_is_valid_and_has_every_member() {
        let example = AFTER_HELP.split_once("each may be missing:").expect("an example").1;
        let end = example.find("]}\n").expect("the end of the example");
        let example = &example[..end + 2];
        let data: TestData = serde_json::from_str(example).expect("test data");
        assert!(!data.gaps.is_empty());
        let example_members: Settings = serde_json::from_str(example).expect("an object");
        let all = serde_json::to_value(data).expect("an object");
        for name in all.as_object().expect("an object").keys() {
            let members_of_event = ["test_execution_id", "test_case_id", "variation_id", "link"];
            let is_of_event = members_of_event.contains(&name.as_str());
            assert!(
                is_of_event || example_members.contains_key(name),
                "{name} is missing in the help"
            );
        }
        assert!(serde_json::from_str::<TestData>(r#"{"labls": []}"#).is_err());
    }
}
