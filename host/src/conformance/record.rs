//! Records the calls that the suite replays, with the tracker. Creates one defect in it, and asks
//! it once with a wrong secret.

use std::collections::BTreeMap;
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
use crate::runtime::Connector;
use crate::secret::Secret;

use super::replayed_call::{Caller, any_secret};
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
    let refused = with_wrong_secrets(&values, &caller.connector);
    let active = caller.invoker.connect(&caller.connector, values)?;
    for scenario in Scenario::ALL.iter().copied() {
        if !scenario.is_exported(caller.connector.interfaces()) {
            continue;
        }
        if scenario == Scenario::Find {
            wait_for_index(caller.connector.manifest().index_delay_s, progress).await;
        }
        let active = match (scenario, &refused) {
            (Scenario::FindRefused, None) => continue,
            (Scenario::FindRefused, Some(wrong)) => {
                &caller.invoker.connect(&caller.connector, wrong.clone())?
            }
            _ => &active,
        };
        if scenario != Scenario::Check {
            recorder.begin(&to(scenario))?;
        }
        progress(&format!("recording {scenario}"));
        let ended = caller.call(active, scenario).await?;
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

/// The same values with other secrets; none if no secret is given, or one may not have any text.
fn with_wrong_secrets(values: &Unstored, connector: &Connector) -> Option<Unstored> {
    let schema = &connector.manifest().settings_schema;
    let wrong = |name: &String| {
        Some((name.clone(), Secret::new(any_secret(schema.get("properties")?.get(name)?)?)))
    };
    let secrets: Option<BTreeMap<_, _>> = values.secrets.keys().map(wrong).collect();
    let secrets = secrets.filter(|secrets| !secrets.is_empty())?;
    Some(Unstored { secrets, ..values.clone() })
}

/// Waits until the tracker's search is sure to have the new defect.
async fn wait_for_index(index_delay_s: Option<u32>, progress: &dyn Fn(&str)) {
    if let Some(seconds) = index_delay_s.filter(|seconds| *seconds > 0) {
        progress(&format!("waiting {seconds} s for the index of the tracker"));
        sleep(Duration::from_secs(seconds.into())).await;
    }
}
