//! Checks the replays without a fault: the marker, the writes, the counts and the limits. This
//! module makes no call itself.

use serde_json::Value;

use crate::domain::{Counts, Effect, Limits, Usage};
use crate::egress::SentRequest;
use crate::runtime::ReturnedValue;

use super::originals::OriginalCall;
use super::results::FindingCollector;
use super::{Check, Scenario};

/// The names that trackers use for the total number of defects in an answer.
const TOTAL_MEMBER_NAMES: [&str; 5] =
    ["total", "total_count", "totalCount", "total-count", "totalResults"];

/// The checks that are made if `create` marks a request as `write`.
const WRITE_CHECKS: [Check; 3] = [Check::OneWrite, Check::CreateOnce, Check::OkAfterWrite];

pub(super) fn check_originals(originals: &[OriginalCall], results: &mut FindingCollector) {
    for original in originals {
        results.mark_made(Check::Limits);
        for text in limits_over_half(&original.replayed_call.report.usage) {
            results.add_finding(Check::Limits, format!("`{}` {text}", original.scenario));
        }
        match (&original.replayed_call.answer, original.scenario) {
            (_, Scenario::FindWrongSecret) => check_find_refused(original, results),
            (Ok(_), Scenario::Check) => results.mark_made(Check::GoodAnswers),
            (Ok(_), Scenario::Create) => {
                results.mark_made(Check::GoodAnswers);
                check_create(original, results);
            }
            (Ok(ReturnedValue::FoundDefects(found)), Scenario::Find) => {
                check_find(original, found.len(), results)
            }
            (Ok(ReturnedValue::FoundDefects(found)), Scenario::FindUnknown) => {
                results.mark_made(Check::UnknownMarker);
                if let Some(first) = found.first() {
                    let text = format!("`find-unknown`: returned the defect {:?}", first.key);
                    results.add_finding(Check::UnknownMarker, text);
                }
            }
            (Ok(ReturnedValue::Counts(counts)), Scenario::Count) => {
                check_count(original, counts, results)
            }
            (Err(refusal), scenario) => {
                let why = format!("`{scenario}` failed with the recorded answers: {refusal}");
                let check = match scenario {
                    Scenario::Find => Check::MarkerFound,
                    Scenario::FindUnknown => Check::UnknownMarker,
                    Scenario::Count => Check::Counts,
                    _ => Check::GoodAnswers,
                };
                results.note_unusable_call(scenario, "it failed with the recorded answers");
                results.add_finding(check, why);
            }
            _ => {}
        }
    }
}

fn check_create(original: &OriginalCall, results: &mut FindingCollector) {
    let (requests, marker) =
        (&original.replayed_call.requests, original.replayed_call.marker.as_str());
    results.mark_made(Check::MarkerWritten);
    results.mark_made(Check::Effects);
    let method_and_url = |request: &SentRequest| format!("{} {}", request.method, request.url);
    let writes = || requests.iter().filter(|request| request.effect == Effect::Write);
    for request in requests {
        let is_get = matches!(request.method.as_str(), "GET" | "HEAD" | "OPTIONS");
        if is_get && request.effect == Effect::Write {
            results.add_finding(
                Check::Effects,
                format!("{} is marked `write`", method_and_url(request)),
            );
        }
        let has_created =
            request.recorded_answer.as_ref().is_some_and(|answer| answer.status == 201);
        if has_created && request.effect == Effect::Read {
            let text =
                format!("{} created something, but is marked `read`", method_and_url(request));
            results.add_finding(Check::Effects, text);
        }
    }
    match original.write_index() {
        None => {
            let text = "`create-defect` returned a defect, but marked no request as `write`";
            results.add_finding(Check::Effects, text.to_owned());
            for check in WRITE_CHECKS.into_iter().chain([Check::TrackerWords]) {
                results.add_note(check, "`create-defect` marks no request as `write`".to_owned());
            }
        }
        Some(write) => {
            for check in WRITE_CHECKS {
                results.mark_made(check);
            }
            let searches = |request: &&SentRequest| {
                request.effect == Effect::Read && request_contains(request, marker)
            };
            if let Some(request) = requests.iter().take(write).find(searches) {
                let text =
                    format!("{} searches for the marker before the write", method_and_url(request));
                results.add_finding(Check::CreateOnce, text);
            }
        }
    }
    if writes().count() > 1 {
        let names: Vec<_> = writes().map(method_and_url).collect();
        results.add_finding(Check::OneWrite, format!("the writes are {}", names.join(", ")));
    }
    let has_marker = match writes().next() {
        Some(write) => request_contains(write, marker),
        None => requests
            .iter()
            .any(|request| request.method != "GET" && request_contains(request, marker)),
    };
    if !has_marker {
        let write = writes().next().map(method_and_url).unwrap_or_default();
        let text = format!("{write} does not contain the marker {marker}");
        results.add_finding(Check::MarkerWritten, text.trim_start().to_owned());
    }
}

