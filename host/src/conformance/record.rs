//! Records the calls that the suite replays. The recorded calls reach the tracker: one creates a
//! defect there, and one searches with wrong secrets.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::time::sleep;

use crate::config::Config;
use crate::connections::UnstoredConnection;
use crate::domain::StringEnum;
use crate::egress::{Recorder, Tape};
use crate::runtime::Connector;
use crate::secret::Secret;

use super::replayed_call::{Caller, placeholder_secret};
use super::{Scenario, Suite};

/// Records each call into its own folder below `folder`. Creates `folder` only after all calls were
/// recorded.
///
/// # Errors
/// The folder has files, a call cannot be made or recorded, or `create` failed.
pub async fn record_calls(
    suite: &Suite,
    values: UnstoredConnection,
    config: Config,
    folder: &Path,
    progress: &dyn Fn(&str),
) -> anyhow::Result<()> {
    if fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some()) {
        bail!("{} has files already: delete them or use another folder", folder.display());
    }
    let parent = folder.parent().filter(|parent| !parent.as_os_str().is_empty());
    let parent = parent.unwrap_or(Path::new("."));
    let temporary_folder = tempfile::tempdir_in(parent);
    let temporary_folder = temporary_folder
        .with_context(|| format!("cannot create a folder in {}", parent.display()))?;
    let folder_of = |scenario: Scenario| temporary_folder.path().join(scenario.as_str());
    let recorder = Arc::new(Recorder::create(&folder_of(Scenario::Check))?);
    let caller = Caller::start(config, suite, Tape::Record(Arc::clone(&recorder))).await?;
    let wrong_values = with_wrong_secrets(&values, &caller.connector);
    let active = caller.invoker.new_connection(&caller.connector, values)?;
    for scenario in Scenario::ALL.iter().copied() {
        if !scenario.is_exported_by(caller.connector.interfaces()) {
            continue;
        }
        if scenario == Scenario::Find {
            wait_for_index(caller.connector.manifest().index_delay_s, progress).await;
        }
        let active = match (scenario, &wrong_values) {
            (Scenario::FindWrongSecret, None) => continue,
            (Scenario::FindWrongSecret, Some(wrong)) => {
                &caller.invoker.new_connection(&caller.connector, wrong.clone())?
            }
            _ => &active,
        };
        if scenario != Scenario::Check {
            recorder.change_folder(&folder_of(scenario))?;
        }
        progress(&format!("recording {scenario}"));
        let invoked = caller.call_export(active, scenario).await?;
        recorder.exchange_count().with_context(|| format!("cannot record {scenario}"))?;
        if let (Scenario::Create, Err(refusal)) = (scenario, invoked.answer) {
            bail!("nothing was recorded, because create-defect failed: {refusal}");
        }
    }
    // If `folder` exists, it is empty, and the rename replaces it.
    fs::rename(temporary_folder.path(), folder)
        .with_context(|| format!("cannot create {}", folder.display()))?;
    Ok(())
}

/// Returns `None` if there is no secret, or if no wrong value can be generated for one of them.
fn with_wrong_secrets(
    values: &UnstoredConnection,
    connector: &Connector,
) -> Option<UnstoredConnection> {
    let schema = &connector.manifest().settings_schema;
    let wrong_secret = |name: &String| {
        Some((name.clone(), Secret::new(placeholder_secret(schema.get("properties")?.get(name)?)?)))
    };
    let secrets: Option<BTreeMap<_, _>> = values.secrets.keys().map(wrong_secret).collect();
    let secrets = secrets.filter(|secrets| !secrets.is_empty())?;
    Some(UnstoredConnection { secrets, ..values.clone() })
}

/// After the index delay, the tracker's search finds the new defect.
async fn wait_for_index(index_delay_s: Option<u32>, progress: &dyn Fn(&str)) {
    if let Some(seconds) = index_delay_s.filter(|seconds| *seconds > 0) {
        progress(&format!("waiting {seconds} s for the index of the tracker"));
        sleep(Duration::from_secs(seconds.into())).await;
    }
}
