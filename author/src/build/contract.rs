//! Reads the contract in a project's folder `wit/`, and writes bindings of it for a language. Also
//! converts a WebAssembly module that was compiled with these bindings to a component.

use std::fs;
use std::path::Path;

use wasi_preview1_component_adapter_provider::{
    WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER,
};
use wit_bindgen_core::wit_parser::{Resolve, WorldId};
use wit_bindgen_core::{Files, WorldGenerator};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};

use crate::{AuthorError, Project};

/// The contract in the project's folder `wit/`, with one chosen world.
pub(super) struct Contract {
    resolve: Resolve,
    world: WorldId,
}

impl Contract {
    pub(super) fn read(project: &Project, world: &str) -> Result<Self, AuthorError> {
        let mut resolve = Resolve::default();
        let package = resolve.push_dir(project.folder.join("wit")).map(|(package, _)| package);
        let world = package.and_then(|package| resolve.select_world(&[package], Some(world)));
        let world =
            world.map_err(|error| AuthorError::error_in_file("wit", format!("{error:#}")))?;
        Ok(Self { resolve, world })
    }

    /// Deletes the content of `folder` and writes the bindings into it.
    pub(super) fn write_bindings(
        mut self,
        mut generator: Box<dyn WorldGenerator>,
        folder: &Path,
    ) -> Result<(), AuthorError> {
        let mut files = Files::default();
        let generated = generator.generate(&mut self.resolve, self.world, &mut files);
        generated.map_err(|error| AuthorError::error_in_file("wit", format!("{error:#}")))?;
        let _ = fs::remove_dir_all(folder);
        for (name, content) in files.iter() {
            let file = folder.join(name);
            let parent = file.parent().unwrap_or(folder);
            fs::create_dir_all(parent).map_err(AuthorError::disk_error("create", parent))?;
            fs::write(&file, content).map_err(AuthorError::disk_error("create", file))?;
        }
        Ok(())
    }

    /// Adds the description of the world to a module. A module needs this only if the compiler did
    /// not add the description.
    pub(super) fn embed_world(&self, module: &Path) -> Result<(), AuthorError> {
        let mut bytes = fs::read(module).map_err(AuthorError::disk_error("read", module))?;
        let encoding = StringEncoding::UTF8;
        embed_component_metadata(&mut bytes, &self.resolve, self.world, encoding)
            .map_err(|error| AuthorError::Component(format!("{error:#}")))?;
        fs::write(module, bytes).map_err(AuthorError::disk_error("create", module))
    }
}

/// Converts a module that contains the description of its world to a component. The module's
/// standard library imports functions of WASI preview 1. An adapter in the component implements
/// these functions with WASI 0.2.
pub(super) fn componentize(module: &Path, component_file: &Path) -> Result<(), AuthorError> {
    let bytes = fs::read(module).map_err(AuthorError::disk_error("read", module))?;
    let adapter = (WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER);
    let encoder = ComponentEncoder::default().module(&bytes);
    let encoder = encoder.and_then(|encoder| encoder.adapter(adapter.0, adapter.1));
    let component = encoder.and_then(|encoder| encoder.validate(true).encode());
    let component = component.map_err(|error| AuthorError::Component(format!("{error:#}")))?;
    fs::write(component_file, component).map_err(AuthorError::disk_error("create", component_file))
}
