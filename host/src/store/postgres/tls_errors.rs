//! Says what is wrong with the TLS of a database, and what to do.

use sqlx::Error;

use crate::transport::TlsFault;

/// The failure and the advice, if a connection failed because of its encryption.
pub(super) fn describe(error: &Error) -> Option<(&'static str, &'static str)> {
    match error {
        Error::Tls(cause) if cause.to_string().contains("does not support TLS") => Some((
            "does not encrypt",
            "set `ssl = on` in PostgreSQL, or choose another `sslmode` in `store`",
        )),
        Error::Tls(_) | Error::Configuration(_) => Some((
            "cannot be reached by TLS",
            "check the files that `store` names in `sslrootcert`, `sslcert` and `sslkey`",
        )),
        Error::Io(error) => TlsFault::of(error).map(of_fault),
        _ => None,
    }
}

fn of_fault(fault: TlsFault) -> (&'static str, &'static str) {
    match fault {
        TlsFault::UnknownAuthority => (
            "has a certificate of an unknown authority",
            "let `sslrootcert` in `store` name the file of the authority that issued it",
        ),
        TlsFault::OtherName => (
            "has a certificate for another host",
            "let `store` use a name of the certificate, or give PostgreSQL one for this name",
        ),
        TlsFault::OutsideValidity => (
            "has a certificate that is not valid now",
            "renew it, or correct the clock of this machine",
        ),
        TlsFault::Authority => (
            "has a certificate that is an authority's own",
            "let this authority issue one for the server, with CA:FALSE",
        ),
        TlsFault::Certificate => {
            ("has a certificate that cannot be used", "give PostgreSQL another one")
        }
        TlsFault::Handshake => ("cannot be reached by TLS", "check the TLS settings of PostgreSQL"),
    }
}
