//! The HTTP client that sends traces to the collector. Its calls block, because the exporting
//! thread has no async runtime.
//!
//! The client never uses a proxy, never follows a redirect, and never prints a header.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use http::header::CONTENT_TYPE;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use parking_lot::Mutex;
use ureq::tls::{Certificate, RootCerts, TlsConfig};

use crate::transport::{crypto_provider, file_certificates, system_certificates};

use super::{TraceError, TraceSettings};
const ANSWER_BYTES_MAX: u64 = 1 << 20;

#[derive(Debug)]
pub(super) struct Client {
    agent: ureq::Agent,
    settings: TraceSettings,
    /// The reason why the last request failed, until the exporter takes it.
    failure: Arc<Mutex<Option<String>>>,
}

impl Client {
    pub(super) fn new(settings: TraceSettings, timeout: Duration) -> Result<Self, TraceError> {
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .proxy(None)
            .tls_config(tls_config(settings.extra_ca_file.as_deref())?)
            .timeout_global(Some(timeout))
            .build()
            .new_agent();
        Ok(Self { agent, settings, failure: Arc::default() })
    }

    pub(super) fn failure(&self) -> Arc<Mutex<Option<String>>> {
        Arc::clone(&self.failure)
    }

    fn exchange(&self, body: &[u8]) -> Result<Response<Bytes>, ureq::Error> {
        let mut request = Request::post(self.settings.endpoint.as_str());
        request = request.header(CONTENT_TYPE, "application/json");
        for (name, value) in &self.settings.headers {
            request = request.header(name, value.reveal());
        }
        let (head, mut body) = self.agent.run(request.body(body)?)?.into_parts();
        // Read the whole answer, so that its HTTP connection can be used for the next request.
        let body = body.with_config().limit(ANSWER_BYTES_MAX).read_to_vec()?;
        Ok(Response::from_parts(head, body.into()))
    }
}

#[async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let answer = self.exchange(request.body());
        *self.failure.lock() = match &answer {
            Ok(answer) if answer.status().is_success() => None,
            Ok(answer) => Some(format!("the collector answered HTTP {}", answer.status().as_u16())),
            Err(error) => Some(error.to_string()),
        };
        Ok(answer?)
    }
}

/// Trusts the authorities of the system and the certificates in `extra_ca_file`. If there are none,
/// trusts the authorities that Mozilla trusts.
fn tls_config(extra_ca_file: Option<&Path>) -> Result<TlsConfig, TraceError> {
    let mut trusted = system_certificates();
    if let Some(path) = extra_ca_file {
        trusted.extend(file_certificates(path)?);
    }
    let roots: Vec<_> = trusted.iter().map(|der| Certificate::from_der(der).to_owned()).collect();
    let roots = if roots.is_empty() { RootCerts::WebPki } else { RootCerts::from(roots) };
    let config = TlsConfig::builder().unversioned_rustls_crypto_provider(crypto_provider());
    Ok(config.root_certs(roots).build())
}
