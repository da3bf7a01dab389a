//! Downloads the content of a screenshot or of an attached file. This module never stores the
//! content.

use std::sync::Arc;

use bytes::Bytes;
use tokio::time::Instant;

use crate::report::{Attachment, AttachmentKind};

use super::failure::Failure;
use super::parts::Parts;
use super::shared::FetchContext;

/// Downloads the content of a file. Fails if the content has more than `bytes_max` bytes.
pub(super) async fn download_content(
    context: &Arc<FetchContext>,
    parts: &Parts,
    attachment: &Attachment,
    bytes_max: u64,
    deadline: Instant,
) -> Result<Bytes, Failure> {
    if let Some(size) = attachment.size.filter(|size| *size > bytes_max) {
        return Err(Failure::TooLarge(format!(
            "the file has {size} bytes, and at most {bytes_max} may be read"
        )));
    }
    let client = context.client(deadline)?;
    let project = parts.project_id(&client).await?;
    let source_id = attachment.source_id.as_str();
    let file_client = context.client_with_answer_bytes_max(deadline, bytes_max)?;
    let content = match attachment.kind {
        AttachmentKind::Screenshot => {
            let log = parts.log_id(&client).await?;
            let path = [
                project.as_str(),
                "testcaselogartifacts",
                &log,
                "assertions",
                source_id,
                "downloadscreenshot",
            ];
            file_client.get_bytes(&path).await?
        }
        AttachmentKind::File => {
            file_client.get_bytes(&[project.as_str(), "attachments", source_id, "download"]).await?
        }
        AttachmentKind::RobotLog => {
            let why =
                "the host writes this file from the robot's log; Test Manager has no such file";
            return Err(Failure::Other(why.to_owned()));
        }
    };
    if attachment.media_type.starts_with("image/") && is_web_page(&content) {
        return Err(Failure::unexpected_body("an image", 200, &content));
    }
    Ok(content)
}

/// Whether the bytes begin like a web page, such as a sign-in page.
fn is_web_page(content: &[u8]) -> bool {
    let beginning = content.get(..content.len().min(100)).unwrap_or_default();
    let beginning = String::from_utf8_lossy(beginning).trim_start().to_ascii_lowercase();
    beginning.starts_with("<!doctype html") || beginning.starts_with("<html")
}
