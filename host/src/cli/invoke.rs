//! `jackfield invoke`: one call of one export of a connector file, without a server and without a
//! database. For the authors of connectors, and for their tests.

mod report;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::Args;
use clap::builder::PossibleValuesParser;
use uuid::Uuid;

use crate::app::{Exchanges, Invocation, Invoked, Invoker, TapeEnd};
use crate::config::{Config, DataFolder};
use crate::connections::Unstored;
use crate::domain::{Call, FailedTest, Marker, Settings, StringEnum};
use crate::http::failed_test;
use crate::plugins::CodeCache;
use crate::report::{TestData, sample};
use crate::secret::Secret;

use super::fixture::Fixture;
use super::key_value;
use super::output::Output;
use super::serve::{read_config, runtime};
use report::Report;

/// The calls whose name here is that of the event, not that of the export.
const EVENTS: [(&str, Call); 2] = [("create-defect", Call::Create), ("kpis", Call::Count)];

/// The end of `--help`.
const HELP: &str = r#"The connector gets the grants that it asks for with these settings, as for a connection that is
created. Prints what the export returned, the log, the requests, and the use of each limit. The
exit code is 0 if the export returned ok, otherwise 1.

With --record, each exchange with the tracker is kept in a folder, without credentials. With
--replay, requests are answered from that folder by method, URL and body, without network. So the
folder and an event file are a test of the connector. A folder of `jackfield fixture` also has the
event, the settings and the other arguments; arguments that are given replace them.

--test-data has what a connector reads through `report` and `test-manager`, as a JSON object. Its
members are the names that templates have; each may be missing:
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

The compiled connector is kept for the next call: in the data folder of a server with --data, else
in $XDG_CACHE_HOME/jackfield or ~/.cache/jackfield, at most 1 GiB.

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

#[derive(Args)]
#[command(after_help = HELP)]
pub(super) struct Arguments {
    /// The connector file
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The export to call
    #[arg(value_name = "CALL", value_parser = PossibleValuesParser::new(call_names()))]
    call: String,
    #[command(flatten)]
    connection: Connection,
    #[command(flatten)]
    given: Given,
    /// Keep each exchange with the tracker in this new folder, without credentials
    #[arg(long, value_name = "FOLDER", conflicts_with = "replay")]
    record: Option<PathBuf>,
    /// Answer requests from this folder, without network
    #[arg(long, value_name = "FOLDER")]
    replay: Option<PathBuf>,
    /// Read the limits from this configuration file [default: jackfield.toml, if it exists]
    #[arg(long, value_name = "CONFIG")]
    config: Option<PathBuf>,
}

/// The connection that the connector is called for.
#[derive(Args)]
pub(super) struct Connection {
    /// A file with the settings as a JSON object
    #[arg(long, value_name = "FILE")]
    pub(super) settings: Option<PathBuf>,
    /// Set a setting, also one of the file; a JSON list, a number, true and false keep their type
    #[arg(long, value_name = "KEY=VALUE")]
    pub(super) set: Vec<String>,
    /// Set a secret: KEY=@FILE from a file, KEY=- from stdin, KEY for a prompt, or a reference,
    /// KEY=file:/PATH or KEY=env:NAME
    #[arg(long, value_name = "KEY[=@FILE]")]
    secret: Vec<String>,
    /// Secrets for a replay, which needs no values
    #[arg(skip)]
    without_value: Vec<String>,
    /// Allow host names that resolve to private addresses
    #[arg(long)]
    allow_private: bool,
    /// Use only HTTP/1.1
    #[arg(long)]
    http1_only: bool,
    /// A file with the settings of the report as a JSON object: templates, fields, mask, attachments
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
}

