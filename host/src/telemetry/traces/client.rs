//! The HTTP client that sends traces. It blocks, because its thread has no async runtime.
//!
//! Never uses a proxy, follows no redirect, and never prints a header. Says once that the collector
//! does not take spans, and once that it does again.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ureq::tls::{Certificate, RootCerts, TlsConfig};

use crate::transport::{crypto, file_certificates, system_certificates};

use super::{TraceError, TraceSettings};

/// Maximum size of an answer of the collector.
const ANSWER_BYTES_MAX: u64 = 1 << 20;

/// Sends to one collector.
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

    /// Sends one request. Spans that the collector does not take are lost.
    pub(super) fn send(&self, body: &str) {
        let failure = match self.exchange(body) {
            Ok(200..=299) => None,
            Ok(status) => Some(format!("the collector answered HTTP {status}")),
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

    /// Returns the status of the answer.
    fn exchange(&self, body: &str) -> Result<u16, ureq::Error> {
        let mut request = http::Request::post(self.settings.endpoint.as_str());
        request = request.header("content-type", "application/json");
        for (name, value) in &self.settings.headers {
            request = request.header(name, value.reveal());
        }
        let mut answer = self.agent.run(request.body(body)?)?;
        // Read to its end, so that the connection is used again.
        answer.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_vec()?;
        Ok(answer.status().as_u16())
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
