//! The client certificate of a connection, which a TLS handshake presents if the server requests
//! it.
//!
//! Other secrets of a connection are redacted where an answer of the tracker repeats them. The key
//! of the certificate is never sent, so no answer can repeat it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustls::SignatureScheme;
use rustls::client::ResolvesClientCert;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use crate::domain::{CLIENT_CERT, CLIENT_KEY};
use crate::secret::Secret;

use super::trust::crypto_provider;

/// A client certificate chain and its key.
#[derive(Clone)]
pub struct ClientIdentity(Arc<CertifiedKey>);

/// The reason why a client certificate cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// Only one of the secrets `client_cert` and `client_key` has a value.
    #[error("a client certificate needs both `client_cert` and `client_key`")]
    Incomplete,
    /// The secret `client_cert` contains no certificate, or one that cannot be read.
    #[error("`client_cert` contains no certificate; give it as PEM (-----BEGIN CERTIFICATE-----)")]
    NoCertificate,
    /// The key is protected by a password.
    #[error(
        "`client_key` is encrypted; remove its password with `openssl pkey -in FILE -out NEW_FILE`; \
         Jackfield itself stores the key encrypted"
    )]
    Encrypted,
    /// The secret `client_key` contains no key that can be read.
    #[error(
        "`client_key` contains no private key; give it as PEM (-----BEGIN PRIVATE KEY-----), and \
         convert a PKCS#12 file with `openssl pkcs12 -nodes`"
    )]
    NoKey,
    /// The key does not belong to the certificate.
    #[error("`client_key` is not the key of the first certificate in `client_cert`")]
    Mismatch,
    /// The TLS library does not support the certificate or its key.
    #[error("the client certificate cannot be used: {0}; use an RSA, ECDSA or Ed25519 key")]
    Unusable(String),
}

impl ClientIdentity {
    /// Removes the client certificate and its key from a connection's secrets and returns them.
    ///
    /// # Errors
    /// Only one of the two secrets has a value, or the certificate and its key cannot be used.
    pub fn take(secrets: &mut BTreeMap<String, Secret>) -> Result<Option<Self>, IdentityError> {
        match (secrets.remove(CLIENT_CERT), secrets.remove(CLIENT_KEY)) {
            (None, None) => Ok(None),
            (Some(certificate), Some(key)) => Self::from_pem(&certificate, &key).map(Some),
            _ => Err(IdentityError::Incomplete),
        }
    }

    fn from_pem(certificate: &Secret, key: &Secret) -> Result<Self, IdentityError> {
        let chain: Vec<CertificateDer<'static>> =
            CertificateDer::pem_slice_iter(certificate.reveal().as_bytes())
                .collect::<Result<_, _>>()
                .map_err(|_| IdentityError::NoCertificate)?;
        if chain.is_empty() {
            return Err(IdentityError::NoCertificate);
        }
        let is_encrypted = key.reveal().contains("ENCRYPTED");
        let key = PrivateKeyDer::from_pem_slice(key.reveal().as_bytes());
        let key = match key {
            _ if is_encrypted => return Err(IdentityError::Encrypted),
            Ok(key) => key,
            Err(_) => return Err(IdentityError::NoKey),
        };
        match CertifiedKey::from_der(chain, key, &crypto_provider()) {
            Ok(key) => Ok(Self(Arc::new(key))),
            Err(rustls::Error::InconsistentKeys(_)) => Err(IdentityError::Mismatch),
            Err(error) => Err(IdentityError::Unusable(error.to_string())),
        }
    }
}

impl fmt::Debug for ClientIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientIdentity(…)")
    }
}

#[derive(Debug, Default)]
pub(crate) struct PresentedIdentity {
    identity: Option<ClientIdentity>,
    is_requested: AtomicBool,
}

impl PresentedIdentity {
    pub(crate) fn new(identity: Option<&ClientIdentity>) -> Self {
        Self { identity: identity.cloned(), is_requested: AtomicBool::new(false) }
    }

    pub(crate) fn is_requested(&self) -> bool {
        self.is_requested.load(Ordering::Relaxed)
    }

    /// Returns what the handshake did with the client certificate until now.
    pub(crate) fn certificate_use(&self) -> CertificateUse {
        match (self.is_requested(), &self.identity) {
            (false, _) => CertificateUse::NotRequested,
            (true, None) => CertificateUse::Missing,
            (true, Some(_)) => CertificateUse::Presented,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CertificateUse {
    NotRequested,
    Missing,
    /// The host sent the client certificate or was about to send it.
    Presented,
}

impl ResolvesClientCert for PresentedIdentity {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.is_requested.store(true, Ordering::Relaxed);
        self.identity.as_ref().map(|identity| Arc::clone(&identity.0))
    }

    fn has_certs(&self) -> bool {
        true
    }
}
