//! Masks credentials in the query of an outbound call, because events show the query.
//!
//! A query may contain credentials that are not secrets of the connection, such as the signature in
//! a link to a stored file. This file finds such credentials by the names of their parameters.
//! `record.rs` redacts the secrets of the connection.

use crate::redact::MASK;

/// A parameter whose name contains one of these words is a credential.
const CREDENTIAL_WORDS: [&str; 8] =
    ["token", "secret", "password", "passwd", "signature", "credential", "apikey", "session"];
/// A parameter with one of these names is a credential.
const CREDENTIAL_NAMES: [&str; 6] = ["sig", "key", "auth", "authorization", "code", "jwt"];

/// Returns the query with `MASK` instead of the value of each credential.
pub(super) fn mask_credentials(query: &str) -> String {
    let pairs = query.split('&').map(|pair| match pair.split_once('=') {
        Some((name, value)) if !value.is_empty() && is_credential(name) => {
            format!("{name}={MASK}")
        }
        _ => pair.to_owned(),
    });
    pairs.collect::<Vec<_>>().join("&")
}

/// Ignores case, `-`, `_` and `.`.
fn is_credential(name: &str) -> bool {
    let name: String = name.chars().filter(|c| !['-', '_', '.'].contains(c)).collect();
    let name = name.to_ascii_lowercase();
    CREDENTIAL_NAMES.contains(&name.as_str())
        || CREDENTIAL_WORDS.iter().any(|word| name.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_value_of_a_credential_is_masked_by_its_name() {
        for (query, masked_query) in [
            ("subject=~JF-1&limit=2&flag", "subject=~JF-1&limit=2&flag"),
            ("X-Amz-Signature=ab%2F&sig=c&sv=1", "X-Amz-Signature=[secret]&sig=[secret]&sv=1"),
            ("api_key=a&Access_Token=b=c&key=", "api_key=[secret]&Access_Token=[secret]&key="),
            ("author=a&tokens", "author=a&tokens"),
            ("", ""),
        ] {
            assert_eq!(mask_credentials(query), masked_query);
        }
    }

    #[test]
    fn a_credential_is_recognised_by_its_name_or_by_a_word_in_it() {
        for name in ["X-Amz-Signature", "api_key", "Api.Key", "accessToken", "client-secret"] {
            assert!(is_credential(name), "{name}");
        }
        for name in ["key", "_sig", "-code", "auth_"] {
            assert!(is_credential(name), "{name}");
        }
        for name in ["subject", "author", "monkey", "limit", ""] {
            assert!(!is_credential(name), "{name}");
        }
    }
}
