//! The recorded calls, replayed without a fault: what the others are compared with.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::domain::{Effect, StringEnum};
use crate::egress::{ActiveConnection, NotUsable, Recording, SentRequest};

use super::replayed_call::{ReplayedCall, Replayer};
use super::results::FindingCollector;
use super::{Check, Scenario};

/// A recorded call, and its replay without a fault.
pub(super) struct Original {
    pub(super) scenario: Scenario,
    pub(super) recording: Recording,
    pub(super) replayed_call: ReplayedCall,
}

impl Original {
    pub(super) fn is_ok(&self) -> bool {
        self.replayed_call.answer.is_ok()
    }

    /// The number of the request that creates the defect.
    pub(super) fn write(&self) -> Option<usize> {
        let mut sent = self.replayed_call.sent.iter();
        sent.position(|request| request.effect == Effect::Write)
            .filter(|_| self.scenario == Scenario::Create)
    }
}

/// Replays each recorded call twice.
pub(super) async fn replay(
    replayer: &Replayer,
    active: &Arc<ActiveConnection>,
    folder: &Path,
    results: &mut FindingCollector,
) -> anyhow::Result<Vec<Original>> {
    let mut originals = Vec::new();
    for scenario in Scenario::ALL.iter().copied() {
        if !scenario.is_exported(replayer.connector.interfaces()) {
            results.missing_scenario(scenario, "the connector does not export its interface");
            continue;
        }
        let Some(recording) = recording(folder, scenario)? else {
            results.missing_scenario(scenario, &not_recorded(folder, scenario));
            continue;
        };
        let replayed_call = replayer.replay(active, scenario, &recording, BTreeMap::new()).await?;
        let again = replayer.replay(active, scenario, &recording, BTreeMap::new()).await?;
        if let Some(difference) = first_difference(&replayed_call.sent, &again.sent) {
            let text = format!("`{scenario}`: {difference}");
            results.finding(Check::SameRequests, text);
        }
        match &replayed_call.missing {
            // The exchanges of all calls are in one folder, and not those of this call.
            Some(_) if !folder.join(scenario.as_str()).is_dir() => {
                results.missing_scenario(scenario, &not_recorded(folder, scenario));
            }
            Some(why) => {
                let text = format!("`{scenario}`: {why}; if the request is right, record it again");
                results.not_replayed(scenario, text);
            }
            None => {
                results.made(Check::SameRequests);
                originals.push(Original { scenario, recording, replayed_call });
            }
        }
    }
    Ok(originals)
}

/// The recording of a call: its own folder, or else the exchanges of all calls together.
fn recording(folder: &Path, scenario: Scenario) -> Result<Option<Recording>, NotUsable> {
    let own: PathBuf = folder.join(scenario.as_str());
    let is_own = own.is_dir();
    if !is_own && scenario == Scenario::FindRefused {
        return Ok(None);
    }
    match Recording::read(if is_own { &own } else { folder }) {
        Ok(recording) => Ok(Some(recording)),
        // A call may send no request.
        Err(NotUsable::Empty(_)) if is_own => Ok(Some(Recording::default())),
        Err(NotUsable::Empty(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

fn not_recorded(folder: &Path, scenario: Scenario) -> String {
    format!(
        "it is not recorded in {}; record all calls with --record, or this one with `jackfield \
         invoke`",
        folder.join(scenario.as_str()).display()
    )
}

/// The first request in which two runs differ.
fn first_difference(one: &[SentRequest], other: &[SentRequest]) -> Option<String> {
    let what = |request: Option<&SentRequest>| {
        let request = request.map(|it| format!("{} {}", it.method, it.url));
        request.unwrap_or_else(|| "nothing".to_owned())
    };
    (0..one.len().max(other.len())).find_map(|at| {
        let (first, second) = (one.get(at), other.get(at));
        let parts = |it: &SentRequest| (it.method.clone(), it.url.clone(), it.body.clone());
        if first.map(parts) == second.map(parts) {
            return None;
        }
        let (first, second) = (what(first), what(second));
        Some(if first == second {
            format!("two replays send {first} with different bodies")
        } else {
            format!("one replay sends {first}, the next one {second}")
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(url: &str, body: &'static str) -> SentRequest {
        let (method, url) = ("GET".to_owned(), url.to_owned());
        SentRequest { method, url, body: body.into(), effect: Effect::Read, recorded: None }
    }

    #[test]
    fn the_first_request_that_differs_is_named() {
        let one = [sent("/a", ""), sent("/b", "x")];
        assert_eq!(first_difference(&one, &one), None);
        let difference = |other: &[SentRequest]| first_difference(&one, other).unwrap_or_default();
        assert!(difference(&one[..1]).contains("GET /b, the next one nothing"));
        assert!(difference(&[sent("/a", ""), sent("/c", "")]).contains("the next one GET /c"));
        assert!(difference(&[sent("/a", ""), sent("/b", "y")]).contains("different bodies"));
    }
}
