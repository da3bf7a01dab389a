//! `jackfield fixture`: makes a recording for `jackfield invoke --replay` from a recorded event.
//! Also reads such a recording, as a folder or as the file that the console downloads.

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
use super::invoke::{call_names, call_of, name_of};
use super::output::{Output, eprint};
use super::server::ServerArgs;

const CALL: &str = "call.json";
const EVENT: &str = "event.json";
const SETTINGS: &str = "settings.json";
const REPORT: &str = "report.json";
const TEST_DATA: &str = "test-data.json";

#[derive(Args)]
#[command(after_help = "\
The bodies of an event are kept only while its connection records them. The folder has the
exchanges without secrets, and what the export was called with: call.json, event.json,
settings.json, report.json and test-data.json, each if there is something in it. It may contain
personal data.

Example:
  jackfield connections record qa --for 1h
  jackfield trigger create-defect --connection qa
  jackfield fixture 01a2b3c4 --out recording
  jackfield invoke redmine.wasm create-defect --replay recording")]
pub(super) struct Arguments {
    /// The id of the event, or its beginning
    event: IdPrefix,
    /// The new folder
    #[arg(long, value_name = "FOLDER")]
    out: PathBuf,
    /// The run of the event, if it has several [default: the one that the event asked for]
    #[arg(long, value_parser = PossibleValuesParser::new(call_names()))]
    call: Option<String>,
}

/// The file `call.json`: the call, and the arguments that have no file of their own.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct CallFile {
    pub(super) call: String,
    connector: String,
    connector_version: String,
    connector_sha256: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) marker: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) attachment: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) project: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) setting: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) search: Option<String>,
    /// The names of the secrets. A replay needs no values.
    pub(super) secrets: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) notes: Vec<String>,
}

/// What a folder says about the call, besides its exchanges.
pub(super) struct Fixture {
    pub(super) call: CallFile,
    pub(super) event: Option<PathBuf>,
    pub(super) settings: Option<PathBuf>,
    pub(super) report: Option<PathBuf>,
    pub(super) test_data: Option<PathBuf>,
}

/// A folder to replay from.
pub(super) struct ReplayFolder {
    pub(super) path: PathBuf,
    /// What a downloaded file has in it, until this is dropped.
    _unpacked: Option<TempDir>,
}

impl ReplayFolder {
    /// The folder itself, or the run of this call in a file that was downloaded from the console.
    pub(super) fn open(path: &Path, call: Call) -> anyhow::Result<Self> {
        if !path.is_file() {
            return Ok(Self { path: path.to_owned(), _unpacked: None });
        }
        let text = fs::read_to_string(path);
        let text = text.with_context(|| format!("cannot read {}", path.display()))?;
        let recording = serde_json::from_str::<EventRecording>(&text).with_context(|| {
            format!("{} is not the recording of an event; give a folder", path.display())
        })?;
        let unpacked = TempDir::new().context("cannot create a temporary folder")?;
        let folder = unpacked.path().join("recording");
        write(&folder, &run_of(recording.runs, call)?)?;
        Ok(Self { path: folder, _unpacked: Some(unpacked) })
    }
}

impl Fixture {
    /// Reads the call of a folder; `None` if the folder has only exchanges.
    pub(super) fn read(folder: &Path) -> anyhow::Result<Option<Self>> {
        let file = folder.join(CALL);
        if !file.exists() {
            return Ok(None);
        }
        let text = fs::read_to_string(&file);
        let text = text.with_context(|| format!("cannot read {}", file.display()))?;
        let call = serde_json::from_str(&text);
        let call = call.with_context(|| format!("{} is not a call", file.display()))?;
        let existing = |name: &str| Some(folder.join(name)).filter(|path| path.exists());
        Ok(Some(Self {
            call,
            event: existing(EVENT),
            settings: existing(SETTINGS),
            report: existing(REPORT),
            test_data: existing(TEST_DATA),
        }))
    }
}