/// What the export is called with.
#[derive(Args)]
struct Given {
    /// A file with the body of a Create Defect request [default: random ids]
    #[arg(long, value_name = "FILE")]
    event: Option<PathBuf>,
    /// Fill the report with sample data instead of the ids of the failed test alone
    #[arg(long, conflicts_with = "test_data")]
    sample_data: bool,
    /// Fill the report with the data of this JSON file
    #[arg(long, value_name = "FILE")]
    test_data: Option<PathBuf>,
    /// Notes for people at the end of the texts of the report
    #[arg(skip)]
    notes: Vec<String>,
    /// The marker [default: that of the failed test]
    #[arg(long)]
    marker: Option<Marker>,
    /// The key of a defect in the tracker, for state, comment, find-comment, reopen, attach, attached
    #[arg(long)]
    key: Option<String>,
    /// The attachment of the report, for attach [default: 0]
    #[arg(long, value_name = "ID")]
    attachment: Option<u32>,
    /// The Test Manager project, for kpis [default: random]
    #[arg(long, value_name = "ID")]
    project: Option<String>,
    /// The setting whose values are listed, for choices
    #[arg(long, value_name = "KEY")]
    setting: Option<String>,
    /// What a person typed so far, for choices
    #[arg(long, value_name = "TEXT")]
    search: Option<String>,
}

impl Arguments {
    pub(super) fn run(mut self, data: Option<PathBuf>, output: Output) -> anyhow::Result<ExitCode> {
        let (config, _) = read_config(self.config.as_deref())?;
        let exchanges = match (&self.record, &self.replay) {
            (Some(folder), _) => Exchanges::Record(folder.clone()),
            (None, Some(folder)) => Exchanges::Replay(folder.clone()),
            (None, None) => Exchanges::Tracker,
        };
        let call = call_of(&self.call);
        if let Some(fixture) = self.replay.as_deref().map(Fixture::read).transpose()?.flatten() {
            self.complete(fixture)?;
        }
        self.given.check(call, &self.call, &exchanges)?;
        let values = self.connection.values(call)?;
        let asked = self.given.invocation(self.file, call)?;
        let ended =
            runtime()?.block_on(invoke(config, code_cache(data)?, &exchanges, &asked, values))?;
        let failure = failure(&self.call, &ended);
        output.print_record(&Report::of(&self.call, &asked, ended));
        let Some(failure) = failure else { return Ok(ExitCode::SUCCESS) };
        output.print_error(&failure);
        Ok(ExitCode::FAILURE)
    }
}

impl Arguments {
    /// Fills in what a folder says about its call, where nothing else was given.
    fn complete(&mut self, fixture: Fixture) -> anyhow::Result<()> {
        let Fixture { call, event, settings, report, test_data } = fixture;
        if call.call != self.call {
            bail!("the recording is of {}, not of {}: replay {0} with it", call.call, self.call);
        }
        let (connection, given) = (&mut self.connection, &mut self.given);
        connection.settings = connection.settings.take().or(settings);
        connection.report = connection.report.take().or(report);
        connection.without_value = call.secrets;
        given.event = given.event.take().or(event);
        if !given.sample_data {
            given.test_data = given.test_data.take().or(test_data);
        }
        let marker = call.marker.as_deref().map(str::parse).transpose()?;
        given.marker = given.marker.take().or(marker);
        given.key = given.key.take().or(call.key);
        given.attachment = given.attachment.or(call.attachment);
        given.project = given.project.take().or(call.project);
        given.setting = given.setting.take().or(call.setting);
        given.search = given.search.take().or(call.search);
        given.notes = call.notes;
        Ok(())
    }
}

/// Where compiled code is kept: in the data folder that was given, else in the user's cache.
fn code_cache(data: Option<PathBuf>) -> anyhow::Result<CodeCache> {
    if let Some(data) = data {
        if !data.is_dir() {
            bail!("there is no data folder {}", data.display());
        }
        let data = DataFolder::at(&data);
        return Ok(CodeCache::Server { folder: data.compiled(), key: data.compiled_key() });
    }
    let variable = |name| std::env::var_os(name).filter(|it| !it.is_empty()).map(PathBuf::from);
    let user = variable("XDG_CACHE_HOME").filter(|path| path.is_absolute());
    let user = user.or_else(|| Some(variable("HOME")?.join(".cache")));
    Ok(user.map_or(CodeCache::Temporary, |user| CodeCache::User(user.join("jackfield"))))
}

