//! Makes certificates for tests, and the TLS acceptors of servers that present them.

use std::io::Write as _;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, KeyPair,
    PKCS_ECDSA_P256_SHA256, SignatureAlgorithm,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion};
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::transport::crypto_provider;

/// A certificate with its private key. The key can sign other certificates.
pub(super) struct Issuer {
    parameters: CertificateParams,
    key: KeyPair,
    pub(super) der: CertificateDer<'static>,
}

impl Issuer {
    pub(super) fn root(name: &str) -> Self {
        Self::root_with(name, &PKCS_ECDSA_P256_SHA256)
    }

    pub(super) fn root_with(name: &str, algorithm: &'static SignatureAlgorithm) -> Self {
        Self::self_signed_with(authority_parameters(name), algorithm)
    }

    pub(super) fn self_signed(parameters: CertificateParams) -> Self {
        Self::self_signed_with(parameters, &PKCS_ECDSA_P256_SHA256)
    }

    fn self_signed_with(
        parameters: CertificateParams,
        algorithm: &'static SignatureAlgorithm,
    ) -> Self {
        let key = KeyPair::generate_for(algorithm).unwrap();
        let der = parameters.self_signed(&key).unwrap().der().clone();
        Self { parameters, key, der }
    }

    /// Issues a certificate that is signed with this key.
    pub(super) fn issue(&self, parameters: CertificateParams) -> Self {
        let key = KeyPair::generate_for(self.key.algorithm()).unwrap();
        let issuer = rcgen::Issuer::from_params(&self.parameters, &self.key);
        let der = parameters.signed_by(&key, &issuer).unwrap().der().clone();
        Self { parameters, key, der }
    }

    pub(super) fn key_pem(&self) -> String {
        encode_pem("PRIVATE KEY", &self.key.serialize_der())
    }

    fn private_key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.key.serialize_der()))
    }

    /// Returns the TLS acceptor of a server that presents this certificate and then
    /// `intermediates`. `protocols` are for ALPN.
    pub(super) fn acceptor(&self, intermediates: &[&Self], protocols: &[&[u8]]) -> TlsAcceptor {
        let config = ServerConfig::builder_with_provider(crypto_provider());
        let config = config.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
        let mut chain = vec![self.der.clone()];
        chain.extend(intermediates.iter().map(|issuer| issuer.der.clone()));
        let mut config = config.with_single_cert(chain, self.private_key()).unwrap();
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        TlsAcceptor::from(Arc::new(config))
    }

    /// Returns the TLS acceptor of a server that presents this certificate and requires a client
    /// certificate. `client_issuer` must have issued the client certificate.
    pub(super) fn acceptor_with_client_certificates(
        &self,
        client_issuer: &Self,
        version: &'static SupportedProtocolVersion,
        protocols: &[&[u8]],
    ) -> TlsAcceptor {
        let mut roots = RootCertStore::empty();
        roots.add(client_issuer.der.clone()).unwrap();
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), crypto_provider())
                .build()
                .unwrap();
        let config = ServerConfig::builder_with_provider(crypto_provider());
        let config = config.with_protocol_versions(&[version]).unwrap();
        let config = config.with_client_cert_verifier(verifier);
        let mut config =
            config.with_single_cert(vec![self.der.clone()], self.private_key()).unwrap();
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        TlsAcceptor::from(Arc::new(config))
    }
}

/// Returns the parameters of a certificate for this host. The host is also the common name.
pub(super) fn host_parameters(host: &str) -> CertificateParams {
    let mut parameters = CertificateParams::new(vec![host.to_owned()]).unwrap();
    parameters.distinguished_name = common_name(host);
    parameters
}

pub(super) fn authority_parameters(name: &str) -> CertificateParams {
    let mut parameters = CertificateParams::new(Vec::new()).unwrap();
    parameters.distinguished_name = common_name(name);
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    parameters
}

pub(super) fn common_name(name: &str) -> DistinguishedName {
    let mut names = DistinguishedName::new();
    names.push(DnType::CommonName, name);
    names
}

pub(super) fn pem(der: &CertificateDer<'_>) -> String {
    encode_pem("CERTIFICATE", der)
}

fn encode_pem(label: &str, der: &[u8]) -> String {
    let text = data_encoding::BASE64.encode(der);
    let lines: Vec<&str> =
        text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

/// Writes certificates to a file for the setting `extra_ca_file`.
pub(super) fn pem_file(certificates: &[&CertificateDer<'_>]) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    for der in certificates {
        file.write_all(pem(der).as_bytes()).unwrap();
    }
    file
}
