//! Contains the arguments of a call of an export, and makes the recording of this call. Never calls
//! a guest.

use serde_json::{Value, json};

use crate::domain::{
    Call, Connection, FailedTest, Marker, Refusal, RunRecording, Settings, StringEnum as _,
    is_host_secret,
};
use crate::egress::RunRequests;

use super::answer_json::{AnswerJson, outcome_json};
use super::component::Connector;
use super::test_report::TestReport;

/// A call of an export, and its arguments as a recording stores them. The guest gets its arguments
/// separately.
#[derive(Clone, Copy)]
pub(super) struct CallInput<'a> {
    pub(super) call: Call,
    pub(super) test: Option<&'a FailedTest>,
    pub(super) marker: Option<&'a Marker>,
    /// The key of the defect in the tracker.
    pub(super) key: Option<&'a str>,
    pub(super) attachment: Option<u32>,
    pub(super) project: Option<&'a str>,
    /// The setting whose values are listed, and the search text that a person has typed so far.
    pub(super) choices_query: Option<(&'a str, &'a str)>,
}

impl CallInput<'_> {
    pub(super) fn without_arguments(call: Call) -> Self {
        let (test, marker, key, attachment, project, choices_query) = Default::default();
        Self { call, test, marker, key, attachment, project, choices_query }
    }

    /// Returns the recording of this call: its input, its exchanges with the tracker, and its
    /// outcome. Returns `None` if the run does not record exchanges in memory.
    pub(super) fn recording<T: AnswerJson>(
        &self,
        requests: &RunRequests,
        connector: &Connector,
        report: Option<&TestReport>,
        outcome: &Result<T, Refusal>,
    ) -> Option<RunRecording> {
        let (exchanges, missing) = requests.take_recording()?;
        let connection = &requests.active().connection;
        let redact = |text| requests.redact(text);
        let input = self.input_json(connection, connector, report, &redact);
        let answer = Some(redact_texts(outcome_json(outcome), &redact));
        Some(RunRecording { input, exchanges, answer, missing })
    }

    /// Returns the input of the call as a JSON object, for example the arguments, the settings and
    /// the test data. `redact` removes secrets from the test data. Settings are not redacted: a
    /// person who enters a secret as a setting makes it visible.
    fn input_json(
        &self,
        connection: &Connection,
        connector: &Connector,
        report: Option<&TestReport>,
        redact: &dyn Fn(String) -> String,
    ) -> Settings {
        let secrets = connection.secrets_set.iter().filter(|name| !is_host_secret(name));
        let input = json!({
            "call": self.call.as_str(),
            "connector": connector.name().as_str(),
            "connector_sha256": connector.sha256(),
            "connector_version": connector.manifest().version.to_string(),
            "event": self.test.map(create_defect_body),
            "marker": self.marker.map(Marker::as_str),
            "key": self.key,
            "attachment": self.attachment,
            "project": self.project,
            "setting": self.choices_query.map(|(setting, _)| setting),
            "search": self.choices_query.map(|(_, search)| search),
            "settings": connection.settings,
            "report": connection.report,
            "secrets": secrets.collect::<Vec<_>>(),
            "test_data": report.and_then(TestReport::data_json).map(|data| redact_texts(data, redact)),
            "notes": report.map(TestReport::notes).filter(|notes| !notes.is_empty()),
        });
        let Value::Object(members) = input else { return Settings::new() };
        members.into_iter().filter(|(_, value)| !value.is_null()).collect()
    }
}

fn create_defect_body(test: &FailedTest) -> Value {
    let body = json!({
        "testExecutionId": test.test_execution_id,
        "testCaseId": test.test_case_id,
        "variationId": test.variation_id(),
        "linkToTestCaseLog": test.link,
    });
    let Value::Object(members) = body else { return body };
    members.into_iter().filter(|(_, value)| !value.is_null()).collect()
}

/// Redacts all strings of a JSON value, except the names of members.
fn redact_texts(value: Value, redact: &dyn Fn(String) -> String) -> Value {
    match value {
        Value::String(text) => Value::String(redact(text)),
        Value::Array(items) => items.into_iter().map(|item| redact_texts(item, redact)).collect(),
        Value::Object(members) => {
            members.into_iter().map(|(name, value)| (name, redact_texts(value, redact))).collect()
        }
        other => other,
    }
}
