//! The reasons why the server cannot run connectors, or cannot use one connector's file.
//!
//! Texts that come from a connector are shortened, because a connector is untrusted.

use std::io;
use std::path::PathBuf;

use crate::config::AccessError;
use crate::domain::{InvalidName, Refusal};
use crate::manifest::InvalidManifest;
use crate::runtime::{CannotRun, CompileError, LoadError, PrepareError, shortened};
use crate::secret::SecretError;

/// The reason why the server cannot run connectors.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The folder of connectors or of compiled code cannot be created.
    #[error("cannot create the folder {}: {source}", .folder.display())]
    CreateFolder {
        /// The path of the folder.
        folder: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// The folder of connectors or of compiled code cannot be read.
    #[error("cannot read the folder {}: {source}", .folder.display())]
    ReadFolder {
        /// The path of the folder.
        folder: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// The folder of compiled code is not safe to use, for example because other users have access
    /// to it.
    #[error("cannot use the folder of compiled code, from which the server runs code: {0}")]
    Access(#[from] AccessError),
    /// The key that seals the digests of compiled code cannot be used.
    #[error("cannot use the key of the compiled code; if it is damaged, remove its file: {0}")]
    Key(#[from] SecretError),
    /// The file of this program, which is also the compiler, cannot be opened.
    #[error(
        "cannot open /proc/self/exe: {0}. Mount /proc: Jackfield starts this file again to compile \
         connectors"
    )]
    Compiler(#[source] io::Error),
    /// The system does not run compiled code, or the check of this failed.
    #[error(transparent)]
    CannotRun(#[from] CannotRun),
}

/// The reason why the host cannot use a connector's file.
#[derive(Debug, thiserror::Error)]
pub enum PluginError {
    /// The stem of the file's name is not a valid connector name.
    #[error("{0}; rename the file")]
    Name(#[from] InvalidName),
    /// The file's name ends in neither `.wasm` nor `.js`.
    #[error("the name of a connector's file must end in .wasm, or .js if it is a script")]
    Extension,
    /// The folder has a component and a script with this name.
    #[error(
        "there is both a .wasm file and a .js file with this name: remove one; until then, neither \
         is loaded"
    )]
    TwoFiles,
    /// The file cannot be read from the folder or from the store.
    #[error("cannot read the file: {0}")]
    Read(#[source] io::Error),
    /// The path names something that is not a regular file, for example a folder.
    #[error("not a regular file")]
    NotAFile,
    /// The file is larger than `limits.component_bytes`.
    #[error("the file has {bytes} bytes: over `limits.component_bytes` = {bytes_max}")]
    TooLarge {
        /// The size of the file.
        bytes: u64,
        /// The value of `limits.component_bytes`.
        bytes_max: u64,
    },
    /// The script is larger than the maximum size of a script.
    #[error(
        "the script has {bytes} bytes; the maximum is {bytes_max}: leave out code that it does not \
         use, or build it into a component"
    )]
    ScriptTooLarge {
        /// The size of the file.
        bytes: u64,
        /// The maximum size of a script.
        bytes_max: u64,
    },
    /// The script is not UTF-8 text. The number is the position of the first wrong byte, from 1.
    #[error("the script is not UTF-8 text: byte {0} is wrong")]
    NotText(usize),
    /// The runner refused the script. The text contains the reason and the place in the script.
    #[error("{}", shortened(.0))]
    Script(String),
    /// The run in which the runner loads the script had no result, for example because it exceeded
    /// a limit.
    #[error("loading the script failed: {}", shortened(&.0.to_string()))]
    Prepare(#[source] Refusal),
    /// The component, or the runner of scripts, cannot be compiled.
    #[error(transparent)]
    Compile(#[from] CompileError),
    /// The compiler exceeded a limit or died in an earlier attempt to compile the file.
    #[error(
        "{reason}; the file is compiled again only with more time, with 1.5 times the memory, or after {} \
         is deleted", .file.display()
    )]
    DiedBefore {
        /// The error of the earlier attempt.
        reason: String,
        /// The path of the record of the attempts.
        file: PathBuf,
    },
    /// The server was killed in several attempts to compile the file.
    #[error(
        "the server was killed {times} times while it compiled this file; the kernel does that when \
         memory runs out: give the machine or the container more memory, or delete {} to try again",
        .file.display()
    )]
    EndedBefore {
        /// The number of attempts in which the server was killed.
        times: u32,
        /// The path of the record of the attempts.
        file: PathBuf,
    },
    /// The content of the file keeps changing.
    #[error("the file keeps changing: copy it under another name, then rename it")]
    KeepsChanging,
    /// The task that loads the file panicked or took too long. The text says which of them.
    #[error("loading the file {0}; the server tries again")]
    Unfinished(&'static str),
    /// The compiled connector cannot be loaded.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The connector's `describe` failed.
    #[error("its `describe` failed: {}", shortened(&.0.to_string()))]
    Describe(#[source] Refusal),
    /// The manifest that `describe` returned is invalid.
    #[error("{}", shortened(&.0.to_string()))]
    Manifest(#[from] InvalidManifest),
    /// The compiled code, or the record of an attempt to compile, cannot be stored.
    #[error("cannot store the compiled code: {0}")]
    Store(#[source] io::Error),
    /// The stored file of a version was changed after it was stored.
    #[error("{} was changed after it was stored: its SHA-256 differs", .0.display())]
    SourceChanged(PathBuf),
    /// The plugins folder cannot be read or changed.
    #[error("cannot read or change the plugins folder: {0}")]
    Folder(#[source] io::Error),
    /// The store has no file with this SHA-256, or its copy of the file is damaged.
    #[error("the store does not have the file with the SHA-256 {0}, or its content is damaged")]
    NotStored(String),
    /// No file can be loaded, for example because the key of the compiled code cannot be used.
    #[error(transparent)]
    Start(#[from] StartError),
}

impl From<PrepareError> for PluginError {
    fn from(error: PrepareError) -> Self {
        match error {
            PrepareError::Run(refusal) => Self::Prepare(refusal),
            PrepareError::Script(why) => Self::Script(why),
        }
    }
}

impl PluginError {
    /// Whether a later attempt with the same file may succeed, because the cause may be temporary,
    /// for example too little memory.
    pub(super) fn may_be_temporary(&self) -> bool {
        match self {
            Self::Read(_)
            | Self::Store(_)
            | Self::KeepsChanging
            | Self::DiedBefore { .. }
            | Self::EndedBefore { .. }
            | Self::Unfinished(_) => true,
            Self::Describe(refusal) | Self::Prepare(refusal) => {
                use Refusal::{HostMemoryFull, Overloaded, ShuttingDown};
                matches!(refusal, HostMemoryFull { .. } | Overloaded | ShuttingDown)
            }
            Self::Compile(error) => error.may_be_temporary(),
            _ => false,
        }
    }
}
