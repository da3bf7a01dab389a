//! Finds the folders of the checkout. Never creates a folder.

use std::path::{Path, PathBuf};

use anyhow::Context;

pub(crate) struct Workspace {
    pub(crate) root: PathBuf,
    /// Cargo's target folder. `CARGO_TARGET_DIR` can move it outside the checkout.
    pub(crate) target: PathBuf,
}

impl Workspace {
    /// Finds the root by an environment variable that cargo sets, and the target folder by the path
    /// of this program.
    pub(crate) fn locate() -> anyhow::Result<Self> {
        let manifest =
            std::env::var_os("CARGO_MANIFEST_DIR").context("run this as `cargo xtask`")?;
        let root = Path::new(&manifest).parent().context("xtask/ has no parent folder")?.to_owned();
        let program = std::env::current_exe()?;
        let target = program.ancestors().nth(2).context("the target folder is missing")?.to_owned();
        Ok(Self { root, target })
    }

    /// Returns cargo's target folder for guests. All guests share this folder, so that each
    /// dependency is built only once.
    pub(crate) fn guest_target_folder(&self) -> PathBuf {
        self.target.join("guests")
    }

    pub(crate) fn plugins_folder(&self) -> PathBuf {
        self.root.join("plugins")
    }

    /// Returns the path of the host's program that is built with the dev profile.
    pub(crate) fn host_program(&self) -> PathBuf {
        self.target.join("debug/jackfield")
    }
}
