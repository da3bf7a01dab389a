//! `jackfield fixture`: writes a folder for `jackfield invoke --replay` from a recorded event. Also
//! reads such a folder, or the file that the console offers for download. Never writes the value of
//! a secret.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::Args;
use clap::builder::PossibleValuesParser;
use serde::{Deserialize, Serialize};
use tempfile::TempDir;

use crate::api::{EventRecording, EventWithRuns, RecordedRun, RunInput};
use crate::domain::{Call, EventKind, Settings};
use crate::egress::write_recording;
use crate::secret::write_private;

use super::client::{Answer, Client};
use super::ids::IdPrefix;
use super::invoke::{call_by_name, call_name, call_names};
use super::output::{Output, eprint};
use super::server::ServerArgs;

const CALL_FILE: &str = "call.json";
const EVENT_FILE: &str = "event.json";
const SETTINGS_FILE: &str = "settings.json";
const REPORT_FILE: &str = "report.json";
const TEST_DATA_FILE: &str = "test-data.json";

#[derive(Args)]
#[command(after_help = "\
An event has a recording only if its connection recorded bodies when the event arrived. The folder
contains the exchanges without secrets, and the arguments of the export in call.json, event.json,
settings.json, report.json and test-data.json. event.json, report.json and test-data.json are
omitted if they would be empty. The folder may contain personal data.

Example:
  jackfield connections record qa --for 1h
  jackfield trigger create-defect --connection qa
  jackfield fixture 01a2b3c4 --out recording
  jackfield invoke redmine.wasm create-defect --replay recording")]
pub(super) struct Arguments {
    /// The id of the event, or the beginning of the id
    event: IdPrefix,
    /// The new folder
    #[arg(long, value_name = "FOLDER")]
    out: PathBuf,
    /// The call whose last run is written [default: the call of the only run; of several runs
    /// create-defect, kpis or check, by the kind of the event]
    #[arg(long, value_parser = PossibleValuesParser::new(call_names()))]
    call: Option<String>,
}

/// The content of the file `call.json`: the call, the connector, and the arguments that have no
/// file of their own.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct CallFile {
    /// The name of the call on the command line.
    pub(super) call: String,
    connector: String,
    connector_version: String,
    connector_sha256: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) marker: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    /// The key of a defect in the tracker.
    pub(super) key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) attachment: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) project: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    /// The setting whose values are listed.
    pub(super) setting: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    /// The text that a person has typed to search for values of the setting.
    pub(super) search: Option<String>,
    /// The names of the secrets. A replay does not need their values.
    pub(super) secrets: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    /// Notes for people at the end of the report's texts.
    pub(super) notes: Vec<String>,
}

/// The arguments of a recorded call: the files of the recording's folder, without the exchanges.
pub(super) struct Fixture {
    pub(super) call: CallFile,
    pub(super) event_file: Option<PathBuf>,
    pub(super) settings_file: Option<PathBuf>,
    pub(super) report_file: Option<PathBuf>,
    pub(super) test_data_file: Option<PathBuf>,
}

/// A folder with the exchanges for a replay.
pub(super) struct ReplayFolder {
    pub(super) path: PathBuf,
    /// The temporary folder into which a downloaded file was unpacked. The folder is deleted when
    /// this value is dropped.
    _temporary: Option<TempDir>,
}

impl ReplayFolder {
    /// Opens a folder. If the path is a file that was downloaded from the console, unpacks the last
    /// run of this call.
    pub(super) fn open(path: &Path, call: Call) -> anyhow::Result<Self> {
        if !path.is_file() {
            return Ok(Self { path: path.to_owned(), _temporary: None });
        }
        let text = fs::read_to_string(path);
        let text = text.with_context(|| format!("cannot read {}", path.display()))?;
        let recording = serde_json::from_str::<EventRecording>(&text).with_context(|| {
            format!("{} is not the recording of an event; give a folder", path.display())
        })?;
        let temporary = TempDir::new().context("cannot create a temporary folder")?;
        let folder = temporary.path().join("recording");
        write_folder(&folder, &last_run(recording.runs, call)?)?;
        Ok(Self { path: folder, _temporary: Some(temporary) })
    }
}

impl Fixture {
    /// Reads the arguments of the recorded call from a folder. Returns `None` if the folder has
    /// only exchanges.
    pub(super) fn read(folder: &Path) -> anyhow::Result<Option<Self>> {
        let file = folder.join(CALL_FILE);
        if !file.exists() {
            return Ok(None);
        }
        let text = fs::read_to_string(&file);
        let text = text.with_context(|| format!("cannot read {}", file.display()))?;
        let call = serde_json::from_str(&text);
        let call = call.with_context(|| format!("{} does not describe a call", file.display()))?;
        let existing = |name: &str| Some(folder.join(name)).filter(|path| path.exists());
        Ok(Some(Self {
            call,
            event_file: existing(EVENT_FILE),
            settings_file: existing(SETTINGS_FILE),
            report_file: existing(REPORT_FILE),
            test_data_file: existing(TEST_DATA_FILE),
        }))
    }
}

