//! The path of each file in the data folder. Never opens a file.

use std::path::{Path, PathBuf};

/// The paths of the files in the data folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataFolder(PathBuf);

impl DataFolder {
    /// Returns the layout of the data folder at this path. Creates nothing.
    #[must_use]
    pub fn at(folder: &Path) -> Self {
        Self(folder.to_owned())
    }

    /// Returns the path of the folder itself.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Returns the path of the file that the server locks.
    #[must_use]
    pub fn lock(&self) -> PathBuf {
        self.0.join("lock")
    }

    /// Returns the path of the SQLite database.
    #[must_use]
    pub fn database(&self) -> PathBuf {
        self.0.join("jackfield.db")
    }

    /// Returns the path of the file with the number of starts of all servers of a PostgreSQL store.
    #[must_use]
    pub fn postgres_starts(&self) -> PathBuf {
        self.0.join("postgres.starts")
    }

    /// Returns the path to which a database is renamed when a restored backup replaces it.
    #[must_use]
    pub fn replaced_database(&self, time_ms: i64) -> PathBuf {
        self.0.join(format!("jackfield.db.replaced-{time_ms}"))
    }

    /// Returns the path that a copy of the database has until the copy is complete.
    #[must_use]
    pub fn incomplete_database(&self) -> PathBuf {
        self.0.join("jackfield.db.incomplete")
    }

    /// Returns the path of the file with the first admin token.
    #[must_use]
    pub fn admin_token(&self) -> PathBuf {
        self.0.join("admin-token")
    }

    /// Returns the path of the file with the key that seals secrets.
    #[must_use]
    pub fn secret_key(&self) -> PathBuf {
        self.0.join("secret-key")
    }

    /// Returns the path of the file with the new sealing key during a rotation.
    #[must_use]
    pub fn next_secret_key(&self) -> PathBuf {
        self.0.join("secret-key.next")
    }

    /// Returns the path of the key that was used before a rotation to a key from the environment.
    #[must_use]
    pub fn old_secret_key(&self) -> PathBuf {
        self.0.join("secret-key.old")
    }

    /// Returns the folder for temporary files with large bodies. The files have no name, so the
    /// folder looks empty.
    #[must_use]
    pub fn spool_folder(&self) -> PathBuf {
        self.0.join("spool")
    }

    /// Returns the folder for copies of the connector files that are or were in use.
    #[must_use]
    pub fn versions_folder(&self) -> PathBuf {
        self.0.join("versions")
    }

    /// Returns the path of the key that seals the digests of compiled code. If this key is lost,
    /// all connectors are compiled again.
    #[must_use]
    pub fn compiled_key(&self) -> PathBuf {
        self.0.join("compiled-key")
    }

    /// Returns the folder for compiled code.
    #[must_use]
    pub fn compiled_folder(&self) -> PathBuf {
        self.0.join("compiled")
    }
}

/// Returns the two files that SQLite keeps beside a database: the write-ahead log and its index.
#[must_use]
pub fn database_logs(database: &Path) -> [PathBuf; 2] {
    ["-wal", "-shm"].map(|suffix| {
        let mut name = database.as_os_str().to_owned();
        name.push(suffix);
        PathBuf::from(name)
    })
}
