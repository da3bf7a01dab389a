//! The section `[oidc]`: the identity provider with which browsers sign in.
//!
//! This section never contains a secret: `client_secret` is a reference to a file or a variable.

use toml::{Table, Value};
use url::Url;

use crate::domain::Role;

use super::read::unknown_key;
use super::values::{KeyError, read_secret_reference, read_text, read_texts};

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
/// The keys whose values are lists.
pub(super) const LIST_KEYS: [&str; 5] = ["scopes", "viewers", "operators", "authors", "admins"];

/// The identity provider with which browsers sign in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Oidc {
    /// The URL of the issuer.
    pub issuer: Url,
    /// The client id of this server at the provider.
    pub client_id: String,
    /// The reference to the client's secret, `file:/path` or `env:NAME`; `None` for a public
    /// client.
    pub client_secret: Option<String>,
    /// The OAuth scopes that are requested when a person signs in.
    pub scopes: Vec<String>,
    /// The claim that contains the name of a person.
    pub name_claim: String,
    /// The claim whose values decide which role a person gets.
    pub role_claim: String,
    /// The configured roles, each with the values of the claim `role_claim` that grant it.
    pub roles: Vec<(Role, Vec<String>)>,
}

pub(super) fn read(table: Table) -> Result<Oidc, KeyError> {
    let (mut issuer, mut client_id, mut client_secret) = (None, None, None);
    let mut scopes = ["openid", "profile", "email"].map(str::to_owned).to_vec();
    let (mut name_claim, mut role_claim) = ("email".to_owned(), "groups".to_owned());
    let mut roles = Vec::new();
    for (key, value) in table {
        let full_key = format!("oidc.{key}");
        match key.as_str() {
            "issuer" => issuer = Some(read_issuer_url(&full_key, &value)?),
            "client_id" => client_id = Some(read_text(&full_key, &value)?.to_owned()),
            "client_secret" => client_secret = Some(read_secret_reference(&full_key, &value)?),
            "scopes" => scopes = read_texts(&full_key, &value)?,
            "name_claim" => name_claim = read_text(&full_key, &value)?.to_owned(),
            "role_claim" => role_claim = read_text(&full_key, &value)?.to_owned(),
            "viewers" => roles.push((Role::Viewer, read_texts(&full_key, &value)?)),
            "operators" => roles.push((Role::Operator, read_texts(&full_key, &value)?)),
            "authors" => roles.push((Role::Author, read_texts(&full_key, &value)?)),
            "admins" => roles.push((Role::Admin, read_texts(&full_key, &value)?)),
            _ => return Err(unknown_key(&key, KEYS.into_iter(), "oidc.")),
        }
    }
    if !scopes.iter().any(|scope| scope == "openid") {
        return Err("`oidc.scopes` must contain \"openid\"".to_owned());
    }
    if roles.iter().all(|(_, values)| values.is_empty()) {
        let why = "[oidc] grants no role to any person: list values of the claim \
                   `oidc.role_claim` in `oidc.viewers`, `oidc.operators`, `oidc.authors` or `oidc.admins`";
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

fn read_issuer_url(key: &str, value: &Value) -> Result<Url, KeyError> {
    let url: Option<Url> = read_text(key, value)?.parse().ok();
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

    const VALID_LINES: &str = "issuer = \"https://id.example/realm\"\nclient_id = \"jackfield\"\n";

    fn read_error(lines: &str) -> Option<String> {
        read(lines.parse().expect("TOML")).err()
    }

    #[test]
    fn a_missing_or_invalid_key_is_reported() {
        assert_eq!(read_error(&format!("{VALID_LINES}admins = [\"ops\"]")), None);
        for (lines, expected) in [
            ("client_id = \"x\"\nadmins = [\"a\"]".to_owned(), "oidc.issuer"),
            ("issuer = \"https://x.example\"\nadmins = [\"a\"]".to_owned(), "oidc.client_id"),
            (VALID_LINES.to_owned(), "oidc.admins"),
            (format!("{VALID_LINES}admins = []"), "oidc.admins"),
            (format!("{VALID_LINES}admins = [\"a\"]\nscopes = [\"email\"]"), "openid"),
            (format!("{VALID_LINES}admins = [\"a\"]\nclient_secret = \"hunter2\""), "file:"),
            (format!("{VALID_LINES}admin = [\"a\"]"), "oidc.admins"),
            ("issuer = \"http://id.example\"".to_owned(), "https://"),
        ] {
            let error = read_error(&lines).unwrap_or_default();
            assert!(error.contains(expected) && !error.contains("hunter2"), "{lines}: {error}");
        }
    }
}
