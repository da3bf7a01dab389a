//! The parts of `jackfield invoke` and `jackfield test`: one call of one export of a connector
//! file, in the sandbox of the server, without a server and without a database.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use jiff::Timestamp;
use tempfile::TempDir;
use tokio::time::Instant;

use crate::config::Config;
use crate::connections::{Unstored, activate};
use crate::domain::{
    Call, Clock as _, ConnectorFault, FailedTest, Grants, Journal, Limits, Marker, Refusal,
    RunReport, WriteRecord, confirmed_or_nothing_sent,
};
use crate::egress::{ActiveConnection, Recorder, Replay, Tape, TapeError};
use crate::manifest::missing_grants;
use crate::plugins::CodeCache;
use crate::report::{FixedData, ReportSettings, Source, TestData};
use crate::runtime::{
    CallArguments, Connector, ExportAnswer, MemoryJournal, Run, RunEnd, TestReport,
};

use super::Checker;

/// Where answers come from, and where exchanges are kept.
#[derive(Debug)]
pub enum Exchanges {
    /// From the tracker.
    Tracker,
    /// From the tracker; each exchange is kept in this folder.
    Record(PathBuf),
    /// From the recording in this folder.
    Replay(PathBuf),
}

/// One call.
#[derive(Debug)]
pub struct Invocation {
    /// The connector file.
    pub file: PathBuf,
    /// The export.
    pub call: Call,
    /// Its failed test.
    pub test: FailedTest,
    /// The marker; absent: that of the failed test.
    pub marker: Option<Marker>,
    /// The key of a defect, for `follow-up`.
    pub key: String,
    /// The id of an attachment, for `attach`.
    pub attachment: u32,
    /// The project, for `kpis`.
    pub project: String,
    /// The setting and what a person typed, for `choices`.
    pub choices_of: (String, String),
    /// The data of the report; absent: the ids of the failed test alone.
    pub test_data: Option<TestData>,
    /// Notes for people at the end of the report's texts.
    pub notes: Vec<String>,
}

/// A call that ended.
#[derive(Debug)]
pub struct Invoked {
    /// What the export returned, or why there is nothing.
    pub answer: Result<ExportAnswer, Refusal>,
    /// Log, requests and usage.
    pub report: RunReport,
    /// The limits of the call.
    pub limits: Limits,
    /// The marker of the call.
    pub marker: Marker,
    /// What was granted, as phrases.
    pub granted: Vec<String>,
    /// For people: what the server would warn of.
    pub warnings: Vec<String>,
    /// What happened to the recording.
    pub tape: TapeEnd,
}

/// What happened to a recording.
#[derive(Debug)]
pub enum TapeEnd {
    /// There was none.
    None,
    /// So many exchanges were written, or why the recording is incomplete.
    Recorded(Result<usize, TapeError>),
    /// The files that were not used, or why a request had no answer.
    Replayed(Result<Vec<String>, TapeError>),
}

/// Makes calls.
pub struct Invoker {
    loader: Checker,
    tape: Option<Tape>,
    /// For large bodies.
    _folder: TempDir,
}

impl Invoker {
    /// Starts the engine.
    ///
    /// # Errors
    /// What cannot be started, or why the folder of a recording cannot be used.
    pub fn start(config: Config, cache: CodeCache, exchanges: &Exchanges) -> anyhow::Result<Self> {
        let tape = match exchanges {
            Exchanges::Tracker => None,
            Exchanges::Record(folder) => Some(Tape::Record(Arc::new(Recorder::create(folder)?))),
            Exchanges::Replay(folder) => Some(Tape::Replay(Arc::new(Replay::read(folder)?))),
        };
        Self::start_in(config, cache, tape)
    }

    /// Starts the engine, with this tape for the requests of all calls.
    ///
    /// # Errors
    /// What cannot be started.
    pub fn start_with(config: Config, tape: Option<Tape>) -> anyhow::Result<Self> {
        Self::start_in(config, CodeCache::Temporary, tape)
    }

