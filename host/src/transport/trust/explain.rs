//! Explains the TLS library's errors to an admin, and says how to fix them.

use std::io;

use rustls::pki_types::{ServerName, UnixTime};
use rustls::{
    AlertDescription, CertificateError, Error, InvalidMessage, OtherError, PeerIncompatible,
};

use super::certificate::{Certificate, date};

/// The OIDs (DER without tag and length) of signature algorithms that are no longer secure, and
/// their names.
const INSECURE_ALGORITHMS: [(&[u8], &str); 3] = [
    (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x05], "SHA-1"),
    (&[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x01], "SHA-1"),
    (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x04], "MD5"),
];
const SUPPORTED_ALGORITHMS: &str = "RSA of 2048 to 8192 bits, ECDSA with P-256, P-384 or P-521, or Ed25519, \
                         each with SHA-256 or longer";

/// An explanation for people why a server's certificate is not trusted.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Untrusted(String);

impl Untrusted {
    /// `sent` contains the certificates that the server sent, its own first. `None`: it is
    /// unreadable.
    pub(crate) fn new(
        error: Error,
        sent: &[Option<Certificate>],
        name: &ServerName<'_>,
        now: UnixTime,
        has_extra_file: bool,
    ) -> Self {
        let own = sent.first().and_then(Option::as_ref);
        let host = name.to_str();
        let text = match (error, own) {
            (Error::InvalidCertificate(CertificateError::UnknownIssuer), Some(own)) => {
                unknown_issuer(own, sent, has_extra_file)
            }
            // A trusted authority has the name of the issuer, but did not sign the certificate.
            (
                Error::InvalidCertificate(
                    CertificateError::BadSignature
                    | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. },
                ),
                Some(own),
            ) if own.is_self_issued() => unknown_issuer(own, sent, has_extra_file),
            (Error::InvalidCertificate(error), own) => {
                bad_certificate(&error, own, sent, &host, now)
            }
            (error, _) => error.to_string(),
        };
        Self(text)
    }
}

fn unknown_issuer(own: &Certificate, sent: &[Option<Certificate>], has_file: bool) -> String {
    let file = if has_file {
        "the file `extra_ca_file` and restart Jackfield"
    } else {
        "a file, name it in `extra_ca_file`, and restart Jackfield"
    };
    if own.is_self_issued() {
        return format!(
            "the server's certificate ({}) is signed by itself and is not trusted; if it is the right \
             one, add it as PEM to {file}",
            own.subject()
        );
    }
    let last = sent.iter().flatten().next_back().unwrap_or(own);
    if sent.len() == 1 {
        return format!(
            "the server sent only its own certificate ({}), and its issuer {} is not trusted here; \
             configure the server to send the intermediate certificates too (the full chain), or, if \
             the issuer is an authority of your company, add its certificate as PEM to {file}",
            own.subject(),
            own.issuer()
        );
    }
    format!(
        "the authority that vouches for the server's certificate, {}, is not trusted here; if it is an \
         authority of your company, or of a proxy that inspects TLS, add its certificate as PEM to {file}",
        last.issuer()
    )
}

fn bad_certificate(
    error: &CertificateError,
    own: Option<&Certificate>,
    sent: &[Option<Certificate>],
    host: &str,
    now: UnixTime,
) -> String {
    let named = |is_wrong: &dyn Fn(&Certificate) -> bool| {
        let wrong = sent.iter().flatten().find(|it| is_wrong(it));
        wrong.or(own).map_or_else(String::new, |it| format!(" ({})", it.subject()))
    };
    let clock = format!("this machine's clock says {}", date(now));
    match error {
        CertificateError::ExpiredContext { not_after, .. } => format!(
            "the server's certificate{} expired at {}; renew it ({clock})",
            named(&|it| it.not_after() == *not_after),
            date(*not_after)
        ),
        CertificateError::NotValidYetContext { not_before, .. } => format!(
            "the server's certificate{} is valid only from {}; {clock}: set it if it is wrong",
            named(&|it| it.not_before() == *not_before),
            date(*not_before)
        ),
        CertificateError::NotValidForNameContext { presented, .. } => {
            wrong_name(presented, own, host)
        }
        CertificateError::BadSignature
        | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => format!(
            "the server's certificate{} is not signed by the key that its issuer, {}, has here; that \
             may be the key of an older authority with the same name: replace its certificate in \
             `extra_ca_file`. Supported are {SUPPORTED_ALGORITHMS}",
            named(&|_| false),
            own.map_or_else(String::new, Certificate::issuer)
        ),
        CertificateError::UnsupportedSignatureAlgorithmContext {
            signature_algorithm_id: id,
            ..
        } => {
            let is_in = |oid: &[u8]| id.windows(oid.len()).any(|part| part == oid);
            let broken = INSECURE_ALGORITHMS.iter().find(|(oid, _)| is_in(oid));
            let how = broken.map_or_else(
                || "in a way that is not supported".to_owned(),
                |(_, name)| format!("with {name}, which is broken"),
            );
            format!(
                "a certificate that the server sent{} is signed {how}; have it issued again with {SUPPORTED_ALGORITHMS}",
                named(&|it| is_in(it.signature_oid()))
            )
        }
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            format!(
                "the server's certificate{} is not for servers (its extended key usage lacks serverAuth); \
             have it issued again for a server",
                named(&|_| false)
            )
        }
        CertificateError::Other(OtherError(other)) => unusual(&other.to_string(), own),
        CertificateError::BadEncoding => {
            "the server's certificate cannot be read; have it issued again".to_owned()
        }
        other => format!("the server's certificate{} is refused: {other}", named(&|_| false)),
    }
}

