//! Reads the contract in a project's folder `wit/`, writes bindings for a language, and converts a
//! WebAssembly module that was compiled with these bindings to a component.

use std::fs;
use std::path::Path;

use wasi_preview1_component_adapter_provider::{
    WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER,
};
use wit_bindgen_core::wit_parser::{Resolve, WorldId};
use wit_bindgen_core::{Files, WorldGenerator};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};

use crate::{AuthorError, Project};

/// The contract in the project's folder `wit/`, and the world for which the connector is built.
pub(super) struct Contract {
    resolve: Resolve,
    world: WorldId,
}

impl Contract {
    pub(super) fn read(project: &Project, world: &str) -> Result<Self, AuthorError> {
        let mut resolve = Resolve::default();
        let package = resolve.push_dir(project.folder.join("wit")).map(|(package, _)| package);
        let world = package.and_then(|package| resolve.select_world(&[package], Some(world)));
        let world = world.map_err(|error| AuthorError::file("wit", format!("{error:#}")))?;
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
        generated.map_err(|error| AuthorError::file("wit", format!("{error:#}")))?;
        let _ = fs::remove_dir_all(folder);
        for (name, content) in files.iter() {
            let file = folder.join(name);
            let parent = file.parent().unwrap_or(folder);
            fs::create_dir_all(parent).map_err(AuthorError::disk("create", parent))?;
            fs::write(&file, content).map_err(AuthorError::disk("create", file))?;
        }
        Ok(())
    }

    /// Adds the description of the world to a module. It is needed if the compiler did not add it.
    pub(super) fn embed(&self, module: &Path) -> Result<(), AuthorError> {
        let mut bytes = fs::read(module).map_err(AuthorError::disk("read", module))?;
        let encoding = StringEncoding::UTF8;
        embed_component_metadata(&mut bytes, &self.resolve, self.world, encoding)
            .map_err(|error| AuthorError::Component(format!("{error:#}")))?;
        fs::write(module, bytes).map_err(AuthorError::disk("create", module))
    }
}

/// Converts a module that contains the description of its world to a component. An adapter
/// implements the functions of WASI preview 1, which the module's standard library imports, by WASI
/// 0.2.
pub(super) fn componentize(module: &Path, component_file: &Path) -> Result<(), AuthorError> {
    let bytes = fs::read(module).map_err(AuthorError::disk("read", module))?;
    let adapter = (WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER);
    let encoder = ComponentEncoder::default().module(&bytes);
    let encoder = encoder.and_then(|encoder| encoder.adapter(adapter.0, adapter.1));
    let component = encoder.and_then(|encoder| encoder.validate(true).encode());
    let component = component.map_err(|error| AuthorError::Component(format!("{error:#}")))?;
    fs::write(component_file, component).map_err(AuthorError::disk("create", component_file))
}
