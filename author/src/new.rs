//! Creates a project. `new` writes the project's files into a temporary folder, and renames the
//! folder at the end. So a project is complete or does not exist.

use std::fs;
use std::path::{Path, PathBuf};

use crate::project::check_name;
use crate::{AuthorError, Engine, Example, Language, template};

/// Creates the project `name` in the folder `parent`, and returns the folder of the project.
///
/// # Errors
/// The name is not valid, the project's folder already exists, the language does not have the
/// example or the engine, or a file cannot be written.
pub fn new(
    name: &str,
    parent: &Path,
    language: Language,
    example: Option<Example>,
    engine: Engine,
) -> Result<PathBuf, AuthorError> {
    check_name(name)?;
    let files = template::project_files(name, language, example, engine)?;
    let folder = parent.join(name);
    if fs::symlink_metadata(&folder).is_ok() {
        return Err(AuthorError::Exists(folder));
    }
    let temporary_folder = tempfile::Builder::new().prefix(".jackfield-new-").tempdir_in(parent);
    let temporary_folder =
        temporary_folder.map_err(AuthorError::disk_error("create a folder in", parent))?;
    let unfinished = temporary_folder.path().join(name);
    for (path, content) in files {
        write_file(&unfinished.join(&path), &content)
            .map_err(AuthorError::disk_error("create", path))?;
    }
    fs::rename(&unfinished, &folder).map_err(AuthorError::disk_error("create", &folder))?;
    Ok(folder)
}

fn write_file(path: &Path, content: &[u8]) -> std::io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write(path, content)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file_names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn a_project_is_complete_or_does_not_exist() {
        let parent = tempfile::tempdir().unwrap();
        let create = |name: &str| new(name, parent.path(), Language::Script, None, Engine::Quickjs);
        assert!(matches!(create("Wrong"), Err(AuthorError::Name(_))));
        assert!(file_names(parent.path()).is_empty());
        let folder = create("qa").unwrap();
        assert!(folder.join("qa.js").is_file());
        assert!(matches!(create("qa"), Err(AuthorError::Exists(_))));
        assert_eq!(file_names(parent.path()), ["qa"]);

        let missing = parent.path().join("missing");
        let refused = new("qa", &missing, Language::Script, None, Engine::Quickjs);
        assert!(matches!(refused, Err(AuthorError::Disk { .. })));
        assert_eq!(file_names(parent.path()), ["qa"]);
    }
}
