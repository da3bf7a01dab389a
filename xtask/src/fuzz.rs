//! `cargo xtask fuzz`: builds the fuzz targets of `tests/fuzz` and runs them one after the other.
//!
//! Never writes into the committed corpus: it is read as seeds, and what a run finds goes below
//! `target/fuzz`. An input that fails stays in `tests/fuzz/artifacts`, with the command that repeats it.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail};
use clap::ValueEnum;

use crate::step::{cargo, program, run as run_program, step};
use crate::test::{examples, test_guests};
use crate::workspace::Workspace;

const CARGO_FUZZ_VERSION: &str = "0.13.2";
/// One input that takes longer has found something, on slow machines too.
const INPUT_SECONDS_MAX: u32 = 60;
const MEMORY_MIB_MAX: u32 = 4_096;
/// Guests small enough to be mutated with some speed.
const GUEST_SEEDS: [&str; 2] = ["spin.wasm", "memory_bomb.wasm"];

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// How long each target runs
    #[arg(long, value_name = "N", default_value_t = 600)]
    seconds: u32,
    /// Run only this one
    target: Option<Target>,
    /// Run only this input, one that failed before
    #[arg(requires = "target")]
    input: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
enum Target {
    WebhookBody,
    AdminJson,
    Config,
    SettingsSchema,
    GuestRequest,
    ComponentSmith,
    ComponentMutated,
}

pub(crate) fn run(workspace: &Workspace, arguments: &Arguments) -> anyhow::Result<()> {
    let one = arguments.target.as_slice();
    let targets = if one.is_empty() { Target::value_variants() } else { one };
    if targets.contains(&Target::ComponentMutated) {
        test_guests(workspace)?;
    }
    let folder = workspace.target.join("fuzz");
    build(workspace, &folder, arguments.target)?;
    let place = Place { folder: &folder, programs: programs(workspace, &folder)?, workspace };
    if let (Some(target), Some(input)) = (arguments.target, &arguments.input) {
        let mut again = place.program(target)?;
        return run_program(again.arg(fs::canonicalize(input).context("no such input")?), "");
    }
    let mut failed = vec![];
    for target in targets {
        step(&format!("fuzz {} for {} s", target.name(), arguments.seconds), || {
            failed.extend(place.fuzz(*target, arguments.seconds)?);
            Ok(())
        })?;
    }
    if failed.is_empty() {
        return Ok(());
    }
    bail!("some inputs fail; repeat each by its command:\n{}", failed.join("\n"))
}

/// Instruments everything, the host included. The flags are cargo-fuzz's; without a sanitizer none of them
/// asks for a nightly compiler, and the host has hardly any unsafe code for one to watch.
fn build(workspace: &Workspace, folder: &Path, target: Option<Target>) -> anyhow::Result<()> {
    let crate_folder = workspace.root.join("tests/fuzz");
    let tools = cargo_fuzz(workspace)?;
    step("fuzz targets (the first build takes some minutes)", || {
        // cargo-fuzz knows no --locked; this fails where the lock file does not fit.
        run_program(cargo(&crate_folder).args(["fetch", "--locked"]), "")?;
        let mut build = program(tools.join("cargo-fuzz"), &crate_folder);
        build.args(["build", "--fuzz-dir", ".", "--release", "--sanitizer", "none"]);
        // More units than cargo-fuzz's one: they compile at once.
        build.args(["--codegen-units", "16", "--target-dir"]).arg(folder);
        run_program(build.args(target.map(Target::name)), "")
    })
}

fn cargo_fuzz(workspace: &Workspace) -> anyhow::Result<PathBuf> {
    let tools = workspace.target.join("tools");
    let binaries = tools.join("bin");
    let version = Command::new(binaries.join("cargo-fuzz")).args(["fuzz", "--version"]).output();
    let wanted = format!("cargo-fuzz {CARGO_FUZZ_VERSION}");
    if version.is_ok_and(|answer| answer.stdout.trim_ascii() == wanted.as_bytes()) {
        return Ok(binaries);
    }
    step(&format!("cargo install {wanted}"), || {
        let mut install = cargo(&workspace.root);
        install.args(["install", "cargo-fuzz", "--version", CARGO_FUZZ_VERSION, "--locked"]);
        run_program(install.arg("--root").arg(&tools), "")
    })?;
    Ok(binaries)
}

/// Where cargo puts programs that are built for a target by its name, as cargo-fuzz asks for it.
fn programs(workspace: &Workspace, folder: &Path) -> anyhow::Result<PathBuf> {
    let mut ask = program("rustc", &workspace.root);
    let answer = ask.args(["--print", "host-tuple"]).output().context("cannot run rustc")?;
    Ok(folder.join(String::from_utf8(answer.stdout)?.trim()).join("release"))
}

