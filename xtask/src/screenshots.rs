//! `cargo xtask screenshots`: drives the console as its test does, and keeps some of the pictures in
//! `docs/screenshots/`.

use std::fs;

use anyhow::Context;

use crate::test;
use crate::workspace::Workspace;

/// The test that drives the console.
const TEST: &str = "a_person_with_a_browser";
/// The pictures that the README shows.
const KEPT: [&str; 4] = [
    "overview-light-1280",
    "connection-light-1280",
    "edit-connection-light-1280",
    "overview-dark-375",
];

pub(crate) fn run(workspace: &Workspace) -> anyhow::Result<()> {
    let pictures = workspace.target.join("screenshots");
    fs::create_dir_all(&pictures)?;
    test::run(workspace, &test::Arguments::only(TEST, &[("SHOTS", pictures.as_path())]))?;
    let kept = workspace.root.join("docs/screenshots");
    fs::create_dir_all(&kept)?;
    for name in KEPT {
        let file = format!("{name}.png");
        fs::copy(pictures.join(&file), kept.join(&file)).with_context(|| file.clone())?;
    }
    Ok(())
}
