//! The faults of the suite: what a tracker or the network may do instead of the recorded answer,
//! and which errors the connector may then return. This module sends nothing.

use std::collections::BTreeMap;

use jiff::fmt::rfc2822::DateTimePrinter;
use jiff::{SignedDuration, Timestamp};

use crate::domain::{Call, Refusal, StringEnum};
use crate::egress::{NoAnswer, Reply, SentRequest, TapedAnswer};

use super::originals::OriginalCall;
use super::{Check, Scenario};

/// The tracker's message in simulated refusals, except in HTML pages.
pub(super) const TRACKER_MESSAGE: &str = "Field 17 must have a colour";
/// A page that a firewall or an identity provider may return in place of the tracker's answer.
const SIGN_IN_PAGE: &str = "<!DOCTYPE html><html><head><title>Sign in</title></head>\
                    <body><form action=\"/login\"><input name=\"user\"></form></body></html>";
/// JSON that no tracker returns for a successful request.
const UNEXPECTED_JSON: &str = "{\"something\":\"else\"}";
/// The wait in a header `Retry-After` that contains a number, seconds.
const NUMBER_WAIT_S: u32 = 17;
/// The wait in a header `Retry-After` that contains a date, seconds.
const DATE_WAIT_S: u32 = 7_200;
/// The wait that the connector returns may differ from [`DATE_WAIT_S`] by this time, seconds: the
/// date is computed once, before the calls with faults.
const DATE_WAIT_TOLERANCE_S: u32 = 3_600;

// The error codes of the WIT contract.
const REJECTED: &str = "rejected";
const UNAUTHORIZED: &str = "unauthorized";
const UNAVAILABLE: &str = "unavailable";
const RATE_LIMITED: &str = "rate-limited";
const UNSUPPORTED: &str = "unsupported";
const INTERNAL: &str = "internal";

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ExpectedError {
    /// An error with one of these codes.
    Code(&'static [&'static str]),
    /// `rate-limited` with this wait. The second number is the allowed difference from it. Both are
    /// in seconds.
    Wait(u32, u32),
    /// Any error.
    Any,
}

#[derive(Debug, Clone)]
pub(super) struct Fault {
    pub(super) check: Check,
    /// The index of the first request whose answer is replaced.
    pub(super) request_index: usize,
    pub(super) description: String,
    /// The replies that replace recorded answers, by the index of the request.
    pub(super) replies: BTreeMap<usize, Reply>,
    pub(super) expected_error: ExpectedError,
}

/// `None` if the connector returned no error, for example because it trapped.
pub(super) fn error_code(refusal: &Refusal) -> Option<&'static str> {
    Some(match refusal {
        Refusal::Rejected(_) => REJECTED,
        Refusal::CredentialsRefused(_) => UNAUTHORIZED,
        Refusal::TrackerUnavailable(_) => UNAVAILABLE,
        Refusal::TrackerRateLimited { .. } => RATE_LIMITED,
        Refusal::Unsupported(_) => UNSUPPORTED,
        Refusal::ConnectorError(_) => INTERNAL,
        _ => return None,
    })
}

impl ExpectedError {
    /// Returns how an error differs from the expected error.
    pub(super) fn mismatch(&self, refusal: &Refusal) -> Option<String> {
        let code = error_code(refusal);
        match (self, refusal) {
            (Self::Any, _) => None,
            (Self::Code(codes), _) if code.is_some_and(|code| codes.contains(&code)) => None,
            (Self::Code(codes), _) => {
                let names: Vec<_> = codes.iter().map(|code| format!("`{code}`")).collect();
                Some(format!("expected {}", names.join(" or ")))
            }
            (Self::Wait(seconds, tolerance), Refusal::TrackerRateLimited { retry_after_s, .. }) => {
                let differs = retry_after_s.abs_diff(*seconds) > *tolerance;
                differs.then(|| format!("expected a wait of {seconds} s, not {retry_after_s} s"))
            }
            (Self::Wait(..), _) => Some("expected `rate-limited`".to_owned()),
        }
    }
}

impl Fault {
    pub(super) fn dependent_checks(&self, scenario: Scenario) -> Vec<Check> {
        let more_checks: &[Check] = match (self.check, scenario) {
            (Check::ForeignResult | Check::TrackerWords, _) => &[],
            (_, Scenario::Create) => &[Check::CreateOnce, Check::OkAfterWrite],
            (_, scenario) if scenario.call() == Call::Find => &[Check::EmptyFind],
            _ => &[],
        };
        [&[self.check], more_checks].concat()
    }
}

impl OriginalCall {
    pub(super) fn possible_faults(&self, now: Timestamp) -> Vec<Fault> {
        let requests = self.replayed_call.requests.iter().enumerate();
        let faults = requests.flat_map(|(index, request)| faults_of_request(index, request, now));
        let mut faults: Vec<_> = faults.collect();
        if let Some(index) = self.write_index() {
            faults.extend(refusals_with_message().into_iter().map(|(description, answer)| {
                let reply = Reply::Answer(answer);
                new_fault(Check::TrackerWords, index, description, reply, ExpectedError::Any)
            }));
        }
        faults.extend(self.foreign_result_fault());
        faults
    }

