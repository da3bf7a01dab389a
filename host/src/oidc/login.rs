//! One sign-in, from its beginning to its end, in one browser.

use data_encoding::BASE64URL_NOPAD;

use crate::secret::{Secret, TokenHash};

/// The random value that only the browser has, as a cookie. State, nonce and PKCE verifier are made
/// of it, so nothing is stored, and none of them shows another.
#[derive(Debug, Clone)]
pub struct Login(Secret);

impl Login {
    /// Begins a sign-in.
    #[must_use]
    pub fn fresh() -> Self {
        Self(Secret::fresh_token())
    }

    /// Continues the sign-in of a cookie.
    #[must_use]
    pub fn of_cookie(value: Secret) -> Self {
        Self(value)
    }

    /// The value of the cookie.
    #[must_use]
    pub fn cookie(&self) -> &Secret {
        &self.0
    }

    /// Ties the answer to this browser.
    pub(super) fn state(&self) -> String {
        self.derive("state")
    }

    pub(super) fn is_state(&self, given: &str) -> bool {
        Secret::new(self.state()).matches(given)
    }

    /// Ties the ID token to this sign-in.
    pub(super) fn nonce(&self) -> String {
        self.derive("nonce")
    }

    pub(super) fn is_nonce(&self, given: &str) -> bool {
        Secret::new(self.nonce()).matches(given)
    }

    /// Proves at the token endpoint that the code is for this sign-in (RFC 7636).
    pub(super) fn verifier(&self) -> Secret {
        Secret::new(self.derive("verifier"))
    }

    pub(super) fn challenge(&self) -> String {
        BASE64URL_NOPAD.encode(&TokenHash::of(self.verifier().reveal()).0)
    }

    fn derive(&self, purpose: &str) -> String {
        let text = Secret::new(format!("{purpose} {}", self.0.reveal()));
        BASE64URL_NOPAD.encode(&TokenHash::of(text.reveal()).0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_sign_in_has_values_of_its_own_that_fit_the_standard() {
        let (one, other) = (Login::fresh(), Login::fresh());
        let again = Login::of_cookie(one.cookie().clone());
        assert!(one.is_state(&again.state()) && one.is_nonce(&again.nonce()));
        assert!(!one.is_state(&other.state()) && !one.is_nonce(&other.nonce()));
        assert!(!one.is_state(&one.nonce()) && !one.is_state(""));
        assert!((43..=128).contains(&one.verifier().reveal().len()));
        assert_ne!(one.challenge(), one.verifier().reveal());
    }
}
