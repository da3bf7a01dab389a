//! The section `[oidc]`: the identity provider with which browsers sign in.
//!
//! Never contains a secret: the client's secret is a reference to a file or a variable.

use toml::{Table, Value};
use url::Url;

use crate::domain::Role;

use super::read::unknown_key;
use super::values::{KeyError, reference, text, texts};

/// The keys of the section.
pub(super) const KEYS: [&str; 10] = [
    "issuer",
    "client_id",
    "client_secret",
    "scopes",
    "name_claim",
    "role_claim",
    "viewers",
    "operators",
    "authors",
    "admins",
];
/// The keys that are lists.
pub(super) const LISTS: [&str; 5] = ["scopes", "viewers", "operators", "authors", "admins"];

/// The identity provider with which browsers sign in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Oidc {
    /// The issuer; its metadata is at `/.well-known/openid-configuration` below it.
    pub issuer: Url,
    /// The id under which the provider knows this server.
    pub client_id: String,
    /// Where the client's secret is: `file:/path` or `env:NAME`; absent: a public client.
    pub client_secret: Option<String>,
    /// The scopes that are asked for.
    pub scopes: Vec<String>,
    /// The claim with a person's name, for the audit log.
    pub name_claim: String,
    /// The claim with the values that decide about the role.
    pub role_claim: String,
    /// The values of the claim that give each role.
    pub roles: Vec<(Role, Vec<String>)>,
}

/// Reads the section.
pub(super) fn read(table: Table) -> Result<Oidc, KeyError> {
    let (mut issuer, mut client_id, mut client_secret) = (None, None, None);
    let mut scopes = ["openid", "profile", "email"].map(str::to_owned).to_vec();
    let (mut name_claim, mut role_claim) = ("email".to_owned(), "groups".to_owned());
    let mut roles = Vec::new();
    for (key, value) in table {
        let full = format!("oidc.{key}");
        match key.as_str() {
            "issuer" => issuer = Some(issuer_url(&full, &value)?),
            "client_id" => client_id = Some(text(&full, &value)?.to_owned()),
            "client_secret" => client_secret = Some(reference(&full, &value)?),
            "scopes" => scopes = texts(&full, &value)?,
            "name_claim" => name_claim = text(&full, &value)?.to_owned(),
            "role_claim" => role_claim = text(&full, &value)?.to_owned(),
            "viewers" => roles.push((Role::Viewer, texts(&full, &value)?)),
            "operators" => roles.push((Role::Operator, texts(&full, &value)?)),
            "authors" => roles.push((Role::Author, texts(&full, &value)?)),
            "admins" => roles.push((Role::Admin, texts(&full, &value)?)),
            _ => return Err(unknown_key(&key, KEYS.into_iter(), "oidc.")),
        }
    }
    if !scopes.iter().any(|scope| scope == "openid") {
        return Err("`oidc.scopes` must contain \"openid\"".to_owned());
    }
    if roles.iter().all(|(_, values)| values.is_empty()) {
        let why = "[oidc] gives no person a role: list values of the claim `oidc.role_claim` in \
                   `oidc.viewers`, `oidc.operators`, `oidc.authors` or `oidc.admins`";
        return Err(why.to_owned());
    }
    let missing = |key: &str| format!("[oidc] needs `oidc.{key}`");
    Ok(Oidc {
        issuer: issuer.ok_or_else(|| missing("issuer"))?,
        client_id: client_id.ok_or_else(|| missing("client_id"))?,
        client_secret,
        scopes,
        name_claim,
        role_claim,
        roles,
    })
}

fn issuer_url(key: &str, value: &Value) -> Result<Url, KeyError> {
    let url: Option<Url> = text(key, value)?.parse().ok();
    let is_local = |url: &Url| matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"));
    let is_valid = |url: &Url| {
        (url.scheme() == "https" || url.scheme() == "http" && is_local(url))
            && url.query().is_none()
            && url.fragment().is_none()
    };
    url.filter(is_valid).ok_or_else(|| {
        format!(
            "`{key}` must be an https:// address (http:// only for this machine), without a query"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "issuer = \"https://id.example/realm\"\nclient_id = \"jackfield\"\n";

    fn error(lines: &str) -> Option<String> {
        read(lines.parse().expect("TOML")).err()
    }

    #[test]
    fn what_is_missing_or_wrong_is_named() {
        assert_eq!(error(&format!("{GOOD}admins = [\"ops\"]")), None);
        for (lines, named) in [
            ("client_id = \"x\"\nadmins = [\"a\"]".to_owned(), "oidc.issuer"),
            ("issuer = \"https://x.example\"\nadmins = [\"a\"]".to_owned(), "oidc.client_id"),
            (GOOD.to_owned(), "oidc.admins"),
            (format!("{GOOD}admins = []"), "oidc.admins"),
            (format!("{GOOD}admins = [\"a\"]\nscopes = [\"email\"]"), "openid"),
            (format!("{GOOD}admins = [\"a\"]\nclient_secret = \"hunter2\""), "file:"),
            (format!("{GOOD}admin = [\"a\"]"), "oidc.admins"),
            ("issuer = \"http://id.example\"".to_owned(), "https://"),
        ] {
            let error = error(&lines).unwrap_or_default();
            assert!(error.contains(named) && !error.contains("hunter2"), "{lines}: {error}");
        }
    }
}
