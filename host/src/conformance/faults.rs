//! The faults: what a tracker or the network may do instead of the recorded answer, and what the
//! connector must make of it.

use std::collections::BTreeMap;

use jiff::fmt::rfc2822::DateTimePrinter;
use jiff::{SignedDuration, Timestamp};

use crate::domain::{Call, Refusal, StringEnum};
use crate::egress::{NoAnswer, Reply, SentRequest, TapedAnswer};

use super::originals::Original;
use super::{Check, Scenario};

/// The words of the tracker in each refusal.
pub(super) const TRACKER_MESSAGE: &str = "Field 17 must have a colour";
/// A page as a firewall or an identity provider answers it.
const PAGE: &str = "<!DOCTYPE html><html><head><title>Sign in</title></head>\
                    <body><form action=\"/login\"><input name=\"user\"></form></body></html>";
/// JSON that no tracker answers with success.
const OTHER_JSON: &str = "{\"something\":\"else\"}";
/// How long a rate limit asks to wait, in seconds: as a number, and as a date.
const WAIT_S: u32 = 17;
const WAIT_UNTIL_S: u32 = 7_200;
/// How much the wait until a date may differ, in seconds: time passes before the call is made.
const WAIT_TOLERANCE_S: u32 = 3_600;

// The codes of errors, as the contract names them.
const REJECTED: &str = "rejected";
const UNAUTHORIZED: &str = "unauthorized";
const UNAVAILABLE: &str = "unavailable";
const RATE_LIMITED: &str = "rate-limited";
const UNSUPPORTED: &str = "unsupported";
const INTERNAL: &str = "internal";

/// What the connector must return.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Expected {
    /// An error with one of these codes.
    Code(&'static [&'static str]),
    /// `rate-limited`, with a wait of so many seconds, more or less.
    Wait(u32, u32),
    /// Any error.
    Error,
}

/// A call in which answers are replaced.
#[derive(Debug, Clone)]
pub(super) struct Fault {
    /// The check that it belongs to.
    pub(super) check: Check,
    /// The number of the request whose answer is replaced, from 0.
    pub(super) at: usize,
    /// What is different, for people.
    pub(super) what: String,
    pub(super) replaced: BTreeMap<usize, Reply>,
    pub(super) expected: Expected,
}

/// The code that the connector returned; none if it trapped or violated the contract.
pub(super) fn code(refusal: &Refusal) -> Option<&'static str> {
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

impl Expected {
    /// Why an error is not what was expected.
    pub(super) fn differs(&self, refusal: &Refusal) -> Option<String> {
        let code = code(refusal);
        match (self, refusal) {
            (Self::Error, _) => None,
            (Self::Code(codes), _) if code.is_some_and(|it| codes.contains(&it)) => None,
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
    /// The checks that this fault may decide.
    pub(super) fn checks(&self, scenario: Scenario) -> Vec<Check> {
        let more: &[Check] = match (self.check, scenario) {
            (Check::ForeignResult | Check::TrackerWords, _) => &[],
            (_, Scenario::Create) => &[Check::CreateOnce, Check::OkAfterWrite],
            (_, scenario) if scenario.call() == Call::Find => &[Check::EmptyFind],
            _ => &[],
        };
        [&[self.check], more].concat()
    }
}

impl Original {
    /// All faults of this call.
    pub(super) fn faults(&self, now: Timestamp) -> Vec<Fault> {
        let sent = || self.replayed_call.sent.iter().enumerate();
        let each = sent().flat_map(|(at, request)| faults_at(at, request, now));
        let mut faults: Vec<_> = each.collect();
        if let Some(at) = self.write() {
            faults.extend(word_forms().into_iter().map(|(what, answer)| {
                let expected = Expected::Error;
                fault(Check::TrackerWords, at, what, Reply::Answer(answer), expected)
            }));
        }
        faults.extend(self.foreign_result());
        faults
    }

    /// `find` with answers that have another word where the marker was.
    fn foreign_result(&self) -> Option<Fault> {
        let marker = self.replayed_call.marker.as_str();
        let other: String = marker.chars().rev().collect();
        let answers = self.replayed_call.sent.iter().enumerate().filter_map(|(at, request)| {
            let answer = request.recorded.clone()?;
            let text = std::str::from_utf8(&answer.body).ok()?;
            let body = text.contains(marker).then(|| text.replace(marker, &other))?;
            Some((at, Reply::Answer(TapedAnswer { body: body.into(), ..answer })))
        });
        let replaced: BTreeMap<_, _> = answers.collect();
        let (at, _) = replaced.first_key_value().filter(|_| self.scenario == Scenario::Find)?;
        Some(Fault {
            check: Check::ForeignResult,
            at: *at,
            what: "a result with another word instead of the marker".to_owned(),
            replaced,
            expected: Expected::Error,
        })
    }
}

fn fault(check: Check, at: usize, what: String, reply: Reply, expected: Expected) -> Fault {
    Fault { check, at, what, replaced: BTreeMap::from([(at, reply)]), expected }
}

/// The faults of one request.
fn faults_at(at: usize, request: &SentRequest, now: Timestamp) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (check, statuses, codes) in STATUSES {
        for status in *statuses {
            let answer = if *status > 500 { page(*status) } else { refusal(*status) };
            let what = format!("status {status}");
            faults.push(fault(*check, at, what, Reply::Answer(answer), Expected::Code(codes)));
        }
    }
    for (retry_after, seconds, tolerance) in waits(now) {
        let mut answer = refusal(429);
        answer.headers.push(("retry-after".to_owned(), retry_after.clone()));
        answer.headers.extend(http_date(now, 0).map(|now| ("date".to_owned(), now)));
        let what = format!("status 429 and `Retry-After: {retry_after}`");
        let expected = Expected::Wait(seconds, tolerance);
        faults.push(fault(Check::RateLimit, at, what, Reply::Answer(answer), expected));
    }
    for why in NoAnswer::ALL {
        let what = format!("the http-error `{why}`");
        let expected = match why {
            NoAnswer::Unreachable | NoAnswer::Interrupted => Expected::Code(&[UNAVAILABLE]),
            NoAnswer::Denied | NoAnswer::Limit | NoAnswer::Invalid => {
                Expected::Code(&[INTERNAL, REJECTED, UNAVAILABLE, UNSUPPORTED])
            }
        };
        faults.push(fault(Check::NoAnswer, at, what, Reply::NoAnswer(*why), expected));
    }
    let answers = request.recorded.iter().flat_map(unexpected);
    faults.extend(answers.map(|(what, answer)| {
        let reply = Reply::Answer(answer);
        fault(Check::UnexpectedAnswer, at, what.to_owned(), reply, Expected::Error)
    }));
    faults
}

/// Statuses, and the codes that fit.
const STATUSES: &[(Check, &[u16], &[&str])] = &[
    (Check::RefusedCredentials, &[401, 403], &[UNAUTHORIZED]),
    (Check::RefusedData, &[400, 422], &[REJECTED, UNSUPPORTED]),
    (Check::RefusedData, &[404, 409], &[REJECTED, UNAUTHORIZED, UNAVAILABLE, UNSUPPORTED]),
    (Check::TrackerDown, &[500, 502, 503, 504], &[UNAVAILABLE]),
];

/// Both forms of Retry-After, with the wait that they mean and its tolerance, in seconds.
fn waits(now: Timestamp) -> Vec<(String, u32, u32)> {
    let date = http_date(now, WAIT_UNTIL_S).map(|date| (date, WAIT_UNTIL_S, WAIT_TOLERANCE_S));
    [(WAIT_S.to_string(), WAIT_S, 0)].into_iter().chain(date).collect()
}

/// The time in so many seconds, as HTTP has it.
fn http_date(now: Timestamp, seconds: u32) -> Option<String> {
    let time = now + SignedDuration::from_secs(seconds.into());
    DateTimePrinter::new().timestamp_to_rfc9110_string(&time).ok()
}

/// Answers that report success and are not what was asked for. An answer without a body has none.
fn unexpected(recorded: &TapedAnswer) -> Vec<(&'static str, TapedAnswer)> {
    let TapedAnswer { status, headers, body } = recorded.clone();
    if body.is_empty() {
        return Vec::new();
    }
    let with = |body| TapedAnswer { status, headers: headers.clone(), body };
    let mut answers = vec![("an HTML page", page(200)), ("an empty body", with("".into()))];
    if serde_json::from_slice::<serde::de::IgnoredAny>(&body).is_ok() {
        answers.push(("JSON that is cut in the middle", with(body.slice(..body.len() / 2))));
        answers.push(("JSON with other members", with(OTHER_JSON.into())));
    }
    answers
}

/// A refusal with the tracker's words, in each of the forms that trackers use.
fn word_forms() -> Vec<(String, TapedAnswer)> {
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
        let what = format!("status 422 and {body}");
        (what, TapedAnswer { status: 422, headers: content_type(media_type), body: body.into() })
    };
    forms.into_iter().map(answer).collect()
}

