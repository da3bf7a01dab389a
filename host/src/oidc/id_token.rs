//! Exchanges the authorization code for an ID token, and checks the token. The claims of a token
//! that was not checked are never used.

use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use serde::Deserialize;
use url::form_urlencoded::byte_serialize;

use crate::secret::Secret;

use super::claims::Claims;
use super::provider::Provider;
use super::sign_in::SignIn;
use super::{Oidc, OidcError};

/// All of these use a public key. With a shared key, everybody who has the key could create tokens.
const ACCEPTED_ALGORITHMS: [Algorithm; 9] = [
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
    Algorithm::ES256,
    Algorithm::ES384,
    Algorithm::EdDSA,
];

/// Other members of the answer are not read.
#[derive(Deserialize)]
struct TokenAnswer {
    id_token: String,
}

impl Oidc {
    pub(super) async fn exchange_code(
        &self,
        provider: &Provider,
        sign_in: &SignIn,
        code: &str,
        redirect_uri: &str,
    ) -> Result<Secret, OidcError> {
        let (verifier, client_id) = (sign_in.verifier(), self.settings.client_id.as_str());
        let mut form = vec![
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", redirect_uri),
            ("code_verifier", verifier.reveal()),
            ("client_id", client_id),
        ];
        // RFC 6749, section 2.3.1: user and password are form-encoded before they are sent.
        let form_encoded = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
        let (user, password) = (
            form_encoded(client_id),
            self.client_secret.as_ref().map(|secret| Secret::new(form_encoded(secret.reveal()))),
        );
        let basic = password.as_ref().filter(|_| provider.supports_basic);
        if let (Some(secret), None) = (&self.client_secret, basic) {
            form.push(("client_secret", secret.reveal()));
        }
        let basic = basic.map(|password| (user.as_str(), password));
        let answer: TokenAnswer = self.client.post(&provider.token_endpoint, &form, basic).await?;
        Ok(Secret::new(answer.id_token))
    }

    /// Checks an ID token, and returns its claims.
    pub(super) async fn verify_id_token(
        &self,
        provider: &Provider,
        token: &Secret,
        sign_in: &SignIn,
    ) -> Result<Claims, OidcError> {
        let invalid = |error: jsonwebtoken::errors::Error| OidcError::IdToken(error.to_string());
        let header = decode_header(token.reveal()).map_err(invalid)?;
        if !ACCEPTED_ALGORITHMS.contains(&header.alg) {
            return Err(OidcError::IdToken(format!(
                "its algorithm {:?} is not allowed",
                header.alg
            )));
        }
        let key = self.key(provider, header.kid.as_deref()).await?;
        let key = DecodingKey::from_jwk(&key).map_err(invalid)?;
        let client_id = self.settings.client_id.as_str();
        let mut validation = Validation::new(header.alg);
        validation.set_issuer(&[&provider.issuer]);
        validation.set_audience(&[client_id]);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        validation.validate_nbf = true;
        let claims = decode::<Claims>(token.reveal(), &key, &validation).map_err(invalid)?.claims;
        let text_claim = |name: &str| claims.get(name).and_then(|value| value.as_str());
        if !text_claim("nonce").is_some_and(|nonce| sign_in.is_nonce(nonce)) {
            return Err(OidcError::IdToken("its nonce is missing or wrong".to_owned()));
        }
        if text_claim("azp").is_some_and(|party| party != client_id) {
            return Err(OidcError::IdToken("it was issued for another client".to_owned()));
        }
        Ok(claims)
    }
}
