//! The files that the console sends to browsers. They are part of the program.
//!
//! An address contains a hash of the file, so a browser keeps a file until the file changes.

use std::sync::LazyLock;

use axum::extract::Path;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use data_encoding::HEXLOWER;
use sha2::{Digest as _, Sha256};

use crate::http::problem::Problem;

/// A file with the address at which browsers ask for it.
struct Asset {
    name: &'static str,
    media_type: &'static str,
    bytes: &'static [u8],
    /// The beginning of the SHA-256 of the bytes, in quotes.
    etag: String,
    address: String,
}

static ASSETS: LazyLock<[Asset; 4]> = LazyLock::new(|| {
    [
        asset("console.css", "text/css", include_bytes!("../../static/console/console.css")),
        asset("console.js", JS, include_bytes!("../../static/console/console.js")),
        asset("htmx.js", JS, include_bytes!("../../static/console/htmx-2.0.11.min.js")),
        asset("icon.svg", "image/svg+xml", include_bytes!("../../static/console/icon.svg")),
    ]
});

const JS: &str = "text/javascript";

fn asset(name: &'static str, media_type: &'static str, bytes: &'static [u8]) -> Asset {
    let hash = HEXLOWER.encode(&Sha256::digest(bytes));
    let hash = hash.get(..16).unwrap_or_default();
    let (etag, address) = (format!("\"{hash}\""), format!("/static/{name}?v={hash}"));
    Asset { name, media_type, bytes, etag, address }
}

/// The address of a file. A name that does not exist gives an address that is not found.
pub(crate) fn address(name: &str) -> &'static str {
    ASSETS.iter().find(|it| it.name == name).map_or("/static/missing", |it| &it.address)
}

/// Answers `GET /static/{name}`.
pub(crate) async fn serve(Path(name): Path<String>, headers: HeaderMap) -> Response {
    let Some(asset) = ASSETS.iter().find(|it| it.name == name) else {
        return Problem::not_found("file").into_response();
    };
    let about = [
        (CONTENT_TYPE, asset.media_type),
        (CACHE_CONTROL, "public, max-age=31536000, immutable"),
        (ETAG, asset.etag.as_str()),
    ];
    if headers.get(IF_NONE_MATCH).is_some_and(|it| it.as_bytes() == asset.etag.as_bytes()) {
        return (StatusCode::NOT_MODIFIED, about).into_response();
    }
    (about, asset.bytes).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn htmx_is_the_file_that_was_published() {
        let readme = include_str!("../../static/console/README.md");
        let htmx = include_bytes!("../../static/console/htmx-2.0.11.min.js");
        assert!(readme.contains(&HEXLOWER.encode(&Sha256::digest(htmx))));
    }

    #[test]
    fn all_files_together_leave_room_for_a_page_of_150_kilobytes() {
        let bytes: usize = ASSETS.iter().map(|it| it.bytes.len()).sum();
        assert!(bytes < 90_000, "{bytes}");
    }
}
