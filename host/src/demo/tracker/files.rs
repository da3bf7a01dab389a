//! Stores uploaded files only in memory, and answers downloads.

use std::collections::HashMap;

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::json::Json;

use super::TrackerState;

/// Maximum size of a file, bytes.
pub(super) const FILE_BYTES_MAX: usize = 16 << 20;
const FILES_BYTES_MAX: usize = 256 << 20;
const FILES_MAX: usize = 10_000;

pub(super) struct UploadedFile {
    pub(super) id: u64,
    /// The text with which a later request attaches the file to an issue.
    pub(super) token: String,
    pub(super) name: String,
    bytes: Bytes,
}

impl UploadedFile {
    /// Returns the media type if the file is an image that pages can show.
    pub(super) fn image_type(&self) -> Option<&'static str> {
        match self.bytes.get(..4)? {
            b"\x89PNG" => Some("image/png"),
            b"GIF8" => Some("image/gif"),
            [0xff, 0xd8, 0xff, _] => Some("image/jpeg"),
            _ => None,
        }
    }

    pub(super) fn download_path(&self) -> String {
        let name = utf8_percent_encode(&self.name, NON_ALPHANUMERIC);
        format!("/attachments/download/{}/{name}", self.id)
    }

    pub(super) fn size_bytes(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn to_json(&self) -> Value {
        let content_type = self.image_type().unwrap_or("application/octet-stream");
        json!({ "id": self.id, "filename": self.name, "filesize": self.size_bytes(),
            "content_type": content_type, "content_url": self.download_path() })
    }
}

/// Stores a file, and answers with its token.
pub(super) async fn upload_file(
    State(tracker): TrackerState,
    Query(query): Query<HashMap<String, String>>,
    bytes: Bytes,
) -> Response {
    let data = &mut *tracker.data();
    let stored_bytes: usize = data.files.iter().map(UploadedFile::size_bytes).sum();
    if data.files.len() >= FILES_MAX || stored_bytes + bytes.len() > FILES_BYTES_MAX {
        let errors = json!({ "errors": ["This sample tracker is full; start the demo again"] });
        return (StatusCode::UNPROCESSABLE_ENTITY, Json(errors)).into_response();
    }
    let id = data.files.len() as u64 + 1;
    let token = format!("{id}.{}", Uuid::new_v4().simple());
    let name = query.get("filename").filter(|name| !name.is_empty()).cloned();
    let answer = json!({ "upload": { "id": id, "token": token } });
    data.files.push(UploadedFile {
        id,
        token,
        name: name.unwrap_or_else(|| id.to_string()),
        bytes,
    });
    (StatusCode::CREATED, Json(answer)).into_response()
}

/// The browser shows an image and saves any other file, so an uploaded HTML file is never shown as
/// a page of this origin.
pub(super) async fn download_file(
    State(tracker): TrackerState,
    Path((id, _)): Path<(u64, String)>,
) -> Response {
    let data = tracker.data();
    let Some(file) = data.files.iter().find(|file| file.id == id) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    match file.image_type() {
        Some(image) => ([(CONTENT_TYPE, image)], file.bytes.clone()).into_response(),
        None => {
            let headers =
                [(CONTENT_TYPE, "application/octet-stream"), (CONTENT_DISPOSITION, "attachment")];
            (headers, file.bytes.clone()).into_response()
        }
    }
}
