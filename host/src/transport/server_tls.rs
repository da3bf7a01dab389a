//! TLS of the server's own listeners: its certificate and key, which are read again when their
//! files change.
//!
//! Never replaces a working certificate by files that cannot be used.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;
use zeroize::Zeroizing;

use super::trust::{Certificate, crypto, date};

/// The certificate and the key of the server.
pub struct ServerTls {
    files: TlsFiles,
    config: ArcSwap<ServerConfig>,
    /// The hash of the files that were read last, usable or not.
    read: Mutex<[u8; 32]>,
}

/// The files of a certificate and its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// PEM: the certificate, then those of the authorities that issued it.
    pub certificate: PathBuf,
    /// PEM: the key, without a password.
    pub key: PathBuf,
}

/// The reason why the server's certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ServerTlsError {
    /// A file cannot be read.
    #[error("cannot read `{key}` = {path:?}: {source}")]
    Io {
        /// The setting.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// The error.
        source: io::Error,
    },
    /// The file contains no certificate.
    #[error(
        "`tls_certificate` = {0:?} contains no certificate; give it as PEM (-----BEGIN CERTIFICATE-----)"
    )]
    NoCertificate(PathBuf),
    /// The file contains no usable key.
    #[error(
        "`tls_key` = {0:?} contains no private key; give it as PEM without a password (-----BEGIN PRIVATE KEY-----)"
    )]
    NoKey(PathBuf),
    /// The certificate and the key do not belong together, or are not supported.
    #[error("`tls_certificate` and `tls_key` cannot be used together: {0}")]
    Unusable(rustls::Error),
}

/// The files as they were read.
struct Pem {
    certificate: Vec<u8>,
    key: Zeroizing<Vec<u8>>,
}

impl ServerTls {
    /// Reads the files.
    ///
    /// # Errors
    /// The files cannot be read, or not used together.
    pub fn load(files: TlsFiles) -> Result<Self, ServerTlsError> {
        let pem = Pem::read(&files)?;
        let config = pem.config(&files)?;
        let read = Mutex::new(pem.hash());
        Ok(Self { files, config: ArcSwap::from_pointee(config), read })
    }

    /// Reads the files again. Returns whether they have changed since the last time.
    ///
    /// # Errors
    /// As [`Self::load`], once for each change; the earlier certificate remains in use.
    pub fn reload(&self) -> Result<bool, ServerTlsError> {
        let pem = Pem::read(&self.files)?;
        let hash = pem.hash();
        if std::mem::replace(&mut *self.read.lock(), hash) == hash {
            return Ok(false);
        }
        self.config.store(Arc::new(pem.config(&self.files)?));
        Ok(true)
    }

    /// Makes the handshake with a client.
    pub(crate) async fn accept<S>(
        &self,
        stream: S,
    ) -> io::Result<impl AsyncRead + AsyncWrite + Send + Unpin + use<S>>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin,
    {
        TlsAcceptor::from(self.config.load_full()).accept(stream).await
    }
}

impl TlsFiles {
    /// Returns until when the certificate is valid, in words, and how many days that is from `now`.
    ///
    /// # Errors
    /// The files cannot be read, or not used together.
    pub fn validity(&self) -> Result<(String, i64), ServerTlsError> {
        let pem = Pem::read(self)?;
        pem.config(self)?;
        let first = pem.chain(self)?.into_iter().next();
        let parsed = first.and_then(|der| Certificate::parse(&der));
        let end = parsed.map(|certificate| certificate.not_after());
        let end = end.ok_or_else(|| ServerTlsError::NoCertificate(self.certificate.clone()))?;
        let seconds = |time: UnixTime| i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
        let days = (seconds(end) - seconds(UnixTime::now())).div_euclid(24 * 3_600);
        Ok((date(end), days))
    }
}

impl Pem {
    fn read(files: &TlsFiles) -> Result<Self, ServerTlsError> {
        let read = |key, path: &Path| {
            let failed = |source| ServerTlsError::Io { key, path: path.to_owned(), source };
            std::fs::read(path).map_err(failed)
        };
        let certificate = read("tls_certificate", &files.certificate)?;
        Ok(Self { certificate, key: Zeroizing::new(read("tls_key", &files.key)?) })
    }

    fn hash(&self) -> [u8; 32] {
        Sha256::new().chain_update(&self.certificate).chain_update(&*self.key).finalize().into()
    }

    fn chain(&self, files: &TlsFiles) -> Result<Vec<CertificateDer<'static>>, ServerTlsError> {
        let none = || ServerTlsError::NoCertificate(files.certificate.clone());
        let chain =
            CertificateDer::pem_slice_iter(&self.certificate).collect::<Result<Vec<_>, _>>();
        chain.ok().filter(|chain| !chain.is_empty()).ok_or_else(none)
    }

    fn config(&self, files: &TlsFiles) -> Result<ServerConfig, ServerTlsError> {
        let chain = self.chain(files)?;
        let key = PrivateKeyDer::from_pem_slice(&self.key);
        let key = key.map_err(|_| ServerTlsError::NoKey(files.key.clone()))?;
        let mut config = ServerConfig::builder_with_provider(crypto())
            .with_safe_default_protocol_versions()
            .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
            .map_err(ServerTlsError::Unusable)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
    use data_encoding::BASE64;

    use super::*;

    type Certified = rcgen::CertifiedKey<rcgen::KeyPair>;

    fn pem(label: &str, der: &[u8]) -> String {
        let text = BASE64.encode(der);
        format!("-----BEGIN {label}-----\n{text}\n-----END {label}-----\n")
    }

    fn write_certificate(files: &TlsFiles, certified: &Certified) {
        let pem = pem("CERTIFICATE", certified.cert.der());
        std::fs::write(&files.certificate, pem).unwrap();
    }

    fn write(files: &TlsFiles, certified: &Certified) {
        write_certificate(files, certified);
        let pem = pem("PRIVATE KEY", &certified.signing_key.serialize_der());
        std::fs::write(&files.key, pem).unwrap();
    }

    #[test]
    fn changed_files_are_read_again_and_unusable_ones_replace_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let [certificate, key] = ["cert", "key"].map(|name| folder.path().join(name));
        let files = TlsFiles { certificate, key };
        let new = || rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        assert!(matches!(ServerTls::load(files.clone()), Err(ServerTlsError::Io { .. })));
        write(&files, &new());
        let tls = ServerTls::load(files.clone()).unwrap();
        let first = tls.config.load_full();
        assert!(!tls.reload().unwrap(), "nothing has changed");
        write_certificate(&files, &new());
        assert!(matches!(tls.reload(), Err(ServerTlsError::Unusable(_))));
        assert!(!tls.reload().unwrap(), "said once");
        assert!(Arc::ptr_eq(&first, &tls.config.load_full()));
        write(&files, &new());
        assert!(tls.reload().unwrap());
        assert!(!Arc::ptr_eq(&first, &tls.config.load_full()));
        assert!(files.validity().unwrap().1 > 300);
    }
}
