//! The certificate and the key with which this server's own listeners use TLS.
//!
//! Files that cannot be used never replace the working certificate.

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

use super::trust::{Certificate, crypto_provider, format_time};

/// The certificate and the key of the server.
pub struct ServerTls {
    files: TlsFiles,
    config: ArcSwap<ServerConfig>,
    /// The hash of the files that were read last, even if the files could not be used.
    last_hash: Mutex<[u8; 32]>,
}

/// The files of a certificate and its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The PEM file with the certificate, followed by the certificates of its authorities.
    pub certificate: PathBuf,
    /// The PEM file with the key, without a password.
    pub key: PathBuf,
}

/// The reason why the server's certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ServerTlsError {
    /// A file cannot be read.
    #[error("cannot read `{key}` = {path:?}: {source}")]
    Io {
        /// The setting with the path.
        key: &'static str,
        /// The path of the file.
        path: PathBuf,
        /// The error of reading the file.
        source: io::Error,
    },
    /// The file contains no certificate, or one that cannot be read.
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

struct PemFiles {
    certificate: Vec<u8>,
    key: Zeroizing<Vec<u8>>,
}

impl ServerTls {
    /// Reads the certificate and the key from the files.
    ///
    /// # Errors
    /// The files cannot be read or cannot be used together.
    pub fn load(files: TlsFiles) -> Result<Self, ServerTlsError> {
        let pem = PemFiles::read(&files)?;
        let config = pem.server_config(&files)?;
        let last_hash = Mutex::new(pem.hash());
        Ok(Self { files, config: ArcSwap::from_pointee(config), last_hash })
    }

    /// Reads the files again. Returns whether they have changed since they were read last.
    ///
    /// # Errors
    /// The errors of [`Self::load`]. Content that cannot be used is an error only once for each
    /// change.
    pub fn reload(&self) -> Result<bool, ServerTlsError> {
        let pem = PemFiles::read(&self.files)?;
        let hash = pem.hash();
        if std::mem::replace(&mut *self.last_hash.lock(), hash) == hash {
            return Ok(false);
        }
        self.config.store(Arc::new(pem.server_config(&self.files)?));
        Ok(true)
    }

    /// Makes the TLS handshake with a client.
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
    /// Returns the time until which the certificate is valid, and the number of days until then.
    ///
    /// # Errors
    /// The files cannot be read or cannot be used together.
    pub fn validity(&self) -> Result<(String, i64), ServerTlsError> {
        let pem = PemFiles::read(self)?;
        pem.server_config(self)?;
        let first = pem.certificate_chain(self)?.into_iter().next();
        let parsed = first.and_then(|der| Certificate::parse(&der));
        let end = parsed.map(|certificate| certificate.not_after());
        let end = end.ok_or_else(|| ServerTlsError::NoCertificate(self.certificate.clone()))?;
        let seconds = |time: UnixTime| i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
        let days = (seconds(end) - seconds(UnixTime::now())).div_euclid(24 * 3_600);
        Ok((format_time(end), days))
    }
}

impl PemFiles {
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

    /// The certificate of the server is the first.
    fn certificate_chain(
        &self,
        files: &TlsFiles,
    ) -> Result<Vec<CertificateDer<'static>>, ServerTlsError> {
        let no_certificate = || ServerTlsError::NoCertificate(files.certificate.clone());
        let chain =
            CertificateDer::pem_slice_iter(&self.certificate).collect::<Result<Vec<_>, _>>();
        chain.ok().filter(|chain| !chain.is_empty()).ok_or_else(no_certificate)
    }

    fn server_config(&self, files: &TlsFiles) -> Result<ServerConfig, ServerTlsError> {
        let chain = self.certificate_chain(files)?;
        let key = PrivateKeyDer::from_pem_slice(&self.key);
        let key = key.map_err(|_| ServerTlsError::NoKey(files.key.clone()))?;
        let mut config = ServerConfig::builder_with_provider(crypto_provider())
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

    type CertificateWithKey = rcgen::CertifiedKey<rcgen::KeyPair>;

    fn pem_text(label: &str, der: &[u8]) -> String {
        let text = BASE64.encode(der);
        format!("-----BEGIN {label}-----\n{text}\n-----END {label}-----\n")
    }

    fn write_certificate(files: &TlsFiles, certified: &CertificateWithKey) {
        let pem = pem_text("CERTIFICATE", certified.cert.der());
        std::fs::write(&files.certificate, pem).unwrap();
    }

    fn write_certificate_and_key(files: &TlsFiles, certified: &CertificateWithKey) {
        write_certificate(files, certified);
        let pem = pem_text("PRIVATE KEY", &certified.signing_key.serialize_der());
        std::fs::write(&files.key, pem).unwrap();
    }

    #[test]
    fn changed_files_are_read_again_and_unusable_files_do_not_replace_the_certificate() {
        let folder = tempfile::tempdir().unwrap();
        let [certificate, key] = ["cert", "key"].map(|name| folder.path().join(name));
        let files = TlsFiles { certificate, key };
        let new = || rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        assert!(matches!(ServerTls::load(files.clone()), Err(ServerTlsError::Io { .. })));
        write_certificate_and_key(&files, &new());
        let tls = ServerTls::load(files.clone()).unwrap();
        let first = tls.config.load_full();
        assert!(!tls.reload().unwrap(), "nothing has changed");
        write_certificate(&files, &new());
        assert!(matches!(tls.reload(), Err(ServerTlsError::Unusable(_))));
        assert!(!tls.reload().unwrap(), "the error is reported only once");
        assert!(Arc::ptr_eq(&first, &tls.config.load_full()));
        write_certificate_and_key(&files, &new());
        assert!(tls.reload().unwrap());
        assert!(!Arc::ptr_eq(&first, &tls.config.load_full()));
        assert!(files.validity().unwrap().1 > 300);
    }
}
