//! Calls one export of a connector file for `jackfield invoke` and `jackfield test`. The call runs
//! in the same sandbox as in the server, but without a server and without a database.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use jiff::Timestamp;
use tempfile::TempDir;
use tokio::time::Instant;

use crate::config::Config;
use crate::connections::{UnstoredConnection, activate_unstored};
use crate::domain::{
    Call, Clock as _, ConnectorFault, FailedTest, Grants, Journal, Limits, Marker, Refusal,
    RunReport, WriteRecord, confirmed_or_nothing_sent,
};
use crate::egress::{ActiveConnection, Recorder, Replay, Tape, TapeError};
use crate::manifest::missing_grants;
use crate::plugins::CodeCache;
use crate::report::{FixedData, ReportSettings, TestData, TestDataSource};
use crate::runtime::{
    CallArguments, Connector, MemoryJournal, ReturnedValue, RunEnd, RunInput, TestReport,
};

use super::ConnectorLoader;

/// Where the answers to the guest's requests come from, and whether the exchanges (the requests
/// with their answers) are recorded.
#[derive(Debug)]
pub enum AnswerSource {
    /// The tracker answers.
    Tracker,
    /// The tracker answers, and each exchange is stored in this folder.
    Record(PathBuf),
    /// The recording in this folder answers.
    Replay(PathBuf),
}

/// One call of an export, with its arguments.
#[derive(Debug)]
pub struct Invocation {
    /// The connector file.
    pub file: PathBuf,
    /// The export to call.
    pub call: Call,
    /// The failed test.
    pub test: FailedTest,
    /// The marker of the call; if it is `None`, the marker is derived from the failed test.
    pub marker: Option<Marker>,
    /// The key of a defect, for `follow-up`.
    pub key: String,
    /// The id of an attachment, for `attach`.
    pub attachment: u32,
    /// The project, for `kpis`.
    pub project: String,
    /// The name of the setting and the text that a person typed, for `choices`.
    pub choices_query: (String, String),
    /// The data of the report; if it is `None`, the report has only the ids of the failed test.
    pub test_data: Option<TestData>,
    /// Notes for people at the end of the report's texts.
    pub notes: Vec<String>,
}

/// The result of a call.
#[derive(Debug)]
pub struct InvocationResult {
    /// What the export returned, or the reason why the call failed.
    pub answer: Result<ReturnedValue, Refusal>,
    /// The log, the requests and the usage of the run.
    pub report: RunReport,
    /// The limits of the call.
    pub limits: Limits,
    /// The marker of the call.
    pub marker: Marker,
    /// The grants of the connection, as phrases.
    pub grant_phrases: Vec<String>,
    /// Warnings for people, which the server would also show.
    pub warnings: Vec<String>,
    /// The result of recording or replaying the exchanges.
    pub tape_result: TapeResult,
}

/// Whether the exchanges of a call were recorded or replayed, and with which result.
#[derive(Debug)]
pub enum TapeResult {
    /// Nothing was recorded or replayed.
    None,
    /// The number of recorded exchanges, or the reason why the recording is incomplete.
    Recorded(Result<usize, TapeError>),
    /// The names of the recorded files that were not used, or the reason why a request had no
    /// answer.
    Replayed(Result<Vec<String>, TapeError>),
}

/// Calls exports of connector files.
pub struct Invoker {
    loader: ConnectorLoader,
    /// Records or answers the requests of the calls.
    tape: Option<Tape>,
    /// The temporary folder for large bodies, deleted when this value is dropped.
    _folder: TempDir,
}

impl Invoker {
    /// Starts the engine.
    ///
    /// # Errors
    /// The engine cannot be started, or the folder of a recording or the temporary folder cannot be
    /// used.
    pub fn start(
        config: Config,
        cache: CodeCache,
        answer_source: &AnswerSource,
    ) -> anyhow::Result<Self> {
        let tape = match answer_source {
            AnswerSource::Tracker => None,
            AnswerSource::Record(folder) => Some(Tape::Record(Arc::new(Recorder::create(folder)?))),
            AnswerSource::Replay(folder) => Some(Tape::Replay(Arc::new(Replay::read(folder)?))),
        };
        Self::start_in_temporary_folder(config, cache, tape)
    }

    /// Starts the engine. `tape` records or answers the requests of all calls.
    ///
    /// # Errors
    /// The engine cannot be started, or the temporary folder cannot be created.
    pub fn start_with_tape(config: Config, tape: Option<Tape>) -> anyhow::Result<Self> {
        Self::start_in_temporary_folder(config, CodeCache::Temporary, tape)
    }

