//! Builds the connectors under load into `target/bench/guests`: one that answers at once in each
//! language, and a realistic one.

use std::fs;
use std::path::Path;

use jackfield_author::{Engine, Language};

use crate::connectors::{PLAIN_WORLD, build_project, componentize_py, quickjs};
use crate::step::{program, run, step};
use crate::tools;
use crate::workspace::Workspace;

use super::{build, sources};

/// The connectors in Rust.
pub(super) fn rust(workspace: &Workspace, folder: &Path) -> anyhow::Result<()> {
    tools::wasm_target(workspace)?;
    build(workspace, "guests", folder, &["--examples", "--target", tools::WASM_TARGET])?;
    for name in ["instant.wasm", "realistic.wasm"] {
        let built = folder.join("guests").join(tools::WASM_TARGET).join("release/examples");
        fs::copy(built.join(name), folder.join("guests").join(name))?;
    }
    Ok(())
}

/// The connectors in other languages, unless they are there.
pub(super) fn scripts(workspace: &Workspace, folder: &Path) -> anyhow::Result<()> {
    let (from, to) = (sources(workspace).join("guests"), folder.join("guests"));
    let missing = |name: &str| !to.join(name).exists();
    if missing("quickjs.wasm") {
        step("connector for QuickJS", || {
            quickjs(workspace, PLAIN_WORLD, &from.join("instant.js"), &to.join("quickjs.wasm"))
        })?;
    }
    if missing("python.wasm") {
        step("connector for Python", || {
            componentize_py(workspace, PLAIN_WORLD, &from, "instant", &to.join("python.wasm"))
        })?;
    }
    if missing("starlingmonkey.wasm") {
        step("connector for StarlingMonkey", || starlingmonkey(workspace, folder))?;
    }
    Ok(())
}

/// The connector of the template in each language, as its author builds it.
pub(super) fn languages(workspace: &Workspace, folder: &Path) -> anyhow::Result<()> {
    let to = folder.join("guests/languages");
    fs::create_dir_all(&to)?;
    for language in Language::ALL {
        let name = language.name();
        step(&format!("connector of the template: {name}"), || {
            let parent = folder.join("projects");
            let built = build_project(workspace, &parent, name, |parent| {
                jackfield_author::new(name, parent, language, None, Engine::Quickjs)
            })?;
            let extension = built.extension().unwrap_or_default();
            Ok(fs::copy(&built, to.join(name).with_extension(extension))?)
        })?;
    }
    Ok(())
}

fn starlingmonkey(workspace: &Workspace, folder: &Path) -> anyhow::Result<()> {
    let (source, home) = (sources(workspace).join("starlingmonkey"), folder.join("starlingmonkey"));
    tools::node_modules(&source, &home)?;
    // Node looks for packages beside the script.
    fs::copy(source.join("build.js"), home.join("build.js"))?;
    let mut make = program("node", &home);
    make.arg("build.js").arg(sources(workspace).join("guests/instant.js"));
    make.arg(workspace.root.join("wit")).arg(folder.join("guests/starlingmonkey.wasm"));
    run(&mut make, tools::NODE_FIX)
}
