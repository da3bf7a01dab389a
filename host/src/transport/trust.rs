//! Decides which servers are trusted. A server's certificate must be valid for the host name at
//! this time. In addition, an authority in the system's store or in `extra_ca_file` must have
//! issued it, or `extra_ca_file` must contain it.
//!
//! No setting disables the check of certificates.

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

pub(super) use certificate::{Certificate, format_time};
use verifier::CertificateVerifier;

pub(crate) use explain::explain;

/// The reason why TLS cannot be configured.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// The file of `extra_ca_file` cannot be read or is not PEM.
    #[error("cannot read `extra_ca_file` = {path:?}: {source}; it must contain PEM certificates")]
    ExtraCa {
        /// The path of the file.
        path: PathBuf,
        /// The error of reading or parsing the file.
        source: pem::Error,
    },
    /// The file of `extra_ca_file` contains no usable certificate.
    #[error(
        "`extra_ca_file` = {0:?} contains no certificate that can be trusted; give it as PEM \
         (-----BEGIN CERTIFICATE-----)"
    )]
    NoAnchor(PathBuf),
    /// The TLS library refused the configuration.
    #[error("cannot configure TLS: {0}")]
    Tls(#[from] rustls::Error),
    /// The TLS library cannot build the verifier of certificate chains.
    #[error("cannot configure TLS: {0}")]
    Verifier(#[from] rustls::client::VerifierBuilderError),
}

/// Returns the cryptography for TLS: aws-lc-rs. The alternative, ring, cannot check signatures of
/// P-521 keys and of ECDSA with SHA-512, which the authorities of companies use.
pub(crate) fn crypto_provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// Returns the certificates of the system's trust store. A part of the store that cannot be read is
/// left out and reported in the log.
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

/// Configures TLS for connections to trackers, with HTTP/2 or HTTP/1.1. The authorities of the
/// system and of `extra_ca_file` are trusted. If the system has no trust store, only
/// `extra_ca_file` is trusted.
pub(crate) fn client_config(extra_ca_file: Option<&Path>) -> Result<Arc<ClientConfig>, TrustError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(system_certificates());
    let listed_certificates = extra_ca_file
        .map(|path| add_anchors_of_file(&mut roots, path))
        .transpose()?
        .unwrap_or_default();
    let provider = crypto_provider();
    let chain_verifier = (!roots.is_empty())
        .then(|| {
            WebPkiServerVerifier::builder_with_provider(roots.into(), provider.clone()).build()
        })
        .transpose()?;
    let verifier = CertificateVerifier::new(
        chain_verifier,
        listed_certificates,
        provider.signature_verification_algorithms,
        extra_ca_file.is_some(),
    );
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    // TLS sessions are not resumed, because a resumed session would use the client certificate of
    // the connection of Jackfield that started the session.
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

/// Adds the authorities of a file to the trust anchors, and returns all certificates of the file
/// that can be parsed. A server certificate does not become an anchor, because webpki would then
/// trust other certificates that the server issued.
fn add_anchors_of_file(
    roots: &mut RootCertStore,
    path: &Path,
) -> Result<Vec<CertificateDer<'static>>, TrustError> {
    let mut listed_certificates = file_certificates(path)?;
    let is_authority = |der: &CertificateDer<'_>| {
        Certificate::parse(der).is_none_or(|certificate| certificate.may_issue())
    };
    let authorities: Vec<_> =
        listed_certificates.iter().filter(|der| is_authority(der)).cloned().collect();
    let (added, _) = roots.add_parsable_certificates(authorities);
    listed_certificates.retain(|der| Certificate::parse(der).is_some());
    if added == 0 && listed_certificates.is_empty() {
        Err(TrustError::NoAnchor(path.to_owned()))
    } else {
        Ok(listed_certificates)
    }
}
