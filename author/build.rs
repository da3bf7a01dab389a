//! Embeds files of the repository in the program, so that an author needs no checkout of the
//! repository.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::{env, fs, io};

const EMBEDDED_PATHS: [&str; 15] = [
    "guest-examples/request-tracker",
    "guest-examples/servicenow",
    "guest-examples/gitlab",
    "author/go-bindings",
    "guest-examples/azure-devops",
    "guest-examples/connector-kit",
    "guest-examples/github",
    "guest-examples/javascript",
    "guest-examples/jira",
    "guest-examples/python",
    "guest-examples/redmine",
    "guest-examples/rest",
    "guest-examples/script-runner/prelude.js",
    "guest-examples/templates",
    "wit/connector.wit",
];
/// The names of generated files and folders, which are not embedded.
const GENERATED_NAMES: [&str; 4] = [".build", "__pycache__", "node_modules", "target"];

fn main() -> io::Result<()> {
    let crate_folder = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default());
    let root = crate_folder.parent().unwrap_or(&crate_folder).to_owned();
    let mut files = Vec::new();
    for path in EMBEDDED_PATHS {
        println!("cargo::rerun-if-changed={}", root.join(path).display());
        collect_files(root.join(path), &mut files)?;
    }
    files.sort();
    let mut code = String::from("pub(crate) const EMBEDDED_FILES: &[(&str, &[u8])] = &[\n");
    for file in &files {
        let name = file.strip_prefix(&root).unwrap_or(file);
        let line = writeln!(code, "    ({name:?}, include_bytes!({file:?})),");
        line.map_err(io::Error::other)?;
    }
    code += "];\n";
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default());
    fs::write(out.join("files.rs"), code)
}

/// Adds `path`, or the files below this folder, to `files`. Leaves out generated files.
fn collect_files(path: PathBuf, files: &mut Vec<PathBuf>) -> io::Result<()> {
    let name = path.file_name().unwrap_or_default();
    let is_generated = GENERATED_NAMES.iter().any(|generated| name == *generated);
    if is_generated || path.extension().is_some_and(|extension| extension == "wasm") {
        return Ok(());
    }
    if !path.is_dir() {
        files.push(path);
        return Ok(());
    }
    fs::read_dir(path)?.try_for_each(|entry| collect_files(entry?.path(), files))
}
