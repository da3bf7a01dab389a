//! The arguments that set the credential and the addresses that senders of webhooks must have.

use clap::Args;

use crate::api::{EditWebhookAuth, EnumString, SecretText};
use crate::cli::filter::enum_value_parser;
use crate::cli::key_value;
use crate::domain::WebhookScheme;

#[derive(Default, Args)]
pub(super) struct SetWebhookAuth {
    /// The credential that a webhook must have in addition to its URL: `bearer`, `basic` (with
    /// --webhook-user), `api-key` (with --webhook-header), or `signature` (Standard Webhooks)
    #[arg(long, value_name = "SCHEME", value_parser = enum_value_parser::<WebhookScheme>())]
    webhook_auth: Option<WebhookScheme>,
    /// The user name of `basic`
    #[arg(long, value_name = "NAME")]
    webhook_user: Option<String>,
    /// The header of `api-key`
    #[arg(long, value_name = "HEADER")]
    webhook_header: Option<String>,
    /// How many seconds a signed webhook's time may differ from the server's clock [default: 300]
    #[arg(long, value_name = "SECONDS")]
    webhook_tolerance_s: Option<u32>,
    /// The secret that senders must know: =@FILE from a file, =- from stdin, no value for a prompt;
    /// or a reference that the server reads, =file:/PATH or =env:NAME. With `signature`, the secret
    /// that an edit replaces is still accepted, until --no-webhook-secret-previous
    #[arg(long, value_name = "@FILE", num_args = 0..=1, require_equals = true)]
    webhook_secret: Option<Option<String>>,
    /// The earlier secret, which is accepted too while senders change to the new one
    #[arg(long, value_name = "@FILE", num_args = 0..=1, require_equals = true)]
    webhook_secret_previous: Option<Option<String>>,
    /// Accept webhooks only from this address or network, such as 203.0.113.0/24; can be repeated
    #[arg(long, value_name = "NETWORK")]
    webhook_client: Vec<String>,
}

#[derive(Default, Args)]
pub(super) struct UnsetWebhookAuth {
    /// Require nothing in addition to the webhook URL, and remove the secrets of senders
    #[arg(long, conflicts_with_all = ["webhook_auth", "webhook_client"])]
    pub(super) no_webhook_auth: bool,
    /// Require no credential, and remove the secrets of senders; the allowed addresses stay
    #[arg(long, conflicts_with_all = ["webhook_auth", "no_webhook_auth"])]
    pub(super) no_webhook_credential: bool,
    /// Accept webhooks from every address
    #[arg(long, conflicts_with = "webhook_client")]
    pub(super) any_webhook_client: bool,
    /// Accept only the newest secret
    #[arg(long, conflicts_with = "webhook_secret_previous")]
    pub(super) no_webhook_secret_previous: bool,
}

impl SetWebhookAuth {
    /// Returns the member `webhook_auth` of a request, or `None` if no argument sets a part of it.
    pub(super) fn to_settings(&self) -> Option<EditWebhookAuth> {
        let edit = EditWebhookAuth {
            scheme: self.webhook_auth.map(|scheme| Some(EnumString(scheme))),
            user: self.webhook_user.clone(),
            header: self.webhook_header.clone(),
            tolerance_s: self.webhook_tolerance_s,
            allowed_clients: (!self.webhook_client.is_empty()).then(|| self.webhook_client.clone()),
        };
        (edit != EditWebhookAuth::default()).then_some(edit)
    }

    pub(super) fn read_secret(&self) -> anyhow::Result<Option<SecretText>> {
        let source = self.webhook_secret.as_ref();
        source
            .map(|source| key_value::read_secret_option("webhook-secret", source.as_deref()))
            .transpose()
    }

    pub(super) fn read_previous_secret(&self) -> anyhow::Result<Option<SecretText>> {
        let source = self.webhook_secret_previous.as_ref();
        let read = |source: &Option<String>| {
            key_value::read_secret_option("webhook-secret-previous", source.as_deref())
        };
        source.map(read).transpose()
    }

    /// Returns the member `webhook_auth` of an edit. `None` changes nothing. `Some(None)` removes
    /// all requirements.
    pub(super) fn to_edit(&self, unset: &UnsetWebhookAuth) -> Option<Option<EditWebhookAuth>> {
        if unset.no_webhook_auth {
            return Some(None);
        }
        let mut edit = self.to_settings().unwrap_or_default();
        if unset.any_webhook_client {
            edit.allowed_clients = Some(Vec::new());
        }
        if unset.no_webhook_credential {
            edit.scheme = Some(None);
        }
        (edit != EditWebhookAuth::default()).then_some(Some(edit))
    }
}
