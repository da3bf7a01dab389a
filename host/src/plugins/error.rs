//! Why the server cannot serve connectors, and why it cannot use one connector's file.
//!
//! The log, the admin API and `jackfield check` show these texts. A text that a connector wrote is
//! shortened.

use std::io;
use std::path::PathBuf;

use crate::config::AccessError;
use crate::domain::{InvalidName, Refusal};
use crate::manifest::InvalidManifest;
use crate::runtime::{CannotRun, CompileError, LoadError, shortened};
use crate::secret::SecretError;

/// Why the server cannot serve connectors.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The folder of connectors or of compiled code cannot be created.
    #[error("cannot create the folder {}: {source}", .folder.display())]
    CreateFolder {
        /// The folder.
        folder: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The folder of connectors or of compiled code cannot be read.
    #[error("cannot read the folder {}: {source}", .folder.display())]
    ReadFolder {
        /// The folder.
        folder: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The folder of compiled code is not safe.
    #[error("the server would run code from this folder: {0}")]
    Access(#[from] AccessError),
    /// The key that seals the digests of compiled code cannot be used.
    #[error("cannot use the key of the compiled code, remove it if it is damaged: {0}")]
    Key(#[from] SecretError),
    /// The path of this program, which is also the compiler, is unknown.
    #[error("cannot open /proc/self/exe, this program, which is also the compiler: {0}")]
    Compiler(#[source] io::Error),
    /// Compiled code cannot be run.
    #[error(transparent)]
    CannotRun(#[from] CannotRun),
}

/// Why the host cannot use a connector's file.
#[derive(Debug, thiserror::Error)]
pub enum PluginError {
    /// The file's name is not a connector's.
    #[error("{0}; rename the file")]
    Name(#[from] InvalidName),
    /// The file's name does not end in `.wasm`.
    #[error("the name of a connector's file must end in .wasm")]
    Extension,
    /// The file cannot be read.
    #[error("cannot read the file: {0}")]
    Read(#[source] io::Error),
    /// It is a folder or a device.
    #[error("not a regular file")]
    NotAFile,
    /// It is too large.
    #[error("the file has {bytes} bytes: over `limits.component_bytes` = {bytes_max}")]
    TooLarge {
        /// Its size.
        bytes: u64,
        /// The limit.
        bytes_max: u64,
    },
    /// It cannot be compiled.
    #[error(transparent)]
    Compile(#[from] CompileError),
    /// The compiler died at an earlier attempt.
    #[error(
        "{reason}; the file is compiled again only with more time, with 1.5 times the memory, or after {} \
         is deleted", .file.display()
    )]
    DiedBefore {
        /// Why.
        reason: String,
        /// The record of the attempts.
        file: PathBuf,
    },
    /// The server was killed while it compiled the file.
    #[error(
        "the server was killed {times} times while it compiled this file; the kernel does that when \
         memory runs out: give the machine or the container more memory, or delete {} to try again",
        .file.display()
    )]
    EndedBefore {
        /// How often.
        times: u32,
        /// The record of the attempts.
        file: PathBuf,
    },
    /// Its content keeps changing.
    #[error("the file keeps changing: copy it under another name, then rename it")]
    KeepsChanging,
    /// The task that loads it panicked, or takes too long.
    #[error("loading it {0}; the server tries again")]
    Unfinished(&'static str),
    /// It cannot be loaded.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// Its `describe` failed.
    #[error("its `describe` failed: {}", shortened(&.0.to_string()))]
    Describe(#[source] Refusal),
    /// Its manifest is invalid.
    #[error("{}", shortened(&.0.to_string()))]
    Manifest(#[from] InvalidManifest),
    /// Compiled code cannot be stored.
    #[error("cannot store the compiled code: {0}")]
    Store(#[source] io::Error),
    /// The stored file of an accepted version is not the one that was accepted.
    #[error("{} was changed after it was stored: its SHA-256 differs", .0.display())]
    SourceChanged(PathBuf),
    /// The loader does not start.
    #[error(transparent)]
    Start(#[from] StartError),
}

impl PluginError {
    /// Whether the cause may be temporary: the state of the machine, which may change although the
    /// file does not.
    pub(super) fn may_be_temporary(&self) -> bool {
        match self {
            Self::Read(_)
            | Self::Store(_)
            | Self::KeepsChanging
            | Self::DiedBefore { .. }
            | Self::EndedBefore { .. }
            | Self::Unfinished(_) => true,
            Self::Compile(error) => error.may_be_temporary(),
            _ => false,
        }
    }
}
