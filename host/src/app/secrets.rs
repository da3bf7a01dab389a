//! Reads the secrets to which keys of the configuration refer. Never stores or prints them.

use anyhow::{Context as _, bail};

use crate::config::Config;
use crate::secret::Secret;

/// Minimum length of `proxy_secret`, characters. A shorter secret could be guessed.
const PROXY_SECRET_CHARS_MIN: usize = 16;

pub(super) fn read_secret(config: &Config, reference: &str, key: &str) -> anyhow::Result<Secret> {
    let (roots, prefixes) = (&config.secret_file_roots, &config.secret_env_prefixes);
    let secret = Secret::new(reference.to_owned()).resolve_unredacted(roots, prefixes);
    secret.with_context(|| format!("cannot read the secret to which `{key}` refers"))
}

/// Reads the secret with which the proxy that signs people in proves its identity; `None` if no
/// secret is configured.
pub(super) fn read_proxy_secret(config: &Config) -> anyhow::Result<Option<Secret>> {
    let secret = config.proxy_secret.as_deref();
    let secret =
        secret.map(|reference| read_secret(config, reference, "proxy_secret")).transpose()?;
    let secret = secret.map(Secret::trimmed);
    if secret
        .as_ref()
        .is_some_and(|secret| secret.reveal().chars().count() < PROXY_SECRET_CHARS_MIN)
    {
        bail!(
            "the secret to which `proxy_secret` refers has fewer than {PROXY_SECRET_CHARS_MIN} \
             characters: use a random secret, such as the output of `openssl rand -hex 32`"
        );
    }
    Ok(secret)
}