    /// Returns the fault in which the answers to the requests of `find` contain another word in
    /// place of the marker. Returns `None` if no answer contains the marker.
    fn foreign_result_fault(&self) -> Option<Fault> {
        let marker = self.replayed_call.marker.as_str();
        let other_word: String = marker.chars().rev().collect();
        let answers =
            self.replayed_call.requests.iter().enumerate().filter_map(|(index, request)| {
                let answer = request.recorded_answer.clone()?;
                let text = std::str::from_utf8(&answer.body).ok()?;
                let body = text.contains(marker).then(|| text.replace(marker, &other_word))?;
                Some((index, Reply::Answer(TapedAnswer { body: body.into(), ..answer })))
            });
        let replies: BTreeMap<_, _> = answers.collect();
        let (index, _) = replies.first_key_value().filter(|_| self.scenario == Scenario::Find)?;
        Some(Fault {
            check: Check::ForeignResult,
            request_index: *index,
            description: "a result with another word instead of the marker".to_owned(),
            replies,
            expected_error: ExpectedError::Any,
        })
    }
}

fn new_fault(
    check: Check,
    request_index: usize,
    description: String,
    reply: Reply,
    expected_error: ExpectedError,
) -> Fault {
    let replies = BTreeMap::from([(request_index, reply)]);
    Fault { check, request_index, description, replies, expected_error }
}

fn faults_of_request(index: usize, request: &SentRequest, now: Timestamp) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (check, statuses, codes) in STATUS_CODES {
        for status in *statuses {
            let answer =
                if *status > 500 { html_page_answer(*status) } else { refusal_answer(*status) };
            let description = format!("status {status}");
            faults.push(new_fault(
                *check,
                index,
                description,
                Reply::Answer(answer),
                ExpectedError::Code(codes),
            ));
        }
    }
    for (retry_after, seconds, tolerance) in retry_after_values(now) {
        let mut answer = refusal_answer(429);
        answer.headers.push(("retry-after".to_owned(), retry_after.clone()));
        answer.headers.extend(http_date(now, 0).map(|now| ("date".to_owned(), now)));
        let description = format!("status 429 and `Retry-After: {retry_after}`");
        let expected = ExpectedError::Wait(seconds, tolerance);
        faults.push(new_fault(
            Check::RateLimit,
            index,
            description,
            Reply::Answer(answer),
            expected,
        ));
    }
    for why in NoAnswer::ALL {
        let description = format!("the http-error `{why}`");
        let expected = match why {
            NoAnswer::Unreachable | NoAnswer::Interrupted => ExpectedError::Code(&[UNAVAILABLE]),
            NoAnswer::Denied | NoAnswer::Limit | NoAnswer::Invalid => {
                ExpectedError::Code(&[INTERNAL, REJECTED, UNAVAILABLE, UNSUPPORTED])
            }
        };
        faults.push(new_fault(
            Check::NoAnswer,
            index,
            description,
            Reply::NoAnswer(*why),
            expected,
        ));
    }
    let answers = request.recorded_answer.iter().flat_map(unexpected_answers);
    faults.extend(answers.map(|(description, answer)| {
        let reply = Reply::Answer(answer);
        new_fault(Check::UnexpectedAnswer, index, description.to_owned(), reply, ExpectedError::Any)
    }));
    faults
}

/// Status codes, with the check that needs them and the error codes that the connector may return
/// for them.
const STATUS_CODES: &[(Check, &[u16], &[&str])] = &[
    (Check::RefusedCredentials, &[401, 403], &[UNAUTHORIZED]),
    (Check::RefusedData, &[400, 422], &[REJECTED, UNSUPPORTED]),
    (Check::RefusedData, &[404, 409], &[REJECTED, UNAUTHORIZED, UNAVAILABLE, UNSUPPORTED]),
    (Check::TrackerDown, &[500, 502, 503, 504], &[UNAVAILABLE]),
];

/// Returns `Retry-After` in each of its two forms, with its wait and the maximum difference from
/// the wait, in seconds.
fn retry_after_values(now: Timestamp) -> Vec<(String, u32, u32)> {
    let date = http_date(now, DATE_WAIT_S).map(|date| (date, DATE_WAIT_S, DATE_WAIT_TOLERANCE_S));
    [(NUMBER_WAIT_S.to_string(), NUMBER_WAIT_S, 0)].into_iter().chain(date).collect()
}

/// Formats the time `seconds` after `now` as an HTTP date.
fn http_date(now: Timestamp, seconds: u32) -> Option<String> {
    let time = now + SignedDuration::from_secs(seconds.into());
    DateTimePrinter::new().timestamp_to_rfc9110_string(&time).ok()
}

