//! Writes answers that report an error, as problem details (RFC 9457). Only this module chooses the
//! status, the title and the header `Retry-After` of a problem. The member `instance` never
//! contains a webhook token.

mod for_testers;
mod kinds;

use std::net::IpAddr;
use std::time::Duration;

use axum::extract::Request;
use axum::http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER, SET_COOKIE, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::accounts::AccountError;
use crate::api;
use crate::connections::ConnectionError;
use crate::domain::{
    Outcome, OutcomeCode, Refusal, StringEnum, WebhookScheme, printable, shortened,
};
use crate::json::Json;
use crate::manifest::SettingError;
use crate::plugins::{PluginError, RemoveError, RollbackError, UploadError};
use crate::store::StoreError;

use super::admin::Id;
use kinds::ProblemKind;

/// An answer that reports an error (RFC 9457).
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Problem {
    kind: &'static ProblemKind,
    detail: String,
    retry_after_s: Option<u32>,
    errors: Vec<SettingError>,
    /// The value of the header `WWW-Authenticate`.
    challenge: Option<&'static str>,
}

impl Problem {
    fn new(code: OutcomeCode, detail: impl Into<String>) -> Self {
        let kind = kinds::kind_of_code(code);
        // Escape the text, because it may come from a tracker, a connector or an unknown sender.
        let detail = printable(&detail.into());
        Self { kind, detail, retry_after_s: None, errors: Vec::new(), challenge: None }
    }

    pub(crate) fn bad_request(why: impl Into<String>) -> Self {
        Self::new(OutcomeCode::BadRequest, why)
    }

    pub(crate) fn incomplete_body() -> Self {
        Self::bad_request("the body ended early or arrived too slowly: send the request again")
    }

    pub(crate) fn payload_too_large(limit_kib: usize) -> Self {
        Self::new(
            OutcomeCode::PayloadTooLarge,
            format!("the body is too large: at most {limit_kib} KiB are allowed"),
        )
    }

    pub(crate) fn unsupported_media_type(why: String) -> Self {
        Self::new(OutcomeCode::UnsupportedMediaType, why)
    }

    pub(crate) fn unauthorized() -> Self {
        let challenge = Some("Bearer realm=\"jackfield admin\"");
        Self { challenge, ..Self::with_remedy(OutcomeCode::Unauthorized) }
    }

    /// The problem for a webhook whose sender did not send a valid credential of this scheme.
    pub(crate) fn sender_refused(scheme: WebhookScheme, why: impl Into<String>) -> Self {
        // RFC 9110 requires a challenge in an answer with 401. The last two schemes have no
        // registered name.
        let challenge = Some(match scheme {
            WebhookScheme::Bearer => "Bearer realm=\"jackfield webhook\"",
            WebhookScheme::Basic => "Basic realm=\"jackfield webhook\", charset=\"UTF-8\"",
            WebhookScheme::ApiKey => "ApiKey realm=\"jackfield webhook\"",
            WebhookScheme::Signature => "Signature realm=\"jackfield webhook\"",
        });
        Self { challenge, ..Self::new(OutcomeCode::SenderRefused, why) }
    }

    pub(crate) fn address_refused(client: IpAddr) -> Self {
        let why = format!("the connection accepts no webhooks from the address {client}");
        Self::new(OutcomeCode::AddressRefused, why)
    }

    pub(crate) fn role_too_low(why: String) -> Self {
        Self::new(OutcomeCode::RoleTooLow, why)
    }

    pub(crate) fn host_not_allowed(authority: &str) -> Self {
        let remedy = kinds::kind_of_code(OutcomeCode::HostNotAllowed).remedy;
        let why = format!("the request is for the host {:?}. {remedy}", shortened(authority, 100));
        Self::new(OutcomeCode::HostNotAllowed, why)
    }

    /// The problem for a request with a browser's cookie that a page of another origin may have
    /// sent.
    pub(crate) fn cross_site_request() -> Self {
        Self::with_remedy(OutcomeCode::CrossSiteRequest)
    }

    pub(crate) fn not_found(what: &str) -> Self {
        Self::new(OutcomeCode::NotFound, format!("there is no such {what}"))
    }

    pub(crate) fn no_such(kind: &str, name: &str) -> Self {
        let why = format!("there is no {kind} {:?}", shortened(name, 100));
        Self::new(OutcomeCode::NotFound, why)
    }

