//! Checks the reaction of a connector to a fault. This module makes no call itself.

use crate::domain::{Call, Effect, OutboundCall, Refusal};
use crate::runtime::ReturnedValue;

use super::faults::{Fault, TRACKER_MESSAGE, error_code};
use super::originals::OriginalCall;
use super::replayed_call::ReplayedCall;
use super::results::{FindingCollector, RefusalText};
use super::{Check, Scenario};

/// The length to which a connector's message is cut in a finding, characters.
const MESSAGE_CHARS_MAX: usize = 200;

pub(super) fn check_reaction(
    original: &OriginalCall,
    fault: &Fault,
    replayed_call: &ReplayedCall,
    results: &mut FindingCollector,
) {
    let reaction = Reaction { original, fault, replayed_call };
    match fault.check {
        Check::ForeignResult => reaction.check_foreign_result(results),
        Check::TrackerWords => results.record_refusal_text(reaction.refusal_text()),
        _ => reaction.check_error(results),
    }
}

struct Reaction<'a> {
    original: &'a OriginalCall,
    fault: &'a Fault,
    replayed_call: &'a ReplayedCall,
}

impl Reaction<'_> {
    /// Checks that `find` did not return a record without the marker.
    fn check_foreign_result(&self, results: &mut FindingCollector) {
        results.mark_made(Check::ForeignResult);
        if let Ok(ReturnedValue::FoundDefects(found)) = &self.replayed_call.answer
            && let Some(first) = found.first()
        {
            let text = self.describe(&format!("returned the defect {:?}", first.key));
            results.add_finding(Check::ForeignResult, text);
        }
    }

    fn refusal_text(&self) -> RefusalText {
        match &self.replayed_call.answer {
            Err(refusal) if refusal.to_string().contains(TRACKER_MESSAGE) => RefusalText::PassedOn,
            Err(refusal) => {
                let reaction =
                    format!("returned {}, without this message", describe_error(refusal));
                RefusalText::Lost(self.describe(&reaction))
            }
            Ok(_) => RefusalText::Lost(self.describe("returned ok")),
        }
    }

    /// Checks that the call returned the expected error or, for a fault after the write, that it
    /// returned ok.
    fn check_error(&self, results: &mut FindingCollector) {
        let Self { original, fault, replayed_call } = self;
        let write = original.write_index();
        if write.is_some_and(|write| fault.request_index > write) {
            if let Err(refusal) = &replayed_call.answer {
                let text = self.describe(&format!("returned {}", describe_error(refusal)));
                results.add_finding(Check::OkAfterWrite, text);
            }
            return;
        }
        if write == Some(fault.request_index) && self.repeats_its_write() {
            results.add_finding(Check::CreateOnce, self.describe("sent the write again"));
        }
        if replayed_call.missing_answer.is_some() && is_error(&replayed_call.answer) {
            // The missing recorded answer may have caused the error, so the error is not checked.
            let text = self.describe("sent a request that is not recorded");
            return results.add_note(fault.check, text);
        }
        results.mark_made(fault.check);
        if original.scenario.call() == Call::Find {
            results.mark_made(Check::EmptyFind);
        }
        match &replayed_call.answer {
            Ok(ReturnedValue::FoundDefects(found)) if found.is_empty() => {
                results.add_finding(Check::EmptyFind, self.describe("returned an empty list"));
            }
            // `create` may succeed although a request that prepares the write failed.
            Ok(_) if self.fault_hits_preparation() => {}
            Ok(_) => results.add_finding(fault.check, self.describe("returned ok")),
            Err(Refusal::ConnectorFault(why)) => {
                results.add_finding(fault.check, self.describe(&shortened(&why.to_string())));
            }
            Err(refusal) => {
                if let Some(why) = fault.expected_error.mismatch(refusal) {
                    let text =
                        self.describe(&format!("returned {}; {why}", describe_error(refusal)));
                    results.add_finding(fault.check, text);
                }
            }
        }
    }

    /// Whether the request with the fault prepares the write of `create`, such as an upload.
    fn fault_hits_preparation(&self) -> bool {
        let request = self.original.replayed_call.requests.get(self.fault.request_index);
        let is_create = self.original.scenario == Scenario::Create;
        is_create && request.is_some_and(|request| request.effect == Effect::Prepare)
    }

    /// Whether `create` sent more writes than without the fault. A request with the method and the
    /// path of a write is also a write here, even if it is not marked as one.
    fn repeats_its_write(&self) -> bool {
        let count_writes = |calls: &[OutboundCall]| {
            let write = calls.iter().find(|call| call.effect == Effect::Write);
            let is_write = |call: &&OutboundCall| {
                let has_same_target = |write: &OutboundCall| {
                    (&call.method, &call.path) == (&write.method, &write.path)
                };
                call.effect == Effect::Write || write.is_some_and(has_same_target)
            };
            calls.iter().filter(is_write).count()
        };
        count_writes(&self.replayed_call.report.calls)
            > count_writes(&self.original.replayed_call.report.calls)
    }

    fn describe(&self, reaction: &str) -> String {
        let Self { original, fault, .. } = self;
        let request = original.replayed_call.requests.get(fault.request_index);
        let request =
            request.map(|request| format!("{} {}", request.method, url_path(&request.url)));
        let request = request.unwrap_or_default();
        format!(
            "`{}`, with {} as the answer to {request}: {reaction}",
            original.scenario, fault.description
        )
    }
}

/// Whether an export returned an error. A trap and a violation of the contract are not returned
/// errors.
fn is_error(answer: &Result<ReturnedValue, Refusal>) -> bool {
    matches!(answer, Err(refusal) if !matches!(refusal, Refusal::ConnectorFault(_)))
}

/// Returns the code and the text of an error.
fn describe_error(refusal: &Refusal) -> String {
    match error_code(refusal) {
        Some(code) => format!("`{code}` ({})", shortened(&refusal.to_string())),
        None => shortened(&refusal.to_string()),
    }
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(MESSAGE_CHARS_MAX) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

fn url_path(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let path = rest.find('/').and_then(|start| rest.get(start..)).unwrap_or("/");
    path.split('?').next().unwrap_or(path)
}
