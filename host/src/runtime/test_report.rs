//! Fetches the data of the report of a failed test and renders it, once, when the report is first
//! used. Never decides what the report contains: the module `report` does.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;
use serde_json::Value;
use tokio::sync::OnceCell;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use crate::domain::{FailedTest, LogLevel, LogLine, OutboundCall, printable};
use crate::report::{
    Attachment, AttachmentKind, DownloadError, Gap, Mask, Report, ReportSettings, Subject,
    TestData, TestDataSource,
};

/// The report of the failed test of a run.
pub struct TestReport {
    test: FailedTest,
    settings: ReportSettings,
    /// `None` if the connection does not read data from Test Manager.
    source: Option<Arc<dyn TestDataSource>>,
    /// Data may be fetched from Test Manager until this time.
    read_until: Instant,
    notes: Vec<String>,
    rendered: OnceCell<Report>,
    taken_call_count: AtomicUsize,
    /// The attachments that the tracker has accepted.
    accepted_attachments: Mutex<BTreeSet<u32>>,
    /// Gaps that are not in the rendered report: files and subjects that could not be fetched when
    /// they were requested.
    gaps_of_requests: Mutex<Vec<Gap>>,
    /// How many gaps of the rendered report, and how many of `gaps_of_requests`,
    /// [`Self::take_gaps`] has already read.
    taken_gap_counts: [AtomicUsize; 2],
    too_large_files: Mutex<BTreeSet<String>>,
    /// The first gap in the fetched data.
    first_gap: Mutex<Option<Gap>>,
}

/// Maximum number of gaps that the log of one run shows.
const GAPS_MAX: usize = 50;

impl TestReport {
    /// Creates a report without fetching its data. Without a source, the report contains only data
    /// of the webhook request.
    #[must_use]
    pub fn new(
        test: FailedTest,
        settings: ReportSettings,
        source: Option<Arc<dyn TestDataSource>>,
        read_until: Instant,
    ) -> Self {
        let (notes, rendered, taken_call_count, accepted_attachments) = Default::default();
        let (gaps_of_requests, taken_gap_counts, too_large_files, first_gap) = Default::default();
        Self {
            test,
            settings,
            source,
            read_until,
            notes,
            rendered,
            taken_call_count,
            accepted_attachments,
            gaps_of_requests,
            taken_gap_counts,
            too_large_files,
            first_gap,
        }
    }

    /// Sets the notes for people at the end of the description and of the comment.
    #[must_use]
    pub fn with_notes(self, notes: Vec<String>) -> Self {
        Self { notes, ..self }
    }

    pub(super) fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Returns the masked data of Test Manager as JSON, if it was fetched and rendered.
    pub(super) fn data_json(&self) -> Option<Value> {
        self.source.as_ref()?;
        let mut data = self.rendered.get()?.data().clone();
        // A replay makes the file of the robot's log again from the other data.
        data.attachments.retain(|attachment| attachment.kind != AttachmentKind::RobotLog);
        serde_json::to_value(data).ok()
    }

    pub(super) async fn rendered(&self) -> &Report {
        let render = async { Report::with_notes(&self.settings, self.fetch().await, &self.notes) };
        self.rendered.get_or_init(|| render).await
    }

    /// Fetches the data in a separate task, because reading thousands of logs must not use up the
    /// CPU time of the run.
    async fn fetch(&self) -> TestData {
        let Some(source) = self.source.clone() else {
            return TestData::from_webhook_ids(&self.test);
        };
        let (subjects, read_until) = (self.settings.subjects(), self.read_until);
        let fetching = async move { source.fetch(&subjects, read_until).await };
        let fetched = AbortOnDropHandle::new(tokio::spawn(fetching)).await;
        let data = fetched.unwrap_or_else(|error| {
            let (what, why) = ("all data of Test Manager".to_owned(), error.to_string());
            TestData { gaps: vec![Gap { what, why }], ..TestData::from_webhook_ids(&self.test) }
        });
        *self.first_gap.lock() = data.gaps.first().cloned();
        data
    }

