//! Recognises the folder of a project. The folder's name is the connector's name, and its files
//! show the language.

use std::fs;
use std::path::{Path, PathBuf};

use crate::{AuthorError, Language};

const NAME_BYTES_MAX: usize = 64;

/// A folder with the sources of one connector.
#[derive(Debug)]
pub struct Project {
    /// The absolute path of the project's folder.
    pub folder: PathBuf,
    /// The connector's name, which is also the name of the folder.
    pub name: String,
    /// The language of the connector.
    pub language: Language,
}

impl Project {
    /// Opens the project in `folder`.
    ///
    /// # Errors
    /// The folder cannot be read, its name is not valid for a connector, or it contains no file
    /// that shows the language.
    pub fn open(folder: &Path) -> Result<Self, AuthorError> {
        let folder = fs::canonicalize(folder).map_err(AuthorError::disk_error("open", folder))?;
        let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        check_name(&name)?;
        let has_file = |file: &str| folder.join(file).is_file();
        let language = if has_file("Cargo.toml") {
            Language::Rust
        } else if has_file("package.json") && has_file("tsconfig.json") {
            Language::Typescript
        } else if has_file("package.json") {
            Language::Javascript
        } else if has_file("connector.c") {
            Language::C
        } else if has_file("connector.cpp") {
            Language::Cpp
        } else if has_file("go.mod") {
            Language::Go
        } else if has_file("requirements.txt") {
            Language::Python
        } else if has_file(&format!("{name}.js")) {
            Language::Script
        } else {
            return Err(AuthorError::NoProject { folder, name });
        };
        Ok(Self { folder, name, language })
    }

    /// The path of the connector's file: `NAME.wasm` or, for a script, `NAME.js`.
    #[must_use]
    pub fn connector_file(&self) -> PathBuf {
        let extension = if self.language == Language::Script { "js" } else { "wasm" };
        self.folder.join(format!("{}.{extension}", self.name))
    }

    /// The project's folder for generated files.
    pub(crate) fn build_folder(&self) -> PathBuf {
        self.folder.join(".build")
    }

    pub(crate) fn read(&self, file: &str) -> Result<String, AuthorError> {
        let path = self.folder.join(file);
        fs::read_to_string(&path).map_err(AuthorError::disk_error("read", path))
    }
}

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
    fn a_name_has_1_to_64_lowercase_letters_digits_and_dashes() {
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