    /// The problem for a webhook with an unknown token or an unknown path.
    pub(crate) fn no_webhook() -> Self {
        let why = "no webhook has this address: check its token and its path";
        Self::new(OutcomeCode::NotFound, why)
    }

    pub(crate) fn rate_limited(why: &str, wait: Duration) -> Self {
        let seconds = u32::try_from(wait.as_secs()).unwrap_or(u32::MAX).saturating_add(1);
        Self { retry_after_s: Some(seconds), ..Self::new(OutcomeCode::RateLimited, why) }
    }

    pub(crate) fn method_not_allowed() -> Self {
        Self::with_remedy(OutcomeCode::MethodNotAllowed)
    }

    pub(crate) fn store_unavailable(why: &str) -> Self {
        (&Refusal::StoreUnavailable(why.to_owned())).into()
    }

    pub(crate) fn conflict(why: impl Into<String>) -> Self {
        Self::new(OutcomeCode::Conflict, why)
    }

    pub(crate) fn invalid_value(name: &str, why: impl Into<String>) -> Self {
        let error = SettingError { name: name.to_owned(), why: why.into() };
        ConnectionError::Invalid(vec![error]).into()
    }

    pub(crate) fn internal() -> Self {
        let why = "an internal error of the server; its log contains the details";
        Self::new(OutcomeCode::InternalError, why)
    }

    fn with_remedy(code: OutcomeCode) -> Self {
        Self::new(code, kinds::kind_of_code(code).remedy)
    }

    pub(crate) fn status(&self) -> StatusCode {
        self.kind.status
    }

    pub(crate) fn code(&self) -> OutcomeCode {
        self.kind.code
    }

    /// The outcome that the event of the refused request stores.
    pub(crate) fn outcome(&self) -> Outcome {
        Outcome { code: self.kind.code, detail: self.detail.clone() }
    }

    pub(crate) fn remedy(&self) -> &'static str {
        self.kind.remedy
    }

    /// Converts the problem for a tester, who sees it in Test Manager. For most codes, adds a first
    /// sentence that can be understood without knowledge of Jackfield.
    pub(crate) fn for_testers(&self) -> Self {
        let sentence = for_testers::first_sentence(self.kind.code);
        let detail = sentence.map_or_else(
            || self.detail.clone(),
            |sentence| format!("{sentence} Details: {}", self.detail),
        );
        Self { detail, ..self.clone() }
    }

    /// `instance` is the path of the event or of the request.
    pub(crate) fn body(&self, instance: &str) -> api::Problem {
        let errors = self.errors.iter();
        api::Problem {
            kind: format!("/problems/{}", self.kind.code),
            title: self.kind.title.to_owned(),
            status: self.kind.status.as_u16(),
            detail: self.detail.clone(),
            instance: instance.to_owned(),
            errors: errors
                .map(|error| api::SettingError {
                    name: printable(&error.name),
                    why: printable(&error.why),
                })
                .collect(),
        }
    }

    pub(crate) fn respond(&self, instance: &str) -> Response {
        let mut response = (self.kind.status, Json(self.body(instance))).into_response();
        response.extensions_mut().insert(self.kind.code);
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(seconds) = self.retry_after_s {
            headers.insert(RETRY_AFTER, seconds.into());
        }
        if let Some(challenge) = self.challenge {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        response
    }
}

impl From<&Refusal> for Problem {
    fn from(refusal: &Refusal) -> Self {
        let cause = match refusal {
            Refusal::AfterWrite { refusal, .. } | Refusal::EarlierDefect { refusal, .. } => refusal,
            other => other,
        };
        let retry_after_s = match cause {
            Refusal::TrackerRateLimited { retry_after_s, .. }
            | Refusal::CircuitOpen { retry_after_s, .. }
            | Refusal::OutcomePending { retry_after_s, .. } => Some(*retry_after_s),
            Refusal::Overloaded | Refusal::HostMemoryFull { .. } => Some(1),
            Refusal::RunStopped | Refusal::ShuttingDown => Some(5),
            Refusal::ConnectorUnavailable(_) | Refusal::StoreUnavailable(_) => Some(10),
            Refusal::TrackerUnavailable(_) => Some(30),
            Refusal::Paused => Some(60),
            _ => None,
        };
        let error = refusal.reason().and_then(|reason| {
            Some(SettingError { name: reason.setting.clone()?, why: reason.text.clone() })
        });
        let errors = error.into_iter().collect();
        Self { retry_after_s, errors, ..Self::new(refusal.code(), refusal.to_string()) }
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::NotFound(what) => Self::not_found(what),
            StoreError::Conflict(_) | StoreError::Fenced => {
                Self::new(OutcomeCode::Conflict, error.to_string())
            }
            StoreError::Unusable(_) | StoreError::Database(_) => {
                Self::store_unavailable(&error.to_string())
            }
        }
    }
}

