//! Types of the member `webhook_auth` of `/connections`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::domain::{Network, WebhookScheme};

use super::connections::present;
use super::{EnumString, Text};

/// What senders of webhooks must send in addition to the token, without the secrets.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
pub struct WebhookAuth {
    /// How senders show that they know the secret; absent: they need not know one.
    pub scheme: Option<EnumString<WebhookScheme>>,
    /// The user name of `basic`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The name of the header of `api-key`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<String>,
    /// How far the time of a request may be from the server's clock under `signature`, seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tolerance_s: Option<u32>,
    /// The addresses from which requests are accepted; empty: from every address.
    pub allowed_clients: Vec<Text<Network>>,
}

/// The member `webhook_auth` of a request. Absent members keep their value or get their default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct EditWebhookAuth {
    /// How senders show that they know the secret; `null`: they need not know one, and the secrets
    /// are removed.
    #[serde(deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub scheme: Option<Option<EnumString<WebhookScheme>>>,
    /// The user name of `basic`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The name of the header of `api-key`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub header: Option<String>,
    /// How far the time of a request may be from the server's clock under `signature`, seconds; by
    /// default 300.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tolerance_s: Option<u32>,
    /// The addresses and networks from which requests are accepted; empty: from every address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allowed_clients: Option<Vec<String>>,
}
