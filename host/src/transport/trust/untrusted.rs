//! Says why a server's certificate is not trusted, and how to fix it.

use rustls::pki_types::{ServerName, UnixTime};
use rustls::{CertificateError, Error, OtherError};

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
            (Error::InvalidCertificate(error), _) => {
                Presented { sent, host: &host, now }.explain(&error)
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

/// The certificates that a server sent, the host name that they must have, and the time of the
/// check.
struct Presented<'a> {
    /// The server's own certificate is the first.
    sent: &'a [Option<Certificate>],
    host: &'a str,
    now: UnixTime,
}

impl Presented<'_> {
    /// The server's own certificate; `None` if it cannot be read.
    fn own(&self) -> Option<&Certificate> {
        self.sent.first().and_then(Option::as_ref)
    }

    /// Explains an error about one of the certificates.
    fn explain(&self, error: &CertificateError) -> String {
        match error {
            CertificateError::ExpiredContext { not_after, .. } => self.expired(*not_after),
            CertificateError::NotValidYetContext { not_before, .. } => {
                self.not_valid_yet(*not_before)
            }
            CertificateError::NotValidForNameContext { presented, .. } => {
                wrong_name(presented, self.own(), self.host)
            }
            CertificateError::BadSignature
            | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
                self.other_key()
            }
            CertificateError::UnsupportedSignatureAlgorithmContext {
                signature_algorithm_id: id,
                ..
            } => self.unsupported_algorithm(id),
            CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
                format!(
                    "the server's certificate{} is not for servers (its extended key usage lacks \
                     serverAuth); have it issued again for a server",
                    subject(self.own())
                )
            }
            CertificateError::Other(OtherError(other)) => unusual(&other.to_string(), self.own()),
            CertificateError::BadEncoding => {
                "the server's certificate cannot be read; have it issued again".to_owned()
            }
            other => {
                format!("the server's certificate{} is refused: {other}", subject(self.own()))
            }
        }
    }

    fn expired(&self, not_after: UnixTime) -> String {
        format!(
            "the server's certificate{} expired at {}; renew it ({})",
            self.subject_of(|it| it.not_after() == not_after),
            date(not_after),
            self.clock()
        )
    }

    fn not_valid_yet(&self, not_before: UnixTime) -> String {
        format!(
            "the server's certificate{} is valid only from {}; {}: set it if it is wrong",
            self.subject_of(|it| it.not_before() == not_before),
            date(not_before),
            self.clock()
        )
    }

    fn other_key(&self) -> String {
        format!(
            "the server's certificate{} is not signed by the key that its issuer, {}, has here; that \
             may be the key of an older authority with the same name: replace its certificate in \
             `extra_ca_file`. Supported are {SUPPORTED_ALGORITHMS}",
            subject(self.own()),
            self.own().map_or_else(String::new, Certificate::issuer)
        )
    }

    fn unsupported_algorithm(&self, id: &[u8]) -> String {
        let is_in = |oid: &[u8]| id.windows(oid.len()).any(|part| part == oid);
        let broken = INSECURE_ALGORITHMS.iter().find(|(oid, _)| is_in(oid));
        let how = broken.map_or_else(
            || "in a way that is not supported".to_owned(),
            |(_, name)| format!("with {name}, which is broken"),
        );
        format!(
            "a certificate that the server sent{} is signed {how}; have it issued again with \
             {SUPPORTED_ALGORITHMS}",
            self.subject_of(|it| is_in(it.signature_oid()))
        )
    }

    /// The subject of the first certificate that is wrong; if none is found, of the server's own.
    fn subject_of(&self, is_wrong: impl Fn(&Certificate) -> bool) -> String {
        subject(self.sent.iter().flatten().find(|it| is_wrong(it)).or(self.own()))
    }

    fn clock(&self) -> String {
        format!("this machine's clock says {}", date(self.now))
    }
}

/// The subject in parentheses, after a space; empty if the certificate cannot be read.
fn subject(certificate: Option<&Certificate>) -> String {
    certificate.map_or_else(String::new, |it| format!(" ({})", it.subject()))
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
    let subject = subject(own);
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
