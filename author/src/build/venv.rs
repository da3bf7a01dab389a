//! Packages of PyPI for a project: its tools go into a virtual environment, and libraries that the
//! project compiles are unpacked. Files of the project pin them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::shared;
use super::steps::{Steps, output};
use super::tools::PYTHON;
use crate::{AuthorError, Project};

/// The tools of a project.
pub(super) const TOOLS: &str = "requirements.txt";
/// The libraries that a project compiles.
const SOURCES: &str = "sources.txt";

/// Unpacks each archive of a folder into another folder.
const UNPACK: &str = "\
import os, shutil, sys
source, target = sys.argv[1:]
for name in os.listdir(source):
    kind = 'zip' if name.endswith(('.whl', '.zip')) else 'gztar'
    shutil.unpack_archive(os.path.join(source, name), target, kind)";

/// Installs the tools of `requirements.txt` into a folder below `shared`, or into `.build/venv`,
/// unless they are installed. Returns the folder of their programs.
pub(super) fn tools(
    project: &Project,
    shared: Option<&Path>,
    steps: &mut Steps,
) -> Result<PathBuf, AuthorError> {
    let own = project.scratch().join("venv");
    let folder = shared::folder(shared, own, &project.read(TOOLS)?);
    let venv = &folder.path;
    let programs = venv.join("bin");
    let Some(stamp) = Stamp::missing(project, TOOLS, venv)? else { return Ok(programs) };
    let mut parts = Command::new("python3");
    if !output(parts.args(["-c", "import venv, ensurepip"]), PYTHON.fix)?.status.success() {
        return Err(AuthorError::NoPart { what: "Python's venv or pip", fix: PYTHON.fix });
    }
    let mut make = Command::new("python3");
    steps.run("python3 -m venv", make.args(["-m", "venv", "--clear"]).arg(venv), PYTHON.fix)?;
    let mut install = pip(project, &programs, "install");
    steps.run("pip install", install.args(["--requirement", TOOLS]), PYTHON.fix)?;
    stamp.write()?;
    Ok(programs)
}

/// Unpacks the packages of `sources.txt` into `.build/sources`, unless they are there.
pub(super) fn sources(
    project: &Project,
    programs: &Path,
    steps: &mut Steps,
) -> Result<(), AuthorError> {
    let folder = project.scratch().join("sources");
    let Some(stamp) = Stamp::missing(project, SOURCES, &folder)? else { return Ok(()) };
    let archives = project.scratch().join("archives");
    for folder in [&archives, &folder] {
        let _ = fs::remove_dir_all(folder);
    }
    let mut download = pip(project, programs, "download");
    // The tools that prepare a package are those of `requirements.txt`, which are pinned.
    download.args(["--no-deps", "--no-build-isolation", "--requirement", SOURCES, "--dest"]);
    steps.run("pip download", download.arg(&archives), PYTHON.fix)?;
    let mut unpack = Command::new("python3");
    unpack.args(["-c", UNPACK]).args([&archives, &folder]);
    steps.run("unpack the libraries", &mut unpack, PYTHON.fix)?;
    stamp.write()
}

fn pip(project: &Project, programs: &Path, command: &str) -> Command {
    let mut pip = Command::new(programs.join("pip"));
    pip.args([command, "--quiet", "--disable-pip-version-check"]).current_dir(&project.folder);
    pip
}

/// The list of packages that a folder was filled from, kept in that folder.
struct Stamp {
    file: PathBuf,
    list: String,
}

impl Stamp {
    /// The stamp to write when the packages of a list are installed; `None` if they are.
    fn missing(project: &Project, list: &str, folder: &Path) -> Result<Option<Self>, AuthorError> {
        let list = project.read(list)?;
        let file = folder.join("jackfield-installed.txt");
        let is_installed = fs::read_to_string(&file).is_ok_and(|installed| installed == list);
        Ok((!is_installed).then_some(Self { file, list }))
    }

    fn write(self) -> Result<(), AuthorError> {
        fs::write(&self.file, self.list).map_err(AuthorError::disk("create", self.file))
    }
}
