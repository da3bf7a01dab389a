//! The JSON of the requirements on senders of webhooks, as it is stored in the column
//! `webhook_auth`.
//!
//! The JSON contains no secret, because the secrets of senders are stored with the other sealed
//! secrets.

use serde::{Deserialize, Serialize};

use super::unreadable::Unreadable;
use crate::domain::{Network, WebhookAuth, WebhookCredential};

#[derive(Serialize, Deserialize)]
pub(super) struct WebhookAuthJson {
    credential: Option<CredentialJson>,
    allowed_clients: Vec<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "scheme", rename_all = "kebab-case")]
enum CredentialJson {
    Bearer,
    Basic { user: String },
    ApiKey { header: String },
    Signature { tolerance_s: u32 },
}

impl From<&WebhookAuth> for WebhookAuthJson {
    fn from(auth: &WebhookAuth) -> Self {
        let credential = auth.credential.clone().map(|credential| match credential {
            WebhookCredential::Bearer => CredentialJson::Bearer,
            WebhookCredential::Basic { user } => CredentialJson::Basic { user },
            WebhookCredential::ApiKey { header } => CredentialJson::ApiKey { header },
            WebhookCredential::Signature { tolerance_s } => {
                CredentialJson::Signature { tolerance_s }
            }
        });
        let allowed_clients = auth.allowed_clients.iter().map(Network::to_string).collect();
        Self { credential, allowed_clients }
    }
}

impl TryFrom<WebhookAuthJson> for WebhookAuth {
    type Error = Unreadable;

    fn try_from(json: WebhookAuthJson) -> Result<Self, Unreadable> {
        let credential = json.credential.map(|credential| match credential {
            CredentialJson::Bearer => WebhookCredential::Bearer,
            CredentialJson::Basic { user } => WebhookCredential::Basic { user },
            CredentialJson::ApiKey { header } => WebhookCredential::ApiKey { header },
            CredentialJson::Signature { tolerance_s } => {
                WebhookCredential::Signature { tolerance_s }
            }
        });
        let networks = json.allowed_clients.iter().map(|text| text.parse());
        let allowed_clients = networks
            .collect::<Result<_, _>>()
            .map_err(|error| Unreadable::new("an allowed client address", error))?;
        Ok(Self { credential, allowed_clients })
    }
}
