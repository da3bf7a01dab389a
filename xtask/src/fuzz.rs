//! `cargo xtask fuzz`: builds the fuzz targets of `tests/fuzz` and runs them one after the other.
//!
//! The inputs in the repository are only read, as seeds. New inputs are written below
//! `target/fuzz`. An input that fails is stored in `tests/fuzz/artifacts`.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail};
use lexopt::{Arg, Parser, ValueExt as _};

use crate::step::{cargo_command, program_command, run_program, run_step};
use crate::test::{build_test_guests, test_guests_folder};
use crate::workspace::Workspace;

const CARGO_FUZZ_VERSION: &str = "0.13.2";
/// Maximum time that a target may need for one input, seconds. The limit is high enough for slow
/// machines.
const INPUT_SECONDS_MAX: u32 = 60;
const MEMORY_MIB_MAX: u32 = 4_096;
/// The test guests that are used as seeds. They are small, and small inputs can be mutated fast.
const GUEST_SEEDS: [&str; 2] = ["spin.wasm", "memory_bomb.wasm"];

pub(crate) struct Arguments {
    seconds_per_target: u32,
    /// The seed of libFuzzer's random numbers; `None` for a random seed.
    random_seed: Option<u32>,
    /// The target that runs; `None` for all targets.
    target: Option<Target>,
    /// The file of the only input with which the target runs; `None` for fuzzing.
    input: Option<PathBuf>,
}

