//! Installs the tools that the commands need, unless they are already installed. If possible, a
//! tool is installed below `target/`. Otherwise, xtask first prints the command that installs the
//! tool.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail};

use crate::step::{program_command, run_program, run_step};
use crate::workspace::Workspace;

pub(crate) const WASM_TARGET: &str = "wasm32-wasip2";
pub(crate) const NODE_FIX: &str = "install Node.js 20 or later with npm (Debian: nodejs npm)";
pub(crate) const PYTHON_FIX: &str =
    "install Python 3.10 or later with venv (Debian: python3 python3-venv)";

/// Adds the guests' target to the Rust toolchain, if it is missing. With `RUSTUP_AUTO_INSTALL=0`,
/// rustup does not add the target by itself.
pub(crate) fn install_wasm_target(workspace: &Workspace) -> anyhow::Result<()> {
    let mut rustc = program_command("rustc", &workspace.root);
    rustc.args(["--print", "target-libdir", "--target", WASM_TARGET]);
    let output = rustc.output().context("cannot run rustc: install Rust from https://rustup.rs")?;
    let folder = String::from_utf8(output.stdout)?;
    if Path::new(folder.trim()).is_dir() {
        return Ok(());
    }
    run_step(&format!("rustup target add {WASM_TARGET}"), || {
        let fix = format!(
            "Rust was not installed by rustup; install its standard library for {WASM_TARGET}"
        );
        run_program(
            program_command("rustup", &workspace.root).args(["target", "add", WASM_TARGET]),
            &fix,
        )
    })
}

/// Installs the packages of a folder's `package-lock.json` into `install_folder`. Returns the path
/// of `node_modules`.
pub(crate) fn install_node_modules(
    folder: &Path,
    install_folder: &Path,
) -> anyhow::Result<PathBuf> {
    let modules = install_folder.join("node_modules");
    let lock = fs::read(folder.join("package-lock.json"))?;
    let stamp = modules.join("jackfield-installed.lock");
    if fs::read(&stamp).is_ok_and(|installed| installed == lock) {
        return Ok(modules);
    }
    run_step("npm install", || {
        fs::create_dir_all(install_folder)?;
        for file in ["package.json", "package-lock.json"] {
            fs::copy(folder.join(file), install_folder.join(file))?;
        }
        // Do not use `npm ci`: it requires optional packages of other platforms, and some of these
        // packages were never published.
        let mut install = program_command("npm", install_folder);
        run_program(install.args(["install", "--no-save", "--no-fund", "--no-audit"]), NODE_FIX)?;
        Ok(fs::write(&stamp, &lock)?)
    })?;
    Ok(modules)
}

/// Installs the packages of a folder's `requirements.txt` into the virtual environment `venv`.
/// Returns the path of its `bin` folder.
pub(crate) fn install_python_venv(folder: &Path, venv: &Path) -> anyhow::Result<PathBuf> {
    let requirements_file = folder.join("requirements.txt");
    let requirements = fs::read(&requirements_file)?;
    let stamp = venv.join("jackfield-installed.txt");
    let binaries = venv.join("bin");
    if fs::read(&stamp).is_ok_and(|installed| installed == requirements) {
        return Ok(binaries);
    }
    run_step("pip install", || {
        let mut create_venv = program_command("python3", folder);
        run_program(create_venv.args(["-m", "venv", "--clear"]).arg(venv), PYTHON_FIX)
            .context(PYTHON_FIX)?;
        let mut install = program_command(binaries.join("pip"), folder);
        install.args(["install", "--quiet", "--disable-pip-version-check", "--requirement"]);
        run_program(install.arg(&requirements_file), PYTHON_FIX)?;
        Ok(fs::write(&stamp, &requirements)?)
    })?;
    Ok(binaries)
}

/// Installs those of the Debian packages that are missing, as root or with sudo. sudo must work
/// without a password.
pub(crate) fn install_debian_packages(
    workspace: &Workspace,
    packages: &[&str],
) -> anyhow::Result<()> {
    let missing: Vec<_> =
        packages.iter().copied().filter(|package| !is_debian_package_installed(package)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let names = missing.join(" ");
    let fix = format!("Debian packages are missing; install them: apt-get install {names}");
    let is_root = is_root()?;
    let apt = |arguments: &[&str]| {
        let mut command = program_command(if is_root { "env" } else { "sudo" }, &workspace.root);
        if !is_root {
            command.args(["--non-interactive", "env"]);
        }
        command.args(["DEBIAN_FRONTEND=noninteractive", "apt-get"]).args(arguments);
        run_program(&mut command, &fix).with_context(|| fix.clone())
    };
    run_step(&format!("apt-get install {names}"), || {
        apt(&["update"])?;
        apt(&[&["install", "--yes", "--no-install-recommends"], missing.as_slice()].concat())
    })
}

fn is_debian_package_installed(package: &str) -> bool {
    let mut query = Command::new("dpkg-query");
    query.args(["--show", "--showformat=${Status}", package]).stderr(Stdio::null());
    query.output().is_ok_and(|output| output.stdout == b"install ok installed")
}

fn is_root() -> anyhow::Result<bool> {
    let output = Command::new("id").arg("-u").output().context("cannot run id")?;
    if !output.status.success() {
        bail!("`id -u` ended with {}", output.status);
    }
    Ok(output.stdout == b"0\n")
}
