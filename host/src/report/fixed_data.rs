//! A source of fixed data of a failed test, with which a connector can be called without Test
//! Manager. This module never sends a request.

use std::collections::BTreeSet;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::time::Instant;

use super::{Attachment, DownloadError, Gap, Subject, TestData, TestDataSource};
use crate::domain::{FailedTest, OutboundCall};

const ATTACHMENT_CONTENT: &[u8] = b"the content of a sample file";

/// A [`TestDataSource`] that always returns the same data, whichever parts are requested. The JSON
/// of a part is that of [`TestData`], not that of Test Manager.
pub struct FixedData(TestData);

impl FixedData {
    /// Creates a source that returns `data` with the ids and the link of `test`. The size of each
    /// attachment becomes that of the content that the source returns.
    #[must_use]
    pub fn with_ids_of(test: &FailedTest, data: TestData) -> Self {
        let TestData { test_execution_id, test_case_id, variation_id, link, .. } =
            TestData::from_webhook_ids(test);
        let mut data = TestData { test_execution_id, test_case_id, variation_id, link, ..data };
        for attachment in &mut data.attachments {
            attachment.size = Some(ATTACHMENT_CONTENT.len() as u64);
        }
        Self(data)
    }
}

#[async_trait]
impl TestDataSource for FixedData {
    async fn fetch(&self, _subjects: &BTreeSet<Subject>, _read_until: Instant) -> TestData {
        self.0.clone()
    }

    async fn subject_json(&self, subject: Subject, _read_until: Instant) -> Result<String, Gap> {
        let gap = |why: String| Gap { what: format!("the subject `{subject}`"), why };
        let data_json = serde_json::to_value(&self.0).map_err(|error| gap(error.to_string()))?;
        let member = match subject {
            Subject::TestExecution => "execution".to_owned(),
            Subject::TestCaseLog => "log".to_owned(),
            other => other.to_string().replace('-', "_"),
        };
        let part = data_json
            .get(&member)
            .ok_or_else(|| gap("the test data does not contain it".to_owned()))?;
        Ok(part.to_string())
    }

    async fn download(
        &self,
        _attachment: &Attachment,
        _bytes_max: u64,
        _read_until: Instant,
    ) -> Result<Bytes, DownloadError> {
        Ok(Bytes::from_static(ATTACHMENT_CONTENT))
    }

    fn calls(&self, _measured_from: Instant) -> Vec<OutboundCall> {
        Vec::new()
    }
}
