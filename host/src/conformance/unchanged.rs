//! The checks of calls without a fault: the marker, the writes, the counts and the limits.

use serde_json::Value;

use crate::domain::{Counts, Effect, Limits, Usage};
use crate::egress::SentRequest;
use crate::runtime::ExportAnswer;

use super::originals::Original;
use super::results::FindingCollector;
use super::{Check, Scenario};

/// Names of a total in trackers' answers.
const TOTALS: [&str; 5] = ["total", "total_count", "totalCount", "total-count", "totalResults"];

/// Checks each recorded call.
pub(super) fn check(originals: &[Original], results: &mut FindingCollector) {
    for original in originals {
        results.made(Check::Limits);
        for text in over_half(&original.replayed_call.report.usage) {
            results.finding(Check::Limits, format!("`{}` {text}", original.scenario));
        }
        match (&original.replayed_call.answer, original.scenario) {
            (_, Scenario::FindRefused) => find_refused(original, results),
            (Ok(_), Scenario::Check) => results.made(Check::GoodAnswers),
            (Ok(_), Scenario::Create) => {
                results.made(Check::GoodAnswers);
                create(original, results);
            }
            (Ok(ExportAnswer::Found(found)), Scenario::Find) => {
                find(original, found.len(), results)
            }
            (Ok(ExportAnswer::Found(found)), Scenario::FindUnknown) => {
                results.made(Check::UnknownMarker);
                if let Some(first) = found.first() {
                    let text = format!("`find-unknown`: returned the defect {:?}", first.key);
                    results.finding(Check::UnknownMarker, text);
                }
            }
            (Ok(ExportAnswer::Counts(counts)), Scenario::Count) => count(original, counts, results),
            (Err(refusal), scenario) => {
                let why = format!("`{scenario}` failed with the recorded answers: {refusal}");
                let check = match scenario {
                    Scenario::Find => Check::MarkerFound,
                    Scenario::FindUnknown => Check::UnknownMarker,
                    Scenario::Count => Check::Counts,
                    _ => Check::GoodAnswers,
                };
                results.missing_scenario(scenario, "it failed with the recorded answers");
                results.finding(check, why);
            }
            _ => {}
        }
    }
}

fn create(original: &Original, results: &mut FindingCollector) {
    let (sent, marker) = (&original.replayed_call.sent, original.replayed_call.marker.as_str());
    for check in [Check::MarkerWritten, Check::OneWrite, Check::CreateOnce, Check::Effects] {
        results.made(check);
    }
    let name = |request: &SentRequest| format!("{} {}", request.method, request.url);
    let writes = || sent.iter().filter(|request| request.effect == Effect::Write);
    for request in sent {
        let is_get = matches!(request.method.as_str(), "GET" | "HEAD" | "OPTIONS");
        if is_get && request.effect == Effect::Write {
            results.finding(Check::Effects, format!("{} is marked `write`", name(request)));
        }
        let created = request.recorded.as_ref().is_some_and(|answer| answer.status == 201);
        if created && request.effect == Effect::Read {
            let text = format!("{} created something and is marked `read`", name(request));
            results.finding(Check::Effects, text);
        }
    }
    match original.write() {
        None => {
            let text = "`create-defect` returned a defect and marked no request as `write`";
            results.finding(Check::Effects, text.to_owned());
            results.note(Check::OkAfterWrite, "`create-defect` has no write".to_owned());
            results.note(Check::TrackerWords, "`create-defect` has no write".to_owned());
        }
        Some(write) => {
            results.made(Check::OkAfterWrite);
            let searches = |request: &&SentRequest| {
                request.effect == Effect::Read && contains(request, marker)
            };
            if let Some(request) = sent.iter().take(write).find(searches) {
                let text = format!("{} searches for the marker before the write", name(request));
                results.finding(Check::CreateOnce, text);
            }
        }
    }
    if writes().count() > 1 {
        let all: Vec<_> = writes().map(name).collect();
        results.finding(Check::OneWrite, format!("the writes are {}", all.join(", ")));
    }
    let has_marker = match writes().next() {
        Some(write) => contains(write, marker),
        None => sent.iter().any(|request| request.method != "GET" && contains(request, marker)),
    };
    if !has_marker {
        let write = writes().next().map(name).unwrap_or_default();
        let text = format!("{write} does not contain the marker {marker}");
        results.finding(Check::MarkerWritten, text.trim_start().to_owned());
    }
}

