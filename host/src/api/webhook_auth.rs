//! Types of the member `webhook_auth` of `/connections`: what senders of webhooks must send. The
//! secrets are never in it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::domain::{Network, WebhookScheme};

use super::connections::double_option;
use super::{EnumString, Text};

/// The credential that senders of webhooks must send in addition to the token, without its secrets.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
pub struct WebhookAuth {
    /// How senders prove that they know the secret; absent if they need no secret.
    pub scheme: Option<EnumString<WebhookScheme>>,
    /// The user name of `basic`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The name of the header of `api-key`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<String>,
    /// For `signature`: maximum difference between the time of a request and the server's clock,
    /// seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tolerance_s: Option<u32>,
    /// The addresses from which requests are accepted; if empty, every address is accepted.
    pub allowed_clients: Vec<Text<Network>>,
}

/// The member `webhook_auth` of a request. An absent member keeps its stored value; if none is
/// stored yet, it gets its default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct EditWebhookAuth {
    /// How senders prove that they know the secret; with `null`, they need no secret, and the
    /// stored secrets are removed.
    #[serde(deserialize_with = "double_option", skip_serializing_if = "Option::is_none")]
    pub scheme: Option<Option<EnumString<WebhookScheme>>>,
    /// The user name of `basic`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The name of the header of `api-key`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub header: Option<String>,
    /// For `signature`: maximum difference between the time of a request and the server's clock,
    /// seconds; 300 by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tolerance_s: Option<u32>,
    /// The addresses and networks from which requests are accepted; if empty, every address is
    /// accepted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allowed_clients: Option<Vec<String>>,
}
