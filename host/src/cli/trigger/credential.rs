//! The credential of a triggered webhook request, for connections that require one in addition to
//! the URL.
//!
//! The secret itself is never read from the command line.

use anyhow::Context;
use clap::Args;
use data_encoding::BASE64;
use uuid::Uuid;

use crate::cli::client::Header;
use crate::cli::filter::enum_value_parser;
use crate::cli::key_value;
use crate::domain::{Clock as _, SystemClock, WebhookScheme};
use crate::secret::{Secret, SignedParts, SigningKey};

#[derive(Default, Args)]
pub(super) struct Credential {
    /// The credential that the connection requires in addition to the URL: `bearer`, `basic` (with
    /// --webhook-user), `api-key` (with --webhook-header), or `signature`
    #[arg(long, value_name = "SCHEME", value_parser = enum_value_parser::<WebhookScheme>())]
    #[arg(conflicts_with = "connection", requires = "webhook_secret")]
    webhook_auth: Option<WebhookScheme>,
    /// The user name of `basic`
    #[arg(long, value_name = "NAME", requires = "webhook_auth")]
    webhook_user: Option<String>,
    /// The header of `api-key`
    #[arg(long, value_name = "HEADER", requires = "webhook_auth")]
    webhook_header: Option<String>,
    /// The secret of senders: =file:/PATH, =env:NAME, =@FILE, =- from stdin, no value for a prompt
    #[arg(long, value_name = "SOURCE", num_args = 0..=1, require_equals = true)]
    #[arg(requires = "webhook_auth")]
    webhook_secret: Option<Option<String>>,
}

impl Credential {
    pub(super) fn headers(&self, body: &[u8]) -> anyhow::Result<Vec<Header>> {
        let Some(scheme) = self.webhook_auth else { return Ok(Vec::new()) };
        let secret = self.read_secret()?;
        let authorization = |text: String| vec![("authorization".to_owned(), Secret::new(text))];
        Ok(match scheme {
            WebhookScheme::Bearer => authorization(format!("Bearer {}", secret.reveal())),
            WebhookScheme::Basic => {
                let user = self.webhook_user.as_deref().context("give --webhook-user NAME")?;
                let pair = Secret::new(format!("{user}:{}", secret.reveal()));
                authorization(format!("Basic {}", BASE64.encode(pair.reveal().as_bytes())))
            }
            WebhookScheme::ApiKey => {
                let name = self.webhook_header.clone().context("give --webhook-header HEADER")?;
                vec![(name, secret)]
            }
            WebhookScheme::Signature => signature_headers(&secret, body)?,
        })
    }

    /// Reads the secret. A reference is resolved on this machine, not by the server.
    fn read_secret(&self) -> anyhow::Result<Secret> {
        let source = self.webhook_secret.as_ref().and_then(Option::as_deref);
        let secret = key_value::read_secret_option("webhook-secret", source)?.0;
        secret
            .resolve_unredacted(&["/".into()], &[String::new()])
            .context("cannot read --webhook-secret")
    }
}

/// Signs a request as Standard Webhooks requires, and returns the headers of the signature.
fn signature_headers(secret: &Secret, body: &[u8]) -> anyhow::Result<Vec<Header>> {
    let key = SigningKey::read(secret).context("--webhook-secret is not a key for signatures")?;
    let id = format!("msg_{}", Uuid::new_v4().simple());
    let timestamp = SystemClock.now().as_second().to_string();
    let signature = key.sign(SignedParts { id: &id, timestamp: &timestamp, body });
    let headers = [("id", id), ("timestamp", timestamp), ("signature", signature)];
    Ok(headers.map(|(name, value)| (format!("webhook-{name}"), Secret::new(value))).to_vec())
}
