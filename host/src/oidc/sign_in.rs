//! One sign-in in one browser, and the values that show which requests belong to it.
//!
//! The server never stores a sign-in: the browser stores it in a cookie.

use data_encoding::BASE64URL_NOPAD;

use crate::secret::{Secret, TokenHash};

/// The random value of a sign-in. State, nonce and PKCE verifier are derived from it, and none of
/// the three reveals another.
#[derive(Debug, Clone)]
pub struct SignIn(Secret);

impl SignIn {
    /// Begins a sign-in.
    #[must_use]
    pub fn fresh() -> Self {
        Self(Secret::fresh_token())
    }

    /// Continues a sign-in with the value of its cookie.
    #[must_use]
    pub fn from_cookie(value: Secret) -> Self {
        Self(value)
    }

    /// Returns the value of the cookie.
    #[must_use]
    pub fn cookie(&self) -> &Secret {
        &self.0
    }

    /// The parameter `state` shows that the provider's answer belongs to this browser.
    pub(super) fn state(&self) -> String {
        self.derive("state")
    }

    pub(super) fn is_state(&self, text: &str) -> bool {
        Secret::new(self.state()).matches(text)
    }

    /// The parameter `nonce` shows that the ID token belongs to this sign-in.
    pub(super) fn nonce(&self) -> String {
        self.derive("nonce")
    }

    pub(super) fn is_nonce(&self, text: &str) -> bool {
        Secret::new(self.nonce()).matches(text)
    }

    /// The PKCE verifier proves to the token endpoint that the authorization code belongs to this
    /// sign-in (RFC 7636).
    pub(super) fn verifier(&self) -> Secret {
        Secret::new(self.derive("verifier"))
    }

    /// The PKCE challenge is the hash of the verifier.
    pub(super) fn challenge(&self) -> String {
        BASE64URL_NOPAD.encode(&TokenHash::of(self.verifier().reveal()).0)
    }

    /// Derives a different value for each purpose.
    fn derive(&self, purpose: &str) -> String {
        let text = Secret::new(format!("{purpose} {}", self.0.reveal()));
        BASE64URL_NOPAD.encode(&TokenHash::of(text.reveal()).0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_sign_in_has_its_own_state_and_nonce_and_a_verifier_of_valid_length() {
        let (one, other) = (SignIn::fresh(), SignIn::fresh());
        let continued = SignIn::from_cookie(one.cookie().clone());
        assert!(one.is_state(&continued.state()) && one.is_nonce(&continued.nonce()));
        assert!(!one.is_state(&other.state()) && !one.is_nonce(&other.nonce()));
        assert!(!one.is_state(&one.nonce()) && !one.is_state(""));
        assert!((43..=128).contains(&one.verifier().reveal().len()));
        assert_ne!(one.challenge(), one.verifier().reveal());
    }
}
