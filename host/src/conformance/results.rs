//! Collects the findings of the checks for the report. This module makes no check itself.

use std::collections::{BTreeMap, BTreeSet};

use crate::domain::StringEnum;

use super::{Check, Scenario};

/// Maximum number of findings of one check in the report.
const FINDINGS_MAX: usize = 20;

/// The report of the suite about one connector.
#[derive(Debug)]
pub struct Report {
    /// The name of the connector: the stem of its file.
    pub connector_name: String,
    /// The connector's name for people.
    pub title: String,
    /// The version in the manifest.
    pub version: String,
    /// SHA-256 of the connector file, hex.
    pub sha256: String,
    /// The results, one for each chosen check.
    pub results: Vec<CheckResult>,
    /// The number of calls of exports that were made.
    pub call_count: usize,
}

/// The result of one check.
#[derive(Debug)]
pub struct CheckResult {
    /// The check that was made, or that should have been made.
    pub check: Check,
    /// Whether the check passed.
    pub verdict: Verdict,
    /// Notes for people about the check, if it was made.
    pub notes: Vec<String>,
}

/// Whether a check passed, found problems, or was not made.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The check found no problem.
    Passed,
    /// The problems that the check found, one text for each. If there are more than 20, the last
    /// text contains the number of the others.
    Findings(Vec<String>),
    /// The check was not made, for this reason.
    NotRun(String),
}

/// Whether the connector passed on the message of the tracker's refusal.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum RefusalText {
    PassedOn,
    /// The text describes the connector's answer for people.
    Lost(String),
}

#[derive(Debug)]
pub(super) struct FindingCollector {
    chosen_checks: BTreeSet<Check>,
    made_checks: BTreeSet<Check>,
    findings: BTreeMap<Check, Vec<String>>,
    notes: BTreeMap<Check, Vec<String>>,
    /// The calls that a check could not use, by the check and by the reason.
    unusable_calls: BTreeMap<(Check, String), Vec<Scenario>>,
    /// `PassedOn` if the connector passed on the message of at least one replayed refusal. The
    /// others may have a format that its tracker does not use.
    refusal_text: Option<RefusalText>,
}

impl FindingCollector {
    /// The report contains the checks in `chosen`.
    pub(super) fn new(chosen: &[Check]) -> Self {
        Self {
            chosen_checks: chosen.iter().copied().collect(),
            made_checks: BTreeSet::new(),
            findings: BTreeMap::new(),
            notes: BTreeMap::new(),
            unusable_calls: BTreeMap::new(),
            refusal_text: None,
        }
    }

    pub(super) fn needs_any_of(&self, checks: &[Check]) -> bool {
        checks.iter().any(|check| self.chosen_checks.contains(check))
    }

    pub(super) fn mark_made(&mut self, check: Check) {
        self.made_checks.insert(check);
    }

    /// Records that a check was made and found a problem.
    pub(super) fn add_finding(&mut self, check: Check, text: String) {
        self.made_checks.insert(check);
        self.findings.entry(check).or_default().push(text);
    }

    pub(super) fn record_refusal_text(&mut self, text: RefusalText) {
        if text == RefusalText::PassedOn || self.refusal_text.is_none() {
            self.refusal_text = Some(text);
        }
    }

    pub(super) fn add_note(&mut self, check: Check, text: String) {
        let notes = self.notes.entry(check).or_default();
        if !notes.contains(&text) {
            notes.push(text);
        }
    }

    /// Records why a call cannot be used, for each check that could use it.
    pub(super) fn note_unusable_call(&mut self, scenario: Scenario, why: &str) {
        let uses_scenario = |check: &Check| check.scenarios().contains(&scenario);
        for check in Check::ALL.iter().copied().filter(uses_scenario) {
            self.unusable_calls.entry((check, why.to_owned())).or_default().push(scenario);
        }
    }

    /// Records that a call sent other requests than the recorded ones. This is a finding even if
    /// `same-requests` was not chosen: otherwise `jackfield test` would succeed although chosen
    /// checks were not made.
    pub(super) fn add_unreplayable_call(&mut self, scenario: Scenario, why: String) {
        if self.chosen_checks.contains(&Check::SameRequests) {
            self.add_finding(Check::SameRequests, why);
            return self.note_unusable_call(scenario, "its requests are not the recorded requests");
        }
        let uses_scenario = |check: &Check| check.scenarios().contains(&scenario);
        for check in self.chosen_checks.clone().into_iter().filter(uses_scenario) {
            self.add_finding(check, why.clone());
        }
    }

