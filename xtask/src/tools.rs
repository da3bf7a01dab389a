//! Finds the tools that the commands need and installs missing ones. If possible, a tool is
//! installed below `target/`. Otherwise, xtask first prints what it installs and how.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail};

use crate::step::{program, run, step};
use crate::workspace::Workspace;

pub(crate) const WASM_TARGET: &str = "wasm32-wasip2";
pub(crate) const NODE_FIX: &str = "install Node.js 20 or later with npm (Debian: nodejs npm)";
pub(crate) const PYTHON_FIX: &str =
    "install Python 3.10 or later with venv (Debian: python3 python3-venv)";

/// Adds the guests' target to the Rust toolchain if it is missing. rustup does not add it itself if
/// `RUSTUP_AUTO_INSTALL=0` is set.
pub(crate) fn wasm_target(workspace: &Workspace) -> anyhow::Result<()> {
    let mut ask = program("rustc", &workspace.root);
    ask.args(["--print", "target-libdir", "--target", WASM_TARGET]);
    let answer = ask.output().context("cannot run rustc: install Rust from https://rustup.rs")?;
    let folder = String::from_utf8(answer.stdout)?;
    if Path::new(folder.trim()).is_dir() {
        return Ok(());
    }
    step(&format!("rustup target add {WASM_TARGET}"), || {
        let fix = format!(
            "Rust was not installed by rustup; install its standard library for {WASM_TARGET}"
        );
        run(program("rustup", &workspace.root).args(["target", "add", WASM_TARGET]), &fix)
    })
}

/// Installs the packages of a folder's `package-lock.json` into another folder. Returns the
/// `node_modules` folder.
pub(crate) fn node_modules(folder: &Path, install_folder: &Path) -> anyhow::Result<PathBuf> {
    let modules = install_folder.join("node_modules");
    let lock = fs::read(folder.join("package-lock.json"))?;
    let installed = modules.join("jackfield-installed.lock");
    if fs::read(&installed).is_ok_and(|done| done == lock) {
        return Ok(modules);
    }
    step("npm install", || {
        fs::create_dir_all(install_folder)?;
        for file in ["package.json", "package-lock.json"] {
            fs::copy(folder.join(file), install_folder.join(file))?;
        }
        // Not `npm ci`: it requires optional packages of other platforms that were never published.
        let mut install = program("npm", install_folder);
        run(install.args(["install", "--no-save", "--no-fund", "--no-audit"]), NODE_FIX)?;
        Ok(fs::write(&installed, &lock)?)
    })?;
    Ok(modules)
}

/// Installs the packages of a folder's `requirements.txt` into a virtual environment. Returns its
/// `bin` folder.
pub(crate) fn python_venv(folder: &Path, venv: &Path) -> anyhow::Result<PathBuf> {
    let requirements = folder.join("requirements.txt");
    let wanted = fs::read(&requirements)?;
    let installed = venv.join("jackfield-installed.txt");
    let binaries = venv.join("bin");
    if fs::read(&installed).is_ok_and(|done| done == wanted) {
        return Ok(binaries);
    }
    step("pip install", || {
        let mut make = program("python3", folder);
        run(make.args(["-m", "venv", "--clear"]).arg(venv), PYTHON_FIX).context(PYTHON_FIX)?;
        let mut install = program(binaries.join("pip"), folder);
        install.args(["install", "--quiet", "--disable-pip-version-check", "--requirement"]);
        run(install.arg(&requirements), PYTHON_FIX)?;
        Ok(fs::write(&installed, &wanted)?)
    })?;
    Ok(binaries)
}

/// Installs missing Debian packages, as root or with sudo. sudo must be able to run without a
/// password.
pub(crate) fn debian_packages(workspace: &Workspace, packages: &[&str]) -> anyhow::Result<()> {
    let missing: Vec<_> =
        packages.iter().copied().filter(|package| !is_installed(package)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let wanted = missing.join(" ");
    let fix = format!("Debian packages are missing; install them: apt-get install {wanted}");
    let root = is_root()?;
    let apt = |arguments: &[&str]| {
        let mut command = program(if root { "env" } else { "sudo" }, &workspace.root);
        if !root {
            command.args(["--non-interactive", "env"]);
        }
        command.args(["DEBIAN_FRONTEND=noninteractive", "apt-get"]).args(arguments);
        run(&mut command, &fix).with_context(|| fix.clone())
    };
    step(&format!("apt-get install {wanted}"), || {
        apt(&["update"])?;
        apt(&[&["install", "--yes", "--no-install-recommends"], missing.as_slice()].concat())
    })
}

fn is_installed(package: &str) -> bool {
    let mut ask = Command::new("dpkg-query");
    ask.args(["--show", "--showformat=${Status}", package]).stderr(Stdio::null());
    ask.output().is_ok_and(|answer| answer.stdout == b"install ok installed")
}

fn is_root() -> anyhow::Result<bool> {
    let answer = Command::new("id").arg("-u").output().context("cannot run id")?;
    if !answer.status.success() {
        bail!("`id -u` ended with {}", answer.status);
    }
    Ok(answer.stdout == b"0\n")
}
