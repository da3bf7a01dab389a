//! Classifies the TLS error of a network connection that another crate made, such as the client of
//! PostgreSQL. This module never explains an error to people.

use std::io;

use rustls::CertificateError::{
    BadSignature, Expired, ExpiredContext, NotValidForName, NotValidForNameContext, NotValidYet,
    NotValidYetContext, UnknownIssuer, UnsupportedSignatureAlgorithmForPublicKeyContext,
};
use rustls::Error;

/// The reason why a TLS handshake failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsFault {
    /// No trusted authority issued the certificate.
    UnknownAuthority,
    /// The certificate is valid only for other host names.
    OtherName,
    /// The certificate has expired, or is not valid yet.
    OutsideValidity,
    /// The certificate is that of an authority, not of a server.
    Authority,
    /// The certificate cannot be used for another reason.
    Certificate,
    /// The handshake failed for a reason other than the certificate.
    Handshake,
}

impl TlsFault {
    /// Returns the TLS fault that caused an I/O error, if TLS is the cause.
    #[must_use]
    pub fn of(error: &io::Error) -> Option<Self> {
        let cause = error.get_ref()?.downcast_ref::<Error>()?;
        let Error::InvalidCertificate(refused) = cause else { return Some(Self::Handshake) };
        Some(match refused {
            // For the last two errors, a trusted authority has the same name as the issuer, but did
            // not sign the certificate.
            UnknownIssuer
            | BadSignature
            | UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => Self::UnknownAuthority,
            NotValidForName | NotValidForNameContext { .. } => Self::OtherName,
            Expired | ExpiredContext { .. } | NotValidYet | NotValidYetContext { .. } => {
                Self::OutsideValidity
            }
            other if other.to_string().contains("CaUsedAsEndEntity") => Self::Authority,
            _ => Self::Certificate,
        })
    }
}
