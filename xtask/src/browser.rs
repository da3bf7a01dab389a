//! Installs the tools for the browser tests below `target/`: Playwright, which controls Chromium,
//! and axe-core, which checks accessibility. Chromium itself is a Debian package.

use crate::tools;
use crate::workspace::Workspace;

/// The Debian packages of the browser and its fonts. The browser that Playwright would download is
/// not used.
pub(crate) const DEBIAN_PACKAGES: [&str; 2] = ["chromium", "fonts-dejavu-core"];

pub(crate) fn install(workspace: &Workspace) -> anyhow::Result<()> {
    let folder = workspace.root.join("tests/browser");
    let tools = workspace.target.join("tools");
    tools::install_python_venv(&folder, &tools.join("browser"))?;
    tools::install_node_modules(&folder, &tools.join("browser-modules"))?;
    Ok(())
}
