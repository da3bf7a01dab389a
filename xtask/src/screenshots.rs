//! `cargo xtask screenshots`: runs the browser tests of the console, and copies some of their
//! screenshots to `docs/screenshots/`.

use std::fs;

use anyhow::{Context, ensure};

use crate::test;
use crate::workspace::Workspace;

/// The filter for the browser tests of the console.
const TEST_FILTER: &str = "console::";
/// The names of the screenshots that the README shows.
const README_SCREENSHOTS: [&str; 3] =
    ["overview-in-doubt-light-1280", "replay-different-light-1280", "connector-used-dark-1280"];
/// Maximum size of a screenshot in the repository, bytes.
const SCREENSHOT_BYTES_MAX: u64 = 200_000;

pub(crate) fn run(workspace: &Workspace) -> anyhow::Result<()> {
    let all = workspace.target.join("screenshots");
    fs::create_dir_all(&all)?;
    let arguments = test::Arguments::with_filter(TEST_FILTER, &[("SHOTS", all.as_path())]);
    test::run(workspace, &arguments)?;
    let docs_folder = workspace.root.join("docs/screenshots");
    fs::create_dir_all(&docs_folder)?;
    for name in README_SCREENSHOTS {
        let file = format!("{name}.png");
        let copied = fs::copy(all.join(&file), docs_folder.join(&file));
        let bytes = copied.with_context(|| file.clone())?;
        ensure!(
            bytes <= SCREENSHOT_BYTES_MAX,
            "{file} has {bytes} bytes; the maximum is {SCREENSHOT_BYTES_MAX}"
        );
    }
    Ok(())
}
