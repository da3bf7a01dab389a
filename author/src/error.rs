//! The errors of creating and building a project.

use std::io;
use std::path::PathBuf;

use crate::{Engine, Language};

/// The reason why a project cannot be created or built. Its text also says what to do.
#[derive(Debug, thiserror::Error)]
pub enum AuthorError {
    /// The name does not follow the rules for names of connectors.
    #[error(
        "`{0}` cannot be the name of a connector: use 1 to 64 characters of a-z, 0-9 and `-`, \
         because the name of its file is the connector's name"
    )]
    Name(String),
    /// The folder of the new project already exists.
    #[error("{} exists already: choose another name, or remove it first", .0.display())]
    Exists(PathBuf),
    /// The example does not exist in this language.
    #[error("the example {example} does not exist in {}: choose {languages}", language.name())]
    NoExample {
        /// The example.
        example: &'static str,
        /// The language.
        language: Language,
        /// The languages that have the example.
        languages: String,
    },
    /// The engine does not run the language.
    #[error("the engine {} runs javascript, not {}: remove `--engine`", engine.name(), language.name())]
    NoEngine {
        /// The engine.
        engine: Engine,
        /// The language.
        language: Language,
    },
    /// The folder is not a project.
    #[error(
        "{} is not the project of a connector: the folder contains no Cargo.toml, package.json, \
         requirements.txt, connector.c, connector.cpp, go.mod or {name}.js; `jackfield new` creates a project", folder.display()
    )]
    NoProject {
        /// The folder.
        folder: PathBuf,
        /// The name that the connector would have.
        name: String,
    },
    /// A file or folder cannot be read or written.
    #[error("cannot {action} {}: {source}", path.display())]
    Disk {
        /// The operation that failed, such as "create" or "read".
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// A tool is not installed.
    #[error("{program} is needed and cannot be run ({source}): {fix}")]
    NoTool {
        /// The tool's program.
        program: String,
        /// The system's reason.
        source: io::Error,
        /// An instruction that installs the program.
        fix: &'static str,
    },
    /// A tool is too old.
    #[error("{program} {found} is too old, at least {oldest} is needed: {fix}")]
    OldTool {
        /// The tool's program.
        program: &'static str,
        /// The installed version.
        found: String,
        /// The oldest version that works.
        oldest: String,
        /// An instruction that updates the program.
        fix: &'static str,
    },
    /// A tool does not print its version. An example is rustup's `rustc` without a toolchain.
    #[error("`{program} --version` failed, or printed no version: {fix}")]
    NoVersion {
        /// The tool's program.
        program: &'static str,
        /// An instruction that installs the program.
        fix: &'static str,
    },
    /// A part of a tool is not installed.
    #[error("{what} is missing: {fix}")]
    NoPart {
        /// The part.
        what: &'static str,
        /// An instruction that installs the part.
        fix: &'static str,
    },
    /// A step of the build failed. The tool has printed the reason.
    #[error("{step} failed ({status}): the reason is in its output above")]
    Step {
        /// The step.
        step: String,
        /// How the tool's process ended.
        status: String,
    },
    /// The compiled module cannot be converted to a component.
    #[error("cannot convert the compiled module to a component: {0}")]
    Component(String),
    /// A file of the project has an error.
    #[error("{file}: {why}")]
    File {
        /// The file, relative to the project.
        file: String,
        /// What is wrong, and what to do.
        why: String,
    },
}

impl AuthorError {
    /// Converts an error of a file operation. The result is an argument for `map_err`.
    pub(crate) fn disk(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Disk { action, path, source }
    }

    /// An error in a file of the project.
    pub(crate) fn file(file: &str, why: impl Into<String>) -> Self {
        Self::File { file: file.to_owned(), why: why.into() }
    }
}
