//! The HTTP client that sends traces. It blocks, because its thread has no async runtime.
//!
//! Never uses a proxy, follows no redirect, and never prints a header. Sends no header but those of
//! the settings: environment variables of OpenTelemetry add none. Says once that the collector does
//! not take spans, and once that it does again.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use http::header::CONTENT_TYPE;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use ureq::tls::{Certificate, RootCerts, TlsConfig};

use crate::transport::{crypto, file_certificates, system_certificates};

use super::{TraceError, TraceSettings};

/// Maximum size of an answer of the collector.
const ANSWER_BYTES_MAX: u64 = 1 << 20;

/// Sends to one collector.
#[derive(Debug)]
pub(super) struct Client {
    agent: ureq::Agent,
    settings: TraceSettings,
    is_failing: AtomicBool,
}

impl Client {
    pub(super) fn new(settings: TraceSettings, timeout: Duration) -> Result<Self, TraceError> {
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .proxy(None)
            .tls_config(tls(settings.extra_ca_file.as_deref())?)
            .timeout_global(Some(timeout))
            .build()
            .new_agent();
        Ok(Self { agent, settings, is_failing: AtomicBool::new(false) })
    }

    fn exchange(&self, body: &[u8]) -> Result<Response<Bytes>, ureq::Error> {
        let mut request = Request::post(self.settings.endpoint.as_str());
        request = request.header(CONTENT_TYPE, "application/json");
        for (name, value) in &self.settings.headers {
            request = request.header(name, value.reveal());
        }
        let (head, mut body) = self.agent.run(request.body(body)?)?.into_parts();
        // Read to its end, so that the connection is used again.
        let body = body.with_config().limit(ANSWER_BYTES_MAX).read_to_vec()?;
        Ok(Response::from_parts(head, body.into()))
    }

    fn report(&self, answer: &Result<Response<Bytes>, ureq::Error>) {
        let failure = match answer {
            Ok(answer) if answer.status().is_success() => None,
            Ok(answer) => Some(format!("the collector answered HTTP {}", answer.status().as_u16())),
            Err(error) => Some(error.to_string()),
        };
        let was_failing = self.is_failing.swap(failure.is_some(), Ordering::Relaxed);
        let endpoint = self.settings.endpoint.as_str();
        match failure {
            Some(why) if !was_failing => {
                tracing::warn!(endpoint, why, "traces cannot be exported");
            }
            None if was_failing => tracing::info!(endpoint, "traces can be exported again"),
            Some(_) | None => {}
        }
    }
}

#[async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let answer = self.exchange(request.body());
        self.report(&answer);
        Ok(answer?)
    }
}

/// Trusts the authorities of the system, and the certificates of the file.
fn tls(extra: Option<&Path>) -> Result<TlsConfig, TraceError> {
    let mut trusted = system_certificates();
    if let Some(path) = extra {
        trusted.extend(file_certificates(path)?);
    }
    let roots: Vec<_> = trusted.iter().map(|der| Certificate::from_der(der).to_owned()).collect();
    let roots = if roots.is_empty() { RootCerts::WebPki } else { RootCerts::from(roots) };
    let tls = TlsConfig::builder().unversioned_rustls_crypto_provider(crypto());
    Ok(tls.root_certs(roots).build())
}
