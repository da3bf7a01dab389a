//! Selects the settings for one failed test: the connection's own settings, some of which a routing
//! rule may replace.
//!
//! The rules are checked in order, and only the data that the next rule needs is fetched. No data
//! is fetched for rules after the first one whose conditions are met.

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::time::Instant;

use crate::domain::{
    EventStart, FailedTest, LogLevel, LogLine, OutboundCall, RunReport, Settings, printable,
    shortened,
};
use crate::egress::ActiveConnection;
use crate::manifest::Manifest;
use crate::report::{Gap, ReportSettings, RoutingRule, SettingsProblem, TestData, TestDataSource};
use crate::runtime::{Connector, TestReport};

use super::{Connections, reads_test_data, report};

/// Maximum length of a log message about the routing, bytes.
const LOG_MESSAGE_BYTES_MAX: usize = 4_096;

/// The settings and the report for one run of `create`.
pub struct RoutedTest {
    /// The connection, in which a rule may have replaced settings for this run.
    pub active: Arc<ActiveConnection>,
    /// The report, which contains the data that the connector may read about the failed test.
    pub report: TestReport,
    /// The notes, log lines and requests of the routing.
    pub record: RoutingRecord,
}

/// The notes, log lines and requests that the selection of the settings made before the run.
#[derive(Debug)]
pub struct RoutingRecord {
    began: Instant,
    /// Notes for the texts of the defect.
    notes: Vec<String>,
    /// Lines for the log of the event.
    log: Vec<LogLine>,
    /// The requests to Test Manager for the rules. Empty if the connector itself reads test data,
    /// because the requests are then part of its run.
    calls: Vec<OutboundCall>,
}

impl RoutingRecord {
    fn new() -> Self {
        let (notes, log, calls) = Default::default();
        Self { began: Instant::now(), notes, log, calls }
    }

    /// Adds the log lines and requests of this record to the report of a run, before the lines and
    /// requests of the run itself.
    pub fn add_to_run_report(mut self, event: &EventStart, run: &mut RunReport) {
        let began_us = event.us_until(self.began.into_std());
        let started_us = run.times.map_or(began_us, |times| times.started_us.unwrap_or(began_us));
        let ahead_ms = i64::try_from(started_us.saturating_sub(began_us) / 1_000);
        for call in &mut self.calls {
            call.at_ms = call.at_ms.saturating_sub(ahead_ms.unwrap_or_default());
        }
        run.log.splice(0..0, self.log);
        run.calls.splice(0..0, self.calls);
    }

    /// Adds a warning to the event's log and to the texts of the defect.
    fn warn(&mut self, note: String) {
        self.add_log(LogLevel::Warn, &note);
        self.notes.push(note);
    }

    fn add_log(&mut self, level: LogLevel, message: &str) {
        let message = shortened(&printable(message), LOG_MESSAGE_BYTES_MAX);
        self.log.push(LogLine { at_ms: 0, level, message });
    }
}

/// The selected rule, and the data that was missing for the rules up to this one.
#[derive(Debug, PartialEq)]
pub(super) struct Routing<'r> {
    /// The rule and its place in the list, from 0; `None` if no rule applies.
    rule: Option<(usize, &'r RoutingRule)>,
    gaps: Vec<Gap>,
}

impl Routing<'_> {
    pub(super) fn settings(&self) -> Settings {
        self.rule.map(|(_, rule)| rule.settings.clone()).unwrap_or_default()
    }

    /// Returns a note for people if some data was missing. With this data, another rule might have
    /// been selected.
    pub(super) fn note(&self) -> Option<String> {
        if self.gaps.is_empty() {
            return None;
        }
        let gaps: Vec<_> =
            self.gaps.iter().map(|gap| format!("{}: {}", gap.what, gap.why)).collect();
        let by = match self.rule {
            Some((index, _)) => format!("by routing rule {}", index + 1),
            None => "with the connection's own settings".to_owned(),
        };
        Some(format!(
            "Some routing rules could not be checked, so the defect is filed {by}. Missing: {}.",
            gaps.join("; ")
        ))
    }
}