impl Arguments {
    pub(crate) fn parse(parser: &mut Parser) -> Result<Self, lexopt::Error> {
        let mut arguments =
            Self { seconds_per_target: 600, random_seed: None, target: None, input: None };
        while let Some(argument) = parser.next()? {
            match argument {
                Arg::Long("seconds") => arguments.seconds_per_target = parser.value()?.parse()?,
                Arg::Long("seed") => arguments.random_seed = Some(parser.value()?.parse()?),
                Arg::Value(name) if arguments.target.is_none() => {
                    arguments.target = Some(name.parse_with(Target::parse)?);
                }
                Arg::Value(input) if arguments.input.is_none() => {
                    arguments.input = Some(input.into());
                }
                other => return Err(other.unexpected()),
            }
        }
        Ok(arguments)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Target {
    WebhookBody,
    AdminJson,
    Config,
    SettingsSchema,
    ReportText,
    GuestRequest,
    ComponentSmith,
    ComponentMutated,
}

pub(crate) fn run(workspace: &Workspace, arguments: &Arguments) -> anyhow::Result<()> {
    let chosen = arguments.target.as_slice();
    let targets = if chosen.is_empty() { &Target::ALL } else { chosen };
    if targets.contains(&Target::ComponentMutated) {
        build_test_guests(workspace)?;
    }
    let folder = workspace.target.join("fuzz");
    build(workspace, &folder, arguments.target)?;
    let program_folder = find_program_folder(workspace, &folder)?;
    let folders = FuzzFolders { fuzz_folder: &folder, program_folder, workspace };
    if let (Some(target), Some(input)) = (arguments.target, &arguments.input) {
        let mut program = folders.target_command(target)?;
        let input = fs::canonicalize(input).context("the file of the input does not exist")?;
        return run_program(program.arg(input), "");
    }
    let mut repeat_commands = vec![];
    for target in targets {
        run_step(
            &format!("fuzz {} for {} s", target.name(), arguments.seconds_per_target),
            || {
                repeat_commands.extend(folders.fuzz(*target, arguments)?);
                Ok(())
            },
        )?;
    }
    if repeat_commands.is_empty() {
        return Ok(());
    }
    bail!("some inputs fail; run these commands to repeat them:\n{}", repeat_commands.join("\n"))
}

/// Builds the targets and the host with instrumentation for libFuzzer, but without a sanitizer. The
/// stable compiler can therefore be used. A sanitizer would find few errors, because the host has
/// little unsafe code.
fn build(workspace: &Workspace, folder: &Path, target: Option<Target>) -> anyhow::Result<()> {
    let crate_folder = workspace.root.join("tests/fuzz");
    let tools = install_cargo_fuzz(workspace)?;
    run_step("fuzz targets (the first build takes some minutes)", || {
        // cargo-fuzz has no --locked. This command fails if the lock file is not up to date.
        run_program(cargo_command(&crate_folder).args(["fetch", "--locked"]), "")?;
        let mut build = program_command(tools.join("cargo-fuzz"), &crate_folder);
        build.args(["build", "--fuzz-dir", ".", "--release", "--sanitizer", "none"]);
        // By default, cargo-fuzz uses one codegen unit. 16 units compile faster, in parallel.
        build.args(["--codegen-units", "16", "--target-dir"]).arg(folder);
        run_program(build.args(target.map(Target::name)), "")
    })
}

/// Installs cargo-fuzz below `target/`, unless the pinned version is already installed.
fn install_cargo_fuzz(workspace: &Workspace) -> anyhow::Result<PathBuf> {
    let tools = workspace.target.join("tools");
    let binaries = tools.join("bin");
    let version = Command::new(binaries.join("cargo-fuzz")).args(["fuzz", "--version"]).output();
    let wanted = format!("cargo-fuzz {CARGO_FUZZ_VERSION}");
    if version.is_ok_and(|output| output.stdout.trim_ascii() == wanted.as_bytes()) {
        return Ok(binaries);
    }
    run_step(&format!("cargo install {wanted}"), || {
        let mut install = cargo_command(&workspace.root);
        install.args([
            "install",
            "cargo-fuzz",
            "--version",
            CARGO_FUZZ_VERSION,
            "--locked",
            "--debug",
        ]);
        run_program(install.arg("--root").arg(&tools), "")
    })?;
    Ok(binaries)
}

/// Returns the folder that contains the built targets. The path contains the name of the machine's
/// platform, because cargo-fuzz builds with `--target`.
fn find_program_folder(workspace: &Workspace, folder: &Path) -> anyhow::Result<PathBuf> {
    let mut rustc = program_command("rustc", &workspace.root);
    let output = rustc
        .args(["--print", "host-tuple"])
        .output()
        .context("cannot run rustc: install Rust from https://rustup.rs")?;
    Ok(folder.join(String::from_utf8(output.stdout)?.trim()).join("release"))
}

impl Target {
    const ALL: [Self; 8] = [
        Self::WebhookBody,
        Self::AdminJson,
        Self::Config,
        Self::SettingsSchema,
        Self::ReportText,
        Self::GuestRequest,
        Self::ComponentSmith,
        Self::ComponentMutated,
    ];

    fn parse(name: &str) -> anyhow::Result<Self> {
        Self::ALL
            .into_iter()
            .find(|target| target.name() == name)
            .with_context(|| format!("the targets are {}", Self::ALL.map(Self::name).join(", ")))
    }

    fn name(self) -> &'static str {
        match self {
            Self::WebhookBody => "webhook_body",
            Self::AdminJson => "admin_json",
            Self::Config => "config",
            Self::SettingsSchema => "settings_schema",
            Self::ReportText => "report_text",
            Self::GuestRequest => "guest_request",
            Self::ComponentSmith => "component_smith",
            Self::ComponentMutated => "component_mutated",
        }
    }

    /// Maximum length of an input, bytes. Longer inputs would be mutated more slowly and would not
    /// find more errors.
    fn input_bytes_max(self) -> u32 {
        match self {
            Self::ComponentMutated => 72 * 1024,
            _ => 4 * 1024,
        }
    }
}

struct FuzzFolders<'a> {
    workspace: &'a Workspace,
    /// The folder for the built targets and for new inputs: `target/fuzz`.
    fuzz_folder: &'a Path,
    /// The folder below `fuzz_folder` that contains the programs of the built targets.
    program_folder: PathBuf,
}

