//! The secrets of one connection as egress holds them: values, placeholders, fetched tokens, and the
//! search for their echoes.
//!
//! Nothing here can be printed; what leaves goes through [`Secret::reveal`] in the places that
//! `secrets.rs` and `token.rs` know.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::{Mutex, MutexGuard};
use tokio::time::Instant;
use uuid::Uuid;

use crate::domain::{Grants, SecretGrant, SecretPlace};
use crate::secret::Secret;

use super::scrub::Scrubber;
use super::secrets::pair;

/// Fetched tokens whose echoes are looked for, of each secret: a tracker may still honour the one
/// before the last.
const TOKENS_KEPT: usize = 3;

/// Secrets of one connection.
pub(in crate::connector) struct Vault {
    secrets: BTreeMap<String, Secret>,
    /// User and password as `Authorization: Basic` joins them, so that an echo is found whole.
    pairs: Vec<Secret>,
    placeholders: BTreeMap<String, String>,
    tokens: Mutex<BTreeMap<String, Vec<Token>>>,
    scrubber: ArcSwap<Scrubber>,
}

/// An OAuth access token.
pub(super) struct Token {
    pub(super) value: Secret,
    pub(super) fetched_at: Instant,
    /// When to fetch the next one; a margin before it expires.
    pub(super) until: Instant,
}

/// The fetched tokens, held while one of them is fetched so that nobody fetches it twice.
pub(super) struct Tokens<'a> {
    vault: &'a Vault,
    held: MutexGuard<'a, BTreeMap<String, Vec<Token>>>,
}

impl Vault {
    pub(in crate::connector) fn new(grants: &Grants, secrets: BTreeMap<String, Secret>) -> Self {
        let placeholders = grants
            .secrets
            .iter()
            .filter(|(name, grant)| {
                grant.place == SecretPlace::Placeholder && secrets.contains_key(*name)
            })
            .map(|(name, _)| {
                (name.clone(), format!("jackfield-secret-{}", Uuid::new_v4().simple()))
            })
            .collect();
        let pairs = pairs(grants, &secrets);
        let given = secrets.values().map(Secret::reveal);
        let scrubber = Scrubber::new(given, pairs.iter().map(Secret::reveal));
        Self {
            secrets,
            pairs,
            placeholders,
            tokens: Mutex::default(),
            scrubber: ArcSwap::from_pointee(scrubber),
        }
    }

    /// Whether these are the values of the secrets.
    pub(in crate::connector) fn holds(&self, secrets: &BTreeMap<String, Secret>) -> bool {
        let same = |(name, value): (&String, &Secret)| {
            secrets.get(name).is_some_and(|other| other.matches(value.reveal()))
        };
        self.secrets.len() == secrets.len() && self.secrets.iter().all(same)
    }

    /// A secret's value, where it has one.
    pub(super) fn secret(&self, name: &str) -> Option<&Secret> {
        self.secrets.get(name)
    }

    /// The text that stands for a secret in the guest.
    pub(in crate::connector) fn placeholder(&self, name: &str) -> Option<&str> {
        self.placeholders.get(name).map(String::as_str)
    }

    /// All placeholders with the names of their secrets.
    pub(super) fn placeholders(&self) -> impl Iterator<Item = (&str, &str)> {
        self.placeholders.iter().map(|(name, text)| (name.as_str(), text.as_str()))
    }

    /// The search for echoes, as of now.
    pub(super) fn scrubber(&self) -> Arc<Scrubber> {
        self.scrubber.load_full()
    }

    /// Takes hold of the fetched tokens.
    pub(super) async fn tokens(&self) -> Tokens<'_> {
        Tokens { vault: self, held: self.tokens.lock().await }
    }
}

impl Tokens<'_> {
    /// The token of a client secret, while it lasts.
    pub(super) fn get(&self, name: &str, now: Instant) -> Option<Secret> {
        let newest = self.held.get(name)?.last()?;
        (newest.until > now).then(|| newest.value.clone())
    }

    /// Forgets that the newest token of a client secret lasts: its tracker refused it in a request that was
    /// made then.
    pub(super) fn refuse(&mut self, name: &str, asked_at: Instant) {
        let newest = self.held.get_mut(name).and_then(|kept| kept.last_mut());
        if let Some(newest) = newest.filter(|token| token.fetched_at <= asked_at) {
            newest.until = asked_at;
        }
    }

    /// Keeps a fetched token; its echoes are looked for from now on.
    pub(super) fn put(&mut self, name: &str, token: Token) {
        let kept = self.held.entry(name.to_owned()).or_default();
        kept.push(token);
        if kept.len() > TOKENS_KEPT {
            kept.remove(0);
        }
        let fetched = self.held.values().flatten().map(|token| &token.value);
        let others = fetched.chain(&self.vault.pairs).map(Secret::reveal);
        let given = self.vault.secrets.values().map(Secret::reveal);
        self.vault.scrubber.store(Arc::new(Scrubber::new(given, others)));
    }
}

fn pairs(grants: &Grants, secrets: &BTreeMap<String, Secret>) -> Vec<Secret> {
    let joined = |(name, grant): (&String, &SecretGrant)| match &grant.place {
        SecretPlace::Basic { user } => {
            Some(Secret::new(pair(user.as_deref(), secrets.get(name)?.reveal())))
        }
        _ => None,
    };
    grants.secrets.iter().filter_map(joined).collect()
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.secrets.keys()).finish()
    }
}
