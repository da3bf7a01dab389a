//! The provider's metadata and keys (OpenID Connect Discovery), kept for a limited time.

use std::sync::Arc;
use std::time::Duration;

use jsonwebtoken::jwk::{Jwk, JwkSet};
use serde::Deserialize;
use tokio::time::Instant;
use url::Url;

use super::cache::{FRESH, STALE_MAX};
use super::client::Client;
use super::{Oidc, OidcError};

/// How often the keys are fetched again for a token with an unknown key, at most.
const REFETCHED_AFTER: Duration = Duration::from_secs(60);

/// The metadata as the provider sends it.
#[derive(Deserialize)]
struct Metadata {
    issuer: String,
    authorization_endpoint: String,
    token_endpoint: String,
    jwks_uri: String,
    token_endpoint_auth_methods_supported: Option<Vec<String>>,
}

/// The part of the metadata that a sign-in needs.
#[derive(Debug, Clone)]
pub(super) struct Provider {
    pub(super) issuer: String,
    pub(super) authorization_endpoint: Url,
    pub(super) token_endpoint: Url,
    /// Whether the client's secret is sent as HTTP Basic authentication, which is the default.
    pub(super) takes_basic: bool,
    jwks_uri: Url,
}

pub(super) type Keys = JwkSet;

impl TryFrom<Metadata> for Provider {
    type Error = OidcError;

    fn try_from(metadata: Metadata) -> Result<Self, OidcError> {
        let methods = metadata.token_endpoint_auth_methods_supported.as_ref();
        let is_basic = |method: &String| method == "client_secret_basic";
        Ok(Self {
            issuer: metadata.issuer,
            authorization_endpoint: address(&metadata.authorization_endpoint)?,
            token_endpoint: address(&metadata.token_endpoint)?,
            takes_basic: methods.is_none_or(|all| all.iter().any(is_basic)),
            jwks_uri: address(&metadata.jwks_uri)?,
        })
    }
}

fn address(text: &str) -> Result<Url, OidcError> {
    Url::parse(text).map_err(|error| OidcError::Provider(format!("the address {text:?}: {error}")))
}

impl Oidc {
    /// The metadata.
    pub(super) async fn provider(&self) -> Result<Arc<Provider>, OidcError> {
        let (client, issuer) = (Arc::clone(&self.client), self.settings.issuer.clone());
        self.provider.get(Instant::now(), || async move { discover(&client, &issuer).await }).await
    }

    /// The key with this id; without an id, the only key. Unknown keys may be new: then the keys
    /// are fetched again.
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
        let keys = match self.keys.newer(now, FRESH, fetch).await {
            Ok(keys) => keys,
            Err(error) => self.keys.kept(now, STALE_MAX).ok_or(error)?,
        };
        if let Some(found) = find(&keys, id) {
            return Ok(found);
        }
        let keys = self.keys.newer(now, REFETCHED_AFTER, fetch).await?;
        find(&keys, id).ok_or_else(|| no_key(&keys, id))
    }
}

/// Fetches the metadata of an issuer.
async fn discover(client: &Client, issuer: &Url) -> Result<Provider, OidcError> {
    let issuer = issuer.as_str().trim_end_matches('/');
    let url = address(&format!("{issuer}/.well-known/openid-configuration"))?;
    let provider = Provider::try_from(client.get::<Metadata>(&url).await?)?;
    if provider.issuer.trim_end_matches('/') != issuer {
        let why = format!("{url} names another issuer: {:?}", provider.issuer);
        return Err(OidcError::Provider(why));
    }
    Ok(provider)
}

fn find(keys: &Keys, id: Option<&str>) -> Option<Jwk> {
    match (id, keys.keys.as_slice()) {
        (Some(id), _) => keys.find(id).cloned(),
        (None, [only]) => Some(only.clone()),
        (None, _) => None,
    }
}

/// The error if no key of the provider can have signed the token. `id` is the key that the token
/// names.
fn no_key(keys: &Keys, id: Option<&str>) -> OidcError {
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

    fn keys(ids: &[&str]) -> Keys {
        let keys = ids.iter().map(|id| json!({"kty": "oct", "kid": id, "k": "c2VjcmV0"}));
        serde_json::from_value(json!({ "keys": keys.collect::<Vec<_>>() })).unwrap()
    }

    #[test]
    fn a_token_without_a_key_is_signed_with_the_only_one() {
        assert!(
            find(&keys(&["a"]), None).is_some() && find(&keys(&["a", "b"]), Some("b")).is_some()
        );
        for (published, named, says) in [
            (&["a", "b"][..], None, "it names no key, and the provider publishes several"),
            (&[], None, "it names no key, and the provider publishes none"),
            (&["a"], Some("b"), "it is signed with a key that the provider does not publish"),
        ] {
            let keys = keys(published);
            assert!(find(&keys, named).is_none());
            assert!(no_key(&keys, named).to_string().ends_with(says), "{says}");
        }
    }
}
