//! Reads a webhook's body, and parses it as a Create Defect request.
//!
//! Never reads more than the limit of a body.

use std::time::Duration;

use axum::body::Body;
use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;

use crate::domain::{FailedTest, shortened};
use crate::http::problem::Problem;

use super::decode::{self, BodyFault};
use super::parse::failed_test;

/// Maximum size of a webhook's body, bytes. It applies to the body as it is sent, and to the
/// decompressed body.
pub(super) const BODY_BYTES_MAX: usize = 64 * 1024;
/// Maximum time until a body has arrived.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// A body, or the part of a body that could be read.
#[derive(Debug, Default)]
pub(crate) struct ReadBody {
    /// The text of the body; if there is a fault, the part that could be read.
    pub(super) text: String,
    fault: Option<BodyFault>,
}

/// Reads a body up to the limit. An error is stored in the result, so that the event can contain
/// the part that was read.
pub(crate) async fn read(headers: &HeaderMap, body: Body) -> ReadBody {
    read_sent(headers, body).await.0
}

/// Reads a body up to the limit; also returns the bytes as they were sent.
pub(super) async fn read_sent(headers: &HeaderMap, body: Body) -> (ReadBody, Bytes) {
    read_within(headers, body, BODY_TIMEOUT).await
}

async fn read_within(headers: &HeaderMap, body: Body, timeout: Duration) -> (ReadBody, Bytes) {
    let mut bytes = BytesMut::new();
    let collected = tokio::time::timeout(timeout, collect(body, &mut bytes)).await;
    let fault = collected.unwrap_or_else(|_| {
        let seconds = timeout.as_secs();
        Err(BodyFault::Broken(format!("the body is not complete after {seconds} s")))
    });
    let body = match fault {
        Ok(()) => {
            let (text, fault) = decode::decode_body(headers, &bytes);
            ReadBody { text, fault }
        }
        Err(fault) => {
            let text = String::from_utf8_lossy(&bytes).into_owned();
            ReadBody { text, fault: Some(fault) }
        }
    };
    (body, bytes.freeze())
}

async fn collect(mut body: Body, bytes: &mut BytesMut) -> Result<(), BodyFault> {
    while let Some(frame) = body.frame().await {
        let frame = frame
            .map_err(|error| BodyFault::Broken(format!("the body is not complete: {error}")))?;
        let Ok(data) = frame.into_data() else { continue };
        let bytes_left = BODY_BYTES_MAX - bytes.len();
        bytes.extend_from_slice(&data.slice(..data.len().min(bytes_left)));
        if data.len() > bytes_left {
            return Err(BodyFault::TooLarge);
        }
    }
    Ok(())
}

impl ReadBody {
    /// Whether the body is empty, or an empty JSON object.
    pub(super) fn is_empty(&self) -> bool {
        let text = self.text.trim();
        let members = text.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
        self.fault.is_none() && members.unwrap_or(text).trim_ascii().is_empty()
    }

    /// Parses the body as the failed test of a Create Defect request.
    pub(crate) fn failed_test(&self, headers: &HeaderMap) -> Result<FailedTest, Problem> {
        if self.fault == Some(BodyFault::TooLarge) {
            return Err(Problem::payload_too_large(BODY_BYTES_MAX / 1024));
        }
        if let Some(found) = non_json_content_type(headers) {
            return Err(Problem::unsupported_media_type(describe_content_type_error(&found)));
        }
        match &self.fault {
            Some(BodyFault::UnknownEncoding(found)) => {
                let found = shortened(found, 100);
                Err(Problem::unsupported_media_type(format!(
                    "send the body uncompressed, or with the content encoding gzip or deflate, not {found:?}"
                )))
            }
            Some(BodyFault::Broken(why)) => Err(Problem::bad_request(why)),
            _ => failed_test(&self.text).map_err(|error| Problem::bad_request(error.to_string())),
        }
    }
}

/// The content type, if it excludes that the body is JSON. Some senders declare JSON as plain text
/// (.NET's `StringContent`), as bytes, or not at all.
fn non_json_content_type(headers: &HeaderMap) -> Option<String> {
    let content_type = String::from_utf8_lossy(headers.get(CONTENT_TYPE)?.as_bytes()).into_owned();
    let first = content_type.split([';', ',']).next().unwrap_or_default();
    let may_be_json = match first.trim().to_ascii_lowercase().as_str() {
        "" | "application/json" | "text/json" | "application/x-json" | "text/x-json" => true,
        "text/plain" | "application/octet-stream" => true,
        other => other.ends_with("+json"),
    };
    (!may_be_json).then_some(content_type)
}

fn describe_content_type_error(found: &str) -> String {
    let hint = if found.trim().to_ascii_lowercase().starts_with("application/x-www-form-urlencoded")
    {
        ", which curl and PowerShell send unless a content type is given"
    } else {
        ""
    };
    format!("send the JSON as application/json, not as {:?}{hint}", shortened(found, 100))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_media_type_that_may_be_json_is_accepted_and_no_other() {
        let is_refused = |media_type: &str| {
            let headers = HeaderMap::from_iter([(CONTENT_TYPE, media_type.parse().unwrap())]);
            non_json_content_type(&headers).is_some()
        };
        for media_type in [
            "application/json; charset=utf-8",
            "Application/JSON, application/json",
            "text/json",
            "application/x+json",
            "text/plain; charset=utf-8",
            "application/octet-stream",
            "",
        ] {
            assert!(!is_refused(media_type), "{media_type}");
        }
        assert!(non_json_content_type(&HeaderMap::new()).is_none());
        for media_type in ["text/html", "application/xml", "multipart/form-data; boundary=x"] {
            assert!(is_refused(media_type), "{media_type}");
        }
        let why = describe_content_type_error("application/x-www-form-urlencoded; charset=utf-8");
        assert!(why.contains("curl"), "{why}");
    }

    #[tokio::test]
    async fn a_body_that_does_not_arrive_in_time_is_incomplete() {
        let (_sender, receiver) = tokio::io::duplex(1);
        let endless = futures_util::stream::unfold(receiver, async |mut receiver| {
            let read = tokio::io::AsyncReadExt::read_u8(&mut receiver).await;
            read.ok().map(|byte| (Ok::<_, std::io::Error>(vec![byte]), receiver))
        });
        let (no_headers, body) = (HeaderMap::new(), Body::from_stream(endless));
        let (body, _) = read_within(&no_headers, body, Duration::from_millis(50)).await;
        let why = body.failed_test(&HeaderMap::new()).unwrap_err().outcome().detail;
        assert!(why.contains("not complete"), "{why}");
    }

    #[tokio::test]
    async fn a_body_is_read_up_to_its_limit() {
        let read = async |size| read(&HeaderMap::new(), Body::from(vec![b' '; size])).await;
        let fits = read(BODY_BYTES_MAX).await;
        assert!(fits.fault.is_none() && fits.is_empty());
        let over = read(BODY_BYTES_MAX + 1).await;
        assert_eq!(over.text.len(), BODY_BYTES_MAX);
        assert_eq!(
            over.failed_test(&HeaderMap::new()).unwrap_err(),
            Problem::payload_too_large(64)
        );
    }
}