impl Arguments {
    pub(super) fn run(self, server: &ServerArgs, output: Output) -> anyhow::Result<()> {
        let admin = server.admin_client()?;
        let id = self.event.resolve(&admin, "event")?;
        let event: Answer<EventWithRuns> = admin.get_by_name("event", &id.to_string())?;
        let event = event.decode()?;
        let recording: Answer<EventRecording> = admin.get(&format!("/events/{id}/recording"))?;
        let runs = recording.decode()?.runs;
        if runs.is_empty() {
            return Err(not_recorded_error(&admin, &event));
        }
        let wanted_call = self.call.as_deref().map(call_by_name);
        let run = choose_run(runs, wanted_call, event.event.kind.0)?;
        write_folder(&self.out, &run)?;
        let (call, count) = (call_name(run.call.0), run.exchanges.len());
        if let Some(why) = &run.missing {
            eprint(&format!("warning: the recording is incomplete: {why}"));
        }
        let folder = self.out.display();
        let sentence = format!(
            "{folder} contains {count} exchanges, and may contain personal data. Replay them:\n  \
             jackfield invoke FILE {call} --replay {folder}"
        );
        let (folder, missing) = (folder.to_string(), &run.missing);
        let answer = serde_json::json!({
            "folder": folder, "call": call, "exchanges": count, "missing": missing,
        });
        output.print_result(&sentence, &answer);
        Ok(())
    }
}

fn not_recorded_error(admin: &Client, event: &EventWithRuns) -> anyhow::Error {
    let event = &event.event;
    let Some(name) = &event.connection_name else {
        return anyhow::anyhow!("event {} has no recording: it belongs to no connection", event.id);
    };
    let until = admin.get_connection(name).ok().and_then(|it| it.decode().ok()?.recording_until);
    let how = match until {
        Some(_) => format!("the connection {name} records now: trigger a new event"),
        None => format!(
            "start recording with `jackfield connections record {name} --for 1h`, then trigger a \
             new event"
        ),
    };
    anyhow::anyhow!("event {} has no recording: {how}", event.id)
}

/// Chooses the last run of `wanted_call`. If `wanted_call` is `None`, chooses the only run, or of
/// several runs the last one of the call that belongs to the event's kind.
fn choose_run(
    runs: Vec<RecordedRun>,
    wanted_call: Option<Call>,
    kind: EventKind,
) -> anyhow::Result<RecordedRun> {
    let names: Vec<_> = runs.iter().map(|run| call_name(run.call.0)).collect();
    let event_call = match kind {
        EventKind::CreateDefect => Some(Call::Create),
        EventKind::Kpis => Some(Call::Count),
        EventKind::Check => Some(Call::Check),
        _ => None,
    };
    let only_call = (runs.len() == 1).then(|| runs.first().map(|run| run.call.0)).flatten();
    let Some(call) = wanted_call.or(only_call).or(event_call) else {
        bail!("the event has several runs: choose one with --call: {}", names.join(", "));
    };
    last_run(runs, call)
}

fn last_run(runs: Vec<RecordedRun>, call: Call) -> anyhow::Result<RecordedRun> {
    let names: Vec<_> = runs.iter().map(|run| call_name(run.call.0)).collect();
    let found = runs.into_iter().rev().find(|run| run.call.0 == call);
    found.with_context(|| {
        format!("the event has no recorded run of {}; it has {}", call_name(call), names.join(", "))
    })
}

/// Writes the folder of a recording completely, or not at all.
fn write_folder(folder: &Path, run: &RecordedRun) -> anyhow::Result<()> {
    let parent = folder.parent().filter(|path| !path.as_os_str().is_empty());
    let parent = parent.unwrap_or_else(|| Path::new("."));
    let error_text = || format!("cannot write {}", folder.display());
    if fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some()) {
        bail!("{} is not empty: give another folder", folder.display());
    }
    let temporary = tempfile::Builder::new().prefix(".fixture-").tempdir_in(parent);
    let temporary = temporary.with_context(error_text)?;
    let exchanges: Vec<_> = run.exchanges.iter().map(ToString::to_string).collect();
    write_recording(temporary.path(), &exchanges)?;
    let RunInput { settings, report, event, test_data, .. } = &run.input;
    let mut files = vec![
        (CALL_FILE, serde_json::to_string_pretty(&CallFile::new(run))?),
        (SETTINGS_FILE, serde_json::to_string_pretty(settings)?),
    ];
    if *report != Settings::new() {
        files.push((REPORT_FILE, serde_json::to_string_pretty(report)?));
    }
    for (name, content) in [(EVENT_FILE, event), (TEST_DATA_FILE, test_data)] {
        if let Some(content) = content {
            files.push((name, serde_json::to_string_pretty(content)?));
        }
    }
    for (name, text) in files {
        let written = write_private(&temporary.path().join(name), format!("{text}\n").as_bytes());
        written.with_context(error_text)?;
    }
    fs::rename(temporary.path(), folder).with_context(error_text)
}

impl CallFile {
    fn new(run: &RecordedRun) -> Self {
        let input = run.input.clone();
        Self {
            call: call_name(run.call.0).to_owned(),
            connector: input.connector,
            connector_version: input.connector_version,
            connector_sha256: input.connector_sha256,
            marker: input.marker,
            key: input.key,
            attachment: input.attachment,
            project: input.project,
            setting: input.setting,
            search: input.search,
            secrets: input.secrets,
            notes: input.notes,
        }
    }
}