fn find(original: &Original, found: usize, results: &mut FindingCollector) {
    let (sent, marker) = (&original.replayed_call.sent, original.replayed_call.marker.as_str());
    results.made(Check::MarkerFound);
    if !sent.iter().any(|request| contains(request, marker)) {
        let text = format!("no request of `find` contains the marker {marker}");
        results.finding(Check::MarkerFound, text);
    }
    let is_answered = sent.iter().any(|request| {
        let body = request.recorded.as_ref().map(|answer| &answer.body[..]).unwrap_or_default();
        has(body, marker)
    });
    if is_answered && found == 0 {
        let text = "`find` returned nothing, and the tracker's answer contains the marker";
        results.finding(Check::MarkerFound, text.to_owned());
    }
    if !is_answered {
        let text = "the tracker's recorded answers do not contain the marker".to_owned();
        results.note(Check::ForeignResult, text);
    }
}

/// The call has a wrong secret: a tracker may answer it like a visitor, without an error.
fn find_refused(original: &Original, results: &mut FindingCollector) {
    results.made(Check::EmptyFind);
    if let Ok(ExportAnswer::Found(found)) = &original.replayed_call.answer {
        let text = format!("`{}` returned a list of {} defects", original.scenario, found.len());
        results.finding(Check::EmptyFind, text);
    }
}

fn count(original: &Original, counts: &Counts, results: &mut FindingCollector) {
    results.made(Check::Counts);
    let Counts { open, closed, critical, moderate, .. } = counts;
    if critical.saturating_add(*moderate) > *open {
        let text = format!("critical {critical} and moderate {moderate} of {open} open defects");
        results.finding(Check::Counts, text);
    }
    let total = counts.total();
    if let Some(recorded) = recorded_total(&original.replayed_call.sent).filter(|it| *it != total) {
        let text =
            format!("open {open} and closed {closed} are {total}, and the tracker has {recorded}");
        results.finding(Check::Counts, text);
    }
    if let Err(error) = counts.as_int32() {
        results.finding(Check::Counts, error.to_string());
    }
}

/// The total, if one answer of the tracker has it together with the open and the closed defects.
fn recorded_total(sent: &[SentRequest]) -> Option<u64> {
    let answers = sent.iter().filter_map(|request| {
        serde_json::from_slice::<Value>(&request.recorded.as_ref()?.body).ok()
    });
    let totals = answers.filter_map(|answer| {
        let inner = answer.as_object().into_iter().flat_map(|members| members.values());
        [&answer].into_iter().chain(inner).find_map(total_with_parts)
    });
    let totals: Vec<_> = totals.collect();
    // Several answers may each have the total of a part.
    <[u64; 1]>::try_from(totals).ok().map(|[total]| total)
}

fn total_with_parts(numbers: &Value) -> Option<u64> {
    let number = |name: &str| numbers.get(name)?.as_u64();
    number("open").and(number("closed"))?;
    TOTALS.iter().find_map(|name| number(name))
}

/// The limits of which a call used more than half.
fn over_half(usage: &Usage) -> Vec<String> {
    let limits = Limits::default();
    let used = [
        ("memory_bytes", usage.memory_bytes),
        ("cpu_ms", usage.cpu_ms),
        ("outbound_calls", usage.outbound_calls),
        ("request_body_bytes", usage.request_body_bytes),
        ("response_body_bytes", usage.response_body_bytes),
        ("log_bytes", usage.log_bytes),
        ("handles", usage.handles),
    ];
    let over = used.into_iter().filter_map(|(name, used)| {
        let max = limits.value(name)?;
        (used > max / 2).then(|| format!("used {used} of `{name}` = {max}"))
    });
    over.collect()
}

/// Whether the address or the body of a request has this word.
fn contains(request: &SentRequest, word: &str) -> bool {
    request.url.contains(word) || has(&request.body, word)
}

fn has(body: &[u8], word: &str) -> bool {
    body.windows(word.len()).any(|window| window == word.as_bytes())
}

#[cfg(test)]
mod tests {
    use crate::egress::TapedAnswer;

    use super::*;

    fn answered(body: &'static str) -> SentRequest {
        SentRequest {
            method: "GET".to_owned(),
            url: "/counts".to_owned(),
            body: "".into(),
            effect: Effect::Read,
            recorded: Some(TapedAnswer { status: 200, headers: Vec::new(), body: body.into() }),
        }
    }

    #[test]
    fn a_total_counts_only_beside_both_numbers() {
        let all = "{\"open\":1,\"closed\":2,\"total\":4}";
        let inner = "{\"counts\":{\"open\":1,\"closed\":2,\"total\":4}}";
        assert_eq!(recorded_total(&[answered("[]"), answered(all)]), Some(4));
        assert_eq!(recorded_total(&[answered(inner)]), Some(4));
        assert_eq!(recorded_total(&[answered("{\"total_count\":4}")]), None);
        assert_eq!(recorded_total(&[answered(all), answered(all)]), None);
    }

    #[test]
    fn more_than_half_of_a_limit_is_named() {
        let usage = Usage { outbound_calls: 15, log_bytes: 40_000, ..Usage::default() };
        assert_eq!(over_half(&usage), ["used 40000 of `log_bytes` = 65536"]);
    }
}
