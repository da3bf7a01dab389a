//! The checks: their names, and the rules of the manual that they test. This module makes no check
//! itself.

use crate::domain::string_enum;

use super::Scenario;
use super::manual::ManualSentence;

string_enum! {
    /// A check. The name of a check never changes, because programs select checks by name.
    pub enum Check {
        /// Whether the manifest has a summary and an origin, and describes each setting.
        DescribesItself = "describes-itself",
        /// Whether `check` and `create` succeed with the recorded answers.
        GoodAnswers = "good-answers",
        /// The reaction to the statuses 401 and 403.
        RefusedCredentials = "refused-credentials",
        /// The reaction to the statuses 400, 404, 409 and 422.
        RefusedData = "refused-data",
        /// The reaction to the status 429.
        RateLimit = "rate-limit",
        /// The reaction to the statuses 500, 502, 503 and 504.
        TrackerDown = "tracker-down",
        /// The reaction to each `http-error`.
        NoAnswer = "no-answer",
        /// The reaction to an answer that is not the expected JSON.
        UnexpectedAnswer = "unexpected-answer",
        /// Whether the error after a 422 contains the tracker's explanation.
        TrackerWords = "tracker-words",
        /// Whether the write of `create` contains the marker.
        MarkerWritten = "marker-written",
        /// Whether `find` searches for the marker and returns the defect that has it.
        MarkerFound = "marker-found",
        /// Whether `find` ignores a search result without the marker.
        ForeignResult = "foreign-result",
        /// Whether `find` returns an empty list for a marker that no defect has.
        UnknownMarker = "unknown-marker",
        /// Whether `find` returns no empty list if the tracker fails or the credentials are wrong.
        EmptyFind = "empty-find",
        /// Whether `create` sends no second write in a replay without faults.
        OneWrite = "one-write",
        /// Whether `create` does not search for the marker before its write, and does not repeat
        /// the write after a fault.
        CreateOnce = "create-once",
        /// The result of `create` if a request after the write fails.
        OkAfterWrite = "ok-after-write",
        /// Whether `create` marks the request that creates as a write, and no GET as a write.
        Effects = "effects",
        /// Whether the numbers that `count` returns are consistent.
        Counts = "counts",
        /// Whether two replays of a call send the same requests, and each of them is recorded.
        SameRequests = "same-requests",
        /// Whether each call uses at most half of some default limits.
        Limits = "limits",
    }
}

impl Check {
    /// Returns the rule that the check tests, in one line.
    #[must_use]
    pub fn rule(self) -> &'static str {
        self.rule_and_sentence().0
    }

    /// Returns the sentence of the manual that contains the rule.
    #[must_use]
    pub fn manual_sentence(self) -> ManualSentence {
        ManualSentence::quote(self.rule_and_sentence().1)
    }

    /// The scenarios whose recorded calls the check can use. One of these calls is enough for it.
    pub(super) fn scenarios(self) -> &'static [Scenario] {
        match self {
            Self::DescribesItself => &[],
            Self::TrackerWords
            | Self::MarkerWritten
            | Self::OneWrite
            | Self::CreateOnce
            | Self::OkAfterWrite
            | Self::Effects => &[Scenario::Create],
            Self::MarkerFound | Self::ForeignResult => &[Scenario::Find],
            Self::UnknownMarker => &[Scenario::FindUnknown],
            Self::EmptyFind => &[Scenario::Find, Scenario::FindUnknown, Scenario::FindWrongSecret],
            Self::GoodAnswers => &[Scenario::Check, Scenario::Create],
            Self::Counts => &[Scenario::Count],
            Self::RefusedCredentials
            | Self::RefusedData
            | Self::RateLimit
            | Self::TrackerDown
            | Self::NoAnswer
            | Self::UnexpectedAnswer
            | Self::SameRequests
            | Self::Limits => &[
                Scenario::Check,
                Scenario::Create,
                Scenario::Find,
                Scenario::FindUnknown,
                Scenario::Count,
            ],
        }
    }

    fn rule_and_sentence(self) -> (&'static str, &'static str) {
        let row = RULES.iter().find(|(check, ..)| *check == self);
        row.map(|(_, statement, sentence)| (*statement, *sentence)).unwrap_or_default()
    }
}

