//! Builds a project's component. The project's `NAME.wasm` is replaced only by
//! [`Component::publish`], by a rename, so it is never half-written.

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

/// What a build made.
#[derive(Debug)]
pub enum Built {
    /// A component, which is not published yet.
    Component(Component),
    /// Nothing: the connector is this script.
    Script(PathBuf),
}

/// A component that is built and not published.
#[derive(Debug)]
pub struct Component {
    file: PathBuf,
    target: PathBuf,
}

/// Builds the project of a folder with its language's own tools. Tools of PyPI are installed below
/// `shared_tools`, or into the project. `on_step` is called at the begin and at the end of each
/// step; the tools print to stderr.
///
/// # Errors
/// The folder is not a project, a tool is missing or too old, or a step failed.
pub fn build(
    folder: &Path,
    shared_tools: Option<&Path>,
    on_step: &mut dyn FnMut(&Step),
) -> Result<Built, AuthorError> {
    let project = Project::open(folder)?;
    if project.language == Language::Script {
        return Ok(Built::Script(project.connector()));
    }
    let scratch = project.scratch();
    fs::create_dir_all(&scratch).map_err(AuthorError::disk("create", &scratch))?;
    let file = scratch.join(format!("{}.wasm", project.name));
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
    Ok(Built::Component(Component { file, target: project.connector() }))
}

impl Component {
    /// The finished file, to be checked before it is published.
    #[must_use]
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Makes the file the project's `NAME.wasm`, and returns its path.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn publish(self) -> Result<PathBuf, AuthorError> {
        let renamed = fs::rename(&self.file, &self.target);
        renamed.map_err(AuthorError::disk("create", &self.target))?;
        Ok(self.target)
    }
}
