//! The trait through which the rooms above read the data of a failed test.

use std::collections::BTreeSet;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::time::Instant;

use crate::domain::OutboundCall;

use super::{Attachment, Gap, Subject, TestData};

/// What Test Manager knows of one failed test. Each part is requested at most once, at its first
/// use, and only if it was asked for. Nothing here fails as a whole: what is missing is a [`Gap`].
#[async_trait]
pub trait Source: Send + Sync {
    /// The asked parts, and a gap for each that could not be fetched by the deadline. The
    /// screenshots of assertions are listed if assertions or attachments are asked for.
    async fn fetch(&self, subjects: &BTreeSet<Subject>, deadline: Instant) -> TestData;

    /// One part as JSON, as Test Manager answers it. A list has the items that [`Self::fetch`]
    /// reads.
    ///
    /// # Errors
    /// Why it could not be fetched.
    async fn subject_json(&self, subject: Subject, deadline: Instant) -> Result<String, Gap>;

    /// The content of a screenshot or a file that [`Self::fetch`] listed.
    ///
    /// # Errors
    /// It has more than `bytes_max` bytes, or why it could not be fetched.
    async fn download(
        &self,
        attachment: &Attachment,
        bytes_max: u64,
        deadline: Instant,
    ) -> Result<Bytes, Gap>;

    /// The requests so far, for the event.
    fn calls(&self) -> Vec<OutboundCall>;
}
