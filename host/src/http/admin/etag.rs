//! Entity tags (RFC 9110). The header `ETag` of an answer contains the revision of a connection.
//! The header `If-Match` of an edit lists revisions: the edit is made only if the connection has
//! one of them. This module never compares revisions.

use std::collections::BTreeSet;

use axum::extract::FromRequestParts;
use axum::http::HeaderValue;
use axum::http::header::{ETAG, IF_MATCH};
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};

use crate::api::Connection;
use crate::http::problem::Problem;
use crate::json::Json;

/// An answer that contains a connection as JSON, and its revision in the header `ETag`.
pub(crate) struct ConnectionWithEtag(pub(crate) Connection);

impl IntoResponse for ConnectionWithEtag {
    fn into_response(self) -> Response {
        let tag = HeaderValue::from_str(&format!("\"{}\"", self.0.revision));
        let mut response = Json(self.0).into_response();
        if let Ok(tag) = tag {
            response.headers_mut().insert(ETAG, tag);
        }
        response
    }
}

/// An edit is made only if the connection has one of these revisions. `None` allows every revision,
/// like `If-Match: *`.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct IfMatch(pub(super) Option<BTreeSet<u64>>);

impl IfMatch {
    pub(crate) fn only_revision(revision: u64) -> Self {
        Self(Some(BTreeSet::from([revision])))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for IfMatch {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        let lines: Vec<_> =
            parts.headers.get_all(IF_MATCH).iter().map(HeaderValue::to_str).collect();
        if lines.is_empty() {
            return Ok(Self(None));
        }
        let text: Option<Vec<_>> = lines.into_iter().map(Result::ok).collect();
        text.and_then(|lines| parse_if_match(&lines.join(","))).ok_or_else(|| {
            Problem::bad_request(
                "`If-Match` must be `*` or a list of entity tags in quotes, copied from the header `ETag`",
            )
        })
    }
}

/// Parses the value of `If-Match`; `None` if the text is neither `*` nor a list of entity tags. A
/// weak tag allows no revision.
fn parse_if_match(text: &str) -> Option<IfMatch> {
    if text.trim() == "*" {
        return Some(IfMatch(None));
    }
    let mut revisions = BTreeSet::new();
    for tag in text.split(',').map(str::trim) {
        let (is_weak, tag) = tag.strip_prefix("W/").map_or((false, tag), |tag| (true, tag));
        let opaque = tag.strip_prefix('"')?.strip_suffix('"')?;
        if let (false, Ok(revision)) = (is_weak, opaque.parse()) {
            revisions.insert(revision);
        }
    }
    Some(IfMatch(Some(revisions)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_weak_tag_and_an_unknown_tag_match_no_revision() {
        let revisions = |text| {
            parse_if_match(text).map(|tags| tags.0.map(|set| set.into_iter().collect::<Vec<_>>()))
        };
        assert_eq!(revisions("\"7\""), Some(Some(vec![7])));
        assert_eq!(revisions(" \"7\" , \"9\""), Some(Some(vec![7, 9])));
        assert_eq!(revisions("W/\"7\", \"other\""), Some(Some(vec![])), "matches nothing");
        assert_eq!(revisions("*"), Some(None));
        for wrong in ["", "7", "\"7", "\"7\",", "*, \"7\""] {
            assert_eq!(revisions(wrong), None, "{wrong}");
        }
    }
}
