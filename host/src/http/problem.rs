//! Problems, RFC 9457: the one place where a reason becomes a status, a title and a `Retry-After`.
//!
//! Says in `instance` which event or request it is about; never holds a token or a secret.

mod kinds;

use axum::Router;
use axum::extract::{Path, Request};
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::json;

use crate::dispatch::{ConnectionError, WrongSetting};
use crate::domain::{Outcome, Refusal};
use crate::store::StoreError;

use kinds::Kind;

/// Why a request was not answered as hoped.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Problem {
    kind: &'static Kind,
    detail: String,
    retry_after_s: Option<u32>,
    errors: Vec<WrongSetting>,
}

impl Problem {
    fn new(kind: &'static Kind, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into(), retry_after_s: None, errors: Vec::new() }
    }

    /// The request is not what was asked for; says what is wrong.
    pub(super) fn bad_request(why: impl Into<String>) -> Self {
        Self::new(&kinds::BAD_REQUEST, why)
    }

    /// The body is over its limit.
    pub(super) fn too_large(limit_kib: usize) -> Self {
        Self::new(&kinds::TOO_LARGE, format!("a body has at most {limit_kib} KiB"))
    }

    /// The body is of another content type.
    pub(super) fn content_type(found: &str) -> Self {
        Self::new(&kinds::CONTENT_TYPE, format!("send application/json, not {found:?}"))
    }

    /// The admin token is missing or wrong.
    pub(super) fn unauthorized() -> Self {
        Self::new(&kinds::UNAUTHORIZED, kinds::UNAUTHORIZED.remedy)
    }

    /// There is no such thing.
    pub(super) fn not_found(what: &str) -> Self {
        Self::new(&kinds::NOT_FOUND, format!("there is no such {what}"))
    }

    /// Unknown token and unknown path alike.
    pub(super) fn no_webhook() -> Self {
        Self::new(&kinds::NOT_FOUND, "no webhook has this address: check its token and its path")
    }

    /// The address takes other methods.
    pub(super) fn method_not_allowed() -> Self {
        Self::new(&kinds::METHOD_NOT_ALLOWED, kinds::METHOD_NOT_ALLOWED.remedy)
    }

    /// The store cannot be used.
    pub(super) fn store_down(why: &str) -> Self {
        (&Refusal::StoreDown(why.to_owned())).into()
    }

    /// One value that cannot be taken.
    pub(super) fn invalid(name: &str, why: impl Into<String>) -> Self {
        ConnectionError::Invalid(vec![WrongSetting { name: name.to_owned(), why: why.into() }])
            .into()
    }

    /// The host failed itself.
    pub(super) fn internal() -> Self {
        Self::new(&kinds::INTERNAL, "the host failed while it answered; its log says more")
    }

    /// The answer's status.
    pub(crate) fn status(&self) -> StatusCode {
        self.kind.status
    }

    /// What the event says of it.
    pub(crate) fn outcome(&self) -> Outcome {
        Outcome { code: self.kind.code.to_owned(), detail: self.detail.clone() }
    }

    /// The answer, about the event or request at `instance`.
    pub(super) fn respond(&self, instance: &str) -> Response {
        let mut body = json!({
            "type": format!("/problems/{}", self.kind.code),
            "title": self.kind.title,
            "status": self.kind.status.as_u16(),
            "detail": self.detail,
            "instance": instance,
        });
        if let (Some(members), false) = (body.as_object_mut(), self.errors.is_empty()) {
            let wrong = |e: &WrongSetting| json!({"name": e.name, "why": e.why});
            members.insert("errors".to_owned(), self.errors.iter().map(wrong).collect());
        }
        let mut response = (self.kind.status, body.to_string()).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(seconds) = self.retry_after_s {
            headers.insert(RETRY_AFTER, seconds.into());
        }
        if self.kind.status == StatusCode::UNAUTHORIZED {
            let challenge = HeaderValue::from_static("Bearer realm=\"jackfield admin\"");
            headers.insert(WWW_AUTHENTICATE, challenge);
        }
        response
    }
}