/// Selects the first rule whose conditions are all met. A condition counts as not met if its data
/// cannot be fetched before `read_until`.
pub(super) async fn first_matching_rule<'r>(
    rules: &'r [RoutingRule],
    test: &FailedTest,
    source: Option<&dyn TestDataSource>,
    read_until: Instant,
) -> Routing<'r> {
    let mut requested = BTreeSet::new();
    let mut data = TestData::from_webhook_ids(test);
    for (index, rule) in rules.iter().enumerate() {
        let needed: BTreeSet<_> = rule.subjects().collect();
        if !needed.is_subset(&requested) {
            requested.extend(needed);
            match source {
                Some(source) => data = source.fetch(&requested, read_until).await,
                None => data.gaps = vec![gap_without_test_manager()],
            }
        }
        if rule.matches(&data) {
            return Routing { rule: Some((index, rule)), gaps: data.gaps };
        }
    }
    Routing { rule: None, gaps: data.gaps }
}

fn gap_without_test_manager() -> Gap {
    let why = "the connection has no settings for Test Manager".to_owned();
    Gap { what: "the data that the rules need".to_owned(), why }
}

impl Connections {
    /// Selects the settings for a run of `create`, and makes its report. Data for the rules is
    /// fetched now. Data for the connector's report is fetched later, when the connector uses it.
    /// No data is fetched after `read_until`. If the settings of the report can no longer be read,
    /// no data is fetched at all, because these settings specify which texts must be masked.
    pub async fn route(
        &self,
        active: &Arc<ActiveConnection>,
        connector: &Connector,
        test: &FailedTest,
        read_until: Instant,
    ) -> RoutedTest {
        let (connection, manifest) = (&active.connection, connector.manifest());
        let read = ReportSettings::read(&connection.report);
        let mut record = RoutingRecord::new();
        let reads_report = reads_test_data(active, connector) && read.is_ok();
        let settings = read.unwrap_or_else(|problems| {
            record.warn(unreadable_settings_note(&problems));
            ReportSettings::default()
        });
        let rules_need_data = settings.routing.iter().any(|rule| rule.subjects().next().is_some());
        let limits = self.limits(connection);
        let source = (reads_report || rules_need_data)
            .then(|| self.deps.test_manager.source(active, test, &limits))
            .flatten();
        let routing =
            first_matching_rule(&settings.routing, test, source.as_deref(), read_until).await;
        let active = record.apply_rule(&routing, active, manifest);
        if !reads_report {
            record.calls = source.iter().flat_map(|source| source.calls(record.began)).collect();
        }
        let (source, notes) = (source.filter(|_| reads_report), record.notes.clone());
        let report = TestReport::new(test.clone(), settings, source, read_until).with_notes(notes);
        RoutedTest { active, report, record }
    }
}

impl RoutingRecord {
    /// Returns the connection with the settings of the selected rule. If no rule was selected, or
    /// the version in use cannot use these settings, the connection is returned unchanged.
    fn apply_rule(
        &mut self,
        routing: &Routing<'_>,
        active: &Arc<ActiveConnection>,
        manifest: &Manifest,
    ) -> Arc<ActiveConnection> {
        routing.note().into_iter().for_each(|note| self.warn(note));
        let Some((index, rule)) = routing.rule else { return Arc::clone(active) };
        let number = index + 1;
        let problems = report::rule_problems(index, rule, &active.connection, manifest);
        if !problems.is_empty() {
            let problems: Vec<_> = problems.iter().map(ToString::to_string).collect();
            self.warn(format!(
                "Routing rule {number} does not fit this version of the connector, so the defect is \
                 filed with the connection's own settings. {}.",
                problems.join("; ")
            ));
            return Arc::clone(active);
        }
        let replaced = rule.settings.iter().map(|(name, value)| format!("{name} = {value}"));
        let replaced = replaced.collect::<Vec<_>>().join(", ");
        self.add_log(LogLevel::Info, &format!("routing rule {number} matches: {replaced}"));
        Arc::new(active.with_settings(rule.applied_to(&active.connection.settings)))
    }
}

