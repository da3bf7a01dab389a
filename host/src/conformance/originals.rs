//! Replays the recorded calls without faults, for comparison with the replays that have a fault.
//! This module replaces no answers.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::domain::{Effect, StringEnum};
use crate::egress::{ActiveConnection, Recording, RecordingError, SentRequest};

use super::replayed_call::{ReplayedCall, Replayer};
use super::results::FindingCollector;
use super::{Check, Scenario};

/// A recorded call, and its replay without a fault.
pub(super) struct OriginalCall {
    pub(super) scenario: Scenario,
    pub(super) recording: Recording,
    pub(super) replayed_call: ReplayedCall,
}

impl OriginalCall {
    /// Whether the export returned ok in the replay.
    pub(super) fn is_ok(&self) -> bool {
        self.replayed_call.answer.is_ok()
    }

    /// Returns the index of the first request that `create` marks as a write.
    pub(super) fn write_index(&self) -> Option<usize> {
        let mut sent = self.replayed_call.requests.iter();
        sent.position(|request| request.effect == Effect::Write)
            .filter(|_| self.scenario == Scenario::Create)
    }
}

/// Replays each recorded call twice. Returns the calls whose requests in the first replay all had
/// recorded answers.
pub(super) async fn replay_recordings(
    replayer: &Replayer,
    active: &Arc<ActiveConnection>,
    folder: &Path,
    results: &mut FindingCollector,
) -> anyhow::Result<Vec<OriginalCall>> {
    let mut originals = Vec::new();
    for scenario in Scenario::ALL.iter().copied() {
        if !scenario.is_exported_by(replayer.connector.interfaces()) {
            results.note_unusable_call(scenario, "the connector does not export its interface");
            continue;
        }
        let Some(recording) = read_recording(folder, scenario)? else {
            results.note_unusable_call(scenario, &not_recorded_hint(folder, scenario));
            continue;
        };
        let replayed_call = replayer.replay(active, scenario, &recording, BTreeMap::new()).await?;
        let second_replay = replayer.replay(active, scenario, &recording, BTreeMap::new()).await?;
        if let Some(difference) = first_difference(&replayed_call.requests, &second_replay.requests)
        {
            let text = format!("`{scenario}`: {difference}");
            results.add_finding(Check::SameRequests, text);
        }
        match &replayed_call.missing_answer {
            // The folder contains the exchanges of other calls, but not those of this call.
            Some(_) if !folder.join(scenario.as_str()).is_dir() => {
                results.note_unusable_call(scenario, &not_recorded_hint(folder, scenario));
            }
            Some(why) => {
                let text = format!(
                    "`{scenario}`: {why}; if the request is correct, record the call again"
                );
                results.add_unreplayable_call(scenario, text);
            }
            None => {
                results.mark_made(Check::SameRequests);
                originals.push(OriginalCall { scenario, recording, replayed_call });
            }
        }
    }
    Ok(originals)
}

/// Reads the recording of a call from its own folder. If this folder does not exist, reads `folder`
/// itself, which may contain the exchanges of several calls. Returns `None` if neither can contain
/// an exchange of this call.
fn read_recording(folder: &Path, scenario: Scenario) -> Result<Option<Recording>, RecordingError> {
    let own_folder: PathBuf = folder.join(scenario.as_str());
    let has_own_folder = own_folder.is_dir();
    if !has_own_folder && scenario == Scenario::FindWrongSecret {
        return Ok(None);
    }
    match Recording::read(if has_own_folder { &own_folder } else { folder }) {
        Ok(recording) => Ok(Some(recording)),
        // An empty folder is a valid recording, because a call may send no request.
        Err(RecordingError::Empty(_)) if has_own_folder => Ok(Some(Recording::default())),
        Err(RecordingError::Empty(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

fn not_recorded_hint(folder: &Path, scenario: Scenario) -> String {
    format!(
        "it is not recorded in {}; record all calls with --record, or this one with `jackfield \
         invoke`",
        folder.join(scenario.as_str()).display()
    )
}

/// Describes the first request that differs between two replays.
fn first_difference(
    first_requests: &[SentRequest],
    second_requests: &[SentRequest],
) -> Option<String> {
    let method_and_url = |request: Option<&SentRequest>| {
        let request = request.map(|request| format!("{} {}", request.method, request.url));
        request.unwrap_or_else(|| "nothing".to_owned())
    };
    (0..first_requests.len().max(second_requests.len())).find_map(|index| {
        let (first, second) = (first_requests.get(index), second_requests.get(index));
        let compared = |request: &SentRequest| {
            (request.method.clone(), request.url.clone(), request.body.clone())
        };
        if first.map(compared) == second.map(compared) {
            return None;
        }
        let (first, second) = (method_and_url(first), method_and_url(second));
        Some(if first == second {
            format!("two replays send {first} with different bodies")
        } else {
            format!("the first replay sends {first}, the second replay sends {second}")
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(url: &str, body: &'static str) -> SentRequest {
        let (method, url) = ("GET".to_owned(), url.to_owned());
        SentRequest { method, url, body: body.into(), effect: Effect::Read, recorded_answer: None }
    }

    #[test]
    fn the_first_different_request_is_described() {
        let requests = [request("/a", ""), request("/b", "x")];
        assert_eq!(first_difference(&requests, &requests), None);
        let difference =
            |other: &[SentRequest]| first_difference(&requests, other).unwrap_or_default();
        assert!(difference(&requests[..1]).contains("GET /b, the second replay sends nothing"));
        assert!(
            difference(&[request("/a", ""), request("/c", "")])
                .contains("the second replay sends GET /c")
        );
        assert!(difference(&[request("/a", ""), request("/b", "y")]).contains("different bodies"));
    }
}
