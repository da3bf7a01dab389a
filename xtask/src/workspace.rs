//! Where things are.

use std::path::{Path, PathBuf};

use anyhow::Context;

/// The folders of this checkout.
pub(crate) struct Workspace {
    /// The checkout itself.
    pub(crate) root: PathBuf,
    /// Cargo's target folder, wherever the user has put it.
    pub(crate) target: PathBuf,
}

impl Workspace {
    /// Finds them from what cargo tells a program that it runs.
    pub(crate) fn locate() -> anyhow::Result<Self> {
        let manifest =
            std::env::var_os("CARGO_MANIFEST_DIR").context("run this as `cargo xtask`")?;
        let root = Path::new(&manifest).parent().context("xtask/ stands in no folder")?.to_owned();
        let program = std::env::current_exe()?;
        let target = program.ancestors().nth(2).context("the target folder is missing")?.to_owned();
        Ok(Self { root, target })
    }

    /// Where connectors are built; all guests share it, so that they share their dependencies.
    pub(crate) fn guests(&self) -> PathBuf {
        self.target.join("guests")
    }

    /// The folder that a host watches.
    pub(crate) fn plugins(&self) -> PathBuf {
        self.root.join("plugins")
    }

    /// The host's program, of the dev profile.
    pub(crate) fn host(&self) -> PathBuf {
        self.target.join("debug/jackfield")
    }
}