fn unreadable_settings_note(problems: &[SettingsProblem]) -> String {
    let problems: Vec<_> = problems.iter().map(ToString::to_string).collect();
    format!(
        "The report settings of the connection cannot be read, so nothing was fetched from Test \
         Manager, and the defaults are used. {}.",
        problems.join("; ")
    )
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;
    use bytes::Bytes;
    use parking_lot::Mutex;
    use serde_json::{from_value, json};

    use crate::report::{Attachment, DownloadError, Subject, sample_test_data};

    use super::*;

    /// A source that returns three subjects of the example data, without those in `missing`.
    #[derive(Default)]
    struct ExampleSource {
        missing: BTreeSet<Subject>,
        /// The subjects of each call of `fetch`.
        requested: Mutex<Vec<BTreeSet<Subject>>>,
    }

    #[async_trait]
    impl TestDataSource for ExampleSource {
        async fn fetch(&self, subjects: &BTreeSet<Subject>, _read_until: Instant) -> TestData {
            self.requested.lock().push(subjects.clone());
            let example = sample_test_data();
            let is_known =
                |subject: &Subject| subjects.contains(subject) && !self.missing.contains(subject);
            let missing = subjects.intersection(&self.missing);
            TestData {
                project: example.project.filter(|_| is_known(&Subject::Project)),
                test_set: example.test_set.filter(|_| is_known(&Subject::TestSet)),
                labels: if is_known(&Subject::Labels) { example.labels } else { Vec::new() },
                gaps: missing
                    .map(|subject| Gap { what: subject.to_string(), why: "it is gone".to_owned() })
                    .collect(),
                ..TestData::default()
            }
        }

        async fn subject_json(&self, _: Subject, _: Instant) -> Result<String, Gap> {
            Ok(String::new())
        }

        async fn download(
            &self,
            _: &Attachment,
            _: u64,
            _: Instant,
        ) -> Result<Bytes, DownloadError> {
            Ok(Bytes::new())
        }

        fn calls(&self, _: Instant) -> Vec<OutboundCall> {
            Vec::new()
        }
    }

    fn rules() -> Vec<RoutingRule> {
        let rules = json!([
            {"project": "OTHER", "settings": {"project": "other"}},
            {"project": "SHOP", "label": "checkout", "settings": {"project": "pay"}},
            {"test_set": "SHOP:40", "settings": {"project": "set"}},
            {"label": "checkout", "settings": {"project": "late"}},
        ]);
        from_value(rules).expect("rules")
    }

    async fn route(source: Option<&ExampleSource>) -> (Option<usize>, Option<String>) {
        let id = uuid::Uuid::from_u128(1);
        let (test, rules) = (FailedTest::new(id, id, None, None), rules());
        let source = source.map(|source| source as &dyn TestDataSource);
        let routing = first_matching_rule(&rules, &test, source, Instant::now()).await;
        (routing.rule.map(|(index, _)| index), routing.note())
    }

    #[tokio::test]
    async fn rules_are_checked_in_order_and_only_data_for_the_next_rule_is_fetched() {
        let source = ExampleSource::default();
        assert_eq!(route(Some(&source)).await, (Some(1), None));
        let requested = [
            BTreeSet::from([Subject::Project]),
            BTreeSet::from([Subject::Project, Subject::Labels]),
        ];
        assert_eq!(*source.requested.lock(), requested);
    }

    #[tokio::test]
    async fn a_rule_without_its_data_is_skipped_and_a_note_names_the_missing_data() {
        let missing = |parts: &[Subject]| ExampleSource {
            missing: parts.iter().copied().collect(),
            ..ExampleSource::default()
        };
        let (rule, note) = route(Some(&missing(&[Subject::Labels]))).await;
        let note = note.expect("a note");
        assert_eq!(rule, Some(2));
        assert!(note.contains("by routing rule 3. Missing: labels: it is gone."), "{note}");

        let (rule, note) = route(Some(&missing(&[Subject::Labels, Subject::TestSet]))).await;
        let note = note.expect("a note");
        assert_eq!(rule, None);
        assert!(note.contains("the connection's own settings. Missing: "), "{note}");

        let later = missing(&[Subject::TestSet]);
        assert_eq!(route(Some(&later)).await, (Some(1), None), "the test set was not needed");
        let (rule, note) = route(None).await;
        assert!(rule.is_none() && note.expect("a note").contains("no settings for Test Manager"));
    }
}