impl Arguments {
    pub(super) fn run(self, server: &ServerArgs, output: Output) -> anyhow::Result<()> {
        let admin = server.admin()?;
        let id = self.event.resolve(&admin, "event")?;
        let event: Answer<EventWithRuns> = admin.get_by_name("event", &id.to_string())?;
        let event = event.decode()?;
        let recording: Answer<EventRecording> = admin.get(&format!("/events/{id}/recording"))?;
        let runs = recording.decode()?.runs;
        if runs.is_empty() {
            return Err(not_recorded(&admin, &event));
        }
        let wanted = self.call.as_deref().map(call_of);
        let run = choose(runs, wanted, event.event.kind.0)?;
        write(&self.out, &run)?;
        let (call, count) = (name_of(run.call.0), run.exchanges.len());
        if let Some(why) = &run.missing {
            eprint(&format!("warning: the recording is incomplete: {why}"));
        }
        let folder = self.out.display();
        let sentence = format!(
            "{folder} has {count} exchanges; it may contain personal data. Replay them:\n  \
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

/// Why there is nothing to write, and how that is changed for later events.
fn not_recorded(admin: &Client, event: &EventWithRuns) -> anyhow::Error {
    let event = &event.event;
    let Some(name) = &event.connection_name else {
        return anyhow::anyhow!("event {} has no recording: it belongs to no connection", event.id);
    };
    let until = admin.connection(name).ok().and_then(|it| it.decode().ok()?.recording_until);
    let how = match until {
        Some(_) => format!("{name} records now; cause an event"),
        None => format!(
            "switch recording on with `jackfield connections record {name} --for 1h`, then cause \
             an event"
        ),
    };
    anyhow::anyhow!("event {} has no recording: {how}", event.id)
}

/// The run that the event asked for, or the only one with the wanted call.
fn choose(
    runs: Vec<RecordedRun>,
    wanted: Option<Call>,
    kind: EventKind,
) -> anyhow::Result<RecordedRun> {
    let names: Vec<_> = runs.iter().map(|run| name_of(run.call.0)).collect();
    let asked = match kind {
        EventKind::CreateDefect => Some(Call::Create),
        EventKind::Kpis => Some(Call::Count),
        EventKind::Check => Some(Call::Check),
        _ => None,
    };
    let only = (runs.len() == 1).then(|| runs.first().map(|run| run.call.0)).flatten();
    let Some(call) = wanted.or(only).or(asked) else {
        bail!("the event has several runs: choose one with --call: {}", names.join(", "));
    };
    run_of(runs, call)
}

/// The last run of a call.
fn run_of(runs: Vec<RecordedRun>, call: Call) -> anyhow::Result<RecordedRun> {
    let names: Vec<_> = runs.iter().map(|run| name_of(run.call.0)).collect();
    let found = runs.into_iter().rev().find(|run| run.call.0 == call);
    found.with_context(|| {
        format!("the event has no recorded run of {}; it has {}", name_of(call), names.join(", "))
    })
}

/// Writes the folder completely, or not at all.
fn write(folder: &Path, run: &RecordedRun) -> anyhow::Result<()> {
    let parent = folder.parent().filter(|path| !path.as_os_str().is_empty());
    let parent = parent.unwrap_or_else(|| Path::new("."));
    let cannot = || format!("cannot write {}", folder.display());
    if fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some()) {
        bail!("{} is not empty: give another folder", folder.display());
    }
    let new = tempfile::Builder::new().prefix(".fixture-").tempdir_in(parent);
    let new = new.with_context(cannot)?;
    let exchanges: Vec<_> = run.exchanges.iter().map(ToString::to_string).collect();
    write_recording(new.path(), &exchanges)?;
    let RunInput { settings, report, event, test_data, .. } = &run.input;
    let mut files = vec![
        (CALL, serde_json::to_string_pretty(&CallFile::of(run))?),
        (SETTINGS, serde_json::to_string_pretty(settings)?),
    ];
    if *report != Settings::new() {
        files.push((REPORT, serde_json::to_string_pretty(report)?));
    }
    for (name, content) in [(EVENT, event), (TEST_DATA, test_data)] {
        if let Some(content) = content {
            files.push((name, serde_json::to_string_pretty(content)?));
        }
    }
    for (name, text) in files {
        let written = write_private(&new.path().join(name), format!("{text}\n").as_bytes());
        written.with_context(cannot)?;
    }
    fs::rename(new.path(), folder).with_context(cannot)
}

impl CallFile {
    fn of(run: &RecordedRun) -> Self {
        let input = run.input.clone();
        Self {
            call: name_of(run.call.0).to_owned(),
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
