//! The files of a new project. They are those of the repository's folders, laid over each other.

use std::collections::BTreeMap;

use crate::{AuthorError, Engine, Example, Language};

include!(concat!(env!("OUT_DIR"), "/files.rs"));

const TEMPLATES: &str = "guest-examples/templates";
/// The place of the Rust kit in a project; its own path to the contract is right there.
const KIT: &str = "lib/connector-kit";

/// The files by their paths in the project.
type Files = BTreeMap<String, Vec<u8>>;

/// Adds the files of an engine that is not the usual one.
fn add_engine(files: &mut Files, language: Language, engine: Engine) -> Result<(), AuthorError> {
    if engine == Engine::Starlingmonkey {
        if language != Language::Javascript {
            return Err(AuthorError::NoEngine { engine, language });
        }
        add(files, &format!("{TEMPLATES}/starlingmonkey"), "");
    }
    Ok(())
}

/// The files of a project, by their paths.
pub(crate) fn files(
    name: &str,
    language: Language,
    like: Option<Example>,
    engine: Engine,
) -> Result<Files, AuthorError> {
    let (is_script, script) = (language == Language::Script, format!("{name}.js"));
    let mut files = Files::new();
    add(&mut files, &format!("{TEMPLATES}/common"), "");
    add(&mut files, &format!("{TEMPLATES}/{}", language.name()), "");
    match language {
        Language::Rust => {
            add(&mut files, "guest-examples/connector-kit", KIT);
            files.remove(&format!("{KIT}/Cargo.lock"));
            // A part of the project's workspace.
            if let Some(manifest) = files.get_mut(&format!("{KIT}/Cargo.toml")) {
                replace(manifest, "[workspace]\n\n", "");
            }
        }
        Language::Javascript | Language::Typescript => {
            add(&mut files, &format!("{TEMPLATES}/ecmascript"), "");
            add(&mut files, "guest-examples/script-runner", "");
        }
        Language::Script => {
            add(&mut files, &format!("{TEMPLATES}/ecmascript"), "");
            // A script is one file; the server gives it the global objects.
            files.retain(|path, _| !["jackfield.js", "settings.schema.json"].contains(&&**path));
            rename(&mut files, "script.js", &script);
        }
        Language::Python | Language::C | Language::Cpp | Language::Go => {}
    }
    if !is_script {
        add(&mut files, "wit", "wit");
    }
    add_engine(&mut files, language, engine)?;
    if let Some(example) = like {
        become_example(&mut files, language, example)?;
        if is_script {
            rename(&mut files, "connector.js", &script);
        }
    }
    let mut text = |path: &str| String::from_utf8(files.remove(path).unwrap_or_default());
    let notes = text("notes.md").unwrap_or_default();
    let recording = text("recording.md").unwrap_or_default();
    let has_recording = files.keys().any(|path| path.starts_with("recording/"));
    if let Some(readme) = files.get_mut("README.md") {
        replace(readme, "NOTES\n", &notes);
        replace(readme, "RECORDING\n", if has_recording { &recording } else { "" });
        if let Some(example) = like {
            replace(readme, "TRACKER", example.tracker());
            replace(readme, "SECRET", example.secret());
            replace(readme, "api-key", example.secret());
        }
        if is_script {
            replace(readme, "jackfield build\n", "");
        }
        let extension = if is_script { "js" } else { "wasm" };
        replace(readme, "CONNECTOR.FILE", &format!("{name}.{extension}"));
        replace(readme, "CONNECTOR", name);
    }
    if let Some(manifest) = files.get_mut("Cargo.toml") {
        // The template's path, and that of the examples.
        replace(manifest, "\"../../connector-kit\"", &format!("{KIT:?}"));
        replace(manifest, "\"../connector-kit\"", &format!("{KIT:?}"));
    }
    Ok(files)
}

/// Replaces the template's connector with the example's. The template's tools stay.
fn become_example(
    files: &mut Files,
    language: Language,
    example: Example,
) -> Result<(), AuthorError> {
    let folder = example.folder(language).ok_or_else(|| AuthorError::NoExample {
        example: example.name(),
        language,
        languages: example.languages(),
    })?;
    let library = ["jackfield.js", "prelude.js", "jackfield.py"];
    let is_template_only = |path: &str| {
        path.starts_with("recording/")
            || path == "settings.schema.json"
            || !example.uses_library() && library.contains(&path)
    };
    files.retain(|path, _| !is_template_only(path));
    add(files, &format!("{TEMPLATES}/like"), "");
    let mut of_example = Files::new();
    add(&mut of_example, folder, "");
    of_example.retain(|path, _| !path.starts_with("package"));
    files.extend(of_example);
    for file in ["connector.toml", "package.json", "pyproject.toml"] {
        if let Some(content) = files.get_mut(file) {
            replace(content, "\"connector\"", "\"follow-up-connector\"");
        }
    }
    Ok(())
}

