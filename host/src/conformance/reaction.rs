//! Checks the reaction of a connector to a fault.

use crate::domain::{Call, Effect, OutboundCall, Refusal};
use crate::runtime::ExportAnswer;

use super::faults::{Fault, TRACKER_MESSAGE, code};
use super::originals::Original;
use super::replayed_call::ReplayedCall;
use super::results::{FindingCollector, RefusalText};
use super::{Check, Scenario};

/// How much of a connector's message is shown, characters.
const MESSAGE_CHARS_MAX: usize = 200;

/// Checks a call in which answers were replaced by faults.
pub(super) fn check(
    original: &Original,
    fault: &Fault,
    replayed_call: &ReplayedCall,
    results: &mut FindingCollector,
) {
    let reaction = Reaction { original, fault, replayed_call };
    match fault.check {
        Check::ForeignResult => reaction.foreign_result(results),
        Check::TrackerWords => results.record_refusal_text(reaction.refusal_text()),
        _ => reaction.error(results),
    }
}

struct Reaction<'a> {
    original: &'a Original,
    fault: &'a Fault,
    replayed_call: &'a ReplayedCall,
}

impl Reaction<'_> {
    fn foreign_result(&self, results: &mut FindingCollector) {
        results.made(Check::ForeignResult);
        if let Ok(ExportAnswer::Found(found)) = &self.replayed_call.answer
            && let Some(first) = found.first()
        {
            let text = self.text(&format!("returned the defect {:?}", first.key));
            results.finding(Check::ForeignResult, text);
        }
    }

    fn refusal_text(&self) -> RefusalText {
        match &self.replayed_call.answer {
            Err(refusal) if refusal.to_string().contains(TRACKER_MESSAGE) => RefusalText::PassedOn,
            Err(refusal) => {
                let what = format!("returned {}, without these words", returned(refusal));
                RefusalText::Lost(self.text(&what))
            }
            Ok(_) => RefusalText::Lost(self.text("returned ok")),
        }
    }

    /// The call must return an error that fits, unless its write had succeeded before.
    fn error(&self, results: &mut FindingCollector) {
        let Self { original, fault, replayed_call } = self;
        let write = original.write();
        if write.is_some_and(|write| fault.at > write) {
            if let Err(refusal) = &replayed_call.answer {
                let text = self.text(&format!("returned {}", returned(refusal)));
                results.finding(Check::OkAfterWrite, text);
            }
            return;
        }
        if write == Some(fault.at) && self.repeats_its_write() {
            results.finding(Check::CreateOnce, self.text("sent the write again"));
        }
        if replayed_call.missing.is_some() && is_error(&replayed_call.answer) {
            // Its error is about the answer that is not recorded, so it says nothing of this fault.
            let text = self.text("asked for something that is not recorded");
            return results.note(fault.check, text);
        }
        results.made(fault.check);
        if original.scenario.call() == Call::Find {
            results.made(Check::EmptyFind);
        }
        match &replayed_call.answer {
            Ok(ExportAnswer::Found(found)) if found.is_empty() => {
                results.finding(Check::EmptyFind, self.text("returned an empty list"));
            }
            // A create may do without an upload.
            Ok(_) if self.is_preparation() => {}
            Ok(_) => results.finding(fault.check, self.text("returned ok")),
            Err(Refusal::ConnectorFault(why)) => {
                results.finding(fault.check, self.text(&shortened(&why.to_string())));
            }
            Err(refusal) => {
                if let Some(why) = fault.expected.differs(refusal) {
                    let text = self.text(&format!("returned {}; {why}", returned(refusal)));
                    results.finding(fault.check, text);
                }
            }
        }
    }

    fn is_preparation(&self) -> bool {
        let request = self.original.replayed_call.sent.get(self.fault.at);
        let is_create = self.original.scenario == Scenario::Create;
        is_create && request.is_some_and(|request| request.effect == Effect::Prepare)
    }

    /// Whether the write was sent, or tried, more than once, also to another address or under
    /// another effect.
    fn repeats_its_write(&self) -> bool {
        let writes = |calls: &[OutboundCall]| {
            let write = calls.iter().find(|call| call.effect == Effect::Write);
            let is_it = |call: &&OutboundCall| {
                let has_address = |write: &OutboundCall| {
                    (&call.method, &call.path) == (&write.method, &write.path)
                };
                call.effect == Effect::Write || write.is_some_and(has_address)
            };
            calls.iter().filter(is_it).count()
        };
        writes(&self.replayed_call.report.calls) > writes(&self.original.replayed_call.report.calls)
    }

    /// What happened, for people.
    fn text(&self, what: &str) -> String {
        let Self { original, fault, .. } = self;
        let request = original.replayed_call.sent.get(fault.at);
        let request = request.map(|it| format!("{} {}", it.method, path(&it.url)));
        let request = request.unwrap_or_default();
        format!("`{}`, with {} as the answer to {request}: {what}", original.scenario, fault.what)
    }
}

/// Whether an export returned an error; a trap does not count.
fn is_error(answer: &Result<ExportAnswer, Refusal>) -> bool {
    matches!(answer, Err(refusal) if !matches!(refusal, Refusal::ConnectorFault(_)))
}

/// The code and the text of an error.
fn returned(refusal: &Refusal) -> String {
    match code(refusal) {
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

/// The address without its origin and its query.
fn path(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let path = rest.find('/').and_then(|at| rest.get(at..)).unwrap_or("/");
    path.split('?').next().unwrap_or(path)
}
