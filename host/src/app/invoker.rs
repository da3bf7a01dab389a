//! The parts of `jackfield invoke` and `jackfield test`: one call of one export of a connector file,
//! in the sandbox of the server, without a server and without a database.

mod fixed_data;
mod journal;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use jiff::Timestamp;
use tempfile::TempDir;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::connections::{Unstored, activate};
use crate::domain::{
    Call, ChoicesPage, ConnectorFault, Counts, CurrentDefect, Defect, FailedTest, Grants, Limits,
    Marker, Refusal, RunReport, was_confirmed,
};
use crate::egress::{ActiveConnection, Recorder, Replay, Tape, TapeError};
use crate::manifest::{Manifest, missing_grants};
use crate::plugins::CodeCache;
use crate::report::{ReportSettings, Source, TestData};
use crate::runtime::{Connector, Run, RunEnd, Sandbox, TestReport};

use super::Checker;
use fixed_data::FixedData;
pub(super) use journal::MemoryJournal;

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

/// What an export returned.
#[derive(Debug)]
pub enum Answer {
    /// `describe`.
    Manifest(Box<Manifest>),
    /// `check`.
    Line(String),
    /// `choices`.
    Choices(ChoicesPage),
    /// `create`.
    Defect(Defect),
    /// `find`.
    Found(Vec<Defect>),
    /// `count`.
    Counts(Counts),
    /// `state`.
    State(Option<CurrentDefect>),
    /// `find-comment`.
    HasComment(bool),
    /// `attached`.
    Names(Vec<String>),
    /// `comment`, `reopen`, `attach`.
    Done,
}

/// A call that ended.
#[derive(Debug)]
pub struct Invoked {
    /// What the export returned, or why there is nothing.
    pub answer: Result<Answer, Refusal>,
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
    checker: Checker,
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
        let checker = Checker::start_with(config, cache, tape.clone())?;
        Ok(Self { checker, tape, _folder: folder })
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
        let loaded = self.checker.load(file).await;
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
        let active = activate(values, connector, &self.checker.config, self.now());
        Ok(Arc::new(active.context("the server would not create this connection")?))
    }

    /// The time of the clock that the calls have.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.checker.guest_runtime.clock.now()
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
        let limits = self.checker.config.limits_of(connector.name());
        let journal = MemoryJournal::new(marker.clone());
        let one = OneCall {
            sandbox: &self.checker.guest_runtime.sandbox,
            run: Run { connector, active, stop: CancellationToken::new() },
            marker: &marker,
            journal: Arc::clone(&journal),
            limits,
        };
        let (answer, report) = one.run(asked).await?;
        warnings.extend(journal.warning());
        let tape = match &self.tape {
            None => TapeEnd::None,
            Some(Tape::Record(recorder)) => TapeEnd::Recorded(recorder.end()),
            Some(Tape::Replay(replay)) => TapeEnd::Replayed(replay.end()),
        };
        Ok(Invoked { answer, report, limits, marker, granted, warnings, tape })
    }
}

/// What one call needs.
struct OneCall<'a> {
    sandbox: &'a Sandbox,
    run: Run,
    marker: &'a Marker,
    journal: Arc<MemoryJournal>,
    limits: Limits,
}

type Ended = (Result<Answer, Refusal>, RunReport);

impl OneCall<'_> {
    async fn run(self, asked: &Invocation) -> anyhow::Result<Ended> {
        let report = || test_report(asked, &self.run.active, &self.limits);
        let Self { sandbox, marker, .. } = self;
        let (test, key) = (&asked.test, asked.key.as_str());
        Ok(match asked.call {
            Call::Describe => {
                let connector = Arc::clone(&self.run.connector);
                let manifest = move |_| Answer::Manifest(Box::new(connector.manifest().clone()));
                ended(sandbox.describe_again(self.run).await, manifest)
            }
            Call::Check => ended(sandbox.check(self.run).await, Answer::Line),
            Call::Choices => {
                let (setting, search) = &asked.choices_of;
                ended(sandbox.choices(self.run, setting, search).await, Answer::Choices)
            }
            Call::Create => {
                let report = report()?;
                let end = sandbox.create(self.run, test, marker, self.journal, report).await;
                ended(confirmed(end), Answer::Defect)
            }
            Call::Find => ended(sandbox.find(self.run, marker).await, Answer::Found),
            Call::Count => ended(sandbox.count(self.run, &asked.project).await, Answer::Counts),
            Call::State => ended(sandbox.state(self.run, key).await, Answer::State),
            Call::Comment => {
                let report = report()?;
                let end = sandbox.comment(self.run, key, test, marker, self.journal, report).await;
                ended(end, |()| Answer::Done)
            }
            Call::FindComment => {
                ended(sandbox.find_comment(self.run, key, marker).await, Answer::HasComment)
            }
            Call::Reopen => {
                ended(sandbox.reopen(self.run, key, self.journal).await, |()| Answer::Done)
            }
            Call::Attach => {
                let (report, id) = (report()?, asked.attachment);
                let end = sandbox.attach(self.run, key, id, self.journal, report).await;
                ended(end, |()| Answer::Done)
            }
            Call::Attached => ended(sandbox.attached(self.run, key).await, Answer::Names),
        })
    }
}

fn ended<T>(end: RunEnd<T>, answer: impl FnOnce(T) -> Answer) -> Ended {
    (end.outcome.map(answer), end.report)
}

/// As the server does: a defect counts only if the tracker confirmed a write, or none was sent.
fn confirmed(end: RunEnd<Defect>) -> RunEnd<Defect> {
    let outcome = end.outcome.and_then(|defect| {
        if was_confirmed(&end.writes) {
            return Ok(defect);
        }
        let why =
            format!("it returned the defect {:?}, but the tracker confirmed no write", defect.key);
        Err(Refusal::ConnectorFault(ConnectorFault::Contract(why)))
    });
    RunEnd { outcome, ..end }
}

/// The report of the failed test, from the given test data or from its ids alone.
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
    let given =
        |data: &TestData| Arc::new(FixedData::of(&asked.test, data.clone())) as Arc<dyn Source>;
    let source = asked.test_data.as_ref().map(given);
    let deadline = Instant::now() + Duration::from_millis(limits.create_answer_ms / 2);
    let report = TestReport::new(asked.test.clone(), settings, source, deadline);
    Ok(Arc::new(report.with_notes(asked.notes.clone())))
}