    fn start_in_temporary_folder(
        mut config: Config,
        cache: CodeCache,
        tape: Option<Tape>,
    ) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir().context("cannot create a temporary folder")?;
        folder.path().clone_into(&mut config.data);
        std::fs::create_dir_all(config.data_folder().spool_folder())?;
        let loader = ConnectorLoader::start_with_cache(config, cache, tape.clone())?;
        Ok(Self { loader, tape, _folder: folder })
    }

    /// Loads the connector file, and makes the call: `describe` without a connection, any other
    /// call for a connection with these values.
    ///
    /// # Errors
    /// The server would not load the file, or it would not create the connection.
    pub async fn invoke(
        &self,
        invocation: &Invocation,
        values: UnstoredConnection,
    ) -> anyhow::Result<InvocationResult> {
        let connector = self.load(&invocation.file).await?;
        let active = match invocation.call {
            // The server also calls `describe` without a connection.
            Call::Describe => Arc::new(ActiveConnection::without_grants()),
            _ => self.new_connection(&connector, values)?,
        };
        self.call(connector, active, invocation).await
    }

    /// Loads a connector file, which can then be called several times.
    ///
    /// # Errors
    /// The server would not load the file.
    pub async fn load(&self, file: &Path) -> anyhow::Result<Arc<Connector>> {
        let loaded = self.loader.load(file).await;
        let (connector, _) =
            loaded.with_context(|| format!("the server would not load {}", file.display()))?;
        Ok(connector)
    }

    /// Creates a connection with these values, which can be used for several calls.
    ///
    /// # Errors
    /// The server would not create the connection.
    pub fn new_connection(
        &self,
        connector: &Connector,
        values: UnstoredConnection,
    ) -> anyhow::Result<Arc<ActiveConnection>> {
        let active =
            activate_unstored(values, connector, &self.loader.config.current(), self.now());
        Ok(Arc::new(active.context("the server would not create this connection")?))
    }

    /// Returns the time of the clock that the calls use.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.loader.guest_runtime.clock.now()
    }

    /// Makes one call. Uses `connector`, and does not read the file that `invocation` names.
    ///
    /// # Errors
    /// The settings of the connection's report are not valid.
    pub async fn call(
        &self,
        connector: Arc<Connector>,
        active: Arc<ActiveConnection>,
        invocation: &Invocation,
    ) -> anyhow::Result<InvocationResult> {
        let connection = &active.connection;
        let derived_marker = || Marker::derive(connection.id, &invocation.test, 1);
        let marker = invocation.marker.clone().unwrap_or_else(derived_marker);
        let mut warnings = active.warnings();
        let grant_phrases = missing_grants(&Grants::default(), &connection.grants);
        let limits = self.loader.config.current().limits_of(connector.name());
        let journal = MemoryJournal::new(marker.clone());
        let arguments = CallArguments {
            test: &invocation.test,
            marker: &marker,
            key: &invocation.key,
            attachment: invocation.attachment,
            project: &invocation.project,
            choices_query: (&invocation.choices_query.0, &invocation.choices_query.1),
            journal: Arc::clone(&journal) as Arc<dyn Journal>,
            report: new_test_report(invocation, &active, &limits)?,
        };
        let run = RunInput::new(connector, active);
        let sandbox = &self.loader.guest_runtime.sandbox;
        let RunEnd { outcome, report, writes } =
            sandbox.call(run, invocation.call, arguments).await;
        let answer = require_confirmed_write(outcome, &writes);
        warnings.extend(journal.warning());
        let tape_result = match &self.tape {
            None => TapeResult::None,
            Some(Tape::Record(recorder)) => TapeResult::Recorded(recorder.exchange_count()),
            Some(Tape::Replay(replay)) => TapeResult::Replayed(replay.unused_files()),
        };
        Ok(InvocationResult {
            answer,
            report,
            limits,
            marker,
            grant_phrases,
            warnings,
            tape_result,
        })
    }
}

/// Accepts a returned defect only if the tracker confirmed a write, or if no write was sent.
fn require_confirmed_write(
    outcome: Result<ReturnedValue, Refusal>,
    writes: &[WriteRecord],
) -> Result<ReturnedValue, Refusal> {
    match outcome {
        Ok(ReturnedValue::Defect(defect)) if !confirmed_or_nothing_sent(writes) => {
            let why = format!(
                "it returned the defect {:?}, but the tracker confirmed no write",
                defect.key
            );
            Err(Refusal::ConnectorFault(ConnectorFault::Contract(why)))
        }
        other => other,
    }
}

fn new_test_report(
    invocation: &Invocation,
    active: &ActiveConnection,
    limits: &Limits,
) -> anyhow::Result<Arc<TestReport>> {
    let settings = ReportSettings::read(&active.connection.report).map_err(|problems| {
        let problem = problems.first();
        let why = problem.map(|problem| format!("report.{}: {}", problem.member, problem.why));
        anyhow::anyhow!(why.unwrap_or_else(|| "the report settings are not valid".to_owned()))
    })?;
    let fixed_source = |data: &TestData| {
        Arc::new(FixedData::with_ids_of(&invocation.test, data.clone())) as Arc<dyn TestDataSource>
    };
    let source = invocation.test_data.as_ref().map(fixed_source);
    let deadline = Instant::now() + Duration::from_millis(limits.create_answer_ms / 2);
    let report = TestReport::new(invocation.test.clone(), settings, source, deadline);
    Ok(Arc::new(report.with_notes(invocation.notes.clone())))
}
