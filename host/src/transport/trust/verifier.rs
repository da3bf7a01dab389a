//! Decides whether a server's certificate is trusted.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, OtherError, SignatureScheme};

use super::certificate::Certificate;
use super::untrusted::UntrustedReason;

/// Trusts certificate chains that end at a trust anchor, and the single certificates that
/// `extra_ca_file` contains.
#[derive(Debug)]
pub(super) struct CertificateVerifier {
    /// `None` if there is no trust anchor.
    chain_verifier: Option<Arc<WebPkiServerVerifier>>,
    /// The certificates in `extra_ca_file`.
    listed_certificates: Vec<CertificateDer<'static>>,
    algorithms: WebPkiSupportedAlgorithms,
    /// Whether `extra_ca_file` is set; only the explanation of an error depends on it.
    has_extra_file: bool,
}

impl CertificateVerifier {
    pub(super) fn new(
        chain_verifier: Option<Arc<WebPkiServerVerifier>>,
        listed_certificates: Vec<CertificateDer<'static>>,
        algorithms: WebPkiSupportedAlgorithms,
        has_extra_file: bool,
    ) -> Self {
        Self { chain_verifier, listed_certificates, algorithms, has_extra_file }
    }
}

impl ServerCertVerifier for CertificateVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let by_chain = match &self.chain_verifier {
            Some(chain_verifier) => {
                chain_verifier.verify_server_cert(end_entity, intermediates, name, ocsp, now)
            }
            None => Err(CertificateError::UnknownIssuer.into()),
        };
        let is_listed = self.listed_certificates.iter().any(|listed| listed == end_entity);
        let verified = match by_chain {
            Err(_) if is_listed => verify_listed(end_entity, name, now),
            by_chain => by_chain,
        };
        verified.map_err(|error| {
            let chain = std::iter::once(end_entity).chain(intermediates);
            let sent: Vec<_> = chain.map(Certificate::parse).collect();
            let untrusted = UntrustedReason::new(error, &sent, name, now, self.has_extra_file);
            CertificateError::Other(OtherError(Arc::new(untrusted))).into()
        })
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// Checks a server certificate that is identical to a certificate in `extra_ca_file`. It is trusted
/// for its own names while it is valid. The common name counts if there is no subject alternative
/// name.
fn verify_listed(
    der: &CertificateDer<'_>,
    name: &ServerName<'_>,
    now: UnixTime,
) -> Result<ServerCertVerified, Error> {
    let certificate = Certificate::parse(der).ok_or(CertificateError::BadEncoding)?;
    let (not_before, not_after) = (certificate.not_before(), certificate.not_after());
    if now < not_before {
        return Err(CertificateError::NotValidYetContext { time: now, not_before }.into());
    }
    if now > not_after {
        return Err(CertificateError::ExpiredContext { time: now, not_after }.into());
    }
    if !certificate.has_common_name(name) {
        verify_server_name(&ParsedCertificate::try_from(der)?, name)?;
    }
    Ok(ServerCertVerified::assertion())
}
