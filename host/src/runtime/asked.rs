//! What an export is called with, and how a recording keeps it.

use serde_json::{Value, json};

use crate::domain::{
    Call, Connection, FailedTest, Marker, Refusal, RunRecording, Settings, StringEnum as _,
    is_host_secret,
};
use crate::egress::RunRequests;

use super::answer_json::{AnswerJson, outcome_json};
use super::component::Connector;
use super::test_report::TestReport;

/// A call of an export with its arguments. An argument that the export does not have is absent.
#[derive(Clone, Copy)]
pub(super) struct Asked<'a> {
    pub(super) call: Call,
    pub(super) test: Option<&'a FailedTest>,
    pub(super) marker: Option<&'a Marker>,
    pub(super) key: Option<&'a str>,
    pub(super) attachment: Option<u32>,
    pub(super) project: Option<&'a str>,
    /// The setting, and what a person typed so far.
    pub(super) choices_of: Option<(&'a str, &'a str)>,
}

impl Asked<'_> {
    /// A call without arguments.
    pub(super) fn of(call: Call) -> Self {
        let (test, marker, key, attachment, project, choices_of) = Default::default();
        Self { call, test, marker, key, attachment, project, choices_of }
    }

    /// What the run of this call exchanged with its tracker; `None` if its connection does not
    /// record.
    pub(super) fn recording<T: AnswerJson>(
        &self,
        session: &RunRequests,
        connector: &Connector,
        report: Option<&TestReport>,
        outcome: &Result<T, Refusal>,
    ) -> Option<RunRecording> {
        let (exchanges, missing) = session.take_recording()?;
        let connection = &session.active().connection;
        let redact = |text| session.redact(text);
        let input = self.input(connection, connector, report, &redact);
        let answer = Some(redacted(outcome_json(outcome), &redact));
        Some(RunRecording { input, exchanges, answer, missing })
    }

    /// Everything that the call depends on, as a JSON object. `redact` removes secrets from the
    /// texts of tests. The settings have none: a person who enters a secret there has chosen to
    /// show it.
    fn input(
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
            "event": self.test.map(event),
            "marker": self.marker.map(Marker::as_str),
            "key": self.key,
            "attachment": self.attachment,
            "project": self.project,
            "setting": self.choices_of.map(|(setting, _)| setting),
            "search": self.choices_of.map(|(_, search)| search),
            "settings": connection.settings,
            "report": connection.report,
            "secrets": secrets.collect::<Vec<_>>(),
            "test_data": report.and_then(TestReport::data_json).map(|data| redacted(data, redact)),
            "notes": report.map(TestReport::notes).filter(|notes| !notes.is_empty()),
        });
        let Value::Object(members) = input else { return Settings::new() };
        members.into_iter().filter(|(_, value)| !value.is_null()).collect()
    }
}

/// The body of a Create Defect request for a failed test.
fn event(test: &FailedTest) -> Value {
    let given = json!({
        "testExecutionId": test.test_execution_id,
        "testCaseId": test.test_case_id,
        "variationId": test.variation_id(),
        "linkToTestCaseLog": test.link,
    });
    let Value::Object(members) = given else { return given };
    members.into_iter().filter(|(_, value)| !value.is_null()).collect()
}

/// A value without secrets in its texts.
fn redacted(value: Value, redact: &dyn Fn(String) -> String) -> Value {
    match value {
        Value::String(text) => Value::String(redact(text)),
        Value::Array(items) => items.into_iter().map(|it| redacted(it, redact)).collect(),
        Value::Object(members) => {
            members.into_iter().map(|(name, it)| (name, redacted(it, redact))).collect()
        }
        other => other,
    }
}
