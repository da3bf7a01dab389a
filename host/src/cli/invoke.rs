//! `jackfield invoke`: calls one export of a connector file, without a server and without a
//! database.

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

use crate::app::{AnswerSource, Invocation, InvocationResult, Invoker, TapeResult};
use crate::config::Config;
use crate::connections::UnstoredConnection;
use crate::domain::{Call, Settings, StringEnum};
use crate::plugins::CodeCache;
use crate::secret::Secret;

use super::fixture::{Fixture, ReplayFolder};
use super::key_value;
use super::output::Output;
use super::serve::{read_config, start_runtime};
use call_options::CallOptions;
use code_cache::choose_code_cache;
use help::AFTER_HELP;
use report::Report;

pub(super) use call_options::read_failed_test;

/// The calls that the command line names by their event instead of by their export.
const EVENT_CALLS: [(&str, Call); 2] = [("create-defect", Call::Create), ("kpis", Call::Count)];

#[derive(Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Arguments {
    /// The connector file
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The export to call
    #[arg(value_name = "CALL", value_parser = PossibleValuesParser::new(call_names()))]
    call: String,
    #[command(flatten)]
    connection: ConnectionArguments,
    #[command(flatten)]
    options: CallOptions,
    /// Store each exchange with the tracker in this new folder, without credentials
    #[arg(long, value_name = "FOLDER", conflicts_with = "replay")]
    record: Option<PathBuf>,
    /// Answer requests without network: from this folder, or from a recording that was downloaded
    /// from the console
    #[arg(long, value_name = "FOLDER")]
    replay: Option<PathBuf>,
    /// Use this configuration file [default: jackfield.toml, if it exists]
    #[arg(long, value_name = "CONFIG")]
    config: Option<PathBuf>,
}

/// The options that replace a stored connection: settings, secrets, network and report.
#[derive(Args)]
pub(super) struct ConnectionArguments {
    /// A file with the settings as a JSON object
    #[arg(long, value_name = "FILE")]
    pub(super) settings: Option<PathBuf>,
    /// Set a setting, even if the file sets it; a JSON list, a number, true and false keep their
    /// type
    #[arg(long, value_name = "KEY=VALUE")]
    pub(super) set: Vec<String>,
    /// Set a secret: KEY=@FILE from a file, KEY=- from stdin, KEY for a prompt, or a reference,
    /// KEY=file:/PATH or KEY=env:NAME
    #[arg(long, value_name = "KEY[=@FILE]")]
    secret: Vec<String>,
    /// The names of secrets that get a random value, unless `--secret` sets them. A replay does not
    /// need the real values.
    #[arg(skip)]
    random_secret_names: Vec<String>,
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
        let call = call_by_name(&self.call);
        let replay =
            self.replay.as_deref().map(|path| ReplayFolder::open(path, call)).transpose()?;
        let answer_source = match (&self.record, &replay) {
            (Some(folder), _) => AnswerSource::Record(folder.clone()),
            (None, Some(folder)) => AnswerSource::Replay(folder.path.clone()),
            (None, None) => AnswerSource::Tracker,
        };
        let fixture = replay.as_ref().map(|folder| Fixture::read(&folder.path)).transpose()?;
        if let Some(fixture) = fixture.flatten() {
            self.add_missing_arguments(fixture)?;
        }
        self.options.check_for_call(call, &self.call, &answer_source)?;
        let connection = self.connection.to_unstored_connection(call)?;
        let invocation = self.options.into_invocation(self.file, call)?;
        let cache = choose_code_cache(data)?;
        let result = start_runtime()?.block_on(invoke(
            config,
            cache,
            &answer_source,
            &invocation,
            connection,
        ))?;
        let failure = failure_reason(&self.call, &result);
        output.print_record(&Report::new(&self.call, &invocation, result));
        let Some(failure) = failure else { return Ok(ExitCode::SUCCESS) };
        output.print_error(&failure);
        Ok(ExitCode::FAILURE)
    }
}

