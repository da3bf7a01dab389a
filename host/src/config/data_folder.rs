//! The layout of the data folder: the path of each file. Never opens a file.

use std::path::{Path, PathBuf};

/// The paths of the files in the data folder.
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

    /// The lock file, which is locked by the server that uses the folder.
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

    /// The new key, during a rotation.
    #[must_use]
    pub fn next_secret_key(&self) -> PathBuf {
        self.0.join("secret-key.next")
    }

    /// The folder's last key, after a rotation to a key from the environment.
    #[must_use]
    pub fn old_secret_key(&self) -> PathBuf {
        self.0.join("secret-key.old")
    }

    /// The folder for temporary files with large bodies. The files have no name, so the folder
    /// looks empty.
    #[must_use]
    pub fn spool(&self) -> PathBuf {
        self.0.join("spool")
    }

    /// The key that seals the digests of compiled code. If it is lost, everything is compiled
    /// again.
    #[must_use]
    pub fn compiled_key(&self) -> PathBuf {
        self.0.join("compiled-key")
    }

    /// The folder for compiled code, and for the files that it was compiled from.
    #[must_use]
    pub fn compiled(&self) -> PathBuf {
        self.0.join("compiled")
    }
}
