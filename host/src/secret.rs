//! Secrets and tokens, which cannot be printed.
//!
//! Never logs or serialises a secret. Only [`Secret::reveal`] returns the whole value, so all its
//! uses are easy to find.

mod keyed;
mod sealer;
mod signature;

use std::env::VarError;
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Component, Path, PathBuf};

use chacha20poly1305::aead::Generate;
use data_encoding::BASE64URL_NOPAD;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::config::AccessError;

pub use keyed::DerivationKey;
pub use sealer::{Sealed, Sealer};
pub use signature::{SignedParts, SigningKey, SigningKeyError};

/// The environment variable for the sealing key, 32 bytes as hex or base64.
pub const KEY_VARIABLE: &str = "JACKFIELD_SECRET_KEY";
/// The environment variable for the new sealing key of a rotation.
pub const NEW_KEY_VARIABLE: &str = "JACKFIELD_NEW_SECRET_KEY";

/// Maximum length of a secret, bytes. The length is limited, because each answer of a tracker is
/// searched for the secret in many encodings.
pub const SECRET_BYTES_MAX: usize = 16 * 1024;
/// Minimum length of a secret, bytes. Redaction would find a shorter secret in ordinary texts too.
pub const SECRET_BYTES_MIN: usize = 4;
/// A secret of fewer characters is redacted only as a whole value or word, because it may be a
/// common word.
pub const SHORT_SECRET_CHARS: usize = 12;
/// Maximum number of borders of a secret, and of each of its prefixes. A border is a proper,
/// non-empty suffix that is also a prefix. With more borders, a search for the secret may need more
/// comparisons.
const BORDERS_MAX: usize = 16;

/// The reason why a secret or a key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The key's text is not 32 bytes of hex or base64.
    #[error("{0} is not a key: give 32 bytes as 64 hex digits or as base64")]
    NotAKey(String),
    /// Other users may read the key, or may have created the key's file.
    #[error(
        "the key is not safe: {0}; then run `jackfield secrets rotate` if the key encrypts secrets"
    )]
    Key(#[source] AccessError),
    /// The key file or a secret's file cannot be read or written.
    #[error("{0}: {1}")]
    File(PathBuf, std::io::Error),
    /// The secret was sealed with another key or for another place, or is damaged.
    #[error(
        "a secret cannot be decrypted with this key: it was encrypted with another key, it belongs to \
         another connection or setting, or it is damaged"
    )]
    Sealed,
    /// The file is outside the folders of `secret_file_roots`.
    #[error("{0} is not in a folder that `secret_file_roots` allows")]
    FileNotAllowed(PathBuf),
    /// The variable contains the sealing key, or its name does not begin with a prefix of
    /// `secret_env_prefixes`.
    #[error(
        "the variable {0} is not allowed: its name must begin with a prefix of \
         `secret_env_prefixes`, and it must not be the server's own key"
    )]
    EnvNotAllowed(String),
    /// The secret is longer than [`SECRET_BYTES_MAX`].
    #[error("it is longer than {SECRET_BYTES_MAX} bytes")]
    TooLong,
    /// The secret is too short to be redacted.
    #[error("it is shorter than {SECRET_BYTES_MIN} bytes, too short to be redacted from logs")]
    TooShort,
    /// The search for the secret would take too long, because its text is too repetitive.
    #[error("it repeats itself too often to be redacted from logs")]
    Repetitive,
    /// The variable is not set, or is blank.
    #[error("the variable {0} is not set in the server's environment, or is empty")]
    EnvMissing(String),
    /// The value of the variable is not UTF-8.
    #[error("the value of the variable {0} is not UTF-8")]
    EnvNotText(String),
}