/// Each check with its rule, and the sentence of the manual that contains the rule.
const RULES: &[(Check, &str, &str)] = &[
    (
        Check::DescribesItself,
        "The manifest has a summary, an origin, and a title and a description of each setting.",
        "So give each setting a `title` and a `description`, list the `required` settings, \
                 and write `\"additionalProperties\": false`.",
    ),
    (
        Check::GoodAnswers,
        "`check` and `create` return ok with the recorded answers.",
        "Return one line that says what was reached and as which user.",
    ),
    (
        Check::RefusedCredentials,
        "401 and 403 become `unauthorized`.",
        "502: the tracker refused the credentials, or their user does not have the right \
                 to do this.",
    ),
    (
        Check::RefusedData,
        "400 and 422 become `rejected` or `unsupported`; 404 and 409 become an error, but not `internal`.",
        "422: the tracker refused the data, or it does not have something that a setting \
                 names.",
    ),
    (
        Check::RateLimit,
        "429 becomes `rate-limited` with the wait of Retry-After, in seconds or as a date.",
        "How long the tracker asks the client to wait.",
    ),
    (
        Check::TrackerDown,
        "500, 502, 503 and 504 become `unavailable`.",
        "503: the tracker is down or unreachable, or its answer does not have the expected \
                 format.",
    ),
    (
        Check::NoAnswer,
        "Each `http-error` becomes an error; `unreachable` and `interrupted` become \
                 `unavailable`.",
        "The last sentence of each case names the `error` that usually fits.",
    ),
    (
        Check::UnexpectedAnswer,
        "HTML, an empty body, cut JSON and other JSON become an error.",
        "503: the tracker is down or unreachable, or its answer does not have the expected \
                 format.",
    ),
    (
        Check::TrackerWords,
        "The error contains the tracker's explanation of a 422.",
        "Shown to a person: say what was requested, what the tracker answered in its own \
                 words, and what to change.",
    ),
    (
        Check::MarkerWritten,
        "The write of `create` contains the marker.",
        "Store it, by the request that creates the defect, where `find` can search for it: \
                 in a custom field, a label, or the description.",
    ),
    (
        Check::MarkerFound,
        "`find` searches for the marker, and returns the defect that has it.",
        "Returns the defects that contain `marker`, open or closed, even if people have \
                 moved them elsewhere in the tracker: usually one or none, the oldest first.",
    ),
    (
        Check::ForeignResult,
        "`find` does not return a record without the marker.",
        "So check that the results contain the marker and, if there are no results, that \
                 the credentials are valid.",
    ),
    (
        Check::UnknownMarker,
        "`find` returns an empty list for an unknown marker.",
        "So an empty list must mean: the tracker was searched with valid credentials that \
                 have all the rights they need, and it does not have the defect.",
    ),
    (
        Check::EmptyFind,
        "`find` returns no empty list if the tracker fails or the credentials are wrong.",
        "So an empty list must mean: the tracker was searched with valid credentials that \
                 have all the rights they need, and it does not have the defect.",
    ),
    (
        Check::OneWrite,
        "`create` sends one write.",
        "Start with the steps that may fail, such as looking up ids and checking settings, \
                 and send the only write last.",
    ),
    (
        Check::CreateOnce,
        "`create` does not search for the marker, and does not send its write again.",
        "So the connector must neither search first nor retry.",
    ),
    (
        Check::OkAfterWrite,
        "`create` returns ok after its write succeeded, even if a later request fails.",
        "Once the tracker has answered that write with success, return ok, even if \
                 something fails afterwards.",
    ),
    (
        Check::Effects,
        "`create` marks the request that creates as a write, and no GET as a write.",
        "The value must be correct: the promise that no failed test gets two defects \
                 depends on it.",
    ),
    (
        Check::Counts,
        "Critical and moderate are parts of open, and a recorded total equals open plus closed.",
        "Counts open defects only, without the critical ones.",
    ),
    (
        Check::SameRequests,
        "Two replays send the same requests, and each of them is recorded.",
        "Each call runs in a fresh instance, which is discarded after the call.",
    ),
    (
        Check::Limits,
        "Each call uses at most half of each default limit of a call, except `run_ms`.",
        "**Limits** of one call, with their defaults.",
    ),
];

#[cfg(test)]
mod tests {
    use crate::domain::StringEnum;

    use super::*;

    #[test]
    fn each_check_quotes_a_sentence_of_the_manual() {
        for check in Check::ALL {
            assert!(
                check.manual_sentence().line > 0,
                "{check}: the manual has no {:?}",
                check.rule_and_sentence().1
            );
            assert!(check.rule().len() < 100, "{check}");
        }
    }

    /// If this test fails, replace the table in `docs/conformance.md` by the rows in the message.
    #[test]
    fn the_documentation_lists_each_check() {
        let row = |check: &Check| {
            format!("| `{check}` | {} | {} |", check.rule(), check.manual_sentence().sentence)
        };
        let rows: Vec<_> = Check::ALL.iter().map(row).collect();
        let page = include_str!("../../../docs/conformance.md");
        let listed: Vec<_> = page.lines().filter(|line| line.starts_with("| `")).collect();
        assert!(listed == rows, "docs/conformance.md must have:\n{}", rows.join("\n"));
    }
}
