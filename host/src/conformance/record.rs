//! Records the calls that the suite replays, with the tracker. Creates one defect in it.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::time::sleep;

use crate::config::Config;
use crate::connections::Unstored;
use crate::domain::StringEnum;
use crate::egress::{Recorder, Tape};

use super::trial::Caller;
use super::{Scenario, Suite};

/// Records each call into a folder of its own in `folder`, which is created at the end.
///
/// # Errors
/// The folder has files, a call cannot be made or recorded, or `create` failed.
pub async fn record(
    suite: &Suite,
    values: Unstored,
    config: Config,
    folder: &Path,
    progress: &dyn Fn(&str),
) -> anyhow::Result<()> {
    if fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some()) {
        bail!("{} has files already: delete them or give another folder", folder.display());
    }
    let parent = folder.parent().filter(|parent| !parent.as_os_str().is_empty());
    let parent = parent.unwrap_or(Path::new("."));
    let unfinished = tempfile::tempdir_in(parent);
    let unfinished =
        unfinished.with_context(|| format!("cannot create a folder in {}", parent.display()))?;
    let to = |scenario: Scenario| unfinished.path().join(scenario.as_str());
    let recorder = Arc::new(Recorder::create(&to(Scenario::Check))?);
    let caller = Caller::start(config, suite, Tape::Record(Arc::clone(&recorder))).await?;
    let active = caller.invoker.connect(&caller.connector, values)?;
    for scenario in Scenario::ALL.iter().copied() {
        if !scenario.is_exported(caller.connector.interfaces()) {
            continue;
        }
        if scenario != Scenario::Check {
            recorder.begin(&to(scenario))?;
        }
        if scenario == Scenario::Find {
            wait_for_index(caller.connector.manifest().index_delay_s, progress).await;
        }
        progress(&format!("recording {scenario}"));
        let ended = caller.call(&active, scenario).await?;
        recorder.end().with_context(|| format!("cannot record {scenario}"))?;
        if let (Scenario::Create, Err(refusal)) = (scenario, ended.answer) {
            bail!("nothing was recorded, because create-defect failed: {refusal}");
        }
    }
    // An empty folder may exist: a rename replaces it.
    fs::rename(unfinished.path(), folder)
        .with_context(|| format!("cannot create {}", folder.display()))?;
    Ok(())
}

/// Waits until the tracker's search is sure to have the new defect.
async fn wait_for_index(index_delay_s: Option<u32>, progress: &dyn Fn(&str)) {
    if let Some(seconds) = index_delay_s.filter(|seconds| *seconds > 0) {
        progress(&format!("waiting {seconds} s for the index of the tracker"));
        sleep(Duration::from_secs(seconds.into())).await;
    }
}
