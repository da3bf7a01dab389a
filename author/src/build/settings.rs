//! `connector.toml`: what a project in C, C++ or Go chooses, because its own tools have no file for
//! it.

use serde::Deserialize;

use crate::{AuthorError, Project};

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Settings {
    /// The world of the contract.
    pub(super) world: Option<String>,
    /// Source files outside the project's folder that are compiled too.
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
        toml::from_str(&text).map_err(|error| AuthorError::file(Self::FILE, error.to_string()))
    }
}
