//! Replays recorded events: calls each recorded export again, in the same or another version of its
//! connector, and compares the requests and the answer with the recording.
//!
//! A replay sends nothing and records nothing: requests are answered from the recording, and
//! secrets are replaced by random texts.

mod difference;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use crate::config::LiveConfig;
use crate::connections::{ConnectionError, UnstoredConnection, activate_unstored};
use crate::domain::{
    Call, Clock, ConnectorName, EventId, FailedTest, Journal, Limits, Marker, RecordedRun,
    RunRecording, RunReport, Settings,
};
use crate::egress::Replay;
use crate::plugins::{Plugins, VersionError};
use crate::report::{FixedData, ReportSettings, TestData, TestDataSource};
use crate::runtime::{
    CallArguments, Connector, MemoryJournal, ReturnedValue, RunEnd, RunInput, Sandbox, TestReport,
    outcome_json,
};
use crate::secret::Secret;
use crate::store::{Store, StoreError};

pub use difference::{ReplayedRequest, RequestText};

/// The parts that a replay needs.
pub struct Dependencies {
    /// The store of events and recordings.
    pub store: Arc<dyn Store>,
    /// The versions of connectors.
    pub plugins: Arc<Plugins>,
    /// Runs the guests.
    pub sandbox: Arc<Sandbox>,
    /// The wall clock.
    pub clock: Arc<dyn Clock>,
    /// The configuration of the server.
    pub config: Arc<LiveConfig>,
}

/// Replays recorded events.
pub struct EventReplayer {
    deps: Dependencies,
}

/// Which runs of an event are replayed, with which version and settings.
#[derive(Debug, Default)]
pub struct ReplayOptions {
    /// The beginning of the SHA-256 of a version, or `newest`. `None`: the version that was
    /// recorded.
    pub version: Option<String>,
    /// Replays only the runs of this export. `None`: all recorded runs of the event.
    pub call: Option<Call>,
    /// Settings that are changed for the replay; the value `None` removes a setting.
    pub settings: BTreeMap<String, Option<Value>>,
}

/// A recorded run, and the result of its replay.
#[derive(Debug)]
pub struct ReplayedRun {
    /// The export that was called.
    pub call: Call,
    /// The connector's version in the recorded run, from its manifest.
    pub recorded_version: String,
    /// SHA-256 of the connector's file in the recorded run.
    pub recorded_sha256: String,
    /// The reason why the recording lacks exchanges; `None` if the recording is complete.
    pub missing: Option<String>,
    /// Log, outcome and usage of the replay. Its outbound calls were answered from the recording.
    pub report: RunReport,
    /// The limits of the replay.
    pub limits: Limits,
    /// The requests of the recorded run and of the replay, compared.
    pub requests: Vec<ReplayedRequest>,
    /// What the export returned in the recorded run; `None` if an earlier Jackfield version
    /// recorded the run.
    pub recorded_answer: Option<Value>,
    /// What the export returned in the replay.
    pub answer: Value,
}

