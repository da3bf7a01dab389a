//! Creates a project. It is written to a temporary folder and then renamed, so it is complete or
//! absent.

use std::fs;
use std::path::{Path, PathBuf};

use crate::project::check_name;
use crate::{AuthorError, Engine, Example, Language, template};

/// Creates the project `name` in the folder `parent`, and returns its folder.
///
/// # Errors
/// The name is not valid, the folder exists, the language does not have the example or the
/// engine, or a file cannot be written.
pub fn new(
    name: &str,
    parent: &Path,
    language: Language,
    like: Option<Example>,
    engine: Engine,
) -> Result<PathBuf, AuthorError> {
    check_name(name)?;
    let files = template::files(name, language, like, engine)?;
    let folder = parent.join(name);
    if fs::symlink_metadata(&folder).is_ok() {
        return Err(AuthorError::Exists(folder));
    }
    let temporary = tempfile::Builder::new().prefix(".jackfield-new-").tempdir_in(parent);
    let temporary = temporary.map_err(AuthorError::disk("create a folder in", parent))?;
    let unfinished = temporary.path().join(name);
    for (path, content) in files {
        write(&unfinished.join(&path), &content).map_err(AuthorError::disk("create", path))?;
    }
    fs::rename(&unfinished, &folder).map_err(AuthorError::disk("create", &folder))?;
    Ok(folder)
}

fn write(path: &Path, content: &[u8]) -> std::io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write(path, content)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn a_project_is_whole_or_absent() {
        let parent = tempfile::tempdir().unwrap();
        let create = |name: &str| new(name, parent.path(), Language::Script, None, Engine::Quickjs);
        assert!(matches!(create("Wrong"), Err(AuthorError::Name(_))));
        assert!(names(parent.path()).is_empty());
        let folder = create("qa").unwrap();
        assert!(folder.join("qa.js").is_file());
        assert!(matches!(create("qa"), Err(AuthorError::Exists(_))));
        assert_eq!(names(parent.path()), ["qa"]);

        let missing = parent.path().join("missing");
        let refused = new("qa", &missing, Language::Script, None, Engine::Quickjs);
        assert!(matches!(refused, Err(AuthorError::Disk { .. })));
        assert_eq!(names(parent.path()), ["qa"]);
    }
}
