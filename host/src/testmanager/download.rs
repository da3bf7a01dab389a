//! Downloads the content of a screenshot or of an attached file.

use std::sync::Arc;

use bytes::Bytes;
use tokio::time::Instant;

use crate::report::{Attachment, AttachmentKind};

use super::failure::Failure;
use super::parts::Parts;
use super::shared::ReportFetch;

/// Downloads the content; fails if it has more than `bytes_max` bytes.
pub(super) async fn read(
    shared: &Arc<ReportFetch>,
    parts: &Parts,
    attachment: &Attachment,
    bytes_max: u64,
    deadline: Instant,
) -> Result<Bytes, Failure> {
    if let Some(size) = attachment.size.filter(|size| *size > bytes_max) {
        return Err(Failure::Other(format!("it has {size} bytes, more than {bytes_max}")));
    }
    let client = shared.client(deadline)?;
    let project = parts.project_id(&client).await?;
    let source = attachment.source_id.as_str();
    let downloading = shared.client_with(deadline, bytes_max)?;
    let content = match attachment.kind {
        AttachmentKind::Screenshot => {
            let log = parts.log_id(&client).await?;
            let path = [
                project.as_str(),
                "testcaselogartifacts",
                &log,
                "assertions",
                source,
                "downloadscreenshot",
            ];
            downloading.get_bytes(&path).await?
        }
        AttachmentKind::File => {
            downloading.get_bytes(&[project.as_str(), "attachments", source, "download"]).await?
        }
        AttachmentKind::RobotLog => {
            let why = "the host writes it from the robot's log; Test Manager has no such file";
            return Err(Failure::Other(why.to_owned()));
        }
    };
    if attachment.media_type.starts_with("image/") && is_web_page(&content) {
        return Err(Failure::instead_of("an image", 200, &content));
    }
    Ok(content)
}

/// Whether the bytes are a web page, such as a sign-in page.
fn is_web_page(content: &[u8]) -> bool {
    let begin = content.get(..content.len().min(100)).unwrap_or_default();
    let begin = String::from_utf8_lossy(begin).trim_start().to_ascii_lowercase();
    begin.starts_with("<!doctype html") || begin.starts_with("<html")
}
