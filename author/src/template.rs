//! Makes the files of a new project from embedded folders of the repository. If two folders contain
//! a file with the same path, the file of the folder that is added later is used.

use std::collections::BTreeMap;

use crate::{AuthorError, Engine, Example, Language};

include!(concat!(env!("OUT_DIR"), "/files.rs"));

const TEMPLATES: &str = "guest-examples/templates";
/// The folder of the Rust library `connector-kit` in a project. The library refers to the contract
/// by a relative path, which is correct in this folder.
const KIT_FOLDER: &str = "lib/connector-kit";

/// The contents of files by their paths in the project.
type Files = BTreeMap<String, Vec<u8>>;

/// QuickJS needs no additional files.
fn add_engine_files(
    files: &mut Files,
    language: Language,
    engine: Engine,
) -> Result<(), AuthorError> {
    if engine == Engine::Starlingmonkey {
        if language != Language::Javascript {
            return Err(AuthorError::NoEngine { engine, language });
        }
        add_folder(files, &format!("{TEMPLATES}/starlingmonkey"), "");
    }
    Ok(())
}

pub(crate) fn project_files(
    name: &str,
    language: Language,
    example: Option<Example>,
    engine: Engine,
) -> Result<Files, AuthorError> {
    let (is_script, script_file) = (language == Language::Script, format!("{name}.js"));
    let mut files = Files::new();
    add_folder(&mut files, &format!("{TEMPLATES}/common"), "");
    add_folder(&mut files, &format!("{TEMPLATES}/{}", language.name()), "");
    match language {
        Language::Rust => {
            add_folder(&mut files, "guest-examples/connector-kit", KIT_FOLDER);
            files.remove(&format!("{KIT_FOLDER}/Cargo.lock"));
            // In a project, `connector-kit` belongs to the project's workspace.
            if let Some(manifest) = files.get_mut(&format!("{KIT_FOLDER}/Cargo.toml")) {
                replace_text(manifest, "[workspace]\n\n", "");
            }
        }
        Language::Javascript | Language::Typescript => {
            add_folder(&mut files, &format!("{TEMPLATES}/ecmascript"), "");
            add_folder(&mut files, "guest-examples/script-runner", "");
        }
        Language::Script => {
            add_folder(&mut files, &format!("{TEMPLATES}/ecmascript"), "");
            // A script is only one file, so it cannot import the helper library `jackfield.js`. It
            // does not need `prelude.js`: the server's runner defines the same global objects.
            files.retain(|path, _| !["jackfield.js", "settings.schema.json"].contains(&&**path));
            rename_file(&mut files, "script.js", &script_file);
        }
        Language::Python | Language::C | Language::Cpp | Language::Go => {}
    }
    if !is_script {
        add_folder(&mut files, "wit", "wit");
    }
    add_engine_files(&mut files, language, engine)?;
    if let Some(example) = example {
        replace_with_example(&mut files, language, example)?;
        if is_script {
            rename_file(&mut files, "connector.js", &script_file);
        }
    }
    let mut remove_text = |path: &str| String::from_utf8(files.remove(path).unwrap_or_default());
    let notes = remove_text("notes.md").unwrap_or_default();
    let recording = remove_text("recording.md").unwrap_or_default();
    let has_recording = files.keys().any(|path| path.starts_with("recording/"));
    if let Some(readme) = files.get_mut("README.md") {
        replace_text(readme, "NOTES\n", &notes);
        replace_text(readme, "RECORDING\n", if has_recording { &recording } else { "" });
        if let Some(example) = example {
            replace_text(readme, "TRACKER", example.tracker_name());
            replace_text(readme, "SECRET", example.secret_name());
            replace_text(readme, "api-key", example.secret_name());
        }
        if is_script {
            replace_text(readme, "jackfield build\n", "");
        }
        let extension = if is_script { "js" } else { "wasm" };
        replace_text(readme, "CONNECTOR.FILE", &format!("{name}.{extension}"));
        replace_text(readme, "CONNECTOR", name);
    }
    if let Some(manifest) = files.get_mut("Cargo.toml") {
        // The template contains the first path. The examples contain the second path.
        replace_text(manifest, "\"../../connector-kit\"", &format!("{KIT_FOLDER:?}"));
        replace_text(manifest, "\"../connector-kit\"", &format!("{KIT_FOLDER:?}"));
    }
    Ok(files)
}