fn wrong_name(presented: &[String], own: Option<&Certificate>, host: &str) -> String {
    if presented.is_empty() {
        let subject = own.map_or_else(String::new, Certificate::subject);
        return format!(
            "the server's certificate ({subject}) names no host (it has no subjectAltName), so it is not \
             for {host}; have it issued again with that name"
        );
    }
    // webpki quotes each name together with its type: DnsName("a.example").
    let names: Vec<_> =
        presented.iter().map(|it| it.split('"').nth(1).unwrap_or(it).to_owned()).collect();
    format!(
        "the server's certificate is for {}, not for {host}; use one of its names in the connection's \
         settings, or have it issued again for {host}",
        crate::domain::shortened(&crate::domain::printable(&names.join(", ")), 300)
    )
}

/// Explains an error that webpki names but rustls does not.
fn unusual(webpki: &str, own: Option<&Certificate>) -> String {
    let subject = own.map_or_else(String::new, |own| format!(" ({})", own.subject()));
    let why = match webpki {
        "CaUsedAsEndEntity" => {
            "is that of an authority, not of a server; add it as PEM to `extra_ca_file` if the server \
             signed it itself, else have one issued for the server"
        }
        "UnsupportedCertVersion" => {
            "has version 1, which has no names of hosts; have it issued again as version 3 with a \
             subjectAltName"
        }
        "NameConstraintViolation" => "has a name that its authority may not vouch for",
        "UnsupportedCriticalExtension" => "has a critical extension that is not supported",
        other if own.is_some_and(Certificate::is_old) => {
            return format!(
                "the server's certificate{subject} has version 1 and is refused: {other}"
            );
        }
        other => return format!("the server's certificate{subject} is refused: {other}"),
    };
    format!("the server's certificate{subject} {why}")
}

/// Explains a failed handshake. `asked`: the server asked for a client certificate. `sent`: the
/// host sent one.
pub(crate) fn explain(error: &io::Error, asked: bool, sent: bool) -> String {
    let Some(tls) = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) else {
        return broken_off(error, asked, sent);
    };
    match tls {
        Error::InvalidCertificate(CertificateError::Other(OtherError(why))) => why.to_string(),
        Error::AlertReceived(alert) => alerted(*alert, asked, sent),
        Error::InvalidMessage(
            InvalidMessage::InvalidContentType | InvalidMessage::UnknownProtocolVersion,
        )
        | Error::PeerSentOversizedRecord => {
            "the server does not speak TLS at this port; use http:// or the port of https://"
                .to_owned()
        }
        Error::PeerIncompatible(why) => incompatible(why),
        other => other.to_string(),
    }
}

fn alerted(alert: AlertDescription, asked: bool, sent: bool) -> String {
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
        _ if asked && !sent => format!("{} (alert {name})", no_client_certificate()),
        AlertDescription::BadCertificate
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateRevoked
        | AlertDescription::CertificateExpired
        | AlertDescription::CertificateUnknown
        | AlertDescription::UnknownCA
        | AlertDescription::AccessDenied
        | AlertDescription::DecryptError
            if sent =>
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
        _ => format!("the server ended the handshake with the alert {name}; its log may say why"),
    }
}

fn no_client_certificate() -> String {
    "the server requires a client certificate, and this connection has none; set it with `jackfield \
     connections edit NAME --client-cert FILE --client-key FILE`"
        .to_owned()
}

fn incompatible(why: &PeerIncompatible) -> String {
    let need = "it needs TLS 1.2 or 1.3 with ECDHE and AES-GCM or ChaCha20";
    match why {
        PeerIncompatible::ServerDoesNotSupportTls12Or13
        | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig => {
            "the server supports neither TLS 1.2 nor TLS 1.3; update it".to_owned()
        }
        other => format!("the server's TLS is not compatible ({other:?}); {need}"),
    }
}

/// Explains a stream that ended without an alert.
fn broken_off(error: &io::Error, asked: bool, sent: bool) -> String {
    match error.kind() {
        io::ErrorKind::UnexpectedEof
        | io::ErrorKind::ConnectionReset
        | io::ErrorKind::BrokenPipe => {
            let certificate = match (asked, sent) {
                (true, false) => {
                    "; it asked for a client certificate, and this connection has none"
                }
                (true, true) => "; it may have refused this connection's client certificate",
                _ => {
                    "; is this the port of https://, and does a firewall or the server allow this machine?"
                }
            };
            format!("the server closed the connection during the TLS handshake{certificate}")
        }
        _ => error.to_string(),
    }
}
