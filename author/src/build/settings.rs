//! Reads `connector.toml`, which contains the settings of a project in C, C++ or Go.

use serde::Deserialize;

use crate::{AuthorError, Project};

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Settings {
    /// The name of a world of the contract. If it is `None`, the build chooses the world by the
    /// exports and imports.
    pub(super) world: Option<String>,
    /// Paths of additional source files, such as those of a library; only for C and C++.
    #[serde(default)]
    pub(super) sources: Vec<String>,
}

impl Settings {
    pub(super) const FILE: &str = "connector.toml";

    pub(super) fn read(project: &Project) -> Result<Self, AuthorError> {
        if !project.folder.join(Self::FILE).exists() {
            return Ok(Self::default());
        }
        let text = project.read(Self::FILE)?;
        toml::from_str(&text)
            .map_err(|error| AuthorError::error_in_file(Self::FILE, error.to_string()))
    }
}