impl From<ConnectionError> for Problem {
    fn from(error: ConnectionError) -> Self {
        let detail = error.to_string();
        match error {
            ConnectionError::Invalid(errors) => {
                Self { errors, ..Self::new(OutcomeCode::InvalidValues, detail) }
            }
            ConnectionError::ConnectorUnavailable(_) => Self::invalid_value("connector", detail),
            ConnectionError::Changed(_) => Self::new(OutcomeCode::PreconditionFailed, detail),
            ConnectionError::Consent(why) => Self::new(OutcomeCode::Conflict, why),
            ConnectionError::Store(error) => error.into(),
        }
    }
}

impl From<AccountError> for Problem {
    fn from(error: AccountError) -> Self {
        match error {
            AccountError::Name(why) => Self::invalid_value("name", why),
            AccountError::Store(error) => error.into(),
        }
    }
}

impl From<RollbackError> for Problem {
    fn from(error: RollbackError) -> Self {
        match error {
            RollbackError::NotShared { .. } => Self::store_unavailable(&error.to_string()),
            _ => Self::conflict(error.to_string()),
        }
    }
}

impl From<UploadError> for Problem {
    fn from(error: UploadError) -> Self {
        match error {
            UploadError::NotUsable(PluginError::Read(_) | PluginError::Store(_))
            | UploadError::NotShared { .. } => Self::store_unavailable(&error.to_string()),
            UploadError::NotUsable(_) => Self::invalid_value("file", error.to_string()),
            UploadError::NotWritten { .. } | UploadError::NotInUse { .. } => {
                Self::conflict(error.to_string())
            }
        }
    }
}

impl From<RemoveError> for Problem {
    fn from(error: RemoveError) -> Self {
        match error {
            RemoveError::Missing(name) => Self::no_such("connector", name.as_str()),
            RemoveError::NotShared { .. } => Self::store_unavailable(&error.to_string()),
            RemoveError::NotRemoved { .. } => Self::conflict(error.to_string()),
        }
    }
}

/// The response has no body yet. [`add_instance`] adds the body later, because the body contains
/// the path of the request.
impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.status().into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// A layer that adds the body to each response that was made from a problem.
pub(crate) async fn add_instance(request: Request, next: Next) -> Response {
    let path = request.uri().path().to_owned();
    add_body(next.run(request).await, &path)
}

/// Adds the body to a response that was made from a [`Problem`]; `path` is the path of the request.
pub(crate) fn add_body(mut response: Response, path: &str) -> Response {
    let problem = response.extensions_mut().remove::<Problem>();
    let Some(problem) = problem else { return response };
    let mut completed = problem.respond(&without_token(path));
    for name in [ALLOW, SET_COOKIE] {
        if let Some(value) = response.headers_mut().remove(&name) {
            completed.headers_mut().insert(name, value);
        }
    }
    completed
}

/// Removes the part after `/hooks/`: it may be a valid token that a sender put into a wrong
/// address.
fn without_token(path: &str) -> String {
    match path.split_once("/hooks/") {
        Some((before, _)) => format!("{before}/hooks/…"),
        None => path.to_owned(),
    }
}

