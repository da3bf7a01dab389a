//! A project's folder. Its name is the connector's name; its files show the language.

use std::fs;
use std::path::{Path, PathBuf};

use crate::{AuthorError, Language};

const NAME_BYTES_MAX: usize = 64;

/// The project of a connector.
#[derive(Debug)]
pub struct Project {
    /// The project's folder, absolute.
    pub folder: PathBuf,
    /// The connector's name, which is the folder's.
    pub name: String,
    /// The language, which the files show.
    pub language: Language,
}

impl Project {
    /// Recognises the project of a folder.
    ///
    /// # Errors
    /// The folder cannot be read, its name is not a connector's, or its files show no language.
    pub fn open(folder: &Path) -> Result<Self, AuthorError> {
        let folder = fs::canonicalize(folder).map_err(AuthorError::disk("open", folder))?;
        let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        check_name(&name)?;
        let has = |file: &str| folder.join(file).is_file();
        let language = if has("Cargo.toml") {
            Language::Rust
        } else if has("package.json") && has("tsconfig.json") {
            Language::Typescript
        } else if has("package.json") {
            Language::Javascript
        } else if has("connector.c") {
            Language::C
        } else if has("connector.cpp") {
            Language::Cpp
        } else if has("go.mod") {
            Language::Go
        } else if has("requirements.txt") {
            Language::Python
        } else if has(&format!("{name}.js")) {
            Language::Script
        } else {
            return Err(AuthorError::NoProject { folder, name });
        };
        Ok(Self { folder, name, language })
    }

    /// The connector's file: the built component, or the script itself.
    #[must_use]
    pub fn connector(&self) -> PathBuf {
        let extension = if self.language == Language::Script { "js" } else { "wasm" };
        self.folder.join(format!("{}.{extension}", self.name))
    }

    /// The folder of what builds make, and never a person.
    pub(crate) fn scratch(&self) -> PathBuf {
        self.folder.join(".build")
    }

    /// The text of one of the project's files.
    pub(crate) fn read(&self, file: &str) -> Result<String, AuthorError> {
        let path = self.folder.join(file);
        fs::read_to_string(&path).map_err(AuthorError::disk("read", path))
    }
}

/// Refuses a name that the file of a connector cannot have.
pub(crate) fn check_name(name: &str) -> Result<(), AuthorError> {
    let is_allowed = |it: u8| it.is_ascii_lowercase() || it.is_ascii_digit() || it == b'-';
    match name.bytes().all(is_allowed) && (1..=NAME_BYTES_MAX).contains(&name.len()) {
        true => Ok(()),
        false => Err(AuthorError::Name(name.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_that_the_file_of_a_connector_can_have() {
        let longest = "a".repeat(NAME_BYTES_MAX);
        for name in ["qa", "qa-2", "7", &longest] {
            assert!(check_name(name).is_ok(), "{name}");
        }
        for name in ["", "Qa", "my_tracker", "a/b", "..", "ä", &(longest.clone() + "a")] {
            assert!(matches!(check_name(name), Err(AuthorError::Name(_))), "{name}");
        }
    }

    #[test]
    fn the_files_of_a_folder_show_the_language() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("qa");
        fs::create_dir(&folder).unwrap();
        assert!(matches!(Project::open(&folder), Err(AuthorError::NoProject { .. })));
        for (file, language) in [
            ("qa.js", Language::Script),
            ("requirements.txt", Language::Python),
            ("go.mod", Language::Go),
            ("connector.cpp", Language::Cpp),
            ("connector.c", Language::C),
            ("package.json", Language::Javascript),
            ("tsconfig.json", Language::Typescript),
            ("Cargo.toml", Language::Rust),
        ] {
            fs::write(folder.join(file), "").unwrap();
            assert_eq!(Project::open(&folder).unwrap().language, language, "{file}");
        }
    }
}