/// A secret text, which is erased from memory when it is dropped, and is never printed.
#[derive(Clone)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Wraps a text, without any check.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// Reads an environment variable. Returns `None` if the variable is not set or is blank.
    ///
    /// # Errors
    /// The value is not UTF-8.
    pub fn from_variable(name: &str) -> Result<Option<Self>, SecretError> {
        let secret = match std::env::var(name) {
            Ok(text) => Self::new(text).without_line_end(),
            Err(VarError::NotPresent) => return Ok(None),
            Err(VarError::NotUnicode(_)) => return Err(SecretError::EnvNotText(name.to_owned())),
        };
        Ok(Some(secret).filter(|secret| !secret.reveal().trim().is_empty()))
    }

    /// Removes line ends at the end of the text: editors and `echo` add one.
    #[must_use]
    pub fn without_line_end(self) -> Self {
        Self::new(self.0.trim_end_matches(['\r', '\n']).to_owned())
    }

    /// Removes white space at both ends, which is never part of a token.
    #[must_use]
    pub fn trimmed(self) -> Self {
        Self::new(self.0.trim().to_owned())
    }

    /// Makes a new token: 256 random bits as 43 characters that are allowed in a URL.
    #[must_use]
    pub fn fresh_token() -> Self {
        Self::new(BASE64URL_NOPAD.encode(&Zeroizing::new(<[u8; 32]>::generate())[..]))
    }

    /// Returns the text itself, which must never be printed.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Returns the last four characters, so that people can recognise a token.
    #[must_use]
    pub fn last_four_chars(&self) -> String {
        let skip = self.0.chars().count().saturating_sub(4);
        self.0.chars().skip(skip).collect()
    }

    /// Returns whether a text equals this secret. The time of the comparison does not depend on
    /// where the two differ.
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        self.0.as_bytes().ct_eq(text.as_bytes()).into()
    }

    /// Returns this text, or, for `file:/path` and `env:NAME`, the content of that file or
    /// variable.
    ///
    /// # Errors
    /// The reference is not allowed or cannot be read, or the value cannot be redacted.
    pub fn resolve(
        &self,
        file_roots: &[PathBuf],
        env_prefixes: &[String],
    ) -> Result<Self, SecretError> {
        self.resolve_unredacted(file_roots, env_prefixes)?.checked()
    }

    /// Like [`Self::resolve`], without the check that the value can be redacted.
    ///
    /// # Errors
    /// The reference is not allowed or cannot be read, or the value is too long.
    pub fn resolve_unredacted(
        &self,
        file_roots: &[PathBuf],
        env_prefixes: &[String],
    ) -> Result<Self, SecretError> {
        let reference = self.clone().without_line_end();
        let value = reference.dereference(file_roots, env_prefixes)?.without_line_end();
        if value.0.len() > SECRET_BYTES_MAX { Err(SecretError::TooLong) } else { Ok(value) }
    }

    /// Returns whether the text is a reference to a file or a variable.
    #[must_use]
    pub fn is_reference(&self) -> bool {
        ["file:", "env:"].iter().any(|scheme| self.0.starts_with(scheme))
    }

    /// Returns this value if it can be redacted from texts.
    ///
    /// # Errors
    /// The value is too short, too long, or repeats itself too often.
    pub fn checked(self) -> Result<Self, SecretError> {
        match self.0.len() {
            ..SECRET_BYTES_MIN => Err(SecretError::TooShort),
            SECRET_BYTES_MIN..=SECRET_BYTES_MAX
                if border_count_max(self.0.as_bytes()) > BORDERS_MAX =>
            {
                Err(SecretError::Repetitive)
            }
            SECRET_BYTES_MIN..=SECRET_BYTES_MAX => Ok(self),
            _ => Err(SecretError::TooLong),
        }
    }

    /// A text that is not a reference is the value itself.
    fn dereference(
        &self,
        file_roots: &[PathBuf],
        env_prefixes: &[String],
    ) -> Result<Self, SecretError> {
        if let Some(path) = self.0.strip_prefix("file:") {
            return read_file_in_roots(Path::new(path), file_roots);
        }
        let Some(name) = self.0.strip_prefix("env:") else { return Ok(self.clone()) };
        // The sealing key must never be sent to a tracker, even if the prefixes allow its variable.
        let is_key = [KEY_VARIABLE, NEW_KEY_VARIABLE].contains(&name);
        if is_key || !env_prefixes.iter().any(|prefix| name.starts_with(prefix.as_str())) {
            return Err(SecretError::EnvNotAllowed(name.to_owned()));
        }
        Self::from_variable(name)?.ok_or_else(|| SecretError::EnvMissing(name.to_owned()))
    }
}