impl Target {
    fn name(self) -> &'static str {
        match self {
            Self::WebhookBody => "webhook_body",
            Self::AdminJson => "admin_json",
            Self::Config => "config",
            Self::SettingsSchema => "settings_schema",
            Self::GuestRequest => "guest_request",
            Self::ComponentSmith => "component_smith",
            Self::ComponentMutated => "component_mutated",
        }
    }

    /// Longest input, bytes: room for what is worth reading, and no more to mutate.
    fn input_bytes_max(self) -> u32 {
        match self {
            Self::ComponentMutated => 72 * 1024,
            _ => 4 * 1024,
        }
    }
}

/// Where a run finds its programs and leaves its files.
struct Place<'a> {
    workspace: &'a Workspace,
    folder: &'a Path,
    programs: PathBuf,
}

impl Place<'_> {
    /// A target's program with its limits, and a folder of its own for temporary files.
    fn program(&self, target: Target) -> anyhow::Result<Command> {
        let temporary = self.folder.join("tmp").join(target.name());
        // The fuzzer ends without unwinding, so nothing that it made there was removed.
        if temporary.exists() {
            fs::remove_dir_all(&temporary)?;
        }
        fs::create_dir_all(&temporary)?;
        let mut program = program(self.programs.join(target.name()), &self.workspace.root);
        program.env("TMPDIR", temporary);
        program.arg(format!("-timeout={INPUT_SECONDS_MAX}"));
        program.arg(format!("-rss_limit_mb={MEMORY_MIB_MAX}"));
        Ok(program)
    }

    /// Runs a target for so long; gives the commands that repeat what failed.
    fn fuzz(&self, target: Target, seconds: u32) -> anyhow::Result<Option<String>> {
        let name = target.name();
        let found = self.folder.join("corpus").join(name);
        let artifacts = self.workspace.root.join("tests/fuzz/artifacts").join(name);
        fs::create_dir_all(&found)?;
        fs::create_dir_all(&artifacts)?;
        let mut fuzz = self.program(target)?;
        fuzz.arg(format!("-max_total_time={seconds}"));
        fuzz.arg(format!("-max_len={}", target.input_bytes_max()));
        fuzz.arg(format!("-artifact_prefix={}/", artifacts.display()));
        fuzz.arg("-print_final_stats=1");
        // The first folder is written to, the others are read.
        fuzz.arg(found).args(self.seeds(target)?);
        let mut running = fuzz.stderr(Stdio::piped()).spawn().context("the target is not built")?;
        let output = running.stderr.take().context("the target has no output")?;
        let input = shown(BufReader::new(output), &artifacts)?;
        let status = running.wait()?;
        if status.success() {
            return Ok(None);
        }
        let Some(input) = input else { bail!("{name} ended with {status} and left no input") };
        Ok(Some(format!("  cargo xtask fuzz {name} tests/fuzz/artifacts/{name}/{input}")))
    }

    fn seeds(&self, target: Target) -> anyhow::Result<Vec<PathBuf>> {
        let committed = self.workspace.root.join("tests/fuzz/corpus").join(target.name());
        let mut seeds = vec![committed];
        seeds.retain(|folder| folder.is_dir());
        if target == Target::ComponentMutated {
            let guests = self.folder.join("guests");
            fs::create_dir_all(&guests)?;
            for guest in GUEST_SEEDS {
                fs::copy(examples(self.workspace).join(guest), guests.join(guest))?;
            }
            seeds.push(guests);
        }
        Ok(seeds)
    }
}

/// Lines of which there are hundreds: each new input and function, and the words of the dictionary that
/// the fuzzer made itself.
fn is_chatter(line: &str) -> bool {
    let is_input = line.contains("\tNEW ") || line.contains("\tREDUCE");
    let is_word = line.starts_with('"') && line.contains(" # Uses: ");
    (line.starts_with('#') && is_input) || is_word || line.starts_with("\tNEW_FUNC")
}

/// Shows a fuzzer's output without its chatter; gives the name of the input that failed.
fn shown(output: impl BufRead, artifacts: &Path) -> anyhow::Result<Option<String>> {
    let mut failed = None;
    for line in output.split(b'\n') {
        let line = String::from_utf8_lossy(&line?).into_owned();
        if !is_chatter(&line) {
            println!("    {line}");
        }
        let written = line.split_once("Test unit written to ").map(|(_, path)| Path::new(path));
        let name = written.and_then(|path| path.strip_prefix(artifacts).ok());
        failed = name.map(|name| name.display().to_string()).or(failed);
    }
    Ok(failed)
}