/// Replaces the connector of the template with the connector of the example. The template's files
/// for compilers and other tools stay.
fn replace_with_example(
    files: &mut Files,
    language: Language,
    example: Example,
) -> Result<(), AuthorError> {
    let folder = example.repository_folder(language).ok_or_else(|| AuthorError::NoExample {
        example: example.name(),
        language,
        languages: example.language_names(),
    })?;
    let library_files = ["jackfield.js", "prelude.js", "jackfield.py"];
    let is_replaced = |path: &str| {
        path.starts_with("recording/")
            || path == "settings.schema.json"
            || !example.uses_library() && library_files.contains(&path)
    };
    files.retain(|path, _| !is_replaced(path));
    add_folder(files, &format!("{TEMPLATES}/like"), "");
    let mut example_files = Files::new();
    add_folder(&mut example_files, folder, "");
    example_files.retain(|path, _| !path.starts_with("package"));
    files.extend(example_files);
    for file in ["connector.toml", "package.json", "pyproject.toml"] {
        if let Some(content) = files.get_mut(file) {
            replace_text(content, "\"connector\"", "\"follow-up-connector\"");
        }
    }
    Ok(())
}

/// Adds the embedded files below `folder`, a path in the repository, to the project's folder
/// `target`. An empty `target` means the project's folder itself.
fn add_folder(files: &mut Files, folder: &str, target: &str) {
    for (path, content) in EMBEDDED_FILES {
        let relative = path.strip_prefix(folder).and_then(|rest| rest.strip_prefix('/'));
        let Some(relative) = relative else { continue };
        let separator = if target.is_empty() { "" } else { "/" };
        files.insert(format!("{target}{separator}{relative}"), content.to_vec());
    }
}

fn rename_file(files: &mut Files, from: &str, to: &str) {
    if let Some(content) = files.remove(from) {
        files.insert(to.to_owned(), content);
    }
}

