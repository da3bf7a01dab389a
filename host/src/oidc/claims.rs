//! Determines the name and the role of a person from the claims of an ID token.
//!
//! This module never checks the token.

use data_encoding::HEXLOWER;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::config;
use crate::domain::{Account, Role, printable};

use super::OidcError;

/// The number of hexadecimal digits of the hash in the name of an account.
const HASH_CHARS: usize = 16;

/// The claims of an ID token.
pub(super) type Claims = Map<String, Value>;

/// If the values of the role claim map to several roles, the person gets the highest of them.
pub(super) fn account_of(settings: &config::Oidc, claims: &Claims) -> Result<Account, OidcError> {
    let text = |name: &str| claim_value(claims, name).and_then(Value::as_str);
    let name = text(&settings.name_claim).or_else(|| text("sub")).unwrap_or_default();
    let name = account_name(name);
    let person_values = text_values(claim_value(claims, &settings.role_claim));
    let has_role = |(_, role_values): &&(Role, Vec<String>)| {
        role_values.iter().any(|value| person_values.contains(&&**value))
    };
    match settings.roles.iter().filter(has_role).map(|(role, _)| *role).max() {
        Some(role) => {
            let name = format!("{}{name}", Account::OIDC_PREFIX);
            Ok(Account { name, role, connections: None })
        }
        None => Err(OidcError::NoRole { name, claim: settings.role_claim.clone() }),
    }
}

/// Makes a name printable, and short enough. A long name ends with a part of its hash, so that two
/// people with long names have different accounts.
fn account_name(name: &str) -> String {
    let (printable, chars_max) =
        (printable(name), Account::NAME_CHARS_MAX - Account::OIDC_PREFIX.len());
    if printable.chars().count() <= chars_max {
        return printable;
    }
    let hash = HEXLOWER.encode(&Sha256::digest(name)).chars().take(HASH_CHARS).collect::<String>();
    let beginning: String = printable.chars().take(chars_max - HASH_CHARS - 1).collect();
    format!("{beginning}…{hash}")
}

/// A name with dots may also be a path, such as `realm_access.roles`.
fn claim_value<'c>(claims: &'c Claims, name: &str) -> Option<&'c Value> {
    let by_path = || {
        let mut members = name.split('.');
        let first = claims.get(members.next()?)?;
        members.try_fold(first, |value, member| value.get(member))
    };
    claims.get(name).or_else(by_path)
}

/// Returns the texts of a claim that is a text or a list of texts.
fn text_values(claim: Option<&Value>) -> Vec<&str> {
    match claim {
        Some(Value::String(text)) => vec![text],
        Some(Value::Array(items)) => items.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn people_with_long_names_have_different_accounts() {
        let name = |end: &str| account_name(&format!("{}{end}", "ä".repeat(80)));
        assert_ne!(name("1"), name("2"));
        for name in [name("1"), account_name(&"\u{202e}".repeat(90)), account_name("ann")] {
            let chars = name.chars().count() + Account::OIDC_PREFIX.len();
            assert!(chars <= Account::NAME_CHARS_MAX, "{name}");
        }
        assert_eq!(account_name("ann"), "ann");
    }

    fn role_of_person(claim: &str, claims: Value) -> Option<Role> {
        let settings = config::Oidc {
            issuer: "https://id.example".parse().unwrap(),
            client_id: "jackfield".to_owned(),
            client_secret: None,
            scopes: Vec::new(),
            name_claim: "email".to_owned(),
            role_claim: claim.to_owned(),
            roles: vec![
                (Role::Viewer, vec!["staff".to_owned()]),
                (Role::Admin, vec!["ops".to_owned()]),
            ],
        };
        let Value::Object(claims) = claims else { return None };
        account_of(&settings, &claims).ok().map(|account| account.role)
    }

    #[test]
    fn the_highest_role_of_all_values_counts() {
        assert_eq!(
            role_of_person("groups", json!({"groups": ["ops", "staff"]})),
            Some(Role::Admin)
        );
        assert_eq!(role_of_person("groups", json!({"groups": ["x", "staff"]})), Some(Role::Viewer));
        assert_eq!(role_of_person("groups", json!({"groups": "ops"})), Some(Role::Admin));
        let nested = json!({"realm_access": {"roles": ["staff"]}});
        assert_eq!(role_of_person("realm_access.roles", nested), Some(Role::Viewer));
        let dotted = json!({"https://example.com/roles": ["ops"]});
        assert_eq!(role_of_person("https://example.com/roles", dotted), Some(Role::Admin));
    }

    #[test]
    fn a_person_without_a_claim_value_that_maps_to_a_role_has_no_role() {
        for claims in [
            json!({}),
            json!({"groups": []}),
            json!({"groups": ["OPS", "ops "]}),
            json!({"groups": {"ops": true}}),
            json!({"groups": 1}),
        ] {
            assert_eq!(role_of_person("groups", claims.clone()), None, "{claims}");
        }
    }
}
