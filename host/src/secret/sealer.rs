//! Encrypts stored secrets with the host's key.
//!
//! Never decides which secret is stored, and never stores a secret itself.

use std::fmt;
use std::io::ErrorKind;
use std::path::Path;

use chacha20poly1305::aead::{Aead, Generate, Key, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use data_encoding::{BASE64, HEXLOWER_PERMISSIVE};
use zeroize::Zeroizing;

use crate::config::{AccessError, read_private};

use super::{DerivationKey, KEY_VARIABLE, Secret, SecretError, write_private};

/// Seals (encrypts) secrets with the host's key. A secret is sealed for one place, such as one
/// setting of one connection, and cannot be opened for another place.
#[derive(Clone)]
pub struct Sealer {
    cipher: XChaCha20Poly1305,
    derivation_key: DerivationKey,
}

/// Length of the random nonce that precedes the encrypted bytes.
const NONCE_BYTES: usize = 24;

impl Sealer {
    /// Reads the key from `variable`, the value of [`KEY_VARIABLE`]; if the variable is not set,
    /// reads the key from the file. If the file is missing, creates it with a new key and mode
    /// 0600.
    ///
    /// # Errors
    /// The text is not a key, the file cannot be read or created, or other users can read it.
    pub fn load_or_create(variable: Option<&str>, file: &Path) -> Result<Self, SecretError> {
        if let Some(text) = variable {
            return Self::from_text(text, KEY_VARIABLE);
        }
        let failed = |error| SecretError::File(file.to_owned(), error);
        match read_private(file) {
            Ok(text) => Self::from_text(&text, &file.display().to_string()),
            Err(AccessError::Io { source, .. }) if source.kind() == ErrorKind::NotFound => {
                let text = Zeroizing::new(HEXLOWER_PERMISSIVE.encode(&<[u8; 32]>::generate()));
                write_private(file, text.as_bytes()).map_err(failed)?;
                Self::from_text(&text, &file.display().to_string())
            }
            Err(AccessError::Io { source, .. }) => Err(failed(source)),
            Err(error) => Err(SecretError::Key(error)),
        }
    }

    /// Makes a sealer with a new key, which is not stored.
    #[must_use]
    pub fn fresh() -> Self {
        Self::with_key(&Key::<XChaCha20Poly1305>::generate())
    }

    /// Reads the key from a text. `from` names the variable or file of the text, for the error.
    ///
    /// # Errors
    /// The text is not a key.
    pub fn from_text(text: &str, from: &str) -> Result<Self, SecretError> {
        let text = text.trim().as_bytes();
        let bytes = HEXLOWER_PERMISSIVE.decode(text).or_else(|_| BASE64.decode(text));
        let bytes = Zeroizing::new(bytes.map_err(|_| SecretError::NotAKey(from.to_owned()))?);
        let key = Key::<XChaCha20Poly1305>::try_from(bytes.as_slice())
            .map_err(|_| SecretError::NotAKey(from.to_owned()))?;
        Ok(Self::with_key(&key))
    }

    fn with_key(key: &Key<XChaCha20Poly1305>) -> Self {
        let derivation_key = DerivationKey::from_random(&key.0);
        Self { cipher: XChaCha20Poly1305::new(key), derivation_key }
    }

    /// Returns the key from which the host derives values that are shown or stored.
    #[must_use]
    pub fn derivation_key(&self) -> &DerivationKey {
        &self.derivation_key
    }

    /// Returns the place for which a connection's secret is sealed.
    #[must_use]
    pub fn place(connection: &str, name: &str) -> String {
        format!("{connection}/{name}")
    }

    /// Seals a secret for one place, such as `{connection}/{name of the secret}`.
    ///
    /// # Errors
    /// The text is longer than the cipher supports (gigabytes).
    pub fn seal(&self, place: &str, secret: &Secret) -> Result<Sealed, SecretError> {
        let nonce = XNonce::generate();
        let payload = Payload { msg: secret.reveal().as_bytes(), aad: place.as_bytes() };
        let sealed = self.cipher.encrypt(&nonce, payload).map_err(|_| SecretError::Sealed)?;
        Ok(Sealed([nonce.as_slice(), &sealed].concat()))
    }

    /// Opens (decrypts) a secret that was sealed for this place.
    ///
    /// # Errors
    /// The secret was sealed with another key or for another place, or is damaged.
    pub fn open_sealed(&self, place: &str, sealed: &Sealed) -> Result<Secret, SecretError> {
        let (nonce, sealed) = sealed.0.split_at_checked(NONCE_BYTES).ok_or(SecretError::Sealed)?;
        let nonce = XNonce::try_from(nonce).map_err(|_| SecretError::Sealed)?;
        let payload = Payload { msg: sealed, aad: place.as_bytes() };
        let text = self.cipher.decrypt(&nonce, payload).map_err(|_| SecretError::Sealed)?;
        String::from_utf8(text).map(Secret::new).map_err(|_| SecretError::Sealed)
    }
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sealer(…)")
    }
}

/// An encrypted secret: a random nonce, then the encrypted bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct Sealed(pub Vec<u8>);

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sealed({} bytes)", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_sealed_secret_opens_only_with_its_key_and_for_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("secret-key");
        let sealer = Sealer::load_or_create(None, &file).unwrap();
        let secret = Secret::new("hunter2".to_owned());
        let sealed = sealer.seal("a/b", &secret).unwrap();
        let reopened = Sealer::load_or_create(None, &file).unwrap();
        assert_eq!(reopened.open_sealed("a/b", &sealed).unwrap().reveal(), "hunter2");
        assert!(reopened.open_sealed("a/c", &sealed).is_err());
        let other = Sealer::load_or_create(Some(&"ab".repeat(32)), &file).unwrap();
        assert!(other.open_sealed("a/b", &sealed).is_err());
        assert!(reopened.open_sealed("a/b", &Sealed(vec![1, 2])).is_err());
        assert_eq!(format!("{secret:?}"), "Secret(…)");
    }

    #[test]
    fn a_key_file_that_others_can_read_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("secret-key");
        Sealer::load_or_create(None, &file).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(Sealer::load_or_create(None, &file), Err(SecretError::Key(_))));
    }
}
