//! The conformance suite of `jackfield test`: finds out whether a connector keeps to its manual,
//! the comments in `wit/connector.wit`.
//!
//! Replays recorded calls, and replaces one answer of the tracker at a time by a fault. Needs no
//! server and no database, and a tracker only to record.

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
use crate::connections::Unstored;
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

/// What is tested.
#[derive(Debug)]
pub struct Suite {
    /// The connector file.
    pub file: PathBuf,
    /// The failed test of the calls.
    pub test: FailedTest,
    /// The Test Manager project of the counts.
    pub project: String,
    /// The connection's values; absent: only the checks that need no connection are made.
    pub values: Option<Unstored>,
    /// The folder of the recorded calls; absent: only the checks that need no recorded call are
    /// made.
    pub recording: Option<PathBuf>,
    /// The checks to make.
    pub checks: Vec<Check>,
}

/// Reports how many of the calls were made.
pub type Progress<'a> = &'a dyn Fn(usize, usize);

impl Suite {
    /// Makes the checks.
    ///
    /// # Errors
    /// The server would not load the file or would not create the connection, or a recording cannot
    /// be read.
    pub async fn run(self, config: Config, progress: Progress<'_>) -> anyhow::Result<Report> {
        let mut results = FindingCollector::new(&self.checks);
        let replayer = Replayer::start(config, &self).await?;
        let connector = Arc::clone(&replayer.connector);
        described::check(connector.manifest(), &mut results);
        let connection = match (self.values, &self.recording) {
            (None, _) => Err("give the connection's settings with --settings FILE".to_owned()),
            (_, None) => Err(NO_RECORDING.to_owned()),
            (Some(values), Some(folder)) => Ok((replayer.connect(values)?, folder)),
        };
        match connection {
            Err(why) => results.nothing_recorded(&why),
            Ok((active, folder)) => {
                let originals = originals::replay(&replayer, &active, folder, &mut results).await?;
                unchanged::check(&originals, &mut results);
                let planned = plan(&originals, replayer.now(), &results);
                for (number, (original, fault)) in planned.iter().enumerate() {
                    progress(number, planned.len());
                    let replayed_call =
                        replayer.run(&active, original, fault.replaced.clone()).await?;
                    reaction::check(original, fault, &replayed_call, &mut results);
                }
                progress(planned.len(), planned.len());
            }
        }
        Ok(report(&connector, results, replayer.call_count()))
    }
}

/// What to give if there is no recording.
const NO_RECORDING: &str =
    "give a recording with --replay FOLDER, or make one with --record FOLDER and a tracker";

/// Each fault of each recorded call that a chosen check needs.
fn plan<'o>(
    originals: &'o [Original],
    now: Timestamp,
    results: &FindingCollector,
) -> Vec<(&'o Original, Fault)> {
    let of_original = |original: &'o Original| {
        original.faults(now).into_iter().map(move |fault| (original, fault))
    };
    let is_good =
        |original: &&Original| original.is_ok() && original.scenario != Scenario::FindRefused;
    let all = originals.iter().filter(is_good).flat_map(of_original);
    all.filter(|(original, fault)| results.needs(&fault.checks(original.scenario))).collect()
}

fn report(connector: &Connector, results: FindingCollector, calls: usize) -> Report {
    let manifest = connector.manifest();
    Report {
        connector: connector.name().to_string(),
        name: manifest.name.clone(),
        version: manifest.version.to_string(),
        sha256: connector.sha256().to_owned(),
        results: results.end(),
        calls,
    }
}
