//! The trait through which other rooms read the data of a failed test.

use std::collections::BTreeSet;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::time::Instant;

use crate::domain::OutboundCall;

use super::{Attachment, Gap, Subject, TestData};

/// The reason why a file could not be downloaded.
#[derive(Debug, Clone, PartialEq)]
pub struct DownloadError {
    /// The file and the reason, for people.
    pub gap: Gap,
    /// Whether the file has more bytes than may be read, so that another attempt would fail, too.
    pub is_too_large: bool,
}

/// Reads the data of one failed test. Each part is fetched at most once, when it is first needed. A
/// part that cannot be fetched becomes a [`Gap`], so that a fetch never fails as a whole.
#[async_trait]
pub trait TestDataSource: Send + Sync {
    /// Fetches the requested parts. The gaps of the result name the parts that could not be fetched
    /// by `read_until`. The screenshots of assertions are listed if assertions or attachments are
    /// requested.
    async fn fetch(&self, subjects: &BTreeSet<Subject>, read_until: Instant) -> TestData;

    /// Fetches one part and returns it as JSON: if it comes from Test Manager, with the members
    /// that Test Manager sent.
    ///
    /// # Errors
    /// The part could not be fetched; the gap contains the reason.
    async fn subject_json(&self, subject: Subject, read_until: Instant) -> Result<String, Gap>;

    /// Downloads a screenshot or a file that [`Self::fetch`] listed.
    ///
    /// # Errors
    /// The content has more than `bytes_max` bytes, or could not be fetched.
    async fn download(
        &self,
        attachment: &Attachment,
        bytes_max: u64,
        read_until: Instant,
    ) -> Result<Bytes, DownloadError>;

    /// Returns the requests that were sent to Test Manager so far, so that they can be stored with
    /// the event. Their `at_ms` is measured from `measured_from`.
    fn calls(&self, measured_from: Instant) -> Vec<OutboundCall>;
}
