//! `jackfield test`: the conformance suite for the authors of connectors, without a server and
//! without a database.

use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use clap::builder::PossibleValuesParser;
use serde::Serialize;
use uuid::Uuid;

use crate::config::Config;
use crate::conformance::{Check, CheckResult, Report, Suite, Verdict, record_calls};
use crate::domain::{Call, FailedTest, StringEnum, printable};

use super::invoke::{ConnectionArguments, read_failed_test};
use super::output::{Output, eprint, print, print_json, table};
use super::serve::{read_config, start_runtime};

/// Maximum number of findings of one check that the table shows.
const FINDINGS_SHOWN_MAX: usize = 3;
/// The default Test Manager project for counts. The id is fixed, because a replay compares
/// requests.
const DEFAULT_PROJECT: &str = "00000000-0000-4000-8000-000000000001";

#[derive(Args)]
#[command(after_help = "\
Replays recorded calls of the connector, and replaces one answer of the tracker at a time by a
fault: refusals, rate limits, lost connections, pages of HTML. Each finding names the sentence of
the manual, wit/connector.wit, that the connector breaks. docs/conformance.md lists the checks.

In the folder of FILE, settings.json, event.json and the folder recording are used if they exist. A
recording has a folder for each call: check, create-defect, find, find-unknown, find-wrong-secret
and kpis. --record makes these recordings with a real tracker: it creates one defect there, and
searches once with wrong secrets. Without a recording, only the manifest is checked. A replay needs
no credentials: a required secret without a value gets a placeholder.

If a check finds something, the exit code is 1.

Examples:
  jackfield test redmine.wasm --settings settings.json --secret api-key=@key-file --record recording
  jackfield test redmine.wasm
  jackfield test redmine.wasm --check empty-find --check marker-found --json")]
pub(super) struct Arguments {
    /// The connector file
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    connection: ConnectionArguments,
    /// A file with the body of a Create Defect request [default: event.json in the folder of FILE,
    /// if it exists; otherwise fixed ids]
    #[arg(long, value_name = "FILE")]
    event: Option<PathBuf>,
    /// The Test Manager project for counts
    #[arg(long, value_name = "ID", default_value = DEFAULT_PROJECT)]
    project: String,
    /// Replay the calls of this folder
    #[arg(long, value_name = "FOLDER")]
    replay: Option<PathBuf>,
    /// Record the calls in this new folder first; creates one defect in the tracker
    #[arg(long, value_name = "FOLDER", conflicts_with = "replay")]
    record: Option<PathBuf>,
    /// Run only this check; can be repeated
    #[arg(long, value_name = "NAME", value_parser = PossibleValuesParser::new(check_names()))]
    check: Vec<String>,
    /// Use this configuration file [default: jackfield.toml, if it exists]
    #[arg(long, value_name = "CONFIG")]
    config: Option<PathBuf>,
}

impl Arguments {
    pub(super) fn run(mut self, output: Output) -> anyhow::Result<ExitCode> {
        let (config, _) = read_config(self.config.as_deref())?;
        let to_record = self.record.take();
        let suite = self.into_suite()?;
        let report = start_runtime()?.block_on(run_suite(suite, to_record, config))?;
        let json = JsonReport::new(&report);
        if output.is_json {
            print_json(&json)
        } else {
            print_table(&report, &json)
        }
        Ok(if json.findings > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }

    /// Builds the suite. If `--settings`, `--event` or `--replay` is missing, uses `settings.json`,
    /// `event.json` or the folder `recording` in the connector's folder, if it exists.
    fn into_suite(mut self) -> anyhow::Result<Suite> {
        let folder = self.file.parent().unwrap_or(Path::new("")).to_owned();
        let default_file = |name: &str| Some(folder.join(name)).filter(|path| path.exists());
        let connection = &mut self.connection;
        connection.settings = connection.settings.take().or_else(|| default_file("settings.json"));
        let has_settings = connection.settings.is_some() || !connection.set.is_empty();
        let values =
            has_settings.then(|| connection.to_unstored_connection(Call::Check)).transpose()?;
        let default_test =
            || Ok(FailedTest::new(Uuid::from_u128(1), Uuid::from_u128(2), None, None));
        let event_file = self.event.or_else(|| default_file("event.json"));
        let checks = Check::ALL.iter().copied();
        let checks = checks.filter(|check| {
            self.check.is_empty() || self.check.iter().any(|name| name == check.as_str())
        });
        Ok(Suite {
            failed_test: event_file.as_deref().map_or_else(default_test, read_failed_test)?,
            project: self.project,
            connection_values: values,
            recording_folder: self.replay.or_else(|| default_file("recording")),
            checks: checks.collect(),
            file: self.file,
        })
    }
}

fn check_names() -> Vec<&'static str> {
    Check::ALL.iter().map(|check| check.as_str()).collect()
}

