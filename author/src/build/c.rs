//! C and C++: Zig's compiler, which is clang with a standard library for WebAssembly, compiles the
//! project together with bindings of the contract. The compiler and the JSON library are packages
//! of PyPI.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use wit_bindgen_core::WorldGenerator;

use super::contract::{Contract, componentize};
use super::settings::Settings;
use super::source::{files, without_comments};
use super::steps::Steps;
use super::tools::PYTHON;
use super::venv;
use super::world::{EXPORTS, Source, TEST_DATA};
use crate::{AuthorError, Language, Project};

/// Beyond the flags of the project's `compile_flags.txt`. The stack is Rust's size for connectors:
/// the default of 16 MiB is memory that the host has to clear after each call.
const FLAGS: [&str; 5] = ["-mexec-model=reactor", "-Os", "-flto", "-s", "-Wl,-z,stack-size=65536"];
/// The bindings, below the project's folder.
const BINDINGS: &str = ".build/bindings";

/// What differs between C and C++.
struct Dialect {
    compiler: &'static str,
    extension: &'static str,
    /// The generator of the bindings.
    bindings: fn() -> Box<dyn WorldGenerator>,
    /// The begin of a name of an interface that is exported.
    exported: &'static str,
    /// The begin of a name of an interface that is imported.
    imported: &'static str,
    spell: fn(&str) -> String,
}

const C: Dialect = Dialect {
    compiler: "cc",
    extension: "c",
    bindings: || {
        // The same names in each world.
        let rename_world = Some("connector".to_owned());
        wit_bindgen_c::Opts { rename_world, ..Default::default() }.build()
    },
    exported: "exports_jackfield_connector_",
    imported: "jackfield_connector_",
    spell: |interface| {
        format!("the functions `exports_jackfield_connector_{}_…`", snake_case(interface))
    },
};

const CPP: Dialect = Dialect {
    compiler: "c++",
    extension: "cpp",
    bindings: || wit_bindgen_cpp::Opts::default().build(None),
    exported: "exports::jackfield::connector::",
    imported: "jackfield::connector::",
    spell: |interface| {
        format!("the functions of `exports::jackfield::connector::{}`", snake_case(interface))
    },
};

pub(super) fn build(
    project: &Project,
    shared_tools: Option<&Path>,
    to: &Path,
    steps: &mut Steps,
) -> Result<(), AuthorError> {
    let dialect = if project.language == Language::C { &C } else { &CPP };
    PYTHON.check()?;
    let programs = venv::tools(project, shared_tools, steps)?;
    venv::sources(project, &programs, steps)?;
    let settings = Settings::read(project)?;
    let sources = files(project, dialect.extension)?;
    let world = world(project, dialect, &settings, &sources)?;
    let bindings = project.folder.join(BINDINGS);
    steps.step("bindings of the contract", || {
        Contract::read(project, world)?.write_bindings((dialect.bindings)(), &bindings)?;
        write_header(&bindings, dialect, world)
    })?;
    let module = project.scratch().join("module.wasm");
    let mut compile = Command::new(programs.join("python"));
    compile.args(["-m", "ziglang", dialect.compiler, "@compile_flags.txt"]).args(FLAGS);
    compile.args(sources).args(&settings.sources).args(generated(&bindings, dialect)?);
    compile.arg("-o").arg(&module).current_dir(&project.folder);
    steps.run(&format!("zig {}", dialect.compiler), &mut compile, PYTHON.fix)?;
    steps.step("component", || componentize(&module, to))
}

/// The bindings of C++ have the world in the name of their header. Sources include the same name in
/// each world.
fn write_header(bindings: &Path, dialect: &Dialect, world: &str) -> Result<(), AuthorError> {
    let (header, own) = (bindings.join("connector_cpp.h"), format!("{}_cpp.h", snake_case(world)));
    if dialect.extension != "cpp" || header.ends_with(&own) {
        return Ok(());
    }
    let content = format!("#pragma once\n#include \"{own}\"\n");
    fs::write(&header, content).map_err(AuthorError::disk("create", header))
}

/// The files of the bindings that are compiled or linked: the last one contains the contract.
fn generated(bindings: &Path, dialect: &Dialect) -> Result<Vec<PathBuf>, AuthorError> {
    let disk = || AuthorError::disk("read", bindings);
    let mut files = Vec::new();
    for entry in fs::read_dir(bindings).map_err(disk())? {
        let file = entry.map_err(disk())?.path();
        let extension = file.extension().unwrap_or_default();
        if extension == dialect.extension || extension == "o" {
            files.push(file);
        }
    }
    files.sort();
    Ok(files)
}

fn world(
    project: &Project,
    dialect: &Dialect,
    settings: &Settings,
    sources: &[String],
) -> Result<&'static str, AuthorError> {
    let texts = sources.iter().map(|file| project.read(file)).collect::<Result<Vec<_>, _>>()?;
    let code: Vec<_> = texts.iter().map(|text| without_comments(text)).collect();
    let is_named = |start: &str, interface: &str| {
        let name = start.to_owned() + &snake_case(interface);
        code.iter().any(|code| code.contains(&name))
    };
    let found = Source {
        chosen: settings.world.as_deref(),
        chosen_in: Settings::FILE,
        exports: EXPORTS.into_iter().filter(|it| is_named(dialect.exported, it)).collect(),
        uses_test_data: TEST_DATA.iter().any(|it| is_named(dialect.imported, it)),
        spell: dialect.spell,
    };
    let file = format!("connector.{}", dialect.extension);
    found.world().map(|world| world.name).map_err(|why| AuthorError::file(&file, why.to_string()))
}

/// The name of an interface in C and C++.
fn snake_case(interface: &str) -> String {
    interface.replace('-', "_")
}
