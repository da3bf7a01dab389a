//! `jackfield invoke`: one call of one export of a connector file, without a server and without a
//! database. For the authors of connectors, and for their tests.

mod call_options;
mod code_cache;
mod help;
mod report;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::Args;
use clap::builder::PossibleValuesParser;

use crate::app::{Exchanges, Invocation, Invoked, Invoker, TapeEnd};
use crate::config::Config;
use crate::connections::Unstored;
use crate::domain::{Call, Settings, StringEnum};
use crate::plugins::CodeCache;
use crate::secret::Secret;

use super::fixture::{Fixture, ReplayFolder};
use super::key_value;
use super::output::Output;
use super::serve::{read_config, runtime};
use call_options::CallOptions;
use code_cache::code_cache;
use help::HELP;
use report::Report;

pub(super) use call_options::event;

/// The calls whose name here is that of the event, not that of the export.
const EVENTS: [(&str, Call); 2] = [("create-defect", Call::Create), ("kpis", Call::Count)];

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
    options: CallOptions,
    /// Keep each exchange with the tracker in this new folder, without credentials
    #[arg(long, value_name = "FOLDER", conflicts_with = "replay")]
    record: Option<PathBuf>,
    /// Answer requests from this folder, or from a recording that the console downloaded, without
    /// network
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
    /// A file with the settings of the report as a JSON object: templates, fields, mask,
    /// attachments
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
}

impl Arguments {
    pub(super) fn run(mut self, data: Option<PathBuf>, output: Output) -> anyhow::Result<ExitCode> {
        let (config, _) = read_config(self.config.as_deref())?;
        let call = call_of(&self.call);
        let replay =
            self.replay.as_deref().map(|path| ReplayFolder::open(path, call)).transpose()?;
        let exchanges = match (&self.record, &replay) {
            (Some(folder), _) => Exchanges::Record(folder.clone()),
            (None, Some(folder)) => Exchanges::Replay(folder.path.clone()),
            (None, None) => Exchanges::Tracker,
        };
        let fixture = replay.as_ref().map(|folder| Fixture::read(&folder.path)).transpose()?;
        if let Some(fixture) = fixture.flatten() {
            self.complete(fixture)?;
        }
        self.options.check(call, &self.call, &exchanges)?;
        let values = self.connection.values(call)?;
        let asked = self.options.invocation(self.file, call)?;
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
        let (connection, options) = (&mut self.connection, &mut self.options);
        connection.settings = connection.settings.take().or(settings);
        connection.report = connection.report.take().or(report);
        connection.without_value = call.secrets;
        options.event = options.event.take().or(event);
        if !options.sample_data {
            options.test_data = options.test_data.take().or(test_data);
        }
        let marker = call.marker.as_deref().map(str::parse).transpose()?;
        options.marker = options.marker.take().or(marker);
        options.key = options.key.take().or(call.key);
        options.attachment = options.attachment.or(call.attachment);
        options.project = options.project.take().or(call.project);
        options.setting = options.setting.take().or(call.setting);
        options.search = options.search.take().or(call.search);
        options.notes = call.notes;
        Ok(())
    }
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
}
