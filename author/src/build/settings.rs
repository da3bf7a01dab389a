//! Reads `connector.toml`, the settings of a project in C, C++ or Go. The tools of the other
//! languages have a file of their own that can contain these settings.

use serde::Deserialize;

use crate::{AuthorError, Project};

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Settings {
    /// The world of the contract for which the connector is built.
    pub(super) world: Option<String>,
    /// Paths of more source files, outside the project's folder.
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