    fn start_in(mut config: Config, cache: CodeCache, tape: Option<Tape>) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir().context("cannot create a temporary folder")?;
        folder.path().clone_into(&mut config.data);
        std::fs::create_dir_all(config.data_folder().spool())?;
        let loader = Checker::start_with(config, cache, tape.clone())?;
        Ok(Self { loader, tape, _folder: folder })
    }

    /// Makes the call for a connection with these values.
    ///
    /// # Errors
    /// The server would not load the file, or it would not create the connection.
    pub async fn invoke(&self, asked: &Invocation, values: Unstored) -> anyhow::Result<Invoked> {
        let connector = self.load(&asked.file).await?;
        let active = match asked.call {
            // The server calls it without a connection too.
            Call::Describe => Arc::new(ActiveConnection::without_grants()),
            _ => self.connect(&connector, values)?,
        };
        self.call(connector, active, asked).await
    }

    /// Loads a file, for several calls.
    ///
    /// # Errors
    /// The server would not load the file.
    pub async fn load(&self, file: &Path) -> anyhow::Result<Arc<Connector>> {
        let loaded = self.loader.load(file).await;
        let (connector, _) =
            loaded.with_context(|| format!("the server would not load {}", file.display()))?;
        Ok(connector)
    }

    /// A connection with these values, for several calls.
    ///
    /// # Errors
    /// The server would not create the connection.
    pub fn connect(
        &self,
        connector: &Connector,
        values: Unstored,
    ) -> anyhow::Result<Arc<ActiveConnection>> {
        let active = activate(values, connector, &self.loader.config.now(), self.now());
        Ok(Arc::new(active.context("the server would not create this connection")?))
    }

    /// The time of the clock that the calls have.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.loader.guest_runtime.clock.now()
    }

    /// Makes one call; the file that `asked` names is not read.
    ///
    /// # Errors
    /// The settings of the connection's report are not valid.
    pub async fn call(
        &self,
        connector: Arc<Connector>,
        active: Arc<ActiveConnection>,
        asked: &Invocation,
    ) -> anyhow::Result<Invoked> {
        let connection = &active.connection;
        let of_test = || Marker::derive(connection.id, &asked.test, 1);
        let marker = asked.marker.clone().unwrap_or_else(of_test);
        let mut warnings = active.warnings();
        let granted = missing_grants(&Grants::default(), &connection.grants);
        let limits = self.loader.config.now().limits_of(connector.name());
        let journal = MemoryJournal::new(marker.clone());
        let arguments = CallArguments {
            test: &asked.test,
            marker: &marker,
            key: &asked.key,
            attachment: asked.attachment,
            project: &asked.project,
            choices_of: (&asked.choices_of.0, &asked.choices_of.1),
            journal: Arc::clone(&journal) as Arc<dyn Journal>,
            report: test_report(asked, &active, &limits)?,
        };
        let run = Run::new(connector, active);
        let sandbox = &self.loader.guest_runtime.sandbox;
        let RunEnd { outcome, report, writes } = sandbox.call(run, asked.call, arguments).await;
        let answer = confirmed(outcome, &writes);
        warnings.extend(journal.warning());
        let tape = match &self.tape {
            None => TapeEnd::None,
            Some(Tape::Record(recorder)) => TapeEnd::Recorded(recorder.end()),
            Some(Tape::Replay(replay)) => TapeEnd::Replayed(replay.end()),
        };
        Ok(Invoked { answer, report, limits, marker, granted, warnings, tape })
    }
}

/// As the server does: a defect counts only if the tracker confirmed a write, or none was sent.
fn confirmed(
    outcome: Result<ExportAnswer, Refusal>,
    writes: &[WriteRecord],
) -> Result<ExportAnswer, Refusal> {
    match outcome {
        Ok(ExportAnswer::Defect(defect)) if !confirmed_or_nothing_sent(writes) => {
            let why = format!(
                "it returned the defect {:?}, but the tracker confirmed no write",
                defect.key
            );
            Err(Refusal::ConnectorFault(ConnectorFault::Contract(why)))
        }
        other => other,
    }
}

/// The report of the failed test, from the test data of the call or from its ids alone.
fn test_report(
    asked: &Invocation,
    active: &ActiveConnection,
    limits: &Limits,
) -> anyhow::Result<Arc<TestReport>> {
    let settings = ReportSettings::read(&active.connection.report).map_err(|problems| {
        let problem = problems.first();
        let why = problem.map(|it| format!("report.{}: {}", it.member, it.why));
        anyhow::anyhow!(why.unwrap_or_default())
    })?;
    let fixed =
        |data: &TestData| Arc::new(FixedData::of(&asked.test, data.clone())) as Arc<dyn Source>;
    let source = asked.test_data.as_ref().map(fixed);
    let deadline = Instant::now() + Duration::from_millis(limits.create_answer_ms / 2);
    let report = TestReport::new(asked.test.clone(), settings, source, deadline);
    Ok(Arc::new(report.with_notes(asked.notes.clone())))
}
