//! Serves the static files of the console. The files are compiled into the program, so this module
//! never reads from the disk.
//!
//! The address of a file contains a hash of the file's content. A changed file has another address,
//! so browsers may cache every file.

use std::sync::LazyLock;

use axum::extract::Path;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use data_encoding::HEXLOWER;
use sha2::{Digest as _, Sha256};

use crate::http::problem::Problem;

struct Asset {
    name: &'static str,
    media_type: &'static str,
    bytes: &'static [u8],
    /// The first 16 hexadecimal digits of the SHA-256 of `bytes`, in quotes.
    etag: String,
    address: String,
}

static ASSETS: LazyLock<[Asset; 4]> = LazyLock::new(|| {
    [
        new_asset("console.css", "text/css", include_bytes!("../../static/console/console.css")),
        new_asset("console.js", JAVASCRIPT, include_bytes!("../../static/console/console.js")),
        new_asset("htmx.js", JAVASCRIPT, include_bytes!("../../static/console/htmx-2.0.11.min.js")),
        new_asset("icon.svg", "image/svg+xml", include_bytes!("../../static/console/icon.svg")),
    ]
});

const JAVASCRIPT: &str = "text/javascript";

fn new_asset(name: &'static str, media_type: &'static str, bytes: &'static [u8]) -> Asset {
    let hash = HEXLOWER.encode(&Sha256::digest(bytes));
    let hash = hash.get(..16).unwrap_or_default();
    let (etag, address) = (format!("\"{hash}\""), format!("/static/{name}?v={hash}"));
    Asset { name, media_type, bytes, etag, address }
}

/// Returns the address of the file with this name. For an unknown name, it returns an address that
/// is answered with 404.
pub(crate) fn address(name: &str) -> &'static str {
    ASSETS.iter().find(|asset| asset.name == name).map_or("/static/missing", |asset| &asset.address)
}

/// Answers `GET /static/{name}`.
pub(crate) async fn serve(Path(name): Path<String>, headers: HeaderMap) -> Response {
    let Some(asset) = ASSETS.iter().find(|asset| asset.name == name) else {
        return Problem::not_found("file").into_response();
    };
    let response_headers = [
        (CONTENT_TYPE, asset.media_type),
        (CACHE_CONTROL, "public, max-age=31536000, immutable"),
        (ETAG, asset.etag.as_str()),
    ];
    if headers.get(IF_NONE_MATCH).is_some_and(|etag| etag.as_bytes() == asset.etag.as_bytes()) {
        return (StatusCode::NOT_MODIFIED, response_headers).into_response();
    }
    (response_headers, asset.bytes).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_of_htmx_has_the_hash_that_its_project_published() {
        let readme = include_str!("../../static/console/README.md");
        let htmx = include_bytes!("../../static/console/htmx-2.0.11.min.js");
        assert!(readme.contains(&HEXLOWER.encode(&Sha256::digest(htmx))));
    }

    #[test]
    fn all_files_together_have_less_than_90_kilobytes() {
        // Together with these files, a page of the console should have at most 150 kB.
        let bytes: usize = ASSETS.iter().map(|asset| asset.bytes.len()).sum();
        assert!(bytes < 90_000, "{bytes}");
    }
}
