//! Decides which servers are trusted. A certificate must be valid for the host name at this time,
//! and either an authority of the system's store or of `extra_ca_file` issued it, or
//! `extra_ca_file` contains it.
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
    /// The file of `extra_ca_file` cannot be read, or its PEM is malformed.
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

/// ring, the alternative to aws-lc-rs, cannot check signatures of P-521 keys and of ECDSA with
/// SHA-512, which the authorities of companies use.
pub(crate) fn crypto_provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// Logs parts of the system's trust store that cannot be read.
pub(crate) fn system_certificates() -> Vec<CertificateDer<'static>> {
    let system = rustls_native_certs::load_native_certs();
    for error in &system.errors {
        tracing::warn!(%error, "cannot read a part of the system's trust store");
    }
    system.certs
}

pub(crate) fn file_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TrustError> {
    let unusable = |source| TrustError::ExtraCa { path: path.to_owned(), source };
    CertificateDer::pem_file_iter(path).and_then(Iterator::collect).map_err(unusable)
}

/// Configures TLS for connections to other servers, such as trackers, with HTTP/2 or HTTP/1.1.
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
    // A resumed session would use the client certificate of the connection of Jackfield that
    // started the session.
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

/// Adds the authorities of a file to the trust anchors, and returns all its certificates that can
/// be parsed. A server certificate does not become an anchor, because webpki would then trust other
/// certificates that the server issued.
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