    /// Records why no call was replayed.
    pub(super) fn note_that_no_call_was_replayed(&mut self, why: &str) {
        for check in self.chosen_checks.clone() {
            if check != Check::DescribesItself {
                self.add_note(check, why.to_owned());
            }
        }
    }

    pub(super) fn into_results(mut self) -> Vec<CheckResult> {
        match self.refusal_text.take() {
            Some(RefusalText::PassedOn) => self.mark_made(Check::TrackerWords),
            Some(RefusalText::Lost(what)) => self.add_finding(Check::TrackerWords, what),
            None => {}
        }
        for ((check, why), scenarios) in std::mem::take(&mut self.unusable_calls) {
            let scenarios: Vec<_> =
                scenarios.iter().map(|scenario| format!("`{scenario}`")).collect();
            self.add_note(check, format!("not checked with {}: {why}", scenarios.join(", ")));
        }
        let chosen = std::mem::take(&mut self.chosen_checks);
        chosen.into_iter().map(|check| self.check_result(check)).collect()
    }

    fn check_result(&mut self, check: Check) -> CheckResult {
        let mut notes = self.notes.remove(&check).unwrap_or_default();
        let verdict = match self.findings.remove(&check) {
            Some(found) => Verdict::Findings(limit_findings(found)),
            None if self.made_checks.contains(&check) => Verdict::Passed,
            None => Verdict::NotRun(std::mem::take(&mut notes).join("; ")),
        };
        CheckResult { check, verdict, notes }
    }
}

fn limit_findings(mut findings: Vec<String>) -> Vec<String> {
    let omitted = findings.len().saturating_sub(FINDINGS_MAX);
    findings.truncate(FINDINGS_MAX);
    findings.extend((omitted > 0).then(|| format!("and {omitted} more like these")));
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_that_cannot_be_replayed_is_always_a_finding() {
        for (chosen, with_finding) in [
            (vec![Check::SameRequests, Check::MarkerWritten], Check::SameRequests),
            (vec![Check::MarkerWritten], Check::MarkerWritten),
        ] {
            let mut results = FindingCollector::new(&chosen);
            results.add_unreplayable_call(Scenario::Create, "another request".to_owned());
            let check_results = results.into_results();
            let has_findings =
                |result: &&CheckResult| matches!(result.verdict, Verdict::Findings(_));
            let findings: Vec<_> =
                check_results.iter().filter(has_findings).map(|result| result.check).collect();
            assert_eq!(findings, [with_finding]);
        }
    }

    #[test]
    fn a_check_passes_only_if_it_was_made() {
        let mut results = FindingCollector::new(&[Check::Counts, Check::Limits, Check::OneWrite]);
        results.mark_made(Check::Counts);
        results.add_finding(Check::Effects, "not chosen".to_owned());
        (0..25).for_each(|n| results.add_finding(Check::Limits, format!("finding {n}")));
        results.note_unusable_call(Scenario::Create, "it is not recorded");
        results.note_unusable_call(Scenario::Count, "it is not recorded");
        assert!(results.needs_any_of(&[Check::Limits, Check::Effects]));
        assert!(!results.needs_any_of(&[Check::Effects]));
        let check_results = results.into_results();
        let verdict = |check| {
            check_results.iter().find(|result| result.check == check).map(|result| &result.verdict)
        };
        assert_eq!(verdict(Check::Counts), Some(&Verdict::Passed));
        let Some(Verdict::Findings(found)) = verdict(Check::Limits) else {
            panic!("{check_results:?}")
        };
        assert_eq!((found.len(), found[20].as_str()), (21, "and 5 more like these"));
        let why = "not checked with `create-defect`: it is not recorded".to_owned();
        assert_eq!(verdict(Check::OneWrite), Some(&Verdict::NotRun(why)));
        assert_eq!(verdict(Check::Effects), None);
    }
}
