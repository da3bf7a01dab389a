//! Explains errors of a TLS handshake to an admin, and how to fix them.

use std::io;

use rustls::{
    AlertDescription, CertificateError, Error, InvalidMessage, OtherError, PeerIncompatible,
};

use crate::transport::identity::CertificateUse;

pub(crate) fn explain(error: &io::Error, certificate: CertificateUse) -> String {
    let Some(tls) = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) else {
        return explain_end_of_stream(error, certificate);
    };
    match tls {
        Error::InvalidCertificate(CertificateError::Other(OtherError(why))) => why.to_string(),
        Error::AlertReceived(alert) => explain_alert(*alert, certificate),
        Error::InvalidMessage(
            InvalidMessage::InvalidContentType | InvalidMessage::UnknownProtocolVersion,
        )
        | Error::PeerSentOversizedRecord => {
            "the server does not speak TLS at this port; use http:// or the port of https://"
                .to_owned()
        }
        Error::PeerIncompatible(why) => explain_incompatibility(why),
        other => other.to_string(),
    }
}

fn explain_alert(alert: AlertDescription, certificate: CertificateUse) -> String {
    let name = format!("{alert:?}");
    match alert {
        AlertDescription::CertificateRequired => no_client_certificate(),
        AlertDescription::UnrecognisedName => {
            "the server has no certificate for this name (alert UnrecognisedName); check the host name in \
             the connection's settings"
                .to_owned()
        }
        AlertDescription::ProtocolVersion => {
            format!("the server supports neither TLS 1.2 nor TLS 1.3 (alert {name}); update it")
        }
        _ if certificate == CertificateUse::Missing => {
            format!("{} (alert {name})", no_client_certificate())
        }
        AlertDescription::BadCertificate
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateRevoked
        | AlertDescription::CertificateExpired
        | AlertDescription::CertificateUnknown
        | AlertDescription::UnknownCA
        | AlertDescription::AccessDenied
        | AlertDescription::DecryptError
            if certificate == CertificateUse::Presented =>
        {
            format!(
                "the server refused this connection's client certificate (alert {name}); set one that it \
                 accepts with `jackfield connections edit NAME --client-cert FILE --client-key FILE`"
            )
        }
        AlertDescription::HandshakeFailure | AlertDescription::InsufficientSecurity => format!(
            "the server and Jackfield share no cipher or key exchange (alert {name}); the server needs \
             TLS 1.2 or 1.3 with ECDHE and AES-GCM or ChaCha20"
        ),
        _ => format!("the server ended the handshake with the alert {name}; its log may contain the reason"),
    }
}

fn no_client_certificate() -> String {
    "the server requires a client certificate, and this connection has none; set it with `jackfield \
     connections edit NAME --client-cert FILE --client-key FILE`"
        .to_owned()
}

fn explain_incompatibility(why: &PeerIncompatible) -> String {
    let requirement = "it needs TLS 1.2 or 1.3 with ECDHE and AES-GCM or ChaCha20";
    match why {
        PeerIncompatible::ServerDoesNotSupportTls12Or13
        | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig => {
            "the server supports neither TLS 1.2 nor TLS 1.3; update it".to_owned()
        }
        other => format!("the server's TLS is not compatible ({other:?}); {requirement}"),
    }
}

/// Explains an error that rustls did not make, such as the end of the stream without a TLS alert.
fn explain_end_of_stream(error: &io::Error, certificate: CertificateUse) -> String {
    match error.kind() {
        io::ErrorKind::UnexpectedEof
        | io::ErrorKind::ConnectionReset
        | io::ErrorKind::BrokenPipe => {
            let cause = match certificate {
                CertificateUse::Missing => {
                    "it requested a client certificate, and this connection has none"
                }
                CertificateUse::Presented => {
                    "it may have refused this connection's client certificate"
                }
                CertificateUse::NotRequested => {
                    "is this the port of https://, and does a firewall or the server allow this machine?"
                }
            };
            format!("the server closed the connection during the TLS handshake; {cause}")
        }
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_that_was_not_requested_is_never_named_as_refused() {
        let alert = AlertDescription::AccessDenied;
        let explain = |certificate| explain_alert(alert, certificate);
        assert!(explain(CertificateUse::NotRequested).contains("ended the handshake"));
        assert!(explain(CertificateUse::Missing).contains("requires a client certificate"));
        assert!(explain(CertificateUse::Presented).contains("refused this connection's client"));
    }
}
