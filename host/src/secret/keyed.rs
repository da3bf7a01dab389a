//! Derives values from a random key (HMAC-SHA256) and other inputs. Without the key, a person
//! cannot find these inputs by guessing.
//!
//! The key must be random: a key that a person made up could be guessed by means of any derived
//! value.

use data_encoding::BASE64URL_NOPAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use zeroize::Zeroizing;

use super::{Secret, TokenHash};

/// A random key from which other values are derived. The key is erased from memory when it is
/// dropped.
#[derive(Clone)]
pub struct DerivationKey(Zeroizing<[u8; 32]>);

impl DerivationKey {
    /// Derives the key from the random bytes of the sealing key, which also encrypts secrets.
    pub(super) fn from_random(random: &[u8; 32]) -> Self {
        Self(Zeroizing::new(hmac_of_parts(random, &["jackfield derivation key"])))
    }

    /// Derives a text of 43 characters from a purpose and the parts that identify what the text is
    /// for. Equal inputs give equal texts.
    #[must_use]
    pub fn derive_text(&self, purpose: &str, parts: &[&str]) -> String {
        BASE64URL_NOPAD.encode(&self.derive_hash(purpose, parts).0)
    }

    /// Like [`Self::derive_text`], but returns the 32 bytes that the text encodes.
    #[must_use]
    pub fn derive_hash(&self, purpose: &str, parts: &[&str]) -> TokenHash {
        let inputs: Vec<&str> = [purpose].into_iter().chain(parts.iter().copied()).collect();
        TokenHash(hmac_of_parts(&self.0, &inputs))
    }

    /// Derives a key that also depends on this secret.
    #[must_use]
    pub fn with_secret(&self, purpose: &str, secret: &Secret) -> Self {
        Self(Zeroizing::new(self.derive_hash(purpose, &[secret.reveal()]).0))
    }
}

/// Computes the HMAC of a list of parts. Each part is preceded by its length, so that two different
/// lists never have the same bytes.
fn hmac_of_parts(key: &[u8; 32], parts: &[&str]) -> [u8; 32] {
    let mut block = Zeroizing::new([0; 64]);
    block.iter_mut().zip(key).for_each(|(byte, key_byte)| *byte = *key_byte);
    let mut mac = Hmac::<Sha256>::new((&*block).into());
    for part in parts {
        mac.update(&(part.len() as u64).to_be_bytes());
        mac.update(part.as_bytes());
    }
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_differ_if_the_key_the_purpose_or_the_parts_differ() {
        let (key, other) =
            (DerivationKey::from_random(&[1; 32]), DerivationKey::from_random(&[2; 32]));
        let secret = Secret::new("admin-token".to_owned());
        let texts = [
            key.derive_text("csrf", &["ann"]),
            other.derive_text("csrf", &["ann"]),
            key.with_secret("csrf", &secret).derive_text("csrf", &["ann"]),
            key.derive_text("session", &["ann"]),
            key.derive_text("csrf", &["a", "nn"]),
            key.derive_text("csrf", &["an", "n"]),
            key.derive_text("csrfann", &[]),
        ];
        let distinct: std::collections::BTreeSet<_> = texts.iter().collect();
        assert_eq!(distinct.len(), texts.len(), "{texts:?}");
        assert_eq!(texts[0], DerivationKey::from_random(&[1; 32]).derive_text("csrf", &["ann"]));
    }
}