async fn invoke(
    config: Config,
    cache: CodeCache,
    exchanges: &Exchanges,
    asked: &Invocation,
    values: Unstored,
) -> anyhow::Result<Invoked> {
    Invoker::start(config, cache, exchanges)?.invoke(asked, values).await
}

/// Why the call failed. A request without a recorded answer counts, whatever the guest made of it.
fn failure(call: &str, ended: &Invoked) -> Option<anyhow::Error> {
    match &ended.tape {
        TapeEnd::Replayed(Err(why)) => Some(anyhow::anyhow!("{call} cannot be replayed: {why}")),
        TapeEnd::Recorded(Err(why)) => Some(anyhow::anyhow!("the recording is incomplete: {why}")),
        _ => {
            let refusal = ended.answer.as_ref().err()?;
            Some(anyhow::anyhow!("{call} failed ({}): {refusal}", refusal.code()))
        }
    }
}

/// The names of all calls.
pub(super) fn call_names() -> Vec<&'static str> {
    let events = EVENTS.iter().map(|(name, _)| *name);
    let exports = Call::ALL.iter().filter(|call| !EVENTS.iter().any(|(_, event)| event == *call));
    events.chain(exports.map(|call| call.as_str())).collect()
}

/// The name of a call.
pub(super) fn name_of(call: Call) -> &'static str {
    let event = EVENTS.iter().find(|(_, event)| *event == call);
    event.map_or(call.as_str(), |(name, _)| *name)
}

pub(super) fn call_of(name: &str) -> Call {
    let event = EVENTS.iter().find(|(event, _)| *event == name).map(|(_, call)| *call);
    event.or_else(|| Call::parse(name)).unwrap_or(Call::Describe)
}

impl Connection {
    pub(super) fn values(&self, call: Call) -> anyhow::Result<Unstored> {
        let mut settings = self.settings.as_deref().map_or(Ok(Settings::new()), json_object)?;
        settings.extend(key_value::settings(&self.set, || None)?);
        let given = key_value::secrets(&self.secret)?.into_iter();
        let without = self.without_value.iter().map(|it| (it.clone(), Secret::fresh_token()));
        let secrets = without.chain(given.map(|(name, secret)| (name, secret.0)));
        Ok(Unstored {
            settings,
            secrets: secrets.collect(),
            allow_private: self.allow_private,
            http1_only: self.http1_only,
            report: self.report.as_deref().map_or(Ok(Settings::new()), json_object)?,
            may_be_incomplete: call == Call::Choices,
        })
    }
}

impl Given {
    /// Refuses what is missing, and what the call does not use.
    fn check(&self, call: Call, name: &str, exchanges: &Exchanges) -> anyhow::Result<()> {
        let has_test = matches!(call, Call::Create | Call::Comment | Call::Attach);
        let has_marker = matches!(
            call,
            Call::Create | Call::Find | Call::Comment | Call::FindComment | Call::Attach
        );
        let has_key = matches!(
            call,
            Call::State
                | Call::Comment
                | Call::FindComment
                | Call::Reopen
                | Call::Attach
                | Call::Attached
        );
        for (option, is_given, is_used) in [
            ("event", self.event.is_some(), has_marker),
            ("sample-data", self.sample_data, has_test),
            ("test-data", self.test_data.is_some(), has_test),
            ("marker", self.marker.is_some(), has_marker || call == Call::Reopen),
            ("key", self.key.is_some(), has_key),
            ("attachment", self.attachment.is_some(), call == Call::Attach),
            ("project", self.project.is_some(), call == Call::Count),
            ("setting", self.setting.is_some(), call == Call::Choices),
            ("search", self.search.is_some(), call == Call::Choices),
        ] {
            if is_given && !is_used {
                bail!("{name} does not use --{option}: leave it out");
            }
        }
        let no_test = self.event.is_none() && self.marker.is_none();
        if matches!(call, Call::Find | Call::FindComment) && no_test {
            bail!("{name} needs --marker MARKER, or --event FILE of the failed test");
        }
        if has_key && self.key.is_none() {
            bail!("{name} needs --key KEY, the key of a defect in the tracker");
        }
        if call == Call::Choices && self.setting.is_none() {
            bail!("{name} needs --setting KEY, a setting that is marked `jackfield:lookup`");
        }
        let is_tape = !matches!(exchanges, Exchanges::Tracker);
        if is_tape && matches!(call, Call::Create | Call::Comment) && self.event.is_none() {
            bail!(
                "{name} with --record or --replay needs --event FILE: requests are compared, and \
                 random ids would differ each time"
            );
        }
        if is_tape && call == Call::Count && self.project.is_none() {
            bail!(
                "{name} with --record or --replay needs --project ID: requests are compared, and \
                 a random id would differ each time"
            );
        }
        Ok(())
    }

