//! Builds the component of a project. The project's `NAME.wasm` is never incomplete, because
//! [`Component::publish`] renames the finished file.

mod c;
mod contract;
mod ecmascript;
mod go;
mod python;
mod rust;
mod settings;
mod shared;
mod source;
mod steps;
mod tools;
mod venv;
mod world;

use std::fs;
use std::path::{Path, PathBuf};

use crate::{AuthorError, Language, Project};

pub use steps::Step;
use steps::Steps;

/// The result of a build.
#[derive(Debug)]
pub enum BuildResult {
    /// A component that is not published yet.
    Component(Component),
    /// The path of a script, which needs no build.
    Script(PathBuf),
}

/// A built component that is not published yet.
#[derive(Debug)]
pub struct Component {
    built_file: PathBuf,
    published_file: PathBuf,
}

/// Builds the project in `folder` with the usual tools of its language. Tools from PyPI are
/// installed below `shared_tools` or, if that is `None` or cannot be written, into the project.
/// `build` calls `on_step` at the start of each step, and at the end of each step that succeeds.
/// The tools print to stderr.
///
/// # Errors
/// The folder is not a project, a file of the project is wrong or cannot be read or written, a tool
/// is missing or too old, or a step failed.
pub fn build(
    folder: &Path,
    shared_tools: Option<&Path>,
    on_step: &mut dyn FnMut(&Step),
) -> Result<BuildResult, AuthorError> {
    let project = Project::open(folder)?;
    if project.language == Language::Script {
        return Ok(BuildResult::Script(project.connector_file()));
    }
    let build_folder = project.build_folder();
    fs::create_dir_all(&build_folder).map_err(AuthorError::disk_error("create", &build_folder))?;
    let file = build_folder.join(format!("{}.wasm", project.name));
    let mut steps = Steps::new(on_step);
    match project.language {
        Language::Rust => rust::build(&project, &file, &mut steps)?,
        Language::Javascript => ecmascript::build(&project, false, &file, &mut steps)?,
        Language::Typescript => ecmascript::build(&project, true, &file, &mut steps)?,
        Language::Python => python::build(&project, shared_tools, &file, &mut steps)?,
        Language::C | Language::Cpp => c::build(&project, shared_tools, &file, &mut steps)?,
        Language::Go => go::build(&project, shared_tools, &file, &mut steps)?,
        Language::Script => {}
    }
    Ok(BuildResult::Component(Component {
        built_file: file,
        published_file: project.connector_file(),
    }))
}

impl Component {
    /// The path of the built file. The caller checks this file before it calls [`Self::publish`].
    #[must_use]
    pub fn file(&self) -> &Path {
        &self.built_file
    }

    /// Renames the built file to the project's `NAME.wasm`, and returns that path.
    ///
    /// # Errors
    /// The file cannot be renamed.
    pub fn publish(self) -> Result<PathBuf, AuthorError> {
        let renamed = fs::rename(&self.built_file, &self.published_file);
        renamed.map_err(AuthorError::disk_error("create", &self.published_file))?;
        Ok(self.published_file)
    }
}
