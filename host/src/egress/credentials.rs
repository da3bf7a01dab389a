//! Stores the secrets of one connection, their placeholders, the fetched tokens, and the redactor
//! that finds the secrets and tokens in texts.
//!
//! Secrets cannot be printed. In egress, only `secrets.rs`, `token.rs`, `active.rs` and this file
//! call [`Secret::reveal`].

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use serde_json::Value;
use uuid::Uuid;

use crate::domain::{Connection, SecretPlace, shown_secret_name};
use crate::redact::Redactor;
use crate::secret::{SHORT_SECRET_CHARS, Secret};
use crate::transport::basic_credentials;

use super::token::Tokens;

pub(super) struct Credentials {
    pub(super) secrets: BTreeMap<String, Secret>,
    /// The texts `user:password` that are sent, in base64, in `Authorization: Basic`. An echo of
    /// the pair is redacted as a whole.
    basic_pairs: Vec<Secret>,
    /// The placeholders, by the name of their secret: the texts that the guest gets instead of the
    /// secrets whose place is in a body.
    pub(super) placeholders: BTreeMap<String, String>,
    /// The connection's origins and the texts of its settings. A short secret is not redacted as a
    /// part of one of them.
    own_texts: Vec<String>,
    pub(super) tokens: Tokens,
    /// Finds the secrets and the fetched tokens in texts.
    pub(super) redactor: ArcSwap<Redactor>,
}

impl Credentials {
    pub(super) fn new(connection: &Connection, secrets: BTreeMap<String, Secret>) -> Self {
        let mut placeholders = BTreeMap::new();
        let mut basic_pairs = Vec::new();
        for (name, grant) in &connection.grants.secrets {
            let Some(secret) = secrets.get(name) else { continue };
            match &grant.place {
                SecretPlace::Json { .. } | SecretPlace::Form { .. } => {
                    let text = format!("jackfield-secret-{}", Uuid::new_v4().simple());
                    placeholders.insert(name.clone(), text);
                }
                SecretPlace::Basic { user } => {
                    basic_pairs
                        .push(Secret::new(basic_credentials(user.as_deref(), secret.reveal())));
                }
                _ => {}
            }
        }
        let own_texts = own_texts(connection);
        let redactor = Redactor::new(secrets.values().chain(&basic_pairs), &own_texts);
        Self {
            secrets,
            basic_pairs,
            placeholders,
            own_texts,
            tokens: Tokens::default(),
            redactor: ArcSwap::from_pointee(redactor),
        }
    }

    /// Returns warnings for an operator about short secrets. Each warning names its secret.
    pub(super) fn warnings(&self) -> Vec<String> {
        let is_short = |secret: &Secret| secret.reveal().chars().count() < SHORT_SECRET_CHARS;
        let short_secrets = self.secrets.iter().filter(|(_, secret)| is_short(secret));
        let warning = |(name, secret): (&String, &Secret)| {
            let is_in_own_text = self.own_texts.iter().any(|text| text.contains(secret.reveal()));
            let own_text_note = if is_in_own_text { ", which contain it" } else { "" };
            let name = shown_secret_name(name);
            format!(
                "the secret `{name}` has fewer than {SHORT_SECRET_CHARS} characters: in \
                 the tracker's answers it is redacted only as a whole value or word, and never in the \
                 connection's origin and settings{own_text_note}; set a longer one if the tracker \
                 allows it"
            )
        };
        short_secrets.map(warning).collect()
    }

    pub(super) fn redact_tokens<'a>(&'a self, tokens: impl Iterator<Item = &'a Secret>) {
        let secrets = self.secrets.values().chain(&self.basic_pairs).chain(tokens);
        let redactor = Redactor::new(secrets, &self.own_texts);
        self.redactor.store(Arc::new(redactor));
    }
}

/// The texts of the connection's settings, and its origins with and without the scheme.
fn own_texts(connection: &Connection) -> Vec<String> {
    let mut texts = Vec::new();
    for origin in connection.grants.origins.iter().map(ToString::to_string) {
        texts.extend(origin.split_once("://").map(|(_, authority)| authority.to_owned()));
        texts.push(origin);
    }
    for value in connection.settings.values() {
        match value {
            Value::String(text) => texts.push(text.clone()),
            Value::Array(list) => {
                texts.extend(list.iter().filter_map(Value::as_str).map(str::to_owned));
            }
            _ => {}
        }
    }
    texts
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.secrets.keys()).finish()
    }
}
