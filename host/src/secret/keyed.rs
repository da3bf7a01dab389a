//! Values that are derived from a random key (HMAC-SHA256), so that a person who sees one cannot
//! try out what else went into it.
//!
//! Never takes a key that a person chose: such a key can be guessed with any of its values.

use data_encoding::BASE64URL_NOPAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use zeroize::Zeroizing;

use super::{Secret, TokenHash};

/// A random key from which other values are derived. It is erased from memory when it is dropped.
#[derive(Clone)]
pub struct DerivationKey(Zeroizing<[u8; 32]>);

impl DerivationKey {
    /// Derives it from random bytes that have another use too.
    pub(super) fn of(random: &[u8; 32]) -> Self {
        Self(Zeroizing::new(mac(random, &["jackfield derivation key"])))
    }

    /// A text of 43 characters for a purpose and what it is for. Equal parts give an equal text.
    #[must_use]
    pub fn text(&self, purpose: &str, parts: &[&str]) -> String {
        BASE64URL_NOPAD.encode(&self.hash(purpose, parts).0)
    }

    /// The same as a hash, under which the store keeps a token.
    #[must_use]
    pub fn hash(&self, purpose: &str, parts: &[&str]) -> TokenHash {
        let all: Vec<&str> = [purpose].into_iter().chain(parts.iter().copied()).collect();
        TokenHash(mac(&self.0, &all))
    }

    /// A key that also depends on this secret.
    #[must_use]
    pub fn with(&self, purpose: &str, secret: &Secret) -> Self {
        Self(Zeroizing::new(self.hash(purpose, &[secret.reveal()]).0))
    }
}

/// Each part is preceded by its length, so that no two lists of parts are the same bytes.
fn mac(key: &[u8; 32], parts: &[&str]) -> [u8; 32] {
    let mut block = Zeroizing::new([0; 64]);
    block.iter_mut().zip(key).for_each(|(byte, of_key)| *byte = *of_key);
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
    fn each_key_purpose_and_list_of_parts_has_a_text_of_its_own() {
        let (key, other) = (DerivationKey::of(&[1; 32]), DerivationKey::of(&[2; 32]));
        let secret = Secret::new("admin-token".to_owned());
        let texts = [
            key.text("csrf", &["ann"]),
            other.text("csrf", &["ann"]),
            key.with("csrf", &secret).text("csrf", &["ann"]),
            key.text("session", &["ann"]),
            key.text("csrf", &["a", "nn"]),
            key.text("csrf", &["an", "n"]),
            key.text("csrfann", &[]),
        ];
        let distinct: std::collections::BTreeSet<_> = texts.iter().collect();
        assert_eq!(distinct.len(), texts.len(), "{texts:?}");
        assert_eq!(texts[0], DerivationKey::of(&[1; 32]).text("csrf", &["ann"]));
    }
}
