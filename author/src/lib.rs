//! The tool for authors of connectors. `new` creates a project from a template, and `build` builds
//! the connector's component. The tool needs no checkout of the repository.
//!
//! This crate does not depend on the server, and does not check whether the server would load a
//! component.

mod build;
mod error;
mod language;
mod new;
mod project;
mod template;

pub use build::{BuildResult, Component, Step, build};
pub use error::AuthorError;
pub use language::{Engine, Example, Language};
pub use new::new;
pub use project::Project;