/// Adds the embedded files of a folder, below another one.
fn add(files: &mut Files, folder: &str, below: &str) {
    for (path, content) in FILES {
        let inside = path.strip_prefix(folder).and_then(|rest| rest.strip_prefix('/'));
        let Some(inside) = inside else { continue };
        let separator = if below.is_empty() { "" } else { "/" };
        files.insert(format!("{below}{separator}{inside}"), content.to_vec());
    }
}

fn rename(files: &mut Files, from: &str, to: &str) {
    if let Some(content) = files.remove(from) {
        files.insert(to.to_owned(), content);
    }
}

/// Replaces a text in a file that is UTF-8.
fn replace(content: &mut Vec<u8>, from: &str, to: &str) {
    if let Ok(text) = std::str::from_utf8(content) {
        *content = text.replace(from, to).into_bytes();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(name: &str, language: Language, like: Option<Example>) -> Result<Files, AuthorError> {
        super::files(name, language, like, Engine::Quickjs)
    }

    fn text<'a>(files: &'a Files, path: &str) -> &'a str {
        std::str::from_utf8(files.get(path).unwrap_or_else(|| panic!("no {path}"))).unwrap()
    }

    #[test]
    fn each_project_has_a_short_source_test_data_and_a_short_readme() {
        for language in Language::ALL {
            let files = files("qa", language, None).unwrap();
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
            let lines = text(&files, source).lines().count();
            assert!(lines < 100, "{source} has {lines} lines");
            for path in ["settings.json", "event.json", "recording/kpis/0001.json", ".gitignore"] {
                assert!(files.contains_key(path), "{language:?}: no {path}");
            }
            let ignored: Vec<_> = text(&files, ".gitignore").lines().collect();
            for secret in ["*.txt", "*.key", "*-key", "*-token", "/failed/", "/recorded/"] {
                assert!(ignored.contains(&secret), "{secret} is not ignored");
            }
            let texts = files.keys().filter(|path| path.ends_with(".txt"));
            let mut texts = texts.filter(|path| !ignored.contains(&&*format!("!/{path}")));
            assert_eq!(texts.next(), None, "{language:?}: a source is ignored");
            let readme = text(&files, "README.md");
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
    fn a_rust_project_brings_the_kit_along() {
        for like in [None, Some(Example::Redmine)] {
            let files = files("qa", Language::Rust, like).unwrap();
            assert!(text(&files, "Cargo.toml").contains("path = \"lib/connector-kit\""));
            assert!(text(&files, "lib/connector-kit/src/lib.rs").contains("path: \"../../wit\""));
        }
    }

    #[test]
    fn the_example_replaces_the_connector_of_the_template() {
        let of = |language| files("qa", language, Some(Example::Redmine));
        let javascript = of(Language::Javascript).unwrap();
        assert!(text(&javascript, "connector.js").contains("X-Redmine-API-Key"));
        assert!(text(&javascript, "package.json").contains("\"follow-up-connector\""));
        assert!(!javascript.keys().any(|path| path.starts_with("recording")));
        assert!(!text(&javascript, "README.md").contains("recording"));
        let script = of(Language::Script).unwrap();
        assert_eq!(text(&script, "qa.js"), text(&javascript, "connector.js"));
        assert!(!script.contains_key("connector.js") && !script.contains_key("package.json"));
        let python = of(Language::Python).unwrap();
        assert!(text(&python, "pyproject.toml").contains("\"follow-up-connector\""));
        let refused = of(Language::Typescript).unwrap_err().to_string();
        assert!(refused.contains("rust, javascript, python, script"), "{refused}");
    }

    #[test]
    fn each_example_is_a_project_with_its_own_settings_and_recording() {
        for example in Example::ALL {
            let language = example.language().expect("a language");
            let files = files("qa", language, Some(example)).unwrap();
            let schema = text(&files, "settings.schema.json");
            assert!(schema.contains(&format!("{:?}: {{", example.secret())), "{example:?}");
            let readme = text(&files, "README.md");
            for placeholder in ["CONNECTOR", "NOTES", "RECORDING", "SECRET", "TRACKER"] {
                assert!(!readme.contains(placeholder), "{example:?}: {readme}");
            }
            if example.uses_library() {
                assert!(files.contains_key("recording/create-defect/0001.json"), "{example:?}");
                assert!(readme.contains("--replay recording/"), "{example:?}: {readme}");
            }
        }
    }

    /// The types of JavaScript are generated from the contract. Each comment below an interface
    /// must be there, so the file is generated again when the contract changes.
    #[test]
    fn the_types_of_javascript_have_the_comments_of_the_contract() {
        let files = files("qa", Language::Javascript, None).unwrap();
        let (types, contract) =
            (text(&files, "types/contract.d.ts"), text(&files, "wit/connector.wit"));
        let comments = contract.lines().filter_map(|line| line.strip_prefix("  "));
        let comments = comments.filter_map(|line| line.trim().strip_prefix("///"));
        let mut count = 0;
        for comment in comments.map(str::trim).filter(|comment| !comment.is_empty()) {
            assert!(types.contains(comment), "types/contract.d.ts lacks: {comment}");
            count += 1;
        }
        assert!(count > 100, "only {count} comments");
    }
}