/// Checks that `find` searched for the marker, and returned a defect if an answer contains the
/// marker. `found` is the number of returned defects.
fn check_find(original: &OriginalCall, found: usize, results: &mut FindingCollector) {
    let (requests, marker) =
        (&original.replayed_call.requests, original.replayed_call.marker.as_str());
    results.mark_made(Check::MarkerFound);
    if !requests.iter().any(|request| request_contains(request, marker)) {
        let text = format!("no request of `find` contains the marker {marker}");
        results.add_finding(Check::MarkerFound, text);
    }
    let is_marker_in_answer = requests.iter().any(|request| {
        let body =
            request.recorded_answer.as_ref().map(|answer| &answer.body[..]).unwrap_or_default();
        contains_bytes(body, marker)
    });
    if is_marker_in_answer && found == 0 {
        let text = "`find` returned nothing, but the tracker's answer contains the marker";
        results.add_finding(Check::MarkerFound, text.to_owned());
    }
    if !is_marker_in_answer {
        let text = "the tracker's recorded answers do not contain the marker".to_owned();
        results.add_note(Check::ForeignResult, text);
    }
}

/// Checks that `find` with wrong secrets returned an error. The tracker may have answered without
/// an error, as if an anonymous visitor had sent the request.
fn check_find_refused(original: &OriginalCall, results: &mut FindingCollector) {
    results.mark_made(Check::EmptyFind);
    if let Ok(ReturnedValue::FoundDefects(found)) = &original.replayed_call.answer {
        let text = format!("`{}` returned a list of {} defects", original.scenario, found.len());
        results.add_finding(Check::EmptyFind, text);
    }
}

/// Checks that the counts are consistent and not too large for Test Manager. If [`recorded_total`]
/// finds a total, the open and closed defects must add up to it.
fn check_count(original: &OriginalCall, counts: &Counts, results: &mut FindingCollector) {
    results.mark_made(Check::Counts);
    let Counts { open, closed, critical, moderate, .. } = counts;
    if critical.saturating_add(*moderate) > *open {
        let text = format!(
            "critical {critical} and moderate {moderate} are together more than open {open}"
        );
        results.add_finding(Check::Counts, text);
    }
    let total = counts.total();
    if let Some(recorded) =
        recorded_total(&original.replayed_call.requests).filter(|recorded| *recorded != total)
    {
        let text =
            format!("open {open} and closed {closed} are {total}, but the tracker has {recorded}");
        results.add_finding(Check::Counts, text);
    }
    if let Err(error) = counts.as_int32() {
        results.add_finding(Check::Counts, error.to_string());
    }
}

/// Returns the total number of defects in the only answer that contains it together with the
/// numbers of open and closed defects.
fn recorded_total(requests: &[SentRequest]) -> Option<u64> {
    let answers = requests.iter().filter_map(|request| {
        serde_json::from_slice::<Value>(&request.recorded_answer.as_ref()?.body).ok()
    });
    let totals = answers.filter_map(|answer| {
        let nested = answer.as_object().into_iter().flat_map(|members| members.values());
        [&answer].into_iter().chain(nested).find_map(total_with_parts)
    });
    let totals: Vec<_> = totals.collect();
    // If several answers contain a total, each total may count only some of the defects.
    <[u64; 1]>::try_from(totals).ok().map(|[total]| total)
}

/// Returns the total in a JSON object that also contains the numbers of open and closed defects.
fn total_with_parts(numbers: &Value) -> Option<u64> {
    let number = |name: &str| numbers.get(name)?.as_u64();
    number("open").and(number("closed"))?;
    TOTAL_MEMBER_NAMES.iter().find_map(|name| number(name))
}

/// Returns a text for each limit of whose default a call used more than half. Compares only the
/// limits in `used`.
fn limits_over_half(usage: &Usage) -> Vec<String> {
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

fn request_contains(request: &SentRequest, word: &str) -> bool {
    request.url.contains(word) || contains_bytes(&request.body, word)
}

fn contains_bytes(body: &[u8], word: &str) -> bool {
    body.windows(word.len()).any(|window| window == word.as_bytes())
}

#[cfg(test)]
mod tests {
    use crate::egress::TapedAnswer;

    use super::*;

    fn request_with_answer(body: &'static str) -> SentRequest {
        SentRequest {
            method: "GET".to_owned(),
            url: "/counts".to_owned(),
            body: "".into(),
            effect: Effect::Read,
            recorded_answer: Some(TapedAnswer {
                status: 200,
                headers: Vec::new(),
                body: body.into(),
            }),
        }
    }

    #[test]
    fn a_total_is_read_only_together_with_open_and_closed() {
        let all = "{\"open\":1,\"closed\":2,\"total\":4}";
        let inner = "{\"counts\":{\"open\":1,\"closed\":2,\"total\":4}}";
        assert_eq!(recorded_total(&[request_with_answer("[]"), request_with_answer(all)]), Some(4));
        assert_eq!(recorded_total(&[request_with_answer(inner)]), Some(4));
        assert_eq!(recorded_total(&[request_with_answer("{\"total_count\":4}")]), None);
        assert_eq!(recorded_total(&[request_with_answer(all), request_with_answer(all)]), None);
    }

    #[test]
    fn a_use_of_more_than_half_of_a_limit_is_described() {
        let usage = Usage { outbound_calls: 15, log_bytes: 40_000, ..Usage::default() };
        assert_eq!(limits_over_half(&usage), ["used 40000 of `log_bytes` = 65536"]);
    }
}
