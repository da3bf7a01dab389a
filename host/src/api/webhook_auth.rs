//! Types of the member `webhook_auth` of a connection: which senders of webhooks are accepted.
//! These types never contain the secrets of senders.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::domain::{Network, WebhookScheme};

use super::connections::double_option;
use super::{EnumString, Text};

/// What senders of webhooks need in addition to the token: a credential, shown without its secret,
/// and an allowed address.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
pub struct WebhookAuth {
    /// How senders prove that they know the secret; `null` if senders need no secret.
    pub scheme: Option<EnumString<WebhookScheme>>,
    /// The user name that senders must send; only for the scheme `basic`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The name of the header in which senders must send the secret; only for the scheme `api-key`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<String>,
    /// The maximum difference between the header `webhook-timestamp` and the server's clock,
    /// seconds; only for the scheme `signature`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tolerance_s: Option<u32>,
    /// The addresses and networks from which webhooks are accepted; if empty, every address is
    /// accepted.
    pub allowed_clients: Vec<Text<Network>>,
}

/// The settings for senders of webhooks in a request. An absent member keeps its stored value. If
/// no value is stored yet, the member gets its default. `user` (for `basic`) and `header` (for
/// `api-key`) have no default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct EditWebhookAuth {
    /// How senders prove that they know the secret. With `null`, senders need no secret, and the
    /// stored secrets of senders are removed.
    #[serde(deserialize_with = "double_option", skip_serializing_if = "Option::is_none")]
    pub scheme: Option<Option<EnumString<WebhookScheme>>>,
    /// The user name that senders must send; only for the scheme `basic`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The name of the header in which senders must send the secret; only for the scheme `api-key`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub header: Option<String>,
    /// The maximum difference between the header `webhook-timestamp` and the server's clock,
    /// seconds; only for the scheme `signature`. The default is 300.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tolerance_s: Option<u32>,
    /// The addresses and networks from which webhooks are accepted; if empty, every address is
    /// accepted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allowed_clients: Option<Vec<String>>,
}
