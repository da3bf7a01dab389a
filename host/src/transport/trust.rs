//! Decides which servers are trusted: those with a certificate of an authority in the system's
//! store or in `extra_ca_file`, and those whose own certificate is in that file.
//!
//! Never disables a check of certificates.

mod certificate;
mod explain;
mod untrusted;
mod verifier;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::{self, PemObject};
use rustls::{ClientConfig, RootCertStore};

pub(super) use certificate::{Certificate, date};
use verifier::Verifier;

pub(crate) use explain::explain;

/// The reason why TLS cannot be configured.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// The file cannot be read or is not PEM.
    #[error("cannot read `extra_ca_file` = {path:?}: {source}; it must contain PEM certificates")]
    ExtraCa {
        /// The path of the file.
        path: PathBuf,
        /// The error of reading or parsing the file.
        source: pem::Error,
    },
    /// The file has no usable certificate.
    #[error(
        "`extra_ca_file` = {0:?} contains no certificate that can be trusted; give it as PEM \
         (-----BEGIN CERTIFICATE-----)"
    )]
    NoAnchor(PathBuf),
    /// The TLS library refused the configuration.
    #[error("cannot configure TLS: {0}")]
    Tls(#[from] rustls::Error),
    /// The system's store and the file together have no certificate.
    #[error("cannot configure TLS: {0}")]
    Verifier(#[from] rustls::client::VerifierBuilderError),
}

/// The cryptography of TLS towards trackers: aws-lc-rs, because ring cannot check signatures of
/// P-521 keys and of ECDSA with SHA-512, which the authorities of companies use.
pub(crate) fn crypto() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// Returns the certificates of the system's trust store. Those that cannot be read are left out;
/// the log says so.
pub(crate) fn system_certificates() -> Vec<CertificateDer<'static>> {
    let system = rustls_native_certs::load_native_certs();
    for error in &system.errors {
        tracing::warn!(%error, "cannot read a part of the system's trust store");
    }
    system.certs
}

/// Returns the certificates of a PEM file, in order.
pub(crate) fn file_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TrustError> {
    let unusable = |source| TrustError::ExtraCa { path: path.to_owned(), source };
    CertificateDer::pem_file_iter(path).and_then(Iterator::collect).map_err(unusable)
}

/// Configures TLS for trackers: HTTP/2 or HTTP/1.1, the system's authorities and the extra ones.
/// Without a system store, only the extra file is trusted.
pub(crate) fn client_config(extra: Option<&Path>) -> Result<Arc<ClientConfig>, TrustError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(system_certificates());
    let listed = extra.map(|path| add_file(&mut roots, path)).transpose()?.unwrap_or_default();
    let provider = crypto();
    let chains = (!roots.is_empty())
        .then(|| {
            WebPkiServerVerifier::builder_with_provider(roots.into(), provider.clone()).build()
        })
        .transpose()?;
    let verifier =
        Verifier::new(chains, listed, provider.signature_verification_algorithms, extra.is_some());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    // A resumed session would use the client certificate of the connection that started the
    // session.
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

/// Adds the authorities of a file to the anchors; returns all its certificates. A server
/// certificate does not become an anchor, because webpki would then let it issue other
/// certificates.
fn add_file(
    roots: &mut RootCertStore,
    path: &Path,
) -> Result<Vec<CertificateDer<'static>>, TrustError> {
    let mut listed = file_certificates(path)?;
    let is_authority =
        |der: &CertificateDer<'_>| Certificate::parse(der).is_none_or(|it| it.may_issue());
    let authorities: Vec<_> = listed.iter().filter(|der| is_authority(der)).cloned().collect();
    let (added, _) = roots.add_parsable_certificates(authorities);
    listed.retain(|der| Certificate::parse(der).is_some());
    if added == 0 && listed.is_empty() {
        Err(TrustError::NoAnchor(path.to_owned()))
    } else {
        Ok(listed)
    }
}
