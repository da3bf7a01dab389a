//! The conformance suite of `jackfield test`: it tests whether a connector follows its manual,
//! which is the comments in `wit/connector.wit`.
//!
//! The suite replays recorded calls, and replaces one answer of the tracker at a time by a fault.
//! It needs no server and no database. It never sends a request to a tracker, except while it
//! records.

mod check;
mod described;
mod faults;
mod manual;
mod originals;
mod reaction;
mod record;
mod replayed_call;
mod results;
mod scenario;
mod unchanged;

use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;

use crate::config::Config;
use crate::connections::UnstoredConnection;
use crate::domain::FailedTest;
use crate::runtime::Connector;

use faults::Fault;
use originals::Original;
use replayed_call::Replayer;
use results::FindingCollector;

pub use check::Check;
pub use manual::ManualSentence;
pub use record::record;
pub use results::{CheckResult, Report, Verdict};
pub use scenario::Scenario;

/// The connector to test, the values for its calls, and the checks to make.
#[derive(Debug)]
pub struct Suite {
    /// The connector file.
    pub file: PathBuf,
    /// The failed test with which the exports are called.
    pub test: FailedTest,
    /// The Test Manager project with which `count` is called.
    pub project: String,
    /// The settings and secrets of the connection. If they are absent, only the checks that need no
    /// connection are made.
    pub values: Option<UnstoredConnection>,
    /// The folder of the recorded calls. If it is absent, only the checks that need no recorded
    /// call are made.
    pub recording: Option<PathBuf>,
    /// The checks to make.
    pub checks: Vec<Check>,
}

/// Called with the number of calls that were made, and the number of all planned calls.
pub type Progress<'a> = &'a dyn Fn(usize, usize);

impl Suite {
    /// Makes the chosen checks, and returns their results.
    ///
    /// # Errors
    /// The server would not load the file or would not create the connection, or a recording cannot
    /// be read.
    pub async fn run(self, config: Config, progress: Progress<'_>) -> anyhow::Result<Report> {
        let mut results = FindingCollector::new(&self.checks);
        let replayer = Replayer::start(config, &self).await?;
        let connector = Arc::clone(&replayer.connector);
        described::check_manifest(connector.manifest(), &mut results);
        let connection = match (self.values, &self.recording) {
            (None, _) => Err("pass the connection's settings with --settings FILE".to_owned()),
            (_, None) => Err(NO_RECORDING_HINT.to_owned()),
            (Some(values), Some(folder)) => Ok((replayer.connect(values)?, folder)),
        };
        match connection {
            Err(why) => results.note_no_calls(&why),
            Ok((active, folder)) => {
                let originals =
                    originals::replay_recordings(&replayer, &active, folder, &mut results).await?;
                unchanged::check_originals(&originals, &mut results);
                let planned = plan_faults(&originals, replayer.now(), &results);
                for (number, (original, fault)) in planned.iter().enumerate() {
                    progress(number, planned.len());
                    let replayed_call = replayer
                        .replay_with_faults(&active, original, fault.replies.clone())
                        .await?;
                    reaction::check_reaction(original, fault, &replayed_call, &mut results);
                }
                progress(planned.len(), planned.len());
            }
        }
        Ok(build_report(&connector, results, replayer.call_count()))
    }
}

/// The message if there is no recording.
const NO_RECORDING_HINT: &str =
    "pass a recording with --replay FOLDER, or create one with --record FOLDER and a tracker";

/// Returns each fault of each recorded call that a chosen check needs.
fn plan_faults<'o>(
    originals: &'o [Original],
    now: Timestamp,
    results: &FindingCollector,
) -> Vec<(&'o Original, Fault)> {
    let faults_of_original = |original: &'o Original| {
        original.faults(now).into_iter().map(move |fault| (original, fault))
    };
    let is_usable =
        |original: &&Original| original.is_ok() && original.scenario != Scenario::FindRefused;
    let faults = originals.iter().filter(is_usable).flat_map(faults_of_original);
    faults.filter(|(original, fault)| results.needs(&fault.checks(original.scenario))).collect()
}

fn build_report(connector: &Connector, results: FindingCollector, calls: usize) -> Report {
    let manifest = connector.manifest();
    Report {
        connector: connector.name().to_string(),
        name: manifest.name.clone(),
        version: manifest.version.to_string(),
        sha256: connector.sha256().to_owned(),
        results: results.into_results(),
        calls,
    }
}