/// A file that is not UTF-8 does not change.
fn replace_text(content: &mut Vec<u8>, from: &str, to: &str) {
    if let Ok(text) = std::str::from_utf8(content) {
        *content = text.replace(from, to).into_bytes();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files_with_quickjs(
        name: &str,
        language: Language,
        example: Option<Example>,
    ) -> Result<Files, AuthorError> {
        project_files(name, language, example, Engine::Quickjs)
    }

    fn file_text<'a>(files: &'a Files, path: &str) -> &'a str {
        std::str::from_utf8(files.get(path).unwrap_or_else(|| panic!("no {path}"))).unwrap()
    }

    #[test]
    fn each_project_has_a_short_source_a_short_readme_and_test_data() {
        for language in Language::ALL {
            let files = files_with_quickjs("qa", language, None).unwrap();
            let source = match language {
                Language::Rust => "src/lib.rs",
                Language::Typescript => "connector.ts",
                Language::Javascript => "connector.js",
                Language::Python => "connector.py",
                Language::C => "connector.c",
                Language::Cpp => "connector.cpp",
                Language::Go => "connector.go",
                Language::Script => "qa.js",
            };
            let lines = file_text(&files, source).lines().count();
            assert!(lines < 100, "{source} has {lines} lines");
            for path in ["settings.json", "event.json", "recording/kpis/0001.json", ".gitignore"] {
                assert!(files.contains_key(path), "{language:?}: no {path}");
            }
            let ignored: Vec<_> = file_text(&files, ".gitignore").lines().collect();
            for secret in ["*.txt", "*.key", "*-key", "*-token", "/failed/", "/recorded/"] {
                assert!(ignored.contains(&secret), "{secret} is not ignored");
            }
            let text_files = files.keys().filter(|path| path.ends_with(".txt"));
            let mut ignored_files =
                text_files.filter(|path| !ignored.contains(&&*format!("!/{path}")));
            assert_eq!(ignored_files.next(), None, "{language:?}: a source is ignored");
            let readme = file_text(&files, "README.md");
            assert!(
                readme.contains("# qa\n") && readme.contains("--replay recording/"),
                "{readme}"
            );
            for marker in ["CONNECTOR", "NOTES", "RECORDING"] {
                assert!(!readme.contains(marker), "{readme}");
            }
            assert!(readme.lines().count() <= 50, "{language:?}: the README is too long");
            let contract = files.get("wit/connector.wit");
            assert_eq!(contract.is_some(), language != Language::Script, "{language:?}");
        }
    }

    #[test]
    fn a_rust_project_contains_connector_kit() {
        for example in [None, Some(Example::Redmine)] {
            let files = files_with_quickjs("qa", Language::Rust, example).unwrap();
            assert!(file_text(&files, "Cargo.toml").contains("path = \"lib/connector-kit\""));
            assert!(
                file_text(&files, "lib/connector-kit/src/lib.rs").contains("path: \"../../wit\"")
            );
        }
    }

    #[test]
    fn the_example_replaces_the_connector_of_the_template() {
        let redmine_files = |language| files_with_quickjs("qa", language, Some(Example::Redmine));
        let javascript = redmine_files(Language::Javascript).unwrap();
        assert!(file_text(&javascript, "connector.js").contains("X-Redmine-API-Key"));
        assert!(file_text(&javascript, "package.json").contains("\"follow-up-connector\""));
        assert!(!javascript.keys().any(|path| path.starts_with("recording")));
        assert!(!file_text(&javascript, "README.md").contains("recording"));
        let script = redmine_files(Language::Script).unwrap();
        assert_eq!(file_text(&script, "qa.js"), file_text(&javascript, "connector.js"));
        assert!(!script.contains_key("connector.js") && !script.contains_key("package.json"));
        let python = redmine_files(Language::Python).unwrap();
        assert!(file_text(&python, "pyproject.toml").contains("\"follow-up-connector\""));
        let refused = redmine_files(Language::Typescript).unwrap_err().to_string();
        assert!(refused.contains("rust, javascript, python, script"), "{refused}");
    }

    #[test]
    fn each_example_is_a_project_with_its_own_settings_and_recording() {
        for example in Example::ALL {
            let language = example.language().expect("a language");
            let files = files_with_quickjs("qa", language, Some(example)).unwrap();
            let schema = file_text(&files, "settings.schema.json");
            assert!(schema.contains(&format!("{:?}: {{", example.secret_name())), "{example:?}");
            let readme = file_text(&files, "README.md");
            for placeholder in ["CONNECTOR", "NOTES", "RECORDING", "SECRET", "TRACKER"] {
                assert!(!readme.contains(placeholder), "{example:?}: {readme}");
            }
            if example.uses_library() {
                assert!(files.contains_key("recording/create-defect/0001.json"), "{example:?}");
                assert!(readme.contains("--replay recording/"), "{example:?}: {readme}");
            }
        }
    }

    /// `types/contract.d.ts` is generated from the contract, and must be generated again after each
    /// change of the contract. So the test checks that the file contains each comment of the
    /// contract's interfaces.
    #[test]
    fn the_javascript_types_contain_the_comments_of_the_contract() {
        let files = files_with_quickjs("qa", Language::Javascript, None).unwrap();
        let (types, contract) =
            (file_text(&files, "types/contract.d.ts"), file_text(&files, "wit/connector.wit"));
        let comments = contract.lines().filter_map(|line| line.strip_prefix("  "));
        let comments = comments.filter_map(|line| line.trim().strip_prefix("///"));
        let mut count = 0;
        for comment in comments.map(str::trim).filter(|comment| !comment.is_empty()) {
            assert!(types.contains(comment), "types/contract.d.ts does not contain: {comment}");
            count += 1;
        }
        assert!(count > 100, "only {count} comments");
    }
}
