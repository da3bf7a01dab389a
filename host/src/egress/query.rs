//! The query of an outbound call as events show it: without the values of credentials.
//!
//! Secrets of the connection are redacted apart from this. The names are for credentials that the
//! host does not know, such as the signature in a link to a stored file.

use crate::redact::{MASK, names_credential};

/// A parameter with one of these names is a credential, too.
const CREDENTIAL_NAMES: [&str; 6] = ["sig", "key", "auth", "authorization", "code", "jwt"];

/// The query with each credential masked.
pub(super) fn masked(query: &str) -> String {
    let pairs = query.split('&').map(|pair| match pair.split_once('=') {
        Some((name, value)) if !value.is_empty() && is_credential(name) => {
            format!("{name}={MASK}")
        }
        _ => pair.to_owned(),
    });
    pairs.collect::<Vec<_>>().join("&")
}

fn is_credential(name: &str) -> bool {
    CREDENTIAL_NAMES.iter().any(|it| it.eq_ignore_ascii_case(name)) || names_credential(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_value_of_a_credential_is_masked_by_its_name() {
        for (query, shown) in [
            ("subject=~JF-1&limit=2&flag", "subject=~JF-1&limit=2&flag"),
            ("X-Amz-Signature=ab%2F&sig=c&sv=1", "X-Amz-Signature=[secret]&sig=[secret]&sv=1"),
            ("api_key=a&Access_Token=b=c&key=", "api_key=[secret]&Access_Token=[secret]&key="),
            ("author=a&tokens", "author=a&tokens"),
            ("", ""),
        ] {
            assert_eq!(masked(query), shown);
        }
    }
}
