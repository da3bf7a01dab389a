//! The errors that `new` and `build` return when they cannot create or build a project.

use std::io;
use std::path::PathBuf;

use crate::{Engine, Language};

/// The reason why a project cannot be created or built. Most of the texts also say what to do.
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
    /// No connector of this example exists in the chosen language.
    #[error("the example {example} does not exist in {}: choose {languages}", language.name())]
    NoExample {
        /// The name of the example.
        example: &'static str,
        /// The chosen language, which does not have the example.
        language: Language,
        /// The names of the languages that have the example, separated by commas.
        languages: String,
    },
    /// The chosen engine cannot run connectors in the chosen language.
    #[error("the engine {} runs javascript, not {}: remove `--engine`", engine.name(), language.name())]
    NoEngine {
        /// The chosen engine.
        engine: Engine,
        /// The chosen language.
        language: Language,
    },
    /// The folder contains no file that shows the language of a project.
    #[error(
        "{} is not the project of a connector: the folder contains no Cargo.toml, package.json, \
         requirements.txt, connector.c, connector.cpp, go.mod or {name}.js; `jackfield new` creates a project", folder.display()
    )]
    NoProject {
        /// The folder that is not a project.
        folder: PathBuf,
        /// The name of the folder. A project in this folder would have a connector of this name.
        name: String,
    },
    /// A file or folder cannot be read or written.
    #[error("cannot {action} {}: {source}", path.display())]
    Disk {
        /// The operation that failed, such as "create" or "read".
        action: &'static str,
        /// The file or folder that cannot be read or written.
        path: PathBuf,
        /// The reason that the operating system gave.
        source: io::Error,
    },
    /// A tool cannot be started, usually because it is not installed.
    #[error("{program} is needed and cannot be run ({source}): {fix}")]
    NoTool {
        /// The name of the program that could not be started, such as `npm`.
        program: String,
        /// The reason why the operating system did not start the program.
        source: io::Error,
        /// An instruction that installs the program.
        fix: &'static str,
    },
    /// A tool is too old.
    #[error("{program} {found} is too old, at least {oldest} is needed: {fix}")]
    OldTool {
        /// The name of the program, such as `rustc`.
        program: &'static str,
        /// The installed version, such as `1.80`.
        found: String,
        /// The oldest version with which a build works.
        oldest: String,
        /// An instruction that updates the program.
        fix: &'static str,
    },
    /// A tool does not print its version. For example, the `rustc` of rustup prints an error if no
    /// toolchain is installed.
    #[error("{program} is installed, but did not print its version: {fix}")]
    NoVersion {
        /// The name of the program, such as `rustc`.
        program: &'static str,
        /// An instruction that installs the program.
        fix: &'static str,
    },
    /// A tool is installed without a part that the build needs.
    #[error("{what} is missing: {fix}")]
    NoPart {
        /// The missing part, such as "Python's venv or pip".
        what: &'static str,
        /// An instruction that installs the missing part.
        fix: &'static str,
    },
    /// A step of the build failed. The tool that the step runs has printed the reason.
    #[error("{step} failed ({status}): the reason is in its output above")]
    Step {
        /// The name of the step, usually the command that ran.
        step: String,
        /// The exit status of the tool's process.
        status: String,
    },
    /// The compiled module cannot be converted to a component.
    #[error("cannot convert the compiled module to a component: {0}")]
    Component(String),
    /// The content of a file of the project is wrong.
    #[error("{file}: {why}")]
    File {
        /// The path of the file, relative to the project's folder.
        file: String,
        /// What is wrong in the file, and what to do.
        why: String,
    },
}

impl AuthorError {
    /// Returns a function for `map_err`. The function adds the failed operation and the path to an
    /// error of the file system.
    pub(crate) fn disk_error(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Disk { action, path, source }
    }

    pub(crate) fn error_in_file(file: &str, why: impl Into<String>) -> Self {
        Self::File { file: file.to_owned(), why: why.into() }
    }
}
