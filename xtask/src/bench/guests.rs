//! Builds the connectors for the benchmarks into `target/bench/guests`: connectors that answer at
//! once, a realistic connector in Rust, and the connector of `jackfield new` in each language.

use std::fs;
use std::path::Path;

use jackfield_author::{Engine, Language};

use crate::connectors::{
    PLAIN_WORLD, build_project, build_with_componentize_py, build_with_quickjs,
};
use crate::step::{program_command, run_program, run_step};
use crate::tools;
use crate::workspace::Workspace;

use super::{build_crate, peers_folder};

pub(super) fn build_rust_connectors(workspace: &Workspace, folder: &Path) -> anyhow::Result<()> {
    tools::install_wasm_target(workspace)?;
    build_crate(workspace, "guests", folder, &["--examples", "--target", tools::WASM_TARGET])?;
    for name in ["instant.wasm", "realistic.wasm"] {
        let examples = folder.join("guests").join(tools::WASM_TARGET).join("release/examples");
        fs::copy(examples.join(name), folder.join("guests").join(name))?;
    }
    Ok(())
}

/// Builds the connectors in JavaScript and Python, unless they are already built.
pub(super) fn build_javascript_and_python_connectors(
    workspace: &Workspace,
    folder: &Path,
) -> anyhow::Result<()> {
    let (sources, guests) = (peers_folder(workspace).join("guests"), folder.join("guests"));
    let is_missing = |name: &str| !guests.join(name).exists();
    if is_missing("quickjs.wasm") {
        run_step("connector for QuickJS", || {
            let (source, target) = (sources.join("instant.js"), guests.join("quickjs.wasm"));
            build_with_quickjs(workspace, PLAIN_WORLD, &source, &target)
        })?;
    }
    if is_missing("python.wasm") {
        run_step("connector for Python", || {
            let target = guests.join("python.wasm");
            build_with_componentize_py(workspace, PLAIN_WORLD, &sources, "instant", &target)
        })?;
    }
    if is_missing("starlingmonkey.wasm") {
        run_step("connector for StarlingMonkey", || build_with_starlingmonkey(workspace, folder))?;
    }
    Ok(())
}

/// Builds the connector of `jackfield new` in each language.
pub(super) fn build_template_connectors(
    workspace: &Workspace,
    folder: &Path,
) -> anyhow::Result<()> {
    let target = folder.join("guests/languages");
    fs::create_dir_all(&target)?;
    for language in Language::ALL {
        let name = language.name();
        run_step(&format!("connector of the template: {name}"), || {
            let parent = folder.join("projects");
            let built = build_project(workspace, &parent, name, |parent| {
                jackfield_author::new(name, parent, language, None, Engine::Quickjs)
            })?;
            let extension = built.extension().unwrap_or_default();
            Ok(fs::copy(&built, target.join(name).with_extension(extension))?)
        })?;
    }
    Ok(())
}

fn build_with_starlingmonkey(workspace: &Workspace, folder: &Path) -> anyhow::Result<()> {
    let source = peers_folder(workspace).join("starlingmonkey");
    let install_folder = folder.join("starlingmonkey");
    tools::install_node_modules(&source, &install_folder)?;
    // Node.js searches packages in the folder of the script.
    fs::copy(source.join("build.js"), install_folder.join("build.js"))?;
    let mut node = program_command("node", &install_folder);
    node.arg("build.js").arg(peers_folder(workspace).join("guests/instant.js"));
    node.arg(workspace.root.join("wit")).arg(folder.join("guests/starlingmonkey.wasm"));
    run_program(&mut node, tools::NODE_FIX)
}