/// Returns answers with an unexpected body. They have the recorded status or, for an HTML page,
/// 200.
fn unexpected_answers(recorded: &TapedAnswer) -> Vec<(&'static str, TapedAnswer)> {
    let TapedAnswer { status, headers, body } = recorded.clone();
    if body.is_empty() {
        return Vec::new();
    }
    let with_body = |body| TapedAnswer { status, headers: headers.clone(), body };
    let mut answers =
        vec![("an HTML page", html_page_answer(200)), ("an empty body", with_body("".into()))];
    if serde_json::from_slice::<serde::de::IgnoredAny>(&body).is_ok() {
        answers.push(("JSON that is cut in the middle", with_body(body.slice(..body.len() / 2))));
        answers.push(("JSON with other members", with_body(UNEXPECTED_JSON.into())));
    }
    answers
}

/// Returns refusals with the status 422. Each contains the tracker's message in another format.
fn refusals_with_message() -> Vec<(String, TapedAnswer)> {
    let json = |form: serde_json::Value| (form.to_string(), "application/json");
    let forms = [
        json(serde_json::json!({ "errors": [TRACKER_MESSAGE] })),
        json(serde_json::json!({ "message": TRACKER_MESSAGE })),
        json(serde_json::json!({ "error": TRACKER_MESSAGE })),
        json(serde_json::json!({ "error": { "message": TRACKER_MESSAGE } })),
        json(serde_json::json!({ "errors": { "field": TRACKER_MESSAGE } })),
        json(serde_json::json!({ "errors": { "field": [TRACKER_MESSAGE] } })),
        json(serde_json::json!({ "errors": [{ "message": TRACKER_MESSAGE }] })),
        json(serde_json::json!({ "errorMessages": [TRACKER_MESSAGE], "errors": {} })),
        json(serde_json::json!({ "title": "Unprocessable", "detail": TRACKER_MESSAGE })),
        (TRACKER_MESSAGE.to_owned(), "text/plain"),
    ];
    let answer = |(body, media_type): (String, &str)| {
        let description = format!("status 422 and {body}");
        let headers = content_type_header(media_type);
        (description, TapedAnswer { status: 422, headers, body: body.into() })
    };
    forms.into_iter().map(answer).collect()
}

fn refusal_answer(status: u16) -> TapedAnswer {
    let body =
        serde_json::json!({ "errors": [TRACKER_MESSAGE], "message": TRACKER_MESSAGE }).to_string();
    TapedAnswer { status, headers: content_type_header("application/json"), body: body.into() }
}

fn html_page_answer(status: u16) -> TapedAnswer {
    TapedAnswer {
        status,
        headers: content_type_header("text/html; charset=utf-8"),
        body: SIGN_IN_PAGE.into(),
    }
}

fn content_type_header(media_type: &str) -> Vec<(String, String)> {
    vec![("content-type".to_owned(), media_type.to_owned())]
}

#[cfg(test)]
mod tests {
    use crate::domain::Reason;

    use super::*;

    #[test]
    fn an_error_is_compared_by_its_code_and_its_wait() {
        let rejected = Refusal::Rejected(Reason::from("no".to_owned()));
        let rate_limited =
            |retry_after_s| Refusal::TrackerRateLimited { why: String::new(), retry_after_s };
        let unavailable = ExpectedError::Code(&[UNAVAILABLE]);
        assert_eq!(unavailable.mismatch(&rejected), Some("expected `unavailable`".to_owned()));
        assert_eq!(ExpectedError::Code(&[REJECTED]).mismatch(&rejected), None);
        let wait = ExpectedError::Wait(600, 60);
        assert_eq!(
            (wait.mismatch(&rate_limited(540)), wait.mismatch(&rate_limited(660))),
            (None, None)
        );
        assert!(wait.mismatch(&rate_limited(60)).is_some_and(|why| why.contains("not 60 s")));
        assert!(wait.mismatch(&rejected).is_some());
    }

    #[test]
    fn only_a_json_body_is_cut_and_an_empty_body_is_not_replaced() {
        let answer = |body: &'static str| TapedAnswer {
            status: 201,
            headers: Vec::new(),
            body: body.into(),
        };
        assert_eq!(unexpected_answers(&answer("")), []);
        assert_eq!(unexpected_answers(&answer("text")).len(), 2);
        let found = unexpected_answers(&answer("{\"a\":1}"));
        assert_eq!((found.len(), &found[2].1.body[..]), (4, &b"{\"a"[..]));
        assert_eq!((found[0].1.status, found[1].1.status), (200, 201));
    }

    #[test]
    fn both_forms_of_retry_after_are_sent() {
        let values = retry_after_values(Timestamp::UNIX_EPOCH);
        let [(seconds, ..), (date, ..)] = &values[..] else { panic!("two forms") };
        assert_eq!((seconds.as_str(), date.as_str()), ("17", "Thu, 01 Jan 1970 02:00:00 GMT"));
    }
}
