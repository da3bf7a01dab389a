//! What the tests in a browser need: Chromium and its driver, and axe-core, below `target/`.

use crate::tools;
use crate::workspace::Workspace;

/// The Debian package of the browser. The driver's own download of a browser is not used.
pub(crate) const PACKAGES: [&str; 2] = ["chromium", "fonts-dejavu-core"];

/// Installs the driver (Playwright for Python) and axe-core.
pub(crate) fn install(workspace: &Workspace) -> anyhow::Result<()> {
    let folder = workspace.root.join("tests/browser");
    let tools = workspace.target.join("tools");
    tools::python_venv(&folder, &tools.join("browser"))?;
    tools::node_modules(&folder, &tools.join("browser-modules"))?;
    Ok(())
}