/// The reason why an event cannot be replayed.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// There is no such event.
    #[error("there is no such event")]
    NoEvent,
    /// The event has no recording: it was not recorded, or the recording was deleted.
    #[error("the event has no recording")]
    NotRecorded,
    /// The event has no recorded run of this export.
    #[error("the event has no recorded run of `{0}`; it has {1}")]
    NoRun(Call, String),
    /// The stored recording cannot be read.
    #[error("the recording cannot be read: {0}")]
    Unreadable(String),
    /// The version to replay with does not exist or cannot be used.
    #[error(transparent)]
    Version(#[from] VersionError),
    /// The version does not accept the recorded settings with the requested changes.
    #[error(transparent)]
    Settings(#[from] ConnectionError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

fn unreadable_error(error: impl std::fmt::Display) -> ReplayError {
    ReplayError::Unreadable(error.to_string())
}

impl EventReplayer {
    /// Creates a replayer from its parts.
    #[must_use]
    pub fn new(deps: Dependencies) -> Self {
        Self { deps }
    }

    /// Replays the recorded runs of an event, and compares each run with its recording.
    ///
    /// # Errors
    /// The event cannot be replayed, for the reason in the [`ReplayError`].
    pub async fn replay(
        &self,
        event: EventId,
        options: &ReplayOptions,
    ) -> Result<Vec<ReplayedRun>, ReplayError> {
        let store = &self.deps.store;
        // Wait until the queued recordings are stored, because the recording of this event may be
        // one of them.
        store.flush().await?;
        store.event(event).await?.ok_or(ReplayError::NoEvent)?;
        let recorded = store.recording(event).await?;
        if recorded.is_empty() {
            return Err(ReplayError::NotRecorded);
        }
        let is_wanted = |run: &RecordedRun| options.call.is_none_or(|call| run.call == call);
        let (wanted, others): (Vec<_>, Vec<_>) = recorded.into_iter().partition(is_wanted);
        if let (Some(call), true) = (options.call, wanted.is_empty()) {
            let names: Vec<_> = others.iter().map(|run| run.call.to_string()).collect();
            return Err(ReplayError::NoRun(call, names.join(", ")));
        }
        let mut replayed = Vec::new();
        for run in wanted {
            replayed.push(self.replay_run(run, options).await?);
        }
        Ok(replayed)
    }

    async fn replay_run(
        &self,
        RecordedRun { call, recording }: RecordedRun,
        options: &ReplayOptions,
    ) -> Result<ReplayedRun, ReplayError> {
        let RunRecording { input, exchanges, answer: recorded_answer, missing } = recording;
        let input = RecordedInput::parse(input)?;
        let name: ConnectorName = input.connector.parse().map_err(unreadable_error)?;
        let version = options.version.as_deref().unwrap_or(&input.connector_sha256);
        let connector = self.deps.plugins.version(&name, version).await?;
        let limits = self.deps.config.current().limits_of(&name);
        let replay = Replay::from_event_exchanges(&exchanges).map_err(unreadable_error)?;
        let connection = input.connection(&connector, &options.settings);
        let active = activate_unstored(
            connection,
            &connector,
            &self.deps.config.current(),
            self.deps.clock.now(),
        )?;
        let active = Arc::new(active.with_replay(Arc::clone(&replay)));
        // Use a copy of the version, because a replay must not count as a run of the version in
        // use.
        let connector = Arc::new(connector.with_limits(limits));
        let run = RunInput::new(connector, active);
        let RunEnd { outcome, report, .. } = self.call_export(run, call, &input, &limits).await?;
        Ok(ReplayedRun {
            call,
            recorded_version: input.connector_version,
            recorded_sha256: input.connector_sha256,
            missing,
            report,
            limits,
            requests: difference::compare_requests(&replay),
            recorded_answer,
            answer: outcome_json(&outcome),
        })
    }

    async fn call_export(
        &self,
        run: RunInput,
        call: Call,
        input: &RecordedInput,
        limits: &Limits,
    ) -> Result<RunEnd<ReturnedValue>, ReplayError> {
        let test = input.failed_test();
        let marker = match &input.marker {
            Some(marker) => marker.parse().map_err(unreadable_error)?,
            None => Marker::derive(run.active.connection.id, &test, 1),
        };
        let settings = ReportSettings::read(&run.active.connection.report);
        let data = input.test_data.clone().map(|data| FixedData::with_ids_of(&test, data));
        let source = data.map(|data| Arc::new(data) as Arc<dyn TestDataSource>);
        let deadline = Instant::now() + Duration::from_millis(limits.create_answer_ms / 2);
        // The settings are valid: `activate_unstored` has checked them.
        let report = TestReport::new(test.clone(), settings.unwrap_or_default(), source, deadline);
        let arguments = CallArguments {
            test: &test,
            marker: &marker,
            key: text_or_empty(input.key.as_ref()),
            attachment: input.attachment.unwrap_or(0),
            project: text_or_empty(input.project.as_ref()),
            choices_query: (
                text_or_empty(input.setting.as_ref()),
                text_or_empty(input.search.as_ref()),
            ),
            journal: MemoryJournal::new(marker.clone()) as Arc<dyn Journal>,
            report: Arc::new(report.with_notes(input.notes.clone())),
        };
        Ok(self.deps.sandbox.call(run, call, arguments).await)
    }
}

/// The input of a recorded run.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
struct RecordedInput {
    connector: String,
    connector_sha256: String,
    connector_version: String,
    event: Option<RecordedTest>,
    /// The marker of the defect or of the comment; `None` for calls without a marker.
    marker: Option<String>,
    /// The key of the defect in the tracker, for follow-up calls.
    key: Option<String>,
    /// The index of the attachment, for `attach`.
    attachment: Option<u32>,
    /// The Test Manager project, for `count`.
    project: Option<String>,
    /// The setting whose values are listed, for `choices`.
    setting: Option<String>,
    /// The text that a person had typed, for `choices`.
    search: Option<String>,
    /// The connection's settings, without secrets.
    settings: Settings,
    /// The settings of the connection's report.
    report: Settings,
    /// The names of the secrets.
    secrets: Vec<String>,
    /// The data from which the report was made.
    test_data: Option<TestData>,
    /// The notes in the report, for example about routing rules.
    notes: Vec<String>,
}

/// A failed test in a recording, in the form of a Create Defect body.
#[derive(Debug, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct RecordedTest {
    test_execution_id: uuid::Uuid,
    test_case_id: uuid::Uuid,
    variation_id: Option<String>,
    link_to_test_case_log: Option<String>,
}

impl RecordedInput {
    fn parse(input: Settings) -> Result<Self, ReplayError> {
        serde_json::from_value(Value::Object(input)).map_err(unreadable_error)
    }

    /// Makes the connection of the replay. The connection has the recorded settings that this
    /// version declares, with the requested changes. The value of each secret is a random text.
    fn connection(
        &self,
        connector: &Connector,
        changes: &BTreeMap<String, Option<Value>>,
    ) -> UnstoredConnection {
        let manifest = connector.manifest();
        let mut settings = self.settings.clone();
        settings.retain(|name, _| manifest.declares(name));
        for (name, value) in changes {
            match value {
                Some(value) => settings.insert(name.clone(), value.clone()),
                None => settings.remove(name),
            };
        }
        let required = manifest.declared_values();
        let required = required.iter().filter(|it| it.is_secret && it.is_required);
        let recorded = self.secrets.iter().filter(|name| manifest.declares(name));
        let secrets = recorded.chain(required.map(|it| &it.name));
        UnstoredConnection {
            settings,
            secrets: secrets.map(|name| (name.clone(), Secret::fresh_token())).collect(),
            // The next two options have no effect, because a replay sends nothing.
            allow_private: false,
            http1_only: false,
            report: self.report.clone(),
            may_be_incomplete: false,
        }
    }

    /// Returns the failed test of the call, or one whose ids are nil if the call has none.
    fn failed_test(&self) -> FailedTest {
        let nil = uuid::Uuid::nil();
        self.event.as_ref().map_or_else(
            || FailedTest::new(nil, nil, None, None),
            |test| {
                let (execution, case) = (test.test_execution_id, test.test_case_id);
                let variation = test.variation_id.clone();
                let link = test.link_to_test_case_log.clone();
                FailedTest::new(execution, case, variation, link)
            },
        )
    }
}

fn text_or_empty(argument: Option<&String>) -> &str {
    argument.map_or("", String::as_str)
}
