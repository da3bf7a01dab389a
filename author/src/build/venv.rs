//! Installs packages of PyPI for a project: tools into a virtual environment, and libraries as
//! sources that the project compiles. Two files of the project pin the packages.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::shared;
use super::steps::{Steps, collect_output};
use super::tools::PYTHON;
use crate::{AuthorError, Project};

/// The file that lists the tools of a project.
pub(super) const TOOLS_FILE: &str = "requirements.txt";
/// The file that lists the libraries that a project compiles.
const LIBRARIES_FILE: &str = "sources.txt";

const UNPACK_ARCHIVES: &str = "\
import os, shutil, sys
source, target = sys.argv[1:]
for name in os.listdir(source):
    kind = 'zip' if name.endswith(('.whl', '.zip')) else 'gztar'
    shutil.unpack_archive(os.path.join(source, name), target, kind)";

/// Installs the tools of `requirements.txt` into a folder below `shared_tools` or, if that is
/// `None` or cannot be written, into `.build/venv`. Does nothing if the tools are already
/// installed. Returns the folder of their programs.
pub(super) fn install_tools(
    project: &Project,
    shared_tools: Option<&Path>,
    steps: &mut Steps,
) -> Result<PathBuf, AuthorError> {
    let own_folder = project.build_folder().join("venv");
    let folder = shared::choose_tools_folder(shared_tools, own_folder, &project.read(TOOLS_FILE)?);
    let venv = &folder.path;
    let programs = venv.join("bin");
    let Some(package_list) = PackageList::read_unless_installed(project, TOOLS_FILE, venv)? else {
        return Ok(programs);
    };
    let mut import_modules = Command::new("python3");
    if !collect_output(import_modules.args(["-c", "import venv, ensurepip"]), PYTHON.fix)?
        .status
        .success()
    {
        return Err(AuthorError::NoPart { what: "Python's venv or pip", fix: PYTHON.fix });
    }
    let mut create_venv = Command::new("python3");
    steps.run_tool(
        "python3 -m venv",
        create_venv.args(["-m", "venv", "--clear"]).arg(venv),
        PYTHON.fix,
    )?;
    let mut install = pip_command(project, &programs, "install");
    steps.run_tool("pip install", install.args(["--requirement", TOOLS_FILE]), PYTHON.fix)?;
    package_list.mark_installed()?;
    Ok(programs)
}

/// Downloads the packages of `sources.txt`, and unpacks them into `.build/sources`. Does nothing if
/// they are already unpacked there.
pub(super) fn unpack_libraries(
    project: &Project,
    programs: &Path,
    steps: &mut Steps,
) -> Result<(), AuthorError> {
    let folder = project.build_folder().join("sources");
    let Some(package_list) = PackageList::read_unless_installed(project, LIBRARIES_FILE, &folder)?
    else {
        return Ok(());
    };
    let archives = project.build_folder().join("archives");
    for folder in [&archives, &folder] {
        let _ = fs::remove_dir_all(folder);
    }
    let mut download = pip_command(project, programs, "download");
    // With `--no-build-isolation`, pip prepares a package with the tools of `requirements.txt`,
    // which are pinned. Otherwise pip would download other versions of these tools.
    download.args(["--no-deps", "--no-build-isolation", "--requirement", LIBRARIES_FILE, "--dest"]);
    steps.run_tool("pip download", download.arg(&archives), PYTHON.fix)?;
    let mut unpack = Command::new("python3");
    unpack.args(["-c", UNPACK_ARCHIVES]).args([&archives, &folder]);
    steps.run_tool("unpack the libraries", &mut unpack, PYTHON.fix)?;
    package_list.mark_installed()
}

fn pip_command(project: &Project, programs: &Path, command: &str) -> Command {
    let mut pip = Command::new(programs.join("pip"));
    pip.args([command, "--quiet", "--disable-pip-version-check"]).current_dir(&project.folder);
    pip
}

/// A list of packages that must be installed into a folder. The folder stores the installed list,
/// so that the next build can see whether the project's list has changed.
struct PackageList {
    installed_file: PathBuf,
    list: String,
}

impl PackageList {
    /// Reads the list that the caller must install and then mark as installed. Returns `None` if
    /// this list is already installed in `folder`.
    fn read_unless_installed(
        project: &Project,
        list_file: &str,
        folder: &Path,
    ) -> Result<Option<Self>, AuthorError> {
        let list = project.read(list_file)?;
        let installed_file = folder.join("jackfield-installed.txt");
        let is_installed =
            fs::read_to_string(&installed_file).is_ok_and(|installed| installed == list);
        Ok((!is_installed).then_some(Self { installed_file, list }))
    }

    fn mark_installed(self) -> Result<(), AuthorError> {
        fs::write(&self.installed_file, self.list)
            .map_err(AuthorError::disk_error("create", self.installed_file))
    }
}
