//! Creates and verifies signatures of webhook requests, as Standard Webhooks 1.0 defines them:
//! HMAC-SHA256 over the id, the time and the body of a request, with a key that sender and receiver
//! share.
//!
//! Source: <https://www.standardwebhooks.com>. Never reveals which bytes of a signature are wrong.

use data_encoding::BASE64;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use zeroize::Zeroizing;

use super::Secret;

/// The prefix that the specification recommends for a key.
const KEY_PREFIX: &str = "whsec_";
/// The version in front of a signature that was made with a shared key.
const SIGNATURE_VERSION: &str = "v1";
/// Minimum length of a key, bytes. The specification requires 24 to 64 bytes. Longer keys are
/// accepted, because they are not less secure.
const KEY_BYTES_MIN: usize = 24;

/// The key with which the sender and the receiver of a webhook sign and verify requests.
pub struct SigningKey(Zeroizing<Vec<u8>>);

/// The reason why a secret is not a key for signatures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SigningKeyError {
    /// The secret is not Base64.
    #[error("it is not Base64: write `whsec_` and 24 to 64 random bytes in Base64")]
    NotBase64,
    /// The key has fewer than 24 bytes.
    #[error("the key has fewer than 24 bytes: write `whsec_` and 24 to 64 random bytes in Base64")]
    TooShort,
}

/// The parts of a request that its signature covers.
#[derive(Debug, Clone, Copy)]
pub struct SignedParts<'a> {
    /// The header `webhook-id`.
    pub id: &'a str,
    /// The header `webhook-timestamp`.
    pub timestamp: &'a str,
    /// The body as it was sent, before it is decompressed.
    pub body: &'a [u8],
}

impl SigningKey {
    /// Reads a key, with or without `whsec_`.
    ///
    /// # Errors
    /// The text is not Base64, or the key is too short.
    pub fn read(secret: &Secret) -> Result<Self, SigningKeyError> {
        let text = secret.reveal().trim();
        let text = text.strip_prefix(KEY_PREFIX).unwrap_or(text);
        let key = BASE64.decode(text.as_bytes()).map_err(|_| SigningKeyError::NotBase64)?;
        let key = Zeroizing::new(key);
        if key.len() < KEY_BYTES_MIN { Err(SigningKeyError::TooShort) } else { Ok(Self(key)) }
    }

    /// Whether one of the signatures in the header `webhook-signature` was made with this key for
    /// these parts of the request. The time of the check does not depend on which bytes of a
    /// signature are wrong.
    #[must_use]
    pub fn verifies(&self, signed: SignedParts<'_>, signatures: &str) -> bool {
        let candidates =
            signatures.split_ascii_whitespace().filter_map(|signature| signature.split_once(','));
        let candidates = candidates.filter(|(version, _)| *version == SIGNATURE_VERSION);
        candidates.fold(false, |found, (_, signature)| {
            let bytes = BASE64.decode(signature.as_bytes()).unwrap_or_default();
            let mac = self.request_mac(signed);
            mac.is_some_and(|mac| mac.verify_slice(&bytes).is_ok()) | found
        })
    }

    /// Returns the value of the header `webhook-signature` for a request.
    #[must_use]
    pub fn sign(&self, signed: SignedParts<'_>) -> String {
        let bytes =
            self.request_mac(signed).map(|mac| mac.finalize().into_bytes()).unwrap_or_default();
        format!("{SIGNATURE_VERSION},{}", BASE64.encode(&bytes))
    }

    /// Returns the HMAC of a request, which the caller finalizes or verifies. Never returns `None`,
    /// because HMAC supports keys of any length.
    fn request_mac(&self, signed: SignedParts<'_>) -> Option<Hmac<Sha256>> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).ok()?;
        for part in [signed.id.as_bytes(), b".", signed.timestamp.as_bytes(), b".", signed.body] {
            mac.update(part);
        }
        Some(mac)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The key of the example in the specification's reference libraries. `ID` and `SIGNATURE`
    /// belong to the same example.
    const KEY: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
    const SIGNATURE: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";

    fn verifies(key: &str, body: &str, timestamp: &str, signatures: &str) -> bool {
        let key = SigningKey::read(&Secret::new(key.to_owned())).unwrap();
        let signed = SignedParts { id: ID, timestamp, body: body.as_bytes() };
        key.verifies(signed, signatures)
    }

    #[test]
    fn only_the_signature_of_the_reference_libraries_is_valid() {
        let (body, timestamp) = (r#"{"test": 2432232314}"#, "1614265330");
        assert!(verifies(KEY, body, timestamp, SIGNATURE));
        let key = SigningKey::read(&Secret::new(KEY.to_owned())).unwrap();
        let signed = SignedParts { id: ID, timestamp, body: body.as_bytes() };
        assert_eq!(key.sign(signed), SIGNATURE);
        let several = format!("v1,b3RoZXI= v2,x {SIGNATURE} v1a,y");
        assert!(verifies(KEY.trim_start_matches(KEY_PREFIX), body, timestamp, &several));
        assert!(!verifies(KEY, r#"{"test": 2432232315}"#, timestamp, SIGNATURE));
        assert!(!verifies(KEY, body, "1614265331", SIGNATURE));
        assert!(!verifies("whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", body, timestamp, SIGNATURE));
        for invalid in ["", "v1", "v1,", "v1,%%", SIGNATURE.trim_start_matches("v1,")] {
            assert!(!verifies(KEY, body, timestamp, invalid), "{invalid}");
        }
    }

    #[test]
    fn a_secret_that_is_not_a_key_is_refused() {
        let read = |text: &str| SigningKey::read(&Secret::new(text.to_owned())).err();
        assert_eq!(read("hunter2"), Some(SigningKeyError::NotBase64));
        assert_eq!(read("whsec_AAAA"), Some(SigningKeyError::TooShort));
        assert_eq!(read(KEY), None);
    }
}
