//! The WIT as Rust: generated bindings, and the one place where their types become the domain's.
//!
//! Each exported interface is bound on its own, so a connector may export either or both.

use crate::domain::{Breakage, Counts, Defect, Effect, FailedTest, LogLevel, Refusal};

use super::egress::{HttpError, OutboundRequest, OutboundResponse};
use super::manifest::RawManifest;

pub(super) use generated::exports::jackfield::connector::{defects, kpis, plugin};
pub(super) use generated::jackfield::connector::{http, log, model, settings};

#[allow(
    clippy::all,
    missing_docs,
    unsafe_code,
    unreachable_pub,
    reason = "generated from the WIT, which is documented"
)]
mod generated {
    wasmtime::component::bindgen!({
        path: "../wit",
        world: "connector",
        imports: {
            "jackfield:connector/http.send": async | trappable,
            default: trappable,
        },
        exports: { default: async },
    });
}

impl From<&FailedTest> for model::FailedTest {
    fn from(test: &FailedTest) -> Self {
        Self {
            test_execution_id: test.test_execution_id.to_string(),
            test_case_id: test.test_case_id.to_string(),
            variation_id: test.variation_id().map(str::to_owned),
            link: test.link.clone(),
        }
    }
}

/// Longest key of a defect, in bytes.
const KEY_BYTES_MAX: usize = 255;
/// Longest title, status, priority or link of a defect, in bytes.
const LINE_BYTES_MAX: usize = 4_096;
/// Longest description of a defect, in bytes.
const TEXT_BYTES_MAX: usize = 65_536;

/// A defect as the guest returned it, held against the contract; its texts are scrubbed first.
pub(super) fn defect(
    given: model::Defect,
    scrub: &dyn Fn(String) -> String,
) -> Result<Defect, Refusal> {
    let refuse = |why: String| Err(Refusal::ConnectorBroke(Breakage::Contract(why)));
    let defect = Defect {
        key: scrub(given.key),
        title: scrub(given.title),
        link: scrub(given.link),
        status: given.status.map(scrub),
        priority: given.priority.map(scrub),
        description: given.description.map(scrub),
    };
    if defect.key.is_empty() || defect.key.len() > KEY_BYTES_MAX {
        return refuse(format!("a defect's key has 1 to {KEY_BYTES_MAX} bytes"));
    }
    let lines =
        [Some(&defect.title), Some(&defect.link), defect.status.as_ref(), defect.priority.as_ref()];
    if lines.into_iter().flatten().any(|line| line.len() > LINE_BYTES_MAX) {
        return refuse(format!(
            "a defect's title, link, status and priority have at most {LINE_BYTES_MAX} bytes"
        ));
    }
    if defect.description.as_ref().is_some_and(|text| text.len() > TEXT_BYTES_MAX) {
        return refuse(format!("a defect's description has at most {TEXT_BYTES_MAX} bytes"));
    }
    if !is_web_address(&defect.link) {
        return refuse(format!(
            "a defect's link is an absolute http(s) address, not {:?}",
            defect.link
        ));
    }
    Ok(defect)
}

/// Counts as the guest returned them, held against the contract.
pub(super) fn counts(
    given: model::Counts,
    scrub: &dyn Fn(String) -> String,
) -> Result<Counts, Refusal> {
    let critical_link = given.critical_link.map(scrub);
    if let Some(link) = critical_link.as_ref().filter(|link| !is_web_address(link)) {
        return Err(Refusal::ConnectorBroke(Breakage::Contract(format!(
            "`critical-link` is an absolute http(s) address, not {link:?}"
        ))));
    }
    Ok(Counts {
        open: given.open,
        closed: given.closed,
        critical: given.critical,
        moderate: given.moderate,
        critical_link,
    })
}

fn is_web_address(text: &str) -> bool {
    text.len() <= LINE_BYTES_MAX
        && url::Url::parse(text)
            .is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
}

/// The connector's own "no", as a reason.
pub(super) fn refusal(error: model::Error, scrub: &dyn Fn(String) -> String) -> Refusal {
    let words = |text: String| {
        let mut text = scrub(text);
        text.truncate(text.floor_char_boundary(LINE_BYTES_MAX));
        text
    };
    match error {
        model::Error::Rejected(text) => Refusal::Rejected(words(text)),
        model::Error::Unauthorized(text) => Refusal::CredentialsRefused(words(text)),
        model::Error::Unavailable(text) => Refusal::TrackerUnavailable(words(text)),
        model::Error::RateLimited(seconds) => Refusal::TrackerLimits(seconds),
        model::Error::Unsupported(text) => Refusal::Unsupported(words(text)),
        model::Error::Internal(text) => Refusal::ConnectorError(words(text)),
    }
}

impl From<http::Request> for OutboundRequest {
    fn from(request: http::Request) -> Self {
        Self {
            method: match request.method {
                http::Method::Get => ::http::Method::GET,
                http::Method::Head => ::http::Method::HEAD,
                http::Method::Options => ::http::Method::OPTIONS,
                http::Method::Post => ::http::Method::POST,
                http::Method::Put => ::http::Method::PUT,
                http::Method::Patch => ::http::Method::PATCH,
                http::Method::Delete => ::http::Method::DELETE,
            },
            effect: request.effect.map(|effect| match effect {
                http::Effect::Read => Effect::Read,
                http::Effect::Prepare => Effect::Prepare,
                http::Effect::Write => Effect::Write,
            }),
            url: request.url,
            headers: request.headers,
            body: request.body.unwrap_or_default().into(),
        }
    }
}

impl From<OutboundResponse> for http::Response {
    fn from(response: OutboundResponse) -> Self {
        Self { status: response.status, headers: response.headers, body: response.body.into() }
    }
}

impl From<HttpError> for http::HttpError {
    fn from(error: HttpError) -> Self {
        match error {
            HttpError::Denied(why) => Self::Denied(why),
            HttpError::Limit(why) => Self::Limit(why),
            HttpError::Unreachable(why) => Self::Unreachable(why),
            HttpError::Interrupted(why) => Self::Interrupted(why),
            HttpError::Invalid(why) => Self::Invalid(why),
        }
    }
}

impl From<log::Level> for LogLevel {
    fn from(level: log::Level) -> Self {
        match level {
            log::Level::Debug => Self::Debug,
            log::Level::Info => Self::Info,
            log::Level::Warn => Self::Warn,
            log::Level::Error => Self::Error,
        }
    }
}

impl From<plugin::Manifest> for RawManifest {
    fn from(given: plugin::Manifest) -> Self {
        Self {
            name: given.name,
            version: given.version,
            summary: given.summary,
            homepage: given.homepage,
            settings: given.settings,
            settle_seconds: given.settle_seconds,
        }
    }
}
