//! Fetches the provider's metadata and keys (OpenID Connect Discovery).

use std::sync::Arc;
use std::time::Duration;

use jsonwebtoken::jwk::{Jwk, JwkSet};
use serde::Deserialize;
use tokio::time::Instant;
use url::Url;

use super::cache::{FRESH_TIME, STALE_TIME_MAX};
use super::client::Client;
use super::{Oidc, OidcError};

/// Minimum age of the keys before a token with an unknown key causes a new fetch.
const REFETCH_INTERVAL: Duration = Duration::from_secs(60);

/// The part of the metadata that a sign-in needs, as the provider sends it.
#[derive(Deserialize)]
struct Metadata {
    issuer: String,
    authorization_endpoint: String,
    token_endpoint: String,
    jwks_uri: String,
    token_endpoint_auth_methods_supported: Option<Vec<String>>,
}

/// The metadata that a sign-in needs, with parsed addresses.
#[derive(Debug, Clone)]
pub(super) struct Provider {
    pub(super) issuer: String,
    pub(super) authorization_endpoint: Url,
    pub(super) token_endpoint: Url,
    /// Whether the client secret can be sent by HTTP Basic authentication.
    pub(super) supports_basic: bool,
    jwks_uri: Url,
}

/// The public keys with which the provider signs ID tokens.
pub(super) type Keys = JwkSet;

impl TryFrom<Metadata> for Provider {
    type Error = OidcError;

    fn try_from(metadata: Metadata) -> Result<Self, OidcError> {
        let methods = metadata.token_endpoint_auth_methods_supported.as_ref();
        let is_basic = |method: &String| method == "client_secret_basic";
        Ok(Self {
            issuer: metadata.issuer,
            authorization_endpoint: parse_address(&metadata.authorization_endpoint)?,
            token_endpoint: parse_address(&metadata.token_endpoint)?,
            supports_basic: methods.is_none_or(|all| all.iter().any(is_basic)),
            jwks_uri: parse_address(&metadata.jwks_uri)?,
        })
    }
}

fn parse_address(text: &str) -> Result<Url, OidcError> {
    Url::parse(text)
        .map_err(|error| OidcError::Provider(format!("the address {text:?} is not valid: {error}")))
}

impl Oidc {
    pub(super) async fn provider(&self) -> Result<Arc<Provider>, OidcError> {
        let (client, issuer) = (Arc::clone(&self.client), self.settings.issuer.clone());
        self.provider.get(Instant::now(), || async move { discover(&client, &issuer).await }).await
    }

    /// Returns the key with this id, or the only key if no id is given. If it is not found, the
    /// keys are fetched again, because the provider may have published a new key.
    pub(super) async fn key(
        &self,
        provider: &Provider,
        id: Option<&str>,
    ) -> Result<Jwk, OidcError> {
        let now = Instant::now();
        let fetch = || {
            let (client, url) = (Arc::clone(&self.client), provider.jwks_uri.clone());
            async move { client.get::<Keys>(&url).await }
        };
        let keys = match self.keys.get_newer_than(now, FRESH_TIME, fetch).await {
            Ok(keys) => keys,
            Err(error) => self.keys.cached_value(now, STALE_TIME_MAX).ok_or(error)?,
        };
        if let Some(key) = find_key(&keys, id) {
            return Ok(key);
        }
        let keys = self.keys.get_newer_than(now, REFETCH_INTERVAL, fetch).await?;
        find_key(&keys, id).ok_or_else(|| missing_key_error(&keys, id))
    }
}

async fn discover(client: &Client, issuer: &Url) -> Result<Provider, OidcError> {
    let issuer = issuer.as_str().trim_end_matches('/');
    let url = parse_address(&format!("{issuer}/.well-known/openid-configuration"))?;
    let provider = Provider::try_from(client.get::<Metadata>(&url).await?)?;
    if provider.issuer.trim_end_matches('/') != issuer {
        let why = format!("{url} names another issuer: {:?}", provider.issuer);
        return Err(OidcError::Provider(why));
    }
    Ok(provider)
}

/// Returns the key with this id. Without an id, returns the only key.
fn find_key(keys: &Keys, id: Option<&str>) -> Option<Jwk> {
    match (id, keys.keys.as_slice()) {
        (Some(id), _) => keys.find(id).cloned(),
        (None, [only]) => Some(only.clone()),
        (None, _) => None,
    }
}

/// `id` is the id of the key that the token names.
fn missing_key_error(keys: &Keys, id: Option<&str>) -> OidcError {
    OidcError::IdToken(match id {
        Some(_) => "it is signed with a key that the provider does not publish".to_owned(),
        None => {
            let count = if keys.keys.is_empty() { "none" } else { "several" };
            format!("it names no key, and the provider publishes {count}")
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn keys_with_ids(ids: &[&str]) -> Keys {
        let keys = ids.iter().map(|id| json!({"kty": "oct", "kid": id, "k": "c2VjcmV0"}));
        serde_json::from_value(json!({ "keys": keys.collect::<Vec<_>>() })).unwrap()
    }

    #[test]
    fn a_token_that_names_no_key_is_signed_with_the_only_key() {
        assert!(
            find_key(&keys_with_ids(&["a"]), None).is_some()
                && find_key(&keys_with_ids(&["a", "b"]), Some("b")).is_some()
        );
        for (published, id, message) in [
            (&["a", "b"][..], None, "it names no key, and the provider publishes several"),
            (&[], None, "it names no key, and the provider publishes none"),
            (&["a"], Some("b"), "it is signed with a key that the provider does not publish"),
        ] {
            let keys = keys_with_ids(published);
            assert!(find_key(&keys, id).is_none());
            assert!(missing_key_error(&keys, id).to_string().ends_with(message), "{message}");
        }
    }
}
