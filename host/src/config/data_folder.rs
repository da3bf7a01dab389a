//! The layout of the data folder: where each of its files is. Never touches one.

use std::path::{Path, PathBuf};

/// The data folder's files, by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataFolder(PathBuf);

impl DataFolder {
    /// The layout of this folder.
    #[must_use]
    pub fn at(folder: &Path) -> Self {
        Self(folder.to_owned())
    }

    /// The folder itself.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Locked by the one process that serves the folder.
    #[must_use]
    pub fn lock(&self) -> PathBuf {
        self.0.join("lock")
    }

    /// The database.
    #[must_use]
    pub fn database(&self) -> PathBuf {
        self.0.join("jackfield.db")
    }

    /// The token of the admin API.
    #[must_use]
    pub fn admin_token(&self) -> PathBuf {
        self.0.join("admin-token")
    }

    /// The key that seals secrets.
    #[must_use]
    pub fn secret_key(&self) -> PathBuf {
        self.0.join("secret-key")
    }

    /// The next key, while secrets are sealed with it.
    #[must_use]
    pub fn next_secret_key(&self) -> PathBuf {
        self.0.join("secret-key.next")
    }

    /// The last key of the folder, after a rotation to a key from the environment.
    #[must_use]
    pub fn old_secret_key(&self) -> PathBuf {
        self.0.join("secret-key.old")
    }

    /// Temporary files of runs, for large bodies; without a name, so that it looks empty.
    #[must_use]
    pub fn spool(&self) -> PathBuf {
        self.0.join("spool")
    }

    /// The key that seals the digests of compiled code. If it is lost, everything is compiled again.
    #[must_use]
    pub fn compiled_key(&self) -> PathBuf {
        self.0.join("compiled-key")
    }

    /// Compiled code, and the files that it was compiled from.
    #[must_use]
    pub fn compiled(&self) -> PathBuf {
        self.0.join("compiled")
    }
}
