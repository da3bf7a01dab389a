//! Whom TLS trusts: the system's store and, where the config names one, a file of further anchors.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::{self, PemObject};
use rustls::{ClientConfig, RootCertStore};

/// Why trackers cannot be trusted.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// The file cannot be read or holds something else.
    #[error("`extra_ca_file` = {path:?} cannot be used: {source}; it must hold PEM certificates")]
    ExtraCa {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: pem::Error,
    },
    /// The file holds no usable certificate.
    #[error("`extra_ca_file` = {0:?} holds no certificate that can be a trust anchor")]
    NoAnchor(PathBuf),
    /// The cryptography refused the configuration.
    #[error("TLS cannot be configured: {0}")]
    Tls(#[from] rustls::Error),
}

/// TLS for trackers: HTTP/2 or HTTP/1.1, the system's anchors and the extra ones. A machine without a
/// store of its own trusts the extra file only.
pub(super) fn client_config(extra: Option<&Path>) -> Result<Arc<ClientConfig>, TrustError> {
    let mut roots = RootCertStore::empty();
    let system = rustls_native_certs::load_native_certs();
    for error in &system.errors {
        tracing::warn!(%error, "a part of the system's trust store cannot be read");
    }
    roots.add_parsable_certificates(system.certs);
    if let Some(path) = extra {
        add_file(&mut roots, path)?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn add_file(roots: &mut RootCertStore, path: &Path) -> Result<(), TrustError> {
    let unusable = |source| TrustError::ExtraCa { path: path.to_owned(), source };
    let certificates: Vec<CertificateDer<'static>> =
        CertificateDer::pem_file_iter(path).and_then(Iterator::collect).map_err(unusable)?;
    let (added, _) = roots.add_parsable_certificates(certificates);
    if added == 0 { Err(TrustError::NoAnchor(path.to_owned())) } else { Ok(()) }
}
