//! Describes why the TLS connection to a database failed, and what the user can do.

use sqlx::Error;

use crate::transport::TlsFault;

/// Returns the failure and the advice to users; `None` if TLS is not the reason.
pub(super) fn describe(error: &Error) -> Option<(&'static str, &'static str)> {
    match error {
        Error::Tls(cause) if cause.to_string().contains("does not support TLS") => Some((
            "does not encrypt",
            "set `ssl = on` in PostgreSQL, or set another `sslmode` in `store`",
        )),
        Error::Tls(_) | Error::Configuration(_) => Some((
            "cannot be reached by TLS",
            "check the files that `store` names in `sslrootcert`, `sslcert` and `sslkey`",
        )),
        Error::Io(error) => TlsFault::of(error).map(describe_fault),
        _ => None,
    }
}

fn describe_fault(fault: TlsFault) -> (&'static str, &'static str) {
    match fault {
        TlsFault::UnknownAuthority => (
            "has a certificate of an unknown authority",
            "set `sslrootcert` in `store` to the certificate file of the authority that issued it",
        ),
        TlsFault::OtherName => (
            "has a certificate for another host",
            "use a host name of the certificate in `store`, or give PostgreSQL a certificate for \
             this host name",
        ),
        TlsFault::OutsideValidity => (
            "has a certificate that is not valid now",
            "renew the certificate, or correct the clock of this machine",
        ),
        TlsFault::Authority => (
            "has a certificate that is an authority's own",
            "let this authority issue a certificate for the server, with CA:FALSE",
        ),
        TlsFault::Certificate => {
            ("has a certificate that cannot be used", "give PostgreSQL another certificate")
        }
        TlsFault::Handshake => ("cannot be reached by TLS", "check the TLS settings of PostgreSQL"),
    }
}