/// Returns the largest number of borders that the text or one of its prefixes has.
#[expect(
    clippy::indexing_slicing,
    reason = "a border is shorter than its text, so each index is in range"
)]
fn border_count_max(text: &[u8]) -> usize {
    // For each prefix, the length of its longest border and the number of its borders.
    let (mut longest, mut count) = (vec![0; text.len() + 1], vec![0; text.len() + 1]);
    let (mut border, mut count_max) = (0, 0);
    for end in 1..text.len() {
        while border > 0 && text[border] != text[end] {
            border = longest[border];
        }
        border += usize::from(text[border] == text[end]);
        longest[end + 1] = border;
        count[end + 1] = if border == 0 { 0 } else { count[border] + 1 };
        count_max = count_max.max(count[end + 1]);
    }
    count_max
}

/// Reads a secret from a file that is in one of the folders `roots` after symbolic links are
/// resolved. For a path outside these folders, the error does not reveal whether the file exists.
fn read_file_in_roots(path: &Path, roots: &[PathBuf]) -> Result<Secret, SecretError> {
    let failed = |error| SecretError::File(path.to_owned(), error);
    let outside = || SecretError::FileNotAllowed(path.to_owned());
    let leads_up = path.components().any(|part| part == Component::ParentDir);
    let is_named_below = !leads_up && roots.iter().any(|root| path.starts_with(root));
    let real = path.canonicalize();
    let real = real.map_err(|error| if is_named_below { failed(error) } else { outside() })?;
    let mut real_roots = roots.iter().filter_map(|root| root.canonicalize().ok());
    if !real_roots.any(|root| real.starts_with(root)) {
        return Err(outside());
    }
    Ok(Secret::new(std::fs::read_to_string(&real).map_err(failed)?))
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Writes a new file that only its owner may read, and syncs the file to the disk. Also syncs its
/// folder if `path` contains a folder.
///
/// # Errors
/// The file already exists, or cannot be written.
pub fn write_private(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    match path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

/// The hash of a token. The store looks up a token by its hash, so the time of the look-up reveals
/// nothing about the token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TokenHash(pub [u8; 32]);

impl TokenHash {
    /// Returns the hash of a token.
    #[must_use]
    pub fn of(token: &str) -> Self {
        Self(Sha256::digest(token.as_bytes()).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_references_that_the_config_allows_are_resolved() {
        let folder = tempfile::tempdir().unwrap();
        let inside = folder.path().join("roots/key");
        std::fs::create_dir(folder.path().join("roots")).unwrap();
        std::fs::write(&inside, "value\n").unwrap();
        std::fs::write(folder.path().join("outside"), "value").unwrap();
        let roots = [folder.path().join("roots")];
        let resolve =
            |text: String| Secret::new(text).resolve(&roots, &["JACKFIELD_SECRET_".to_owned()]);
        let file = |name: &str| format!("file:{}", folder.path().join(name).display());
        assert_eq!(resolve(file("roots/key")).unwrap().reveal(), "value");
        assert!(matches!(resolve(file("roots/../outside")), Err(SecretError::FileNotAllowed(_))));
        let missing = [file("missing"), file("roots/../missing")];
        for path in missing {
            assert!(matches!(resolve(path), Err(SecretError::FileNotAllowed(_))));
        }
        for variable in ["PATH", KEY_VARIABLE, NEW_KEY_VARIABLE] {
            let refused = resolve(format!("env:{variable}"));
            assert!(matches!(refused, Err(SecretError::EnvNotAllowed(_))), "{variable}");
        }
        assert_eq!(resolve("plain\r\n".to_owned()).unwrap().reveal(), "plain");
        let long: String = (0..SECRET_BYTES_MAX / 4).map(|n| format!("{n:04x}")).collect();
        assert!(resolve(long.clone()).is_ok());
        assert!(matches!(resolve(long + "x"), Err(SecretError::TooLong)));
        assert!(matches!(resolve("abc".to_owned()), Err(SecretError::TooShort)));
    }

    #[test]
    fn a_secret_that_repeats_itself_too_often_is_refused() {
        for (text, count) in
            [("abcd", 0), ("aaaa", 3), ("abab", 1), ("abcabcabc", 2), ("aabaab", 2)]
        {
            assert_eq!(border_count_max(text.as_bytes()), count, "{text}");
        }
        let checked = |text: String| Secret::new(text).checked();
        assert!(checked("0".repeat(17)).is_ok());
        assert!(matches!(checked("0".repeat(18)), Err(SecretError::Repetitive)));
        let repetitive = format!("{}b", "a".repeat(4_000));
        assert!(matches!(checked(repetitive), Err(SecretError::Repetitive)));
    }
}
