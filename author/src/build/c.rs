//! Builds projects in C and C++ with Zig's compiler, which is clang with a standard library for
//! WebAssembly. The compiler, and the libraries that `sources.txt` lists, are packages of PyPI.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use wit_bindgen_core::WorldGenerator;

use super::contract::{Contract, componentize};
use super::settings::Settings;
use super::source::{source_files, without_comments};
use super::steps::Steps;
use super::tools::PYTHON;
use super::venv;
use super::world::{ConnectorSource, EXPORTS, TEST_DATA};
use crate::{AuthorError, Language, Project};

/// The compiler gets these flags in addition to the flags in the project's `compile_flags.txt`. The
/// stack has 64 KiB, because the host clears it after each call. Zig's default is 16 MiB.
const EXTRA_FLAGS: [&str; 5] =
    ["-mexec-model=reactor", "-Os", "-flto", "-s", "-Wl,-z,stack-size=65536"];
const BINDINGS_FOLDER: &str = ".build/bindings";

/// The values that differ between builds in C and builds in C++.
struct Dialect {
    /// The argument of `zig` that chooses the compiler.
    compiler: &'static str,
    extension: &'static str,
    bindings_generator: fn() -> Box<dyn WorldGenerator>,
    /// The beginning of each name that belongs to an exported interface.
    export_prefix: &'static str,
    /// The beginning of each name that belongs to an imported interface.
    import_prefix: &'static str,
    /// Describes the code that exports an interface, for error messages.
    describe_export: fn(&str) -> String,
}

const C: Dialect = Dialect {
    compiler: "cc",
    extension: "c",
    bindings_generator: || {
        // With this option, the names in the bindings do not depend on the name of the world.
        let rename_world = Some("connector".to_owned());
        wit_bindgen_c::Opts { rename_world, ..Default::default() }.build()
    },
    export_prefix: "exports_jackfield_connector_",
    import_prefix: "jackfield_connector_",
    describe_export: |interface| {
        format!("the functions `exports_jackfield_connector_{}_…`", snake_case(interface))
    },
};

const CPP: Dialect = Dialect {
    compiler: "c++",
    extension: "cpp",
    bindings_generator: || wit_bindgen_cpp::Opts::default().build(None),
    export_prefix: "exports::jackfield::connector::",
    import_prefix: "jackfield::connector::",
    describe_export: |interface| {
        format!("the functions of `exports::jackfield::connector::{}`", snake_case(interface))
    },
};

pub(super) fn build(
    project: &Project,
    shared_tools: Option<&Path>,
    component_file: &Path,
    steps: &mut Steps,
) -> Result<(), AuthorError> {
    let dialect = if project.language == Language::C { &C } else { &CPP };
    PYTHON.check()?;
    let programs = venv::install_tools(project, shared_tools, steps)?;
    venv::unpack_libraries(project, &programs, steps)?;
    let settings = Settings::read(project)?;
    let sources = source_files(project, dialect.extension)?;
    let world = choose_world(project, dialect, &settings, &sources)?;
    let bindings = project.folder.join(BINDINGS_FOLDER);
    steps.run_closure("bindings of the contract", || {
        Contract::read(project, world)?
            .write_bindings((dialect.bindings_generator)(), &bindings)?;
        write_common_header(&bindings, dialect, world)
    })?;
    let module = project.build_folder().join("module.wasm");
    let mut compile = Command::new(programs.join("python"));
    compile.args(["-m", "ziglang", dialect.compiler, "@compile_flags.txt"]).args(EXTRA_FLAGS);
    compile.args(sources).args(&settings.sources).args(list_generated_sources(&bindings, dialect)?);
    compile.arg("-o").arg(&module).current_dir(&project.folder);
    steps.run_tool(&format!("zig {}", dialect.compiler), &mut compile, PYTHON.fix)?;
    steps.run_closure("component", || componentize(&module, component_file))
}

/// Writes the header `connector_cpp.h`, which sources in C++ include. It includes the generated
/// header, whose name contains the name of the world. Does nothing for C, or if the generated
/// header has this name itself.
fn write_common_header(bindings: &Path, dialect: &Dialect, world: &str) -> Result<(), AuthorError> {
    let header = bindings.join("connector_cpp.h");
    let world_header = format!("{}_cpp.h", snake_case(world));
    if dialect.extension != "cpp" || header.ends_with(&world_header) {
        return Ok(());
    }
    let content = format!("#pragma once\n#include \"{world_header}\"\n");
    fs::write(&header, content).map_err(AuthorError::disk_error("create", header))
}

/// Lists the source and object files of the bindings. The object file contains the description of
/// the world.
fn list_generated_sources(bindings: &Path, dialect: &Dialect) -> Result<Vec<PathBuf>, AuthorError> {
    let disk = || AuthorError::disk_error("read", bindings);
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

fn choose_world(
    project: &Project,
    dialect: &Dialect,
    settings: &Settings,
    sources: &[String],
) -> Result<&'static str, AuthorError> {
    let texts = sources.iter().map(|file| project.read(file)).collect::<Result<Vec<_>, _>>()?;
    let code: Vec<_> = texts.iter().map(|text| without_comments(text)).collect();
    let uses_interface = |prefix: &str, interface: &str| {
        let name = prefix.to_owned() + &snake_case(interface);
        code.iter().any(|code| code.contains(&name))
    };
    let source = ConnectorSource {
        chosen_world: settings.world.as_deref(),
        settings_file: Settings::FILE,
        exports: EXPORTS
            .into_iter()
            .filter(|it| uses_interface(dialect.export_prefix, it))
            .collect(),
        uses_test_data: TEST_DATA.iter().any(|it| uses_interface(dialect.import_prefix, it)),
        describe_export: dialect.describe_export,
    };
    let file = format!("connector.{}", dialect.extension);
    source
        .choose_world()
        .map(|world| world.name)
        .map_err(|why| AuthorError::error_in_file(&file, why.to_string()))
}

fn snake_case(interface: &str) -> String {
    interface.replace('-', "_")
}
