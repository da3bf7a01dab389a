//! `cargo xtask screenshots`: drives the console as its tests do, and keeps some of the pictures in
//! `docs/screenshots/`.

use std::fs;

use anyhow::{Context, ensure};

use crate::test;
use crate::workspace::Workspace;

/// The tests that drive the console.
const TESTS: &str = "console::";
/// The pictures that the README shows.
const KEPT: [&str; 3] =
    ["overview-light-1280", "replay-different-light-1280", "connector-used-dark-1280"];
/// Maximum size of a picture in the repository, bytes.
const BYTES_MAX: u64 = 200_000;

pub(crate) fn run(workspace: &Workspace) -> anyhow::Result<()> {
    let pictures = workspace.target.join("screenshots");
    fs::create_dir_all(&pictures)?;
    test::run(workspace, &test::Arguments::only(TESTS, &[("SHOTS", pictures.as_path())]))?;
    let kept = workspace.root.join("docs/screenshots");
    fs::create_dir_all(&kept)?;
    for name in KEPT {
        let file = format!("{name}.png");
        let copied = fs::copy(pictures.join(&file), kept.join(&file));
        let bytes = copied.with_context(|| file.clone())?;
        ensure!(bytes <= BYTES_MAX, "{file} has {bytes} bytes, which is too large");
    }
    Ok(())
}