/// Answers `GET /problems/{code}`, the address in the member `type` of a problem.
pub(crate) async fn explain(Id(code): Id) -> Result<String, Problem> {
    let kind = kinds::ALL.iter().find(|kind| kind.code.as_str() == code);
    let kind = kind.ok_or_else(|| Problem::no_such("problem", &code))?;
    Ok(format!("{} ({})\n\n{}\n", kind.title, kind.status.as_u16(), kind.remedy))
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use crate::domain::{ConnectorFault, CountTooLarge, DefectId, Reason};

    use super::*;

    /// Refusals, each with its status and with whether its answer has the header `Retry-After`.
    fn refusals_with_status() -> Vec<(Refusal, u16, bool)> {
        let text = String::new;
        vec![
            (Refusal::Rejected(text().into()), 422, false),
            (Refusal::CredentialsRefused(text().into()), 502, false),
            (Refusal::TrackerUnavailable(text().into()), 503, true),
            (Refusal::TrackerRateLimited { why: text(), retry_after_s: 7 }, 503, true),
            (Refusal::Unsupported(text().into()), 501, false),
            (Refusal::ConnectorFault(ConnectorFault::Trap(text())), 502, false),
            (Refusal::ConnectorError(text().into()), 502, false),
            (Refusal::WrongProject, 404, false),
            (Refusal::CountTooLarge(CountTooLarge { field: "openDefects", value: 1 }), 502, false),
            (Refusal::Paused, 503, true),
            (Refusal::ConnectorUnavailable(text()), 503, true),
            (Refusal::CircuitOpen { reason: text(), retry_after_s: 7 }, 503, true),
            (Refusal::Overloaded, 503, true),
            (Refusal::HostMemoryFull { bytes_max: 1 }, 503, true),
            (Refusal::RunStopped, 503, true),
            (Refusal::ShuttingDown, 503, true),
            (Refusal::StoreUnavailable(text()), 503, true),
            (Refusal::OutcomePending { retry_after_s: 7, reason: text() }, 503, true),
            (Refusal::InDoubt { defect: DefectId(Uuid::nil()), reason: text() }, 409, false),
            (Refusal::DeadlineExceeded { after_ms: 1 }, 504, false),
        ]
    }

    #[test]
    fn each_refusal_has_its_status_and_its_own_code() {
        for (refusal, status, has_retry_after) in refusals_with_status() {
            let problem = Problem::from(&refusal);
            assert_eq!(problem.status().as_u16(), status, "{refusal:?}");
            assert_eq!(problem.kind.code, refusal.code());
            assert_eq!(problem.respond("/x").headers().contains_key(RETRY_AFTER), has_retry_after);
        }
    }

    #[test]
    fn a_problem_for_testers_begins_with_another_sentence_before_the_details() {
        for (refusal, status, _) in refusals_with_status().into_iter().filter(|case| case.1 != 404)
        {
            let problem = Problem::from(&refusal);
            let for_tester = problem.for_testers();
            assert!(
                for_tester.detail.ends_with(&format!(" Details: {}", problem.detail)),
                "{status}"
            );
        }
    }

    #[test]
    fn a_problem_names_the_setting_to_change() {
        let reason = Reason { text: "no such project".to_owned(), setting: Some("p".to_owned()) };
        let refusal = Box::new(Refusal::Rejected(reason));
        let after_write = Refusal::AfterWrite { refusal, write: "404".to_owned() };
        let error = SettingError { name: "p".to_owned(), why: "no such project".to_owned() };
        assert_eq!(Problem::from(&after_write).errors, [error]);
        let unnamed = Refusal::Rejected("no such project".to_owned().into());
        assert_eq!(Problem::from(&unnamed).errors, []);
    }

    #[test]
    fn each_kind_of_problem_has_its_own_code_a_title_and_a_remedy() {
        for (n, kind) in kinds::ALL.iter().enumerate() {
            assert!(!kind.remedy.is_empty() && !kind.title.is_empty());
            assert!(kinds::ALL.iter().skip(n + 1).all(|other| other.code != kind.code));
        }
    }

    #[test]
    fn a_problem_does_not_repeat_a_token_that_was_sent_to_a_wrong_address() {
        assert_eq!(without_token("/elsewhere/hooks/t0ken/defects"), "/elsewhere/hooks/…");
        assert_eq!(without_token("/api/v1/events"), "/api/v1/events");
    }

    #[test]
    fn each_error_of_the_store_has_its_status() {
        let status = |error: StoreError| Problem::from(error).status().as_u16();
        assert_eq!(status(StoreError::NotFound("defect")), 404);
        assert_eq!(status(StoreError::Conflict("taken".to_owned())), 409);
        assert_eq!(status(StoreError::Fenced), 409);
        assert_eq!(status(StoreError::Unusable("disk full".to_owned())), 503);
    }
}
