//! The tool of a connector's author: `new` creates a project from a template, `build` makes the
//! connector's component from it. Needs no checkout of the repository: templates, examples, the
//! Rust kit and the contract are embedded.
//!
//! Knows nothing of the server. Whether the server would load a component is the caller's question.

mod build;
mod error;
mod language;
mod new;
mod project;
mod template;

pub use build::{Built, Component, Step, build};
pub use error::AuthorError;
pub use language::{Engine, Example, Language};
pub use new::new;
pub use project::Project;