impl From<&Refusal> for Problem {
    fn from(refusal: &Refusal) -> Self {
        let (kind, retry_after_s) = match refusal {
            Refusal::Rejected(_) => (&kinds::REJECTED, None),
            Refusal::CredentialsRefused(_) => (&kinds::CREDENTIALS_REFUSED, None),
            Refusal::TrackerUnavailable(_) => (&kinds::TRACKER_UNAVAILABLE, Some(30)),
            Refusal::TrackerLimits(seconds) => (&kinds::TRACKER_LIMITS, Some(*seconds)),
            Refusal::Unsupported(_) => (&kinds::UNSUPPORTED, None),
            Refusal::ConnectorBroke(_) => (&kinds::CONNECTOR_BROKE, None),
            Refusal::ConnectorError(_) => (&kinds::CONNECTOR_ERROR, None),
            Refusal::OtherProject => (&kinds::OTHER_PROJECT, None),
            Refusal::CountTooLarge(_) => (&kinds::COUNT_TOO_LARGE, None),
            Refusal::Paused => (&kinds::PAUSED, Some(60)),
            Refusal::NoConnector(_) => (&kinds::NO_CONNECTOR, Some(10)),
            Refusal::Resting { retry_after_s, .. } => (&kinds::RESTING, Some(*retry_after_s)),
            Refusal::HostFull => (&kinds::HOST_FULL, Some(1)),
            Refusal::StoreDown(_) => (&kinds::STORE_DOWN, Some(10)),
            Refusal::Settling { retry_after_s, .. } => (&kinds::SETTLING, Some(*retry_after_s)),
            Refusal::InDoubt { .. } => (&kinds::IN_DOUBT, None),
            Refusal::Deadline { .. } => (&kinds::DEADLINE, None),
        };
        Self { retry_after_s, ..Self::new(kind, refusal.to_string()) }
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::NotFound(what) => Self::not_found(what),
            StoreError::Conflict(_) | StoreError::Fenced => {
                Self::new(&kinds::CONFLICT, error.to_string())
            }
            StoreError::Unusable(_) | StoreError::Database(_) => {
                Self::store_down(&error.to_string())
            }
        }
    }
}

impl From<ConnectionError> for Problem {
    fn from(error: ConnectionError) -> Self {
        let detail = error.to_string();
        match error {
            ConnectionError::Invalid(errors) => {
                Self { errors, ..Self::new(&kinds::INVALID, detail) }
            }
            ConnectionError::NoConnector(why) => Self::invalid("connector", why),
            ConnectionError::Consent(why) => Self::new(&kinds::CONFLICT, why),
            ConnectionError::Store(error) => error.into(),
        }
    }
}

/// Worded by [`name_instance`], which knows the request.
impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.status().into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// Words problems that handlers returned, with the request's path as `instance`.
pub(super) async fn name_instance(request: Request, next: Next) -> Response {
    let path = without_hook(request.uri().path());
    let mut response = next.run(request).await;
    let problem = response.extensions_mut().remove::<Problem>().or_else(|| undecoded(&response));
    let Some(problem) = problem else { return response };
    let mut worded = problem.respond(&path);
    if let Some(allow) = response.headers_mut().remove(axum::http::header::ALLOW) {
        worded.headers_mut().insert(axum::http::header::ALLOW, allow);
    }
    worded
}

/// A path without what follows `/hooks/`: it may be a token, sent to the wrong address.
fn without_hook(path: &str) -> String {
    match path.split_once("/hooks/") {
        Some((before, _)) => format!("{before}/hooks/…"),
        None => path.to_owned(),
    }
}

/// The framework's own refusal of an address whose escapes are no UTF-8: no handler was asked.
fn undecoded(response: &Response) -> Option<Problem> {
    let kind = response.headers().get(CONTENT_TYPE);
    let is_text = kind.is_some_and(|kind| kind.as_bytes().starts_with(b"text/plain"));
    let why = "the address is no UTF-8 where it is percent-encoded: encode it anew";
    (is_text && response.status() == StatusCode::BAD_REQUEST).then(|| Problem::bad_request(why))
}

