//! What the checks found.

use std::collections::{BTreeMap, BTreeSet};

use crate::domain::StringEnum;

use super::{Check, Scenario};

/// How many findings of one check are kept.
const FINDINGS_MAX: usize = 20;

/// The result of a run of the suite.
#[derive(Debug)]
pub struct Report {
    /// The connector: the stem of its file.
    pub connector: String,
    /// The connector's name for people.
    pub name: String,
    /// Its version.
    pub version: String,
    /// SHA-256 of the file, hex.
    pub sha256: String,
    /// One for each check.
    pub results: Vec<CheckResult>,
    /// How many calls of exports were made.
    pub calls: usize,
}

/// The result of one check.
#[derive(Debug)]
pub struct CheckResult {
    /// The check.
    pub check: Check,
    /// What it found.
    pub verdict: Verdict,
    /// What a person should know about a check that was made.
    pub notes: Vec<String>,
}

/// What a check found.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing.
    Passed,
    /// These; there are at most 20, and how many more there were is the last.
    Findings(Vec<String>),
    /// It was not made, for this reason, which says what to give.
    NotRun(String),
}

/// Whether the text of the tracker's refusal is in the answer of the connector.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum RefusalText {
    /// Its error has the text.
    PassedOn,
    /// Its answer does not have the text; this says what it is instead, for people.
    Lost(String),
}

/// Collects what the checks find.
#[derive(Debug)]
pub(super) struct FindingCollector {
    chosen: BTreeSet<Check>,
    made: BTreeSet<Check>,
    findings: BTreeMap<Check, Vec<String>>,
    notes: BTreeMap<Check, Vec<String>>,
    /// The calls without which a check was made, by the reason.
    missing_scenarios: BTreeMap<(Check, String), Vec<Scenario>>,
    /// Whether the text of a refusal was passed on in one form; if not, what was returned for the
    /// first form.
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
    pub(super) fn made(&mut self, check: Check) {
        self.made.insert(check);
    }

    /// Records that a check was made and found something.
    pub(super) fn finding(&mut self, check: Check, text: String) {
        self.made.insert(check);
        self.findings.entry(check).or_default().push(text);
    }

    /// Records whether the text of a refusal was passed on in one form. Each tracker has its own,
    /// so one is enough.
    pub(super) fn record_refusal_text(&mut self, text: RefusalText) {
        if text == RefusalText::PassedOn || self.refusal_text.is_none() {
            self.refusal_text = Some(text);
        }
    }

    /// Records a remark.
    pub(super) fn note(&mut self, check: Check, text: String) {
        let notes = self.notes.entry(check).or_default();
        if !notes.contains(&text) {
            notes.push(text);
        }
    }

    /// Records why the checks that need this call do without it.
    pub(super) fn missing_scenario(&mut self, scenario: Scenario, why: &str) {
        let use_it = |check: &Check| check.scenarios().contains(&scenario);
        for check in Check::ALL.iter().copied().filter(use_it) {
            self.missing_scenarios.entry((check, why.to_owned())).or_default().push(scenario);
        }
    }

    /// Records that the requests of a call are not the recorded ones. It is always a finding: a
    /// check must not succeed because it was not made.
    pub(super) fn not_replayed(&mut self, scenario: Scenario, why: String) {
        if self.chosen.contains(&Check::SameRequests) {
            self.finding(Check::SameRequests, why);
            return self.missing_scenario(scenario, "its requests are not the recorded ones");
        }
        let use_it = |check: &Check| check.scenarios().contains(&scenario);
        for check in self.chosen.clone().into_iter().filter(use_it) {
            self.finding(check, why.clone());
        }
    }

    /// Records why no call was replayed.
    pub(super) fn nothing_recorded(&mut self, why: &str) {
        for check in self.chosen.clone() {
            if check != Check::DescribesItself {
                self.note(check, why.to_owned());
            }
        }
    }

    pub(super) fn end(mut self) -> Vec<CheckResult> {
        match self.refusal_text.take() {
            Some(RefusalText::PassedOn) => self.made(Check::TrackerWords),
            Some(RefusalText::Lost(what)) => self.finding(Check::TrackerWords, what),
            None => {}
        }
        for ((check, why), scenarios) in std::mem::take(&mut self.missing_scenarios) {
            let scenarios: Vec<_> = scenarios.iter().map(|it| format!("`{it}`")).collect();
            self.note(check, format!("not with {}: {why}", scenarios.join(", ")));
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
    let more = findings.len().saturating_sub(FINDINGS_MAX);
    findings.truncate(FINDINGS_MAX);
    findings.extend((more > 0).then(|| format!("and {more} more like these")));
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_that_cannot_be_replayed_is_a_finding_whatever_is_checked() {
        for (chosen, with_finding) in [
            (vec![Check::SameRequests, Check::MarkerWritten], Check::SameRequests),
            (vec![Check::MarkerWritten], Check::MarkerWritten),
        ] {
            let mut results = FindingCollector::new(&chosen);
            results.not_replayed(Scenario::Create, "another request".to_owned());
            let ended = results.end();
            let found = |it: &&CheckResult| matches!(it.verdict, Verdict::Findings(_));
            let findings: Vec<_> = ended.iter().filter(found).map(|it| it.check).collect();
            assert_eq!(findings, [with_finding]);
        }
    }

    #[test]
    fn a_check_passes_only_if_it_was_made() {
        let mut results = FindingCollector::new(&[Check::Counts, Check::Limits, Check::OneWrite]);
        results.made(Check::Counts);
        results.finding(Check::Effects, "not chosen".to_owned());
        (0..25).for_each(|n| results.finding(Check::Limits, format!("finding {n}")));
        results.missing_scenario(Scenario::Create, "it is not recorded");
        results.missing_scenario(Scenario::Count, "it is not recorded");
        assert!(results.needs(&[Check::Limits, Check::Effects]));
        assert!(!results.needs(&[Check::Effects]));
        let ended = results.end();
        let verdict = |check| ended.iter().find(|it| it.check == check).map(|it| &it.verdict);
        assert_eq!(verdict(Check::Counts), Some(&Verdict::Passed));
        let Some(Verdict::Findings(found)) = verdict(Check::Limits) else { panic!("{ended:?}") };
        assert_eq!((found.len(), found[20].as_str()), (21, "and 5 more like these"));
        let why = "not with `create-defect`: it is not recorded".to_owned();
        assert_eq!(verdict(Check::OneWrite), Some(&Verdict::NotRun(why)));
        assert_eq!(verdict(Check::Effects), None);
    }
}