fn refusal(status: u16) -> TapedAnswer {
    let body =
        serde_json::json!({ "errors": [TRACKER_MESSAGE], "message": TRACKER_MESSAGE }).to_string();
    TapedAnswer { status, headers: content_type("application/json"), body: body.into() }
}

fn page(status: u16) -> TapedAnswer {
    TapedAnswer { status, headers: content_type("text/html; charset=utf-8"), body: PAGE.into() }
}

fn content_type(media_type: &str) -> Vec<(String, String)> {
    vec![("content-type".to_owned(), media_type.to_owned())]
}

#[cfg(test)]
mod tests {
    use crate::domain::Reason;

    use super::*;

    #[test]
    fn an_error_fits_by_its_code_and_its_wait() {
        let rejected = Refusal::Rejected(Reason::from("no".to_owned()));
        let waits =
            |retry_after_s| Refusal::TrackerRateLimited { why: String::new(), retry_after_s };
        let only = Expected::Code(&[UNAVAILABLE]);
        assert_eq!(only.differs(&rejected), Some("expected `unavailable`".to_owned()));
        assert_eq!(Expected::Code(&[REJECTED]).differs(&rejected), None);
        let wait = Expected::Wait(600, 60);
        assert_eq!((wait.differs(&waits(540)), wait.differs(&waits(660))), (None, None));
        assert!(wait.differs(&waits(60)).is_some_and(|why| why.contains("not 60 s")));
        assert!(wait.differs(&rejected).is_some());
    }

    #[test]
    fn an_answer_without_json_is_not_cut_and_one_without_a_body_is_kept() {
        let answer = |body: &'static str| TapedAnswer {
            status: 201,
            headers: Vec::new(),
            body: body.into(),
        };
        assert_eq!(unexpected(&answer("")), []);
        assert_eq!(unexpected(&answer("text")).len(), 2);
        let found = unexpected(&answer("{\"a\":1}"));
        assert_eq!((found.len(), &found[2].1.body[..]), (4, &b"{\"a"[..]));
        assert_eq!((found[0].1.status, found[1].1.status), (200, 201));
    }

    #[test]
    fn both_forms_of_retry_after_are_sent() {
        let waits = waits(Timestamp::UNIX_EPOCH);
        let [(seconds, ..), (date, ..)] = &waits[..] else { panic!("two forms") };
        assert_eq!((seconds.as_str(), date.as_str()), ("17", "Thu, 01 Jan 1970 02:00:00 GMT"));
    }
}