impl FuzzFolders<'_> {
    /// Returns the command that runs a target with its limits and its own folder for temporary
    /// files.
    fn target_command(&self, target: Target) -> anyhow::Result<Command> {
        let temporary = self.fuzz_folder.join("tmp").join(target.name());
        // The fuzzer exits without unwinding, so a previous run did not delete its temporary files.
        if temporary.exists() {
            fs::remove_dir_all(&temporary)?;
        }
        fs::create_dir_all(&temporary)?;
        let mut program =
            program_command(self.program_folder.join(target.name()), &self.workspace.root);
        program.env("TMPDIR", temporary);
        program.arg(format!("-timeout={INPUT_SECONDS_MAX}"));
        program.arg(format!("-rss_limit_mb={MEMORY_MIB_MAX}"));
        Ok(program)
    }

    /// Fuzzes a target. If an input fails, returns the command that runs this input again.
    fn fuzz(&self, target: Target, arguments: &Arguments) -> anyhow::Result<Option<String>> {
        let name = target.name();
        let new_inputs = self.fuzz_folder.join("corpus").join(name);
        let artifacts = self.workspace.root.join("tests/fuzz/artifacts").join(name);
        fs::create_dir_all(&new_inputs)?;
        fs::create_dir_all(&artifacts)?;
        let mut fuzz = self.target_command(target)?;
        fuzz.arg(format!("-max_total_time={}", arguments.seconds_per_target));
        fuzz.args(arguments.random_seed.map(|seed| format!("-seed={seed}")));
        fuzz.arg(format!("-max_len={}", target.input_bytes_max()));
        fuzz.arg(format!("-artifact_prefix={}/", artifacts.display()));
        fuzz.arg("-print_final_stats=1");
        // libFuzzer writes to the first folder and only reads the others.
        fuzz.arg(new_inputs).args(self.seed_folders(target)?);
        let mut running = fuzz
            .stderr(Stdio::piped())
            .spawn()
            .context("the fuzz target is not built; run `cargo xtask fuzz`")?;
        let output = running.stderr.take().context("the target has no output")?;
        let input = print_output(BufReader::new(output), &artifacts)?;
        let status = running.wait()?;
        if status.success() {
            return Ok(None);
        }
        let Some(input) = input else {
            bail!("{name} ended with {status} and did not store an input")
        };
        Ok(Some(format!("  cargo xtask fuzz {name} tests/fuzz/artifacts/{name}/{input}")))
    }

    fn seed_folders(&self, target: Target) -> anyhow::Result<Vec<PathBuf>> {
        let committed = self.workspace.root.join("tests/fuzz/corpus").join(target.name());
        let mut seeds = vec![committed];
        seeds.retain(|folder| folder.is_dir());
        if target == Target::ComponentMutated {
            let guests = self.fuzz_folder.join("guests");
            fs::create_dir_all(&guests)?;
            for guest in GUEST_SEEDS {
                fs::copy(test_guests_folder(self.workspace).join(guest), guests.join(guest))?;
            }
            seeds.push(guests);
        }
        Ok(seeds)
    }
}

/// Returns whether libFuzzer prints such a line hundreds of times: for each new input, for each new
/// function, or for each word of its dictionary.
fn is_frequent_line(line: &str) -> bool {
    let is_input = line.contains("\tNEW ") || line.contains("\tREDUCE");
    let is_dictionary_word = line.starts_with('"') && line.contains(" # Uses: ");
    (line.starts_with('#') && is_input) || is_dictionary_word || line.starts_with("\tNEW_FUNC")
}

/// Prints a fuzzer's output without the frequent lines. Returns the file name of the input that
/// failed, if the output contains one.
fn print_output(output: impl BufRead, artifacts: &Path) -> anyhow::Result<Option<String>> {
    let mut failed = None;
    for line in output.split(b'\n') {
        let line = String::from_utf8_lossy(&line?).into_owned();
        if !is_frequent_line(&line) {
            println!("    {line}");
        }
        let written = line.split_once("Test unit written to ").map(|(_, path)| Path::new(path));
        let name = written.and_then(|path| path.strip_prefix(artifacts).ok());
        failed = name.map(|name| name.display().to_string()).or(failed);
    }
    Ok(failed)
}