    fn invocation(self, file: PathBuf, call: Call) -> anyhow::Result<Invocation> {
        let random = || Ok(FailedTest::new(Uuid::new_v4(), Uuid::new_v4(), None, None));
        Ok(Invocation {
            file,
            call,
            test: self.event.as_deref().map_or_else(random, event)?,
            marker: self.marker,
            key: self.key.unwrap_or_default(),
            attachment: self.attachment.unwrap_or(0),
            project: self.project.unwrap_or_else(|| Uuid::new_v4().to_string()),
            choices_of: (self.setting.unwrap_or_default(), self.search.unwrap_or_default()),
            test_data: match (self.sample_data, self.test_data.as_deref()) {
                (true, _) => Some(sample()),
                (false, file) => file.map(test_data).transpose()?,
            },
            notes: self.notes,
        })
    }
}

/// The failed test of a file, read as the server reads the body of Create Defect.
pub(super) fn event(file: &Path) -> anyhow::Result<FailedTest> {
    let test = failed_test(&text(file)?);
    test.with_context(|| format!("{} is not the body of Create Defect", file.display()))
}

/// The data of a file for `report` and `test-manager`.
fn test_data(file: &Path) -> anyhow::Result<TestData> {
    let data = serde_json::from_str(&text(file)?);
    data.with_context(|| format!("{} is not test data: see --help", file.display()))
}

fn json_object(file: &Path) -> anyhow::Result<Settings> {
    let object = serde_json::from_str(&text(file)?);
    object.with_context(|| format!("{} is not a JSON object", file.display()))
}

fn text(file: &Path) -> anyhow::Result<String> {
    fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_call_has_one_name_and_the_events_have_theirs() {
        let names = call_names();
        assert_eq!(names.len(), Call::ALL.len());
        for name in names {
            let call = call_of(name);
            assert_eq!(name_of(call), name);
            assert!(name == call.as_str() || EVENTS.contains(&(name, call)), "{name}");
        }
        assert_eq!((call_of("create-defect"), call_of("kpis")), (Call::Create, Call::Count));
    }

    #[test]
    fn the_test_data_of_the_help_can_be_read_and_has_every_member() {
        let example = HELP.split_once("each may be missing:").expect("an example").1;
        let end = example.find("]}\n").expect("the end of the example");
        let example = &example[..end + 2];
        let data: TestData = serde_json::from_str(example).expect("test data");
        assert!(!data.gaps.is_empty());
        let given: Settings = serde_json::from_str(example).expect("an object");
        let all = serde_json::to_value(data).expect("an object");
        for name in all.as_object().expect("an object").keys() {
            let is_of_event = ["test_execution_id", "test_case_id", "variation_id", "link"];
            let is_of_event = is_of_event.contains(&name.as_str());
            assert!(is_of_event || given.contains_key(name), "{name} is missing in the help");
        }
        assert!(serde_json::from_str::<TestData>(r#"{"labls": []}"#).is_err());
    }
}
