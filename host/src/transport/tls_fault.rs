//! What is wrong with the TLS of a server, from the error of a connection that another crate made.

use std::io;

use rustls::CertificateError::{
    BadSignature, Expired, ExpiredContext, NotValidForName, NotValidForNameContext, NotValidYet,
    NotValidYetContext, UnknownIssuer,
};
use rustls::Error;

/// Why a handshake failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsFault {
    /// No trusted authority issued the certificate.
    UnknownAuthority,
    /// The certificate is for other hosts.
    OtherName,
    /// The certificate has expired, or is not valid yet.
    NotValidNow,
    /// The certificate says that it is an authority.
    Authority,
    /// The certificate cannot be used for another reason.
    Certificate,
    /// The two sides do not agree.
    Handshake,
}

impl TlsFault {
    /// The fault of a connection's error; `None` if TLS is not the reason.
    #[must_use]
    pub fn of(error: &io::Error) -> Option<Self> {
        let cause = error.get_ref()?.downcast_ref::<Error>()?;
        let Error::InvalidCertificate(refused) = cause else { return Some(Self::Handshake) };
        Some(match refused {
            // The second: an authority of the same name with another key.
            UnknownIssuer | BadSignature => Self::UnknownAuthority,
            NotValidForName | NotValidForNameContext { .. } => Self::OtherName,
            Expired | ExpiredContext { .. } | NotValidYet | NotValidYetContext { .. } => {
                Self::NotValidNow
            }
            other if other.to_string().contains("CaUsedAsEndEntity") => Self::Authority,
            _ => Self::Certificate,
        })
    }
}
