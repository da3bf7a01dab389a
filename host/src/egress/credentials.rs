//! The secrets of one connection: values, placeholders, fetched tokens, and the search for their
//! echoes.
//!
//! Cannot be printed. A value is read with [`Secret::reveal`], in `secrets.rs` and `token.rs`
//! only, and to build the search.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use uuid::Uuid;

use crate::domain::{Grants, SecretPlace};
use crate::secret::Secret;

use super::redact::Redactor;
use super::secrets::basic_pair;
use super::token::Tokens;

/// The secrets of one connection.
pub(super) struct Credentials {
    /// The values, by name.
    pub(super) secrets: BTreeMap<String, Secret>,
    /// User and password as `Authorization: Basic` joins them, so that an echo is found as a
    /// whole.
    basic_pairs: Vec<Secret>,
    /// The text that the guest gets instead of each secret whose place is in a body, by name.
    pub(super) placeholders: BTreeMap<String, String>,
    pub(super) tokens: Tokens,
    /// The current search; replaced when a token is fetched.
    pub(super) redactor: ArcSwap<Redactor>,
}

impl Credentials {
    pub(super) fn new(grants: &Grants, secrets: BTreeMap<String, Secret>) -> Self {
        let mut placeholders = BTreeMap::new();
        let mut basic_pairs = Vec::new();
        for (name, grant) in &grants.secrets {
            let Some(secret) = secrets.get(name) else { continue };
            match &grant.place {
                SecretPlace::Json { .. } | SecretPlace::Form { .. } => {
                    let text = format!("jackfield-secret-{}", Uuid::new_v4().simple());
                    placeholders.insert(name.clone(), text);
                }
                SecretPlace::Basic { user } => {
                    basic_pairs.push(Secret::new(basic_pair(user.as_deref(), secret.reveal())));
                }
                _ => {}
            }
        }
        let redactor = Redactor::new(secrets.values().chain(&basic_pairs));
        Self {
            secrets,
            basic_pairs,
            placeholders,
            tokens: Tokens::default(),
            redactor: ArcSwap::from_pointee(redactor),
        }
    }

    /// Searches for these fetched tokens too, from now on.
    pub(super) fn redact_tokens<'a>(&'a self, tokens: impl Iterator<Item = &'a Secret>) {
        let redactor = Redactor::new(self.secrets.values().chain(&self.basic_pairs).chain(tokens));
        self.redactor.store(Arc::new(redactor));
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.secrets.keys()).finish()
    }
}
