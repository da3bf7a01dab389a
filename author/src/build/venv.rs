//! Installs packages of PyPI for a project: tools are installed into a virtual environment, and
//! libraries that the project compiles are unpacked. Two files of the project pin the packages.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::shared;
use super::steps::{Steps, output};
use super::tools::PYTHON;
use crate::{AuthorError, Project};

/// The file that lists the tools of a project.
pub(super) const TOOLS_FILE: &str = "requirements.txt";
/// The file that lists the libraries that a project compiles.
const LIBRARIES_FILE: &str = "sources.txt";

/// A Python program. It unpacks each archive of a folder into another folder.
const UNPACK: &str = "\
import os, shutil, sys
source, target = sys.argv[1:]
for name in os.listdir(source):
    kind = 'zip' if name.endswith(('.whl', '.zip')) else 'gztar'
    shutil.unpack_archive(os.path.join(source, name), target, kind)";

/// Installs the tools of `requirements.txt` into a folder below `shared`, or into `.build/venv`,
/// unless they are already installed. Returns the folder of their programs.
pub(super) fn install_tools(
    project: &Project,
    shared: Option<&Path>,
    steps: &mut Steps,
) -> Result<PathBuf, AuthorError> {
    let own = project.build_folder().join("venv");
    let folder = shared::tools_folder(shared, own, &project.read(TOOLS_FILE)?);
    let venv = &folder.path;
    let programs = venv.join("bin");
    let Some(installed_list) = InstalledList::if_not_installed(project, TOOLS_FILE, venv)? else {
        return Ok(programs);
    };
    let mut import_modules = Command::new("python3");
    if !output(import_modules.args(["-c", "import venv, ensurepip"]), PYTHON.fix)?.status.success()
    {
        return Err(AuthorError::NoPart { what: "Python's venv or pip", fix: PYTHON.fix });
    }
    let mut create_venv = Command::new("python3");
    steps.run(
        "python3 -m venv",
        create_venv.args(["-m", "venv", "--clear"]).arg(venv),
        PYTHON.fix,
    )?;
    let mut install = pip(project, &programs, "install");
    steps.run("pip install", install.args(["--requirement", TOOLS_FILE]), PYTHON.fix)?;
    installed_list.write()?;
    Ok(programs)
}

/// Downloads the packages of `sources.txt` and unpacks them into `.build/sources`, unless they are
/// already there.
pub(super) fn unpack_libraries(
    project: &Project,
    programs: &Path,
    steps: &mut Steps,
) -> Result<(), AuthorError> {
    let folder = project.build_folder().join("sources");
    let Some(installed_list) = InstalledList::if_not_installed(project, LIBRARIES_FILE, &folder)?
    else {
        return Ok(());
    };
    let archives = project.build_folder().join("archives");
    for folder in [&archives, &folder] {
        let _ = fs::remove_dir_all(folder);
    }
    let mut download = pip(project, programs, "download");
    // Without build isolation, pip prepares a package with the tools of `requirements.txt`, which
    // are pinned.
    download.args(["--no-deps", "--no-build-isolation", "--requirement", LIBRARIES_FILE, "--dest"]);
    steps.run("pip download", download.arg(&archives), PYTHON.fix)?;
    let mut unpack = Command::new("python3");
    unpack.args(["-c", UNPACK]).args([&archives, &folder]);
    steps.run("unpack the libraries", &mut unpack, PYTHON.fix)?;
    installed_list.write()
}

fn pip(project: &Project, programs: &Path, command: &str) -> Command {
    let mut pip = Command::new(programs.join("pip"));
    pip.args([command, "--quiet", "--disable-pip-version-check"]).current_dir(&project.folder);
    pip
}

/// The list of the packages that are installed in a folder. A file in the folder stores it, so that
/// the next build can see whether the list has changed.
struct InstalledList {
    file: PathBuf,
    list: String,
}

impl InstalledList {
    /// Returns the list that the caller must install and then write; `None` if it is already
    /// installed.
    fn if_not_installed(
        project: &Project,
        list_file: &str,
        folder: &Path,
    ) -> Result<Option<Self>, AuthorError> {
        let list = project.read(list_file)?;
        let file = folder.join("jackfield-installed.txt");
        let is_installed = fs::read_to_string(&file).is_ok_and(|installed| installed == list);
        Ok((!is_installed).then_some(Self { file, list }))
    }

    fn write(self) -> Result<(), AuthorError> {
        fs::write(&self.file, self.list).map_err(AuthorError::disk("create", self.file))
    }
}
