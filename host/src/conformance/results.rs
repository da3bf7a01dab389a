//! Collects the findings of the checks, and makes a report of them. Makes no check itself.

use std::collections::{BTreeMap, BTreeSet};

use crate::domain::StringEnum;

use super::{Check, Scenario};

/// Maximum number of findings that are kept for one check.
const FINDINGS_MAX: usize = 20;

/// The result of a run of the suite.
#[derive(Debug)]
pub struct Report {
    /// The name of the connector: the stem of its file.
    pub connector: String,
    /// The connector's name for people.
    pub name: String,
    /// The version in the manifest.
    pub version: String,
    /// SHA-256 of the connector file, hex.
    pub sha256: String,
    /// The results, one for each chosen check.
    pub results: Vec<CheckResult>,
    /// The number of calls of exports that were made.
    pub calls: usize,
}

/// The result of one check.
#[derive(Debug)]
pub struct CheckResult {
    /// The check that was made, or that should have been made.
    pub check: Check,
    /// The result of the check.
    pub verdict: Verdict,
    /// Notes for people about a check that was made.
    pub notes: Vec<String>,
}

/// The result of a check.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The check found no problem.
    Passed,
    /// The check found these problems. At most 20 are listed; then the last entry is the number of
    /// the others.
    Findings(Vec<String>),
    /// The check was not made. The text contains the reason and what to pass.
    NotRun(String),
}

/// Whether the answer of the connector contains the text of the tracker's refusal.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum RefusalText {
    /// The error of the connector contains the text.
    PassedOn,
    /// The answer of the connector does not contain the text. The value describes the answer for
    /// people.
    Lost(String),
}

/// Collects findings and notes until all checks were made.
#[derive(Debug)]
pub(super) struct FindingCollector {
    chosen: BTreeSet<Check>,
    made: BTreeSet<Check>,
    findings: BTreeMap<Check, Vec<String>>,
    notes: BTreeMap<Check, Vec<String>>,
    /// The calls that could not be replayed, by each check that uses them and by the reason.
    missing_scenarios: BTreeMap<(Check, String), Vec<Scenario>>,
    /// Whether the connector passed on the text of a refusal in at least one form. If not, what it
    /// returned for the first form.
    refusal_text: Option<RefusalText>,
}

impl FindingCollector {
    pub(super) fn new(chosen: &[Check]) -> Self {
        Self {
            chosen: chosen.iter().copied().collect(),
            made: BTreeSet::new(),
            findings: BTreeMap::new(),
            notes: BTreeMap::new(),
            missing_scenarios: BTreeMap::new(),
            refusal_text: None,
        }
    }

    /// Whether one of these checks was chosen.
    pub(super) fn needs(&self, checks: &[Check]) -> bool {
        checks.iter().any(|check| self.chosen.contains(check))
    }

    /// Records that a check was made.
    pub(super) fn mark_made(&mut self, check: Check) {
        self.made.insert(check);
    }

    /// Records that a check was made and found a problem.
    pub(super) fn add_finding(&mut self, check: Check, text: String) {
        self.made.insert(check);
        self.findings.entry(check).or_default().push(text);
    }

    /// Records whether the connector passed on the text of a refusal in one form. Each tracker uses
    /// its own form, so one form is enough.
    pub(super) fn record_refusal_text(&mut self, text: RefusalText) {
        if text == RefusalText::PassedOn || self.refusal_text.is_none() {
            self.refusal_text = Some(text);
        }
    }

    /// Records a note for people about a check.
    pub(super) fn add_note(&mut self, check: Check, text: String) {
        let notes = self.notes.entry(check).or_default();
        if !notes.contains(&text) {
            notes.push(text);
        }
    }

    /// Records for each check that uses this call why the call is missing.
    pub(super) fn note_missing_scenario(&mut self, scenario: Scenario, why: &str) {
        let uses_scenario = |check: &Check| check.scenarios().contains(&scenario);
        for check in Check::ALL.iter().copied().filter(uses_scenario) {
            self.missing_scenarios.entry((check, why.to_owned())).or_default().push(scenario);
        }
    }

    /// Records that the requests of a call are not the recorded requests. This is always a finding,
    /// because a check that was not made must not pass.
    pub(super) fn add_not_replayed(&mut self, scenario: Scenario, why: String) {
        if self.chosen.contains(&Check::SameRequests) {
            self.add_finding(Check::SameRequests, why);
            return self
                .note_missing_scenario(scenario, "its requests are not the recorded requests");
        }
        let uses_scenario = |check: &Check| check.scenarios().contains(&scenario);
        for check in self.chosen.clone().into_iter().filter(uses_scenario) {
            self.add_finding(check, why.clone());
        }
    }

    /// Records for each chosen check why no call was replayed.
    pub(super) fn note_no_calls(&mut self, why: &str) {
        for check in self.chosen.clone() {
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
        for ((check, why), scenarios) in std::mem::take(&mut self.missing_scenarios) {
            let scenarios: Vec<_> =
                scenarios.iter().map(|scenario| format!("`{scenario}`")).collect();
            self.add_note(check, format!("not checked with {}: {why}", scenarios.join(", ")));
        }
        let chosen = std::mem::take(&mut self.chosen);
        chosen.into_iter().map(|check| self.result(check)).collect()
    }

    fn result(&mut self, check: Check) -> CheckResult {
        let mut notes = self.notes.remove(&check).unwrap_or_default();
        let verdict = match self.findings.remove(&check) {
            Some(found) => Verdict::Findings(limit_findings(found)),
            None if self.made.contains(&check) => Verdict::Passed,
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
            results.add_not_replayed(Scenario::Create, "another request".to_owned());
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
        results.note_missing_scenario(Scenario::Create, "it is not recorded");
        results.note_missing_scenario(Scenario::Count, "it is not recorded");
        assert!(results.needs(&[Check::Limits, Check::Effects]));
        assert!(!results.needs(&[Check::Effects]));
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
