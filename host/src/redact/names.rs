//! Names under which credentials are sent, in queries and in headers.
//!
//! For credentials that the host does not know: secrets of a connection are found by their value.

/// A name with one of these words in it is the name of a credential.
const CREDENTIAL_WORDS: [&str; 8] =
    ["token", "secret", "password", "passwd", "signature", "credential", "apikey", "session"];

/// Whether a name of a parameter or header says that its value is a credential.
pub(crate) fn names_credential(name: &str) -> bool {
    let name: String = name.chars().filter(|c| !['-', '_', '.'].contains(c)).collect();
    let name = name.to_ascii_lowercase();
    CREDENTIAL_WORDS.iter().any(|word| name.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_credential_is_known_by_a_word_in_its_name() {
        for name in ["X-Amz-Signature", "api_key", "Api.Key", "accessToken", "client-secret"] {
            assert!(names_credential(name), "{name}");
        }
        for name in ["subject", "author", "key", "monkey", "limit", ""] {
            assert!(!names_credential(name), "{name}");
        }
    }
}
