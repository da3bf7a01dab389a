//! Explains why a server's certificate is not trusted. This module never decides whether it is
//! trusted.

use rustls::pki_types::{ServerName, UnixTime};
use rustls::{CertificateError, Error, OtherError};

use super::certificate::{Certificate, format_time};

/// The signature algorithms that are no longer secure: their OIDs (DER without tag and length) and
/// their names.
const INSECURE_ALGORITHMS: [(&[u8], &str); 3] = [
    (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x05], "SHA-1"),
    (&[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x01], "SHA-1"),
    (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x04], "MD5"),
];
/// As a text for people.
const SUPPORTED_ALGORITHMS: &str = "RSA of 2048 to 8192 bits, ECDSA with P-256, P-384 or P-521, or Ed25519, \
                         each with SHA-256 or longer";

/// The reason why a server's certificate is not trusted, as a text for people.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct UntrustedReason(String);

impl UntrustedReason {
    /// Explains an error of rustls. `sent` are the certificates that the server sent, its own
    /// first; `None` stands for one that cannot be read.
    pub(crate) fn new(
        error: Error,
        sent: &[Option<Certificate>],
        name: &ServerName<'_>,
        now: UnixTime,
        has_extra_file: bool,
    ) -> Self {
        let server_certificate = sent.first().and_then(Option::as_ref);
        let host = name.to_str();
        let text = match (error, server_certificate) {
            (
                Error::InvalidCertificate(CertificateError::UnknownIssuer),
                Some(server_certificate),
            ) => explain_unknown_issuer(server_certificate, sent, has_extra_file),
            // A trusted authority has the same name as the issuer, but did not sign the
            // certificate.
            (
                Error::InvalidCertificate(
                    CertificateError::BadSignature
                    | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. },
                ),
                Some(server_certificate),
            ) if server_certificate.is_self_issued() => {
                explain_unknown_issuer(server_certificate, sent, has_extra_file)
            }
            (Error::InvalidCertificate(error), _) => {
                SentCertificates { sent, host: &host, now }.explain(&error)
            }
            (error, _) => error.to_string(),
        };
        Self(text)
    }
}

fn explain_unknown_issuer(
    server_certificate: &Certificate,
    sent: &[Option<Certificate>],
    has_extra_file: bool,
) -> String {
    let file = if has_extra_file {
        "the file `extra_ca_file` and restart Jackfield"
    } else {
        "a file, name it in `extra_ca_file`, and restart Jackfield"
    };
    if server_certificate.is_self_issued() {
        return format!(
            "the server's certificate ({}) is signed by itself and is not trusted; if it is the right \
             one, add it as PEM to {file}",
            server_certificate.subject()
        );
    }
    let last = sent.iter().flatten().next_back().unwrap_or(server_certificate);
    if sent.len() == 1 {
        return format!(
            "the server sent only its own certificate ({}), and its issuer {} is not trusted here; \
             configure the server to send the intermediate certificates too (the full chain), or, if \
             the issuer is an authority of your company, add its certificate as PEM to {file}",
            server_certificate.subject(),
            server_certificate.issuer()
        );
    }
    format!(
        "the authority that issued the last certificate of the server's chain, {}, is not trusted \
         here; if it is an authority of your company, or of a proxy that inspects TLS, add its \
         certificate as PEM to {file}",
        last.issuer()
    )
}

struct SentCertificates<'a> {
    /// The server's own certificate is the first.
    sent: &'a [Option<Certificate>],
    host: &'a str,
    now: UnixTime,
}