    /// Returns the names of the attachments, in the order of their ids.
    ///
    /// # Errors
    /// Some data could not be fetched, so the list may be incomplete.
    pub async fn attachment_names(&self) -> Result<Vec<String>, Gap> {
        let attachments = self.rendered().await.attachments();
        match self.first_gap.lock().clone() {
            Some(gap) => Err(gap),
            None => Ok(attachments.iter().map(|attachment| attachment.name.clone()).collect()),
        }
    }

    /// Records that the tracker has accepted these attachments.
    pub(super) fn mark_attachments_accepted(&self, ids: impl IntoIterator<Item = u32>) {
        self.accepted_attachments.lock().extend(ids);
    }

    /// Returns whether the tracker has accepted all attachments. Returns false if the report was
    /// not used, or if some data could not be fetched, because then the list may be incomplete.
    #[must_use]
    pub fn has_attached_all_files(&self) -> bool {
        if self.first_gap.lock().is_some() {
            return false;
        }
        let sent = self.accepted_attachments.lock();
        let attachments = self.rendered.get().map(|report| report.attachments().len());
        attachments.is_some_and(|count| (0..count).zip(0_u32..).all(|(_, id)| sent.contains(&id)))
    }

    /// The id of an attachment is its index in the list.
    pub(super) async fn attachment(&self, id: u32) -> Option<&Attachment> {
        let index = usize::try_from(id).ok()?;
        self.rendered().await.attachments().get(index)
    }

    pub(super) async fn attachment_content(
        &self,
        attachment: &Attachment,
        bytes_max: u64,
    ) -> Result<Bytes, Gap> {
        // The size of a file may have been unknown when the file was selected.
        let bytes_max = bytes_max.min(self.settings.attachments.file_bytes_max);
        let content = self.fetch_content(attachment, bytes_max).await;
        content.map_err(|DownloadError { gap, is_too_large }| {
            self.record_gap(&gap);
            if is_too_large {
                self.too_large_files.lock().insert(attachment.name.clone());
            }
            gap
        })
    }

    /// Returns whether this attachment had more bytes than allowed when it was fetched.
    pub(crate) fn is_too_large(&self, name: &str) -> bool {
        self.too_large_files.lock().contains(name)
    }

    async fn fetch_content(
        &self,
        attachment: &Attachment,
        bytes_max: u64,
    ) -> Result<Bytes, DownloadError> {
        let error = |why: String, is_too_large| DownloadError {
            gap: Gap { what: format!("the file {:?}", attachment.name), why },
            is_too_large,
        };
        if attachment.kind == AttachmentKind::RobotLog {
            let log = self.rendered().await.robot_log();
            if log.len() as u64 > bytes_max {
                return Err(error(format!("it has more than {bytes_max} bytes"), true));
            }
            return Ok(Bytes::copy_from_slice(log.as_bytes()));
        }
        match &self.source {
            Some(source) => source.download(attachment, bytes_max, self.read_until).await,
            None => Err(error("Test Manager is not set up".to_owned(), false)),
        }
    }

    /// Returns the data of one subject as masked JSON. Returns `None` if the connection does not
    /// read from Test Manager.
    pub(super) async fn subject_json(&self, subject: Subject) -> Result<Option<String>, Gap> {
        let Some(source) = &self.source else { return Ok(None) };
        let json = source.subject_json(subject, self.read_until).await;
        let json = json.inspect_err(|gap| self.record_gap(gap))?;
        match Mask::new(&self.settings.mask) {
            Ok(mask) => Ok(Some(mask.mask_arguments(&json))),
            Err(error) => {
                let what = "the mask of the connection".to_owned();
                Err(Gap { what, why: error.to_string() })
            }
        }
    }

    /// Returns the requests that were sent to Test Manager since the last call of this function.
    /// Their times are measured from `measured_from`, because several runs may use one report.
    pub(super) fn take_calls(&self, measured_from: Instant) -> Vec<OutboundCall> {
        let mut calls =
            self.source.as_ref().map(|source| source.calls(measured_from)).unwrap_or_default();
        let taken_before = self.taken_call_count.swap(calls.len(), Ordering::Relaxed);
        calls.drain(..taken_before.min(calls.len()));
        calls
    }

    fn record_gap(&self, gap: &Gap) {
        let mut later = self.gaps_of_requests.lock();
        if later.len() < GAPS_MAX && !later.contains(gap) {
            later.push(gap.clone());
        }
    }