impl Arguments {
    /// Sets each argument that is not on the command line to its value in the recording of the
    /// call.
    fn add_missing_arguments(&mut self, fixture: Fixture) -> anyhow::Result<()> {
        let Fixture { call, event_file, settings_file, report_file, test_data_file } = fixture;
        if call.call != self.call {
            bail!("the recording is of {}, not of {}: call {0} to replay it", call.call, self.call);
        }
        let (connection, options) = (&mut self.connection, &mut self.options);
        connection.settings = connection.settings.take().or(settings_file);
        connection.report = connection.report.take().or(report_file);
        connection.random_secret_names = call.secrets;
        options.event = options.event.take().or(event_file);
        if !options.sample_data {
            options.test_data = options.test_data.take().or(test_data_file);
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
    answer_source: &AnswerSource,
    invocation: &Invocation,
    connection: UnstoredConnection,
) -> anyhow::Result<InvocationResult> {
    Invoker::start(config, cache, answer_source)?.invoke(invocation, connection).await
}

/// Returns the reason why the call failed; `None` if it succeeded. An incomplete recording, and a
/// replay in which a request had no recorded answer, are failures even if the guest returned ok.
fn failure_reason(call: &str, result: &InvocationResult) -> Option<anyhow::Error> {
    match &result.tape_result {
        TapeResult::Replayed(Err(why)) => Some(anyhow::anyhow!("{call} cannot be replayed: {why}")),
        TapeResult::Recorded(Err(why)) => {
            Some(anyhow::anyhow!("the recording is incomplete: {why}"))
        }
        _ => {
            let refusal = result.answer.as_ref().err()?;
            Some(anyhow::anyhow!("{call} failed ({}): {refusal}", refusal.code()))
        }
    }
}

pub(super) fn call_names() -> Vec<&'static str> {
    let events = EVENT_CALLS.iter().map(|(name, _)| *name);
    let exports =
        Call::ALL.iter().filter(|call| !EVENT_CALLS.iter().any(|(_, event)| event == *call));
    events.chain(exports.map(|call| call.as_str())).collect()
}

/// Returns the name that a call has on the command line.
pub(super) fn call_name(call: Call) -> &'static str {
    let event = EVENT_CALLS.iter().find(|(_, event)| *event == call);
    event.map_or(call.as_str(), |(name, _)| *name)
}

/// clap has already refused unknown names.
pub(super) fn call_by_name(name: &str) -> Call {
    let event = EVENT_CALLS.iter().find(|(event, _)| *event == name).map(|(_, call)| *call);
    event.or_else(|| Call::parse(name)).unwrap_or(Call::Describe)
}

impl ConnectionArguments {
    pub(super) fn to_unstored_connection(&self, call: Call) -> anyhow::Result<UnstoredConnection> {
        let mut settings =
            self.settings.as_deref().map_or(Ok(Settings::new()), read_json_object)?;
        settings.extend(key_value::parse_settings(&self.set, || None)?);
        let secrets = key_value::read_secrets(&self.secret)?.into_iter();
        let random =
            self.random_secret_names.iter().map(|name| (name.clone(), Secret::fresh_token()));
        let secrets = random.chain(secrets.map(|(name, secret)| (name, secret.0)));
        Ok(UnstoredConnection {
            settings,
            secrets: secrets.collect(),
            allow_private: self.allow_private,
            http1_only: self.http1_only,
            report: self.report.as_deref().map_or(Ok(Settings::new()), read_json_object)?,
            may_be_incomplete: call == Call::Choices,
        })
    }
}

fn read_json_object(file: &Path) -> anyhow::Result<Settings> {
    let object = serde_json::from_str(&read_text(file)?);
    object.with_context(|| format!("{} is not a JSON object", file.display()))
}

fn read_text(file: &Path) -> anyhow::Result<String> {
    fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_call_has_one_name_and_two_calls_are_named_by_their_event() {
        let names = call_names();
        assert_eq!(names.len(), Call::ALL.len());
        for name in names {
            let call = call_by_name(name);
            assert_eq!(call_name(call), name);
            assert!(name == call.as_str() || EVENT_CALLS.contains(&(name, call)), "{name}");
        }
        assert_eq!(
            (call_by_name("create-defect"), call_by_name("kpis")),
            (Call::Create, Call::Count)
        );
    }
}
