//! Reads the body of a webhook, and parses the body of a Create Defect request.
//!
//! This module never keeps more than [`BODY_BYTES_MAX`] bytes of a body as it was sent.

use std::time::Duration;

use axum::body::Body;
use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;

use crate::domain::{FailedTest, shortened};
use crate::http::problem::Problem;

use super::decode::{self, BodyError};
use super::parse::failed_test;

/// Maximum size of a webhook's body, bytes. The limit applies both to the body as it was sent and
/// to the decompressed body.
pub(super) const BODY_BYTES_MAX: usize = 64 * 1024;
/// Maximum time until the whole body of a webhook has arrived.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// The body of a webhook, or the part of the body that could be read.
#[derive(Debug, Default)]
pub(crate) struct ReadBody {
    pub(super) text: String,
    /// `None` if the text is complete.
    error: Option<BodyError>,
}

/// Reads a body up to [`BODY_BYTES_MAX`]. An error is stored in the result, so that the event can
/// contain the part that was read.
pub(crate) async fn read(headers: &HeaderMap, body: Body) -> ReadBody {
    read_with_sent_bytes(headers, body).await.0
}

/// Reads a body up to [`BODY_BYTES_MAX`], and also returns its bytes as they were sent.
pub(super) async fn read_with_sent_bytes(headers: &HeaderMap, body: Body) -> (ReadBody, Bytes) {
    read_within_timeout(headers, body, BODY_TIMEOUT).await
}

async fn read_within_timeout(
    headers: &HeaderMap,
    body: Body,
    timeout: Duration,
) -> (ReadBody, Bytes) {
    let mut bytes = BytesMut::new();
    let collected = tokio::time::timeout(timeout, collect_bytes(body, &mut bytes)).await;
    let collected = collected.unwrap_or_else(|_| {
        let seconds = timeout.as_secs();
        Err(BodyError::Broken(format!("the body is not complete after {seconds} s")))
    });
    let body = match collected {
        Ok(()) => {
            let (text, error) = decode::decode_body(headers, &bytes);
            ReadBody { text, error }
        }
        Err(error) => {
            let text = String::from_utf8_lossy(&bytes).into_owned();
            ReadBody { text, error: Some(error) }
        }
    };
    (body, bytes.freeze())
}

/// Appends the bytes of a body to `bytes`, up to [`BODY_BYTES_MAX`].
async fn collect_bytes(mut body: Body, bytes: &mut BytesMut) -> Result<(), BodyError> {
    while let Some(frame) = body.frame().await {
        let frame = frame
            .map_err(|error| BodyError::Broken(format!("the body is not complete: {error}")))?;
        let Ok(data) = frame.into_data() else { continue };
        let bytes_left = BODY_BYTES_MAX - bytes.len();
        bytes.extend_from_slice(&data.slice(..data.len().min(bytes_left)));
        if data.len() > bytes_left {
            return Err(BodyError::TooLarge);
        }
    }
    Ok(())
}

impl ReadBody {
    /// Whether the body was read completely, and contains only white space or an empty JSON object.
    pub(super) fn is_empty(&self) -> bool {
        let text = self.text.trim();
        let members = text.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
        self.error.is_none() && members.unwrap_or(text).trim_ascii().is_empty()
    }

    pub(crate) fn failed_test(&self, headers: &HeaderMap) -> Result<FailedTest, Problem> {
        if self.error == Some(BodyError::TooLarge) {
            return Err(Problem::payload_too_large(BODY_BYTES_MAX / 1024));
        }
        if let Some(found) = non_json_content_type(headers) {
            return Err(Problem::unsupported_media_type(describe_content_type_error(&found)));
        }
        match &self.error {
            Some(BodyError::UnknownEncoding(found)) => {
                let found = shortened(found, 100);
                Err(Problem::unsupported_media_type(format!(
                    "send the body uncompressed, or with the content encoding gzip or deflate, not {found:?}"
                )))
            }
            Some(BodyError::Broken(why)) => Err(Problem::bad_request(why)),
            _ => failed_test(&self.text).map_err(|error| Problem::bad_request(error.to_string())),
        }
    }
}

/// The content type of a body that cannot be JSON; `None` if the body may be JSON. Some senders
/// declare JSON as plain text (.NET's `StringContent`) or as bytes, or send no content type.
fn non_json_content_type(headers: &HeaderMap) -> Option<String> {
    const TYPES_OF_JSON: [&str; 7] = [
        "",
        "application/json",
        "text/json",
        "application/x-json",
        "text/x-json",
        "text/plain",
        "application/octet-stream",
    ];
    let content_type = String::from_utf8_lossy(headers.get(CONTENT_TYPE)?.as_bytes());
    let first = content_type.split([';', ',']).next().unwrap_or_default().trim();
    let suffix = first.rsplit_once('+').map_or("", |(_, suffix)| suffix);
    let may_be_json = suffix.eq_ignore_ascii_case("json")
        || TYPES_OF_JSON.iter().any(|it| first.eq_ignore_ascii_case(it));
    (!may_be_json).then(|| content_type.into_owned())
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
    fn every_media_type_that_may_be_json_is_accepted_and_all_others_are_refused() {
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
        let (body, _) = read_within_timeout(&no_headers, body, Duration::from_millis(50)).await;
        let why = body.failed_test(&HeaderMap::new()).unwrap_err().outcome().detail;
        assert!(why.contains("not complete"), "{why}");
    }

    #[tokio::test]
    async fn a_body_is_read_up_to_the_size_limit() {
        let read = async |size| read(&HeaderMap::new(), Body::from(vec![b' '; size])).await;
        let fits = read(BODY_BYTES_MAX).await;
        assert!(fits.error.is_none() && fits.is_empty());
        let over = read(BODY_BYTES_MAX + 1).await;
        assert_eq!(over.text.len(), BODY_BYTES_MAX);
        assert_eq!(
            over.failed_test(&HeaderMap::new()).unwrap_err(),
            Problem::payload_too_large(64)
        );
    }
}