    /// Returns the gaps that were found since the last call, at most `GAPS_MAX`, as lines of the
    /// run's log.
    pub(super) fn take_gaps(&self, at_ms: u64, redact: impl Fn(String) -> String) -> Vec<LogLine> {
        let report_gaps = self.rendered.get().map(|report| report.data().gaps.as_slice());
        let later = self.gaps_of_requests.lock();
        let [report_count, later_count] = &self.taken_gap_counts;
        let new_of = |gaps: &[Gap], taken_count: &AtomicUsize| {
            let taken_before = taken_count.swap(gaps.len(), Ordering::Relaxed);
            gaps.iter().skip(taken_before).cloned().collect::<Vec<_>>()
        };
        let mut new_gaps = new_of(report_gaps.unwrap_or_default(), report_count);
        new_gaps.extend(new_of(&later, later_count));
        let line = |gap: &Gap| {
            let text = format!("not in the report: {}: {}", gap.what, gap.why);
            LogLine { at_ms, level: LogLevel::Warn, message: printable(&redact(text)) }
        };
        new_gaps.iter().take(GAPS_MAX).map(line).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use async_trait::async_trait;
    use uuid::Uuid;

    use crate::report::{FixedData, TestData};

    use super::*;

    /// Refuses each download, and stores its size limit. Only `large.zip` is too large.
    #[derive(Default)]
    struct LargeFiles(Mutex<Vec<u64>>);

    #[async_trait]
    impl TestDataSource for LargeFiles {
        async fn fetch(&self, _: &BTreeSet<Subject>, _: Instant) -> TestData {
            TestData::default()
        }

        async fn subject_json(&self, _: Subject, _: Instant) -> Result<String, Gap> {
            Ok(String::new())
        }

        async fn download(
            &self,
            file: &Attachment,
            bytes_max: u64,
            _: Instant,
        ) -> Result<Bytes, DownloadError> {
            self.0.lock().push(bytes_max);
            let gap = Gap { what: file.name.clone(), why: "it is too large".to_owned() };
            Err(DownloadError { gap, is_too_large: file.name == "large.zip" })
        }

        fn calls(&self, _: Instant) -> Vec<OutboundCall> {
            Vec::new()
        }
    }

    fn failed_test() -> FailedTest {
        FailedTest::new(Uuid::from_u128(1), Uuid::from_u128(2), None, None)
    }

    fn new_report(source: Arc<dyn TestDataSource>) -> TestReport {
        let until = Instant::now() + Duration::from_secs(5);
        TestReport::new(failed_test(), ReportSettings::default(), Some(source), until)
    }

    #[tokio::test]
    async fn a_file_of_unknown_size_has_the_limit_of_one_file() {
        let source = Arc::new(LargeFiles::default());
        let report = new_report(Arc::<LargeFiles>::clone(&source));
        for name in ["large.zip", "other.zip"] {
            let file = Attachment {
                kind: AttachmentKind::File,
                source_id: name.to_owned(),
                name: name.to_owned(),
                media_type: "application/zip".to_owned(),
                size: None,
            };
            assert!(report.attachment_content(&file, u64::MAX).await.is_err());
        }
        let file_bytes_max = ReportSettings::default().attachments.file_bytes_max;
        assert_eq!(*source.0.lock(), [file_bytes_max; 2]);
        assert!(report.is_too_large("large.zip") && !report.is_too_large("other.zip"));
    }

    #[tokio::test]
    async fn each_gap_is_returned_once_even_if_one_was_found_before_the_report_was_rendered() {
        let gap = |what: &str| Gap { what: what.to_owned(), why: "it is missing".to_owned() };
        let gaps = vec![gap("the log"), gap("a screenshot")];
        let data = TestData { gaps, ..TestData::default() };
        let report = new_report(Arc::new(FixedData::with_ids_of(&failed_test(), data)));
        let texts = || {
            let lines = report.take_gaps(0, |text| text);
            lines.into_iter().map(|line| line.message).collect::<Vec<_>>()
        };
        report.record_gap(&gap("a file"));
        assert_eq!(texts(), ["not in the report: a file: it is missing"]);
        report.rendered().await;
        let found = texts();
        assert!(found.len() == 2 && !found.concat().contains("a file"), "{found:?}");
        assert!(texts().is_empty());
    }
}
