//! The conformance suite of `jackfield test`. It tests whether a connector follows the manual for
//! connectors: the comments in `wit/connector.wit`.
//!
//! The suite replays recorded calls without and with faults. A fault replaces answers of the
//! tracker. The suite sends requests to a tracker only while it records the calls.

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
use originals::OriginalCall;
use replayed_call::Replayer;
use results::FindingCollector;

pub use check::Check;
pub use manual::ManualSentence;
pub use record::record_calls;
pub use results::{CheckResult, Report, Verdict};
pub use scenario::Scenario;

/// A connector, the checks that test it, and the values for its calls.
#[derive(Debug)]
pub struct Suite {
    /// The connector file.
    pub file: PathBuf,
    /// The failed test with which the exports are called.
    pub failed_test: FailedTest,
    /// The Test Manager project with which `count` is called.
    pub project: String,
    /// The settings and secrets of the connection. If it is `None`, only the checks that need no
    /// connection are made.
    pub connection_values: Option<UnstoredConnection>,
    /// The folder with the recorded calls. If it is `None`, only the checks that need no recorded
    /// call are made.
    pub recording_folder: Option<PathBuf>,
    /// The checks whose results are reported.
    pub checks: Vec<Check>,
}

/// Gets the number of calls with faults that were already made, and the number of all of them.
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
        let connection_and_folder = match (self.connection_values, &self.recording_folder) {
            (None, _) => Err("pass the connection's settings with --settings FILE".to_owned()),
            (_, None) => Err(NO_RECORDING_HINT.to_owned()),
            (Some(values), Some(folder)) => Ok((replayer.connect(values)?, folder)),
        };
        match connection_and_folder {
            Err(why) => results.note_that_no_call_was_replayed(&why),
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

const NO_RECORDING_HINT: &str =
    "pass a recording with --replay FOLDER, or create one with --record FOLDER and a tracker";

/// Returns each fault that a chosen check needs, with its recorded call.
fn plan_faults<'o>(
    originals: &'o [OriginalCall],
    now: Timestamp,
    results: &FindingCollector,
) -> Vec<(&'o OriginalCall, Fault)> {
    let faults_of_original = |original: &'o OriginalCall| {
        original.possible_faults(now).into_iter().map(move |fault| (original, fault))
    };
    let is_usable = |original: &&OriginalCall| {
        original.is_ok() && original.scenario != Scenario::FindWrongSecret
    };
    let faults = originals.iter().filter(is_usable).flat_map(faults_of_original);
    faults
        .filter(|(original, fault)| {
            results.needs_any_of(&fault.dependent_checks(original.scenario))
        })
        .collect()
}

fn build_report(connector: &Connector, results: FindingCollector, calls: usize) -> Report {
    let manifest = connector.manifest();
    Report {
        connector_name: connector.name().to_string(),
        title: manifest.name.clone(),
        version: manifest.version.to_string(),
        sha256: connector.sha256().to_owned(),
        results: results.into_results(),
        call_count: calls,
    }
}
