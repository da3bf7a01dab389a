//! The target of `jackfield dev`: a connector's file, or a project whose build makes this file.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use crate::domain::ConnectorName;

pub(super) enum Target {
    File(PathBuf),
    Project(PathBuf),
}

impl Target {
    pub(super) fn from_path(path: &Path) -> anyhow::Result<Self> {
        let path = std::fs::canonicalize(path)
            .with_context(|| format!("cannot open {}", super::display_path(path)))?;
        if path.is_dir() {
            return Ok(Self::Project(path));
        }
        match path.extension() {
            Some(extension) if extension == "wasm" || extension == "js" => Ok(Self::File(path)),
            _ => bail!(
                "{} is not a connector's file: give NAME.wasm, NAME.js, or the folder of a project",
                super::display_path(&path)
            ),
        }
    }

    pub(super) fn path(&self) -> &Path {
        match self {
            Self::File(path) | Self::Project(path) => path,
        }
    }

    pub(super) fn name(&self) -> anyhow::Result<ConnectorName> {
        let name = match self {
            Self::File(path) => path.file_stem(),
            Self::Project(path) => path.file_name(),
        };
        let name = name.unwrap_or_default().to_string_lossy().parse::<ConnectorName>();
        name.with_context(|| {
            let path = super::display_path(self.path());
            format!("rename {path}, because its name becomes the connector's name")
        })
    }

    /// Returns the connector's file. If the target is a project, builds the file first. The
    /// project's build tools print to stderr.
    pub(super) fn build_file(&self) -> anyhow::Result<PathBuf> {
        match self {
            Self::File(path) => Ok(path.clone()),
            Self::Project(path) => build_project(path),
        }
    }
}

/// Builds the project in `folder`. If the result is a component, checks it as the server does.
#[cfg(feature = "author")]
fn build_project(folder: &Path) -> anyhow::Result<PathBuf> {
    use jackfield_author::BuildResult;

    match crate::cli::author::build(folder)? {
        BuildResult::Component(component) => Ok(crate::cli::author::publish(component, None)?.file),
        BuildResult::Script(file) => Ok(file),
    }
}

#[cfg(not(feature = "author"))]
fn build_project(folder: &Path) -> anyhow::Result<PathBuf> {
    bail!(
        "this program was built without the feature `author`, so it cannot build the project {}: \
         give the connector's file",
        super::display_path(folder)
    )
}