async fn run_suite(
    mut suite: Suite,
    to_record: Option<PathBuf>,
    config: Config,
) -> anyhow::Result<Report> {
    if let Some(folder) = to_record {
        let values = suite.connection_values.clone();
        let values = values.ok_or_else(|| {
            anyhow::anyhow!("--record needs the connection's settings: give --settings FILE")
        })?;
        record_calls(&suite, values, config.clone(), &folder, &eprint).await?;
        suite.recording_folder = Some(folder);
    }
    suite.run(config, &print_progress).await
}

/// Prints the progress of the suite in one line, if stderr is a terminal. Each line overwrites the
/// previous line.
fn print_progress(finished: usize, total: usize) {
    let mut stderr = io::stderr();
    if stderr.is_terminal() {
        let line =
            if finished < total { format!("{finished} of {total} calls") } else { String::new() };
        let _ = write!(stderr, "\r{line:<30}\r");
        let _ = stderr.flush();
    }
}

#[derive(Serialize)]
struct JsonReport<'a> {
    connector: &'a str,
    /// The connector's name for people.
    name: &'a str,
    version: &'a str,
    sha256: &'a str,
    checks: Vec<JsonCheck<'a>>,
    passed: usize,
    /// The number of checks that found something.
    findings: usize,
    not_run: usize,
    calls: usize,
}

#[derive(Serialize)]
struct JsonCheck<'a> {
    check: &'static str,
    /// The rule that the check tests.
    statement: &'static str,
    /// `passed`, `finding` or `not run`.
    result: &'static str,
    findings: &'a [String],
    /// Why the check was not run; `None` if it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    needs: Option<&'a str>,
    notes: &'a [String],
    manual: JsonManual,
}

/// The sentence of the manual that contains the rule.
#[derive(Serialize)]
struct JsonManual {
    file: &'static str,
    line: usize,
    sentence: &'static str,
}

impl<'a> JsonReport<'a> {
    fn new(report: &'a Report) -> Self {
        let count = |matches: fn(&Verdict) -> bool| {
            report.results.iter().filter(|result| matches(&result.verdict)).count()
        };
        Self {
            connector: &report.connector_name,
            name: &report.title,
            version: &report.version,
            sha256: &report.sha256,
            checks: report.results.iter().map(JsonCheck::new).collect(),
            passed: count(|verdict| matches!(verdict, Verdict::Passed)),
            findings: count(|verdict| matches!(verdict, Verdict::Findings(_))),
            not_run: count(|verdict| matches!(verdict, Verdict::NotRun(_))),
            calls: report.call_count,
        }
    }
}

impl<'a> JsonCheck<'a> {
    fn new(result: &'a CheckResult) -> Self {
        let (result_text, findings, needs): (_, &[String], _) = match &result.verdict {
            Verdict::Passed => ("passed", &[], None),
            Verdict::Findings(findings) => ("finding", findings, None),
            Verdict::NotRun(needs) => ("not run", &[], Some(needs.as_str())),
        };
        let manual = result.check.manual_sentence();
        Self {
            check: result.check.as_str(),
            statement: result.check.rule(),
            result: result_text,
            findings,
            needs,
            notes: &result.notes,
            manual: JsonManual {
                file: "wit/connector.wit",
                line: manual.line,
                sentence: manual.sentence,
            },
        }
    }

    /// Returns the lines of the check's cell in the column WHAT of the table.
    fn table_lines(&self) -> Vec<String> {
        let mut lines: Vec<_> = self.findings.iter().take(FINDINGS_SHOWN_MAX).cloned().collect();
        let more = self.findings.len().saturating_sub(FINDINGS_SHOWN_MAX);
        if more > 0 {
            lines.push(format!("and {more} more: --check {} --json", self.check));
        }
        if !self.findings.is_empty() {
            let JsonManual { file, line, sentence } = &self.manual;
            lines.push(format!("{file}:{line}: {sentence}"));
        }
        lines.extend(self.needs.map(str::to_owned));
        lines.extend(self.notes.iter().cloned());
        lines
    }
}

fn print_table(report: &Report, json: &JsonReport<'_>) {
    let row = |check: &JsonCheck<'_>| {
        let lines: Vec<_> = check.table_lines().iter().map(|line| printable(line)).collect();
        vec![check.check.to_owned(), check.result.to_owned(), lines.join("\n")]
    };
    let headings = ["CHECK", "RESULT", "WHAT"].map(str::to_owned).to_vec();
    print(&table(headings, json.checks.iter().map(row).collect()));
    print(&format!(
        "{} {}: {} passed, {} with findings, {} not run; {} calls",
        printable(&report.title),
        printable(&report.version),
        json.passed,
        json.findings,
        json.not_run,
        report.call_count
    ));
}