impl SentCertificates<'_> {
    /// `None` if it cannot be read.
    fn server_certificate(&self) -> Option<&Certificate> {
        self.sent.first().and_then(Option::as_ref)
    }

    fn explain(&self, error: &CertificateError) -> String {
        match error {
            CertificateError::ExpiredContext { not_after, .. } => self.explain_expired(*not_after),
            CertificateError::NotValidYetContext { not_before, .. } => {
                self.explain_not_valid_yet(*not_before)
            }
            CertificateError::NotValidForNameContext { presented, .. } => {
                explain_wrong_name(presented, self.server_certificate(), self.host)
            }
            CertificateError::BadSignature
            | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
                self.explain_other_key()
            }
            CertificateError::UnsupportedSignatureAlgorithmContext {
                signature_algorithm_id: id,
                ..
            } => self.explain_unsupported_algorithm(id),
            CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
                format!(
                    "the server's certificate{} is not for servers (its extended key usage lacks \
                     serverAuth); have it issued again for a server",
                    parenthesized_subject(self.server_certificate())
                )
            }
            CertificateError::Other(OtherError(other)) => {
                explain_webpki_error(&other.to_string(), self.server_certificate())
            }
            CertificateError::BadEncoding => {
                "the server's certificate cannot be read; have it issued again".to_owned()
            }
            other => {
                format!(
                    "the server's certificate{} is refused: {other}",
                    parenthesized_subject(self.server_certificate())
                )
            }
        }
    }

    fn explain_expired(&self, not_after: UnixTime) -> String {
        format!(
            "the server's certificate{} expired at {}; renew it ({})",
            self.subject_of(|certificate| certificate.not_after() == not_after),
            format_time(not_after),
            self.clock_text()
        )
    }

    fn explain_not_valid_yet(&self, not_before: UnixTime) -> String {
        format!(
            "the server's certificate{} is valid only from {}; {}: set it if it is wrong",
            self.subject_of(|certificate| certificate.not_before() == not_before),
            format_time(not_before),
            self.clock_text()
        )
    }

    fn explain_other_key(&self) -> String {
        format!(
            "the server's certificate{} is not signed by the key that its issuer, {}, has in the \
             trusted certificates; they may contain an older authority with the same name: replace \
             it in `extra_ca_file`. The supported algorithms are {SUPPORTED_ALGORITHMS}",
            parenthesized_subject(self.server_certificate()),
            self.server_certificate().map_or_else(String::new, Certificate::issuer)
        )
    }

    fn explain_unsupported_algorithm(&self, id: &[u8]) -> String {
        let is_in = |oid: &[u8]| id.windows(oid.len()).any(|part| part == oid);
        let insecure = INSECURE_ALGORITHMS.iter().find(|(oid, _)| is_in(oid));
        let how = insecure.map_or_else(
            || "in a way that is not supported".to_owned(),
            |(_, name)| format!("with {name}, which is insecure"),
        );
        format!(
            "a certificate that the server sent{} is signed {how}; have it issued again with \
             {SUPPORTED_ALGORITHMS}",
            self.subject_of(|certificate| is_in(certificate.signature_oid()))
        )
    }

    /// Returns the subject of the first certificate for which `is_wrong` is true, or else of the
    /// server's own certificate.
    fn subject_of(&self, is_wrong: impl Fn(&Certificate) -> bool) -> String {
        parenthesized_subject(
            self.sent
                .iter()
                .flatten()
                .find(|certificate| is_wrong(certificate))
                .or(self.server_certificate()),
        )
    }

    fn clock_text(&self) -> String {
        format!("this machine's clock shows {}", format_time(self.now))
    }
}

/// Returns the subject in parentheses, after a space; empty if the certificate cannot be read.
fn parenthesized_subject(certificate: Option<&Certificate>) -> String {
    certificate.map_or_else(String::new, |certificate| format!(" ({})", certificate.subject()))
}

fn explain_wrong_name(
    presented: &[String],
    server_certificate: Option<&Certificate>,
    host: &str,
) -> String {
    if presented.is_empty() {
        let subject = server_certificate.map_or_else(String::new, Certificate::subject);
        return format!(
            "the server's certificate ({subject}) names no host (it has no subjectAltName), so it is not \
             for {host}; have it issued again with that name"
        );
    }
    // webpki writes each name with its type and in quotes: DnsName("a.example").
    let names: Vec<_> =
        presented.iter().map(|name| name.split('"').nth(1).unwrap_or(name).to_owned()).collect();
    format!(
        "the server's certificate is for {}, not for {host}; use one of its names in the connection's \
         settings, or have it issued again for {host}",
        crate::domain::shortened(&crate::domain::printable(&names.join(", ")), 300)
    )
}

/// Explains an error of webpki for which rustls has no separate error.
fn explain_webpki_error(webpki: &str, server_certificate: Option<&Certificate>) -> String {
    let subject = parenthesized_subject(server_certificate);
    let why = match webpki {
        "CaUsedAsEndEntity" => {
            "is that of an authority, not of a server; add it as PEM to `extra_ca_file` if the server \
             signed it itself, else have one issued for the server"
        }
        "UnsupportedCertVersion" => {
            "has version 1, which has no names of hosts; have it issued again as version 3 with a \
             subjectAltName"
        }
        "NameConstraintViolation" => {
            "has a name for which its authority may not issue certificates"
        }
        "UnsupportedCriticalExtension" => "has a critical extension that is not supported",
        other if server_certificate.is_some_and(Certificate::has_version_1) => {
            return format!(
                "the server's certificate{subject} has version 1 and is refused: {other}"
            );
        }
        other => return format!("the server's certificate{subject} is refused: {other}"),
    };
    format!("the server's certificate{subject} {why}")
}