/// `/problems/{code}`: what a problem's `type` leads to.
pub(super) fn routes() -> Router {
    Router::new().route("/problems/{code}", get(explain))
}

async fn explain(Path(code): Path<String>) -> Result<String, Problem> {
    let kind = kinds::ALL.iter().find(|kind| kind.code == code);
    let kind = kind.ok_or_else(|| Problem::not_found("problem"))?;
    Ok(format!("{} ({})\n\n{}\n", kind.title, kind.status.as_u16(), kind.remedy))
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use crate::domain::{Breakage, CountTooLarge, DefectId};

    use super::*;

    fn every_refusal() -> Vec<(Refusal, u16, bool)> {
        let text = String::new;
        vec![
            (Refusal::Rejected(text()), 422, false),
            (Refusal::CredentialsRefused(text()), 502, false),
            (Refusal::TrackerUnavailable(text()), 503, true),
            (Refusal::TrackerLimits(7), 503, true),
            (Refusal::Unsupported(text()), 501, false),
            (Refusal::ConnectorBroke(Breakage::Trap(text())), 502, false),
            (Refusal::ConnectorError(text()), 502, false),
            (Refusal::OtherProject, 404, false),
            (Refusal::CountTooLarge(CountTooLarge { field: "openDefects", value: 1 }), 502, false),
            (Refusal::Paused, 503, true),
            (Refusal::NoConnector(text()), 503, true),
            (Refusal::Resting { reason: text(), retry_after_s: 7 }, 503, true),
            (Refusal::HostFull, 503, true),
            (Refusal::StoreDown(text()), 503, true),
            (Refusal::Settling { retry_after_s: 7, reason: text() }, 503, true),
            (Refusal::InDoubt { defect: DefectId(Uuid::nil()), reason: text() }, 409, false),
            (Refusal::Deadline { after_ms: 1 }, 504, false),
        ]
    }

    #[test]
    fn each_refusal_has_the_status_of_the_table_and_its_own_word() {
        for (refusal, status, waits) in every_refusal() {
            let problem = Problem::from(&refusal);
            assert_eq!(problem.status().as_u16(), status, "{refusal:?}");
            assert_eq!(problem.kind.code, refusal.code());
            assert_eq!(problem.respond("/x").headers().contains_key(RETRY_AFTER), waits);
        }
    }

    #[test]
    fn each_kind_has_a_word_of_its_own_and_says_what_to_do() {
        for (n, kind) in kinds::ALL.iter().enumerate() {
            assert!(!kind.remedy.is_empty() && !kind.title.is_empty());
            assert!(kinds::ALL.iter().skip(n + 1).all(|other| other.code != kind.code));
        }
    }

    #[test]
    fn the_framework_s_refusal_of_an_address_is_worded() {
        let answer = |status: StatusCode| (status, "Invalid UTF-8 in `id`").into_response();
        assert!(undecoded(&answer(StatusCode::BAD_REQUEST)).is_some());
        assert!(undecoded(&answer(StatusCode::OK)).is_none());
        let worded = Problem::bad_request("x").respond("/x");
        assert!(undecoded(&worded).is_none());
    }

    #[test]
    fn a_token_that_went_astray_is_not_repeated() {
        assert_eq!(without_hook("/elsewhere/hooks/t0ken/defects"), "/elsewhere/hooks/…");
        assert_eq!(without_hook("/api/v1/events"), "/api/v1/events");
    }

    #[test]
    fn the_store_s_failures_tell_missing_conflicting_and_down_apart() {
        let status = |error: StoreError| Problem::from(error).status().as_u16();
        assert_eq!(status(StoreError::NotFound("defect")), 404);
        assert_eq!(status(StoreError::Conflict("taken".to_owned())), 409);
        assert_eq!(status(StoreError::Fenced), 409);
        assert_eq!(status(StoreError::Unusable("disk full".to_owned())), 503);
    }
}
