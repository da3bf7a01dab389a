//! Reads fields of a certificate, for error messages and for the rules that decide about trust.
//!
//! This module never decides whether a certificate is trusted. It uses x509-cert, because rustls
//! does not expose the fields.

use std::time::Duration;

use jiff::Timestamp;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use x509_cert::Version;
use x509_cert::der::asn1::{PrintableStringRef, Utf8StringRef};
use x509_cert::der::oid::db::rfc4519::CN;
use x509_cert::der::{Decode as _, Encode as _};
use x509_cert::ext::pkix::{BasicConstraints, SubjectAltName};
use x509_cert::name::Name;

use crate::domain::{printable, shortened};

/// The length to which a certificate's name is shortened in a message, bytes.
const NAME_BYTES_MAX: usize = 200;

pub(in crate::transport) struct Certificate(x509_cert::Certificate);

impl Certificate {
    pub(in crate::transport) fn parse(der: &CertificateDer<'_>) -> Option<Self> {
        x509_cert::Certificate::from_der(der).ok().map(Self)
    }

    /// Whether the certificate may issue other certificates. Certificates of version 1 cannot state
    /// this, so each of them counts as an issuer.
    pub(super) fn may_issue(&self) -> bool {
        let tbs = &self.0.tbs_certificate;
        match tbs.get::<BasicConstraints>() {
            Ok(Some((_, constraints))) => constraints.ca,
            Ok(None) => tbs.version == Version::V1,
            Err(_) => false,
        }
    }

    pub(super) fn has_version_1(&self) -> bool {
        self.0.tbs_certificate.version == Version::V1
    }

    pub(super) fn signature_oid(&self) -> &[u8] {
        self.0.signature_algorithm.oid.as_bytes()
    }

    pub(super) fn is_self_issued(&self) -> bool {
        self.0.tbs_certificate.issuer == self.0.tbs_certificate.subject
    }

    pub(super) fn subject(&self) -> String {
        printable_name(&self.0.tbs_certificate.subject)
    }

    pub(super) fn issuer(&self) -> String {
        printable_name(&self.0.tbs_certificate.issuer)
    }

    pub(super) fn not_before(&self) -> UnixTime {
        to_unix_time(self.0.tbs_certificate.validity.not_before)
    }

    pub(in crate::transport) fn not_after(&self) -> UnixTime {
        to_unix_time(self.0.tbs_certificate.validity.not_after)
    }

    /// Returns false if the certificate has a subjectAltName.
    pub(super) fn has_common_name(&self, name: &ServerName<'_>) -> bool {
        let tbs = &self.0.tbs_certificate;
        if tbs.filter::<SubjectAltName>().next().is_some() {
            return false;
        }
        common_names(&tbs.subject)
            .any(|text| ServerName::try_from(text).is_ok_and(|common_name| common_name == *name))
    }
}

fn common_names(name: &Name) -> impl Iterator<Item = String> {
    let attributes = name.0.iter().flat_map(|relative| relative.0.iter());
    attributes.filter(|attribute| attribute.oid == CN).filter_map(|attribute| {
        let value = attribute.value.to_der().ok()?;
        let utf8 = Utf8StringRef::from_der(&value).map(|text| text.as_str().to_owned());
        utf8.or_else(|_| PrintableStringRef::from_der(&value).map(|text| text.as_str().to_owned()))
            .ok()
            .map(|text| text.to_ascii_lowercase())
    })
}

fn printable_name(name: &Name) -> String {
    let text = printable(&name.to_string());
    if text.is_empty() { "(no name)".to_owned() } else { shortened(&text, NAME_BYTES_MAX) }
}

fn to_unix_time(time: x509_cert::time::Time) -> UnixTime {
    UnixTime::since_unix_epoch(time.to_unix_duration())
}

/// In UTC.
pub(in crate::transport) fn format_time(time: UnixTime) -> String {
    let seconds = Duration::from_secs(time.as_secs());
    let at = Timestamp::UNIX_EPOCH.checked_add(seconds);
    at.map_or_else(|_| "an unknown time".to_owned(), |at| at.to_string())
}
