//! The folders of the checkout.

use std::path::{Path, PathBuf};

use anyhow::Context;

/// The folders of this checkout.
pub(crate) struct Workspace {
    /// The checkout itself.
    pub(crate) root: PathBuf,
    /// Cargo's target folder, even if `CARGO_TARGET_DIR` changes it.
    pub(crate) target: PathBuf,
}

impl Workspace {
    /// Finds the folders by the environment variables that cargo sets.
    pub(crate) fn locate() -> anyhow::Result<Self> {
        let manifest =
            std::env::var_os("CARGO_MANIFEST_DIR").context("run this as `cargo xtask`")?;
        let root = Path::new(&manifest).parent().context("xtask/ has no parent folder")?.to_owned();
        let program = std::env::current_exe()?;
        let target = program.ancestors().nth(2).context("the target folder is missing")?.to_owned();
        Ok(Self { root, target })
    }

    /// The folder in which guests are built. All guests share it, so that each dependency is built
    /// once.
    pub(crate) fn guests(&self) -> PathBuf {
        self.target.join("guests")
    }

    /// The folder that the host watches.
    pub(crate) fn plugins(&self) -> PathBuf {
        self.root.join("plugins")
    }

    /// The host's program, built with the dev profile.
    pub(crate) fn host(&self) -> PathBuf {
        self.target.join("debug/jackfield")
    }
}
