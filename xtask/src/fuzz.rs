//! `cargo xtask fuzz`: builds the fuzz targets of `tests/fuzz` and runs them one after the other.
//!
//! The committed corpus is only read, as seeds. New inputs are written below `target/fuzz`. An
//! input that fails is stored in `tests/fuzz/artifacts`, and the command that repeats it is
//! printed.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail};
use lexopt::{Arg, Parser, ValueExt as _};

use crate::step::{cargo, program, run as run_program, step};
use crate::test::{examples, test_guests};
use crate::workspace::Workspace;

const CARGO_FUZZ_VERSION: &str = "0.13.2";
/// An input that takes longer counts as a failure. The limit leaves room for slow machines.
const INPUT_SECONDS_MAX: u32 = 60;
const MEMORY_MIB_MAX: u32 = 4_096;
/// Test guests that are small enough for fast mutation.
const GUEST_SEEDS: [&str; 2] = ["spin.wasm", "memory_bomb.wasm"];

pub(crate) struct Arguments {
    seconds: u32,
    /// The start of libFuzzer's random numbers; random when absent.
    seed: Option<u32>,
    /// All targets when absent.
    target: Option<Target>,
    /// Only this input of the target.
    input: Option<PathBuf>,
}

impl Arguments {
    pub(crate) fn parse(parser: &mut Parser) -> Result<Self, lexopt::Error> {
        let mut arguments = Self { seconds: 600, seed: None, target: None, input: None };
        while let Some(argument) = parser.next()? {
            match argument {
                Arg::Long("seconds") => arguments.seconds = parser.value()?.parse()?,
                Arg::Long("seed") => arguments.seed = Some(parser.value()?.parse()?),
                Arg::Value(name) if arguments.target.is_none() => {
                    arguments.target = Some(name.parse_with(Target::read)?);
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
    let one = arguments.target.as_slice();
    let targets = if one.is_empty() { &Target::ALL } else { one };
    if targets.contains(&Target::ComponentMutated) {
        test_guests(workspace)?;
    }
    let folder = workspace.target.join("fuzz");
    build(workspace, &folder, arguments.target)?;
    let folders = Folders { folder: &folder, programs: programs(workspace, &folder)?, workspace };
    if let (Some(target), Some(input)) = (arguments.target, &arguments.input) {
        let mut again = folders.program(target)?;
        return run_program(again.arg(fs::canonicalize(input).context("no such input")?), "");
    }
    let mut failed = vec![];
    for target in targets {
        step(&format!("fuzz {} for {} s", target.name(), arguments.seconds), || {
            failed.extend(folders.fuzz(*target, arguments)?);
            Ok(())
        })?;
    }
    if failed.is_empty() {
        return Ok(());
    }
    bail!("some inputs fail; repeat each by its command:\n{}", failed.join("\n"))
}

/// Builds the targets and the host with instrumentation. No sanitizer is used, so a stable compiler
/// is enough. The host has hardly any unsafe code that a sanitizer could check.
fn build(workspace: &Workspace, folder: &Path, target: Option<Target>) -> anyhow::Result<()> {
    let crate_folder = workspace.root.join("tests/fuzz");
    let tools = cargo_fuzz(workspace)?;
    step("fuzz targets (the first build takes some minutes)", || {
        // cargo-fuzz has no --locked. This command fails if the lock file is not up to date.
        run_program(cargo(&crate_folder).args(["fetch", "--locked"]), "")?;
        let mut build = program(tools.join("cargo-fuzz"), &crate_folder);
        build.args(["build", "--fuzz-dir", ".", "--release", "--sanitizer", "none"]);
        // The default of cargo-fuzz is one codegen unit. 16 units compile in parallel.
        build.args(["--codegen-units", "16", "--target-dir"]).arg(folder);
        run_program(build.args(target.map(Target::name)), "")
    })
}

/// Installs cargo-fuzz below `target/`, unless this version is there. Returns the folder of its
/// program.
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

/// The folder of the built targets: cargo-fuzz builds with `--target`, so it is named after the
/// host platform.
fn programs(workspace: &Workspace, folder: &Path) -> anyhow::Result<PathBuf> {
    let mut ask = program("rustc", &workspace.root);
    let answer = ask
        .args(["--print", "host-tuple"])
        .output()
        .context("cannot run rustc: install Rust from https://rustup.rs")?;
    Ok(folder.join(String::from_utf8(answer.stdout)?.trim()).join("release"))
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

    fn read(name: &str) -> anyhow::Result<Self> {
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

    /// The longest input, in bytes. Longer inputs make mutation slower and do not find more.
    fn input_bytes_max(self) -> u32 {
        match self {
            Self::ComponentMutated => 72 * 1024,
            _ => 4 * 1024,
        }
    }
}

/// The folders of a run.
struct Folders<'a> {
    workspace: &'a Workspace,
    folder: &'a Path,
    programs: PathBuf,
}

impl Folders<'_> {
    /// The command that runs a target with its limits and its own folder for temporary files.
    fn program(&self, target: Target) -> anyhow::Result<Command> {
        let temporary = self.folder.join("tmp").join(target.name());
        // The fuzzer exits without unwinding, so its previous run left its temporary files.
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

    /// Runs a target; returns the command that repeats a failed input, if one failed.
    fn fuzz(&self, target: Target, arguments: &Arguments) -> anyhow::Result<Option<String>> {
        let name = target.name();
        let found = self.folder.join("corpus").join(name);
        let artifacts = self.workspace.root.join("tests/fuzz/artifacts").join(name);
        fs::create_dir_all(&found)?;
        fs::create_dir_all(&artifacts)?;
        let mut fuzz = self.program(target)?;
        fuzz.arg(format!("-max_total_time={}", arguments.seconds));
        fuzz.args(arguments.seed.map(|seed| format!("-seed={seed}")));
        fuzz.arg(format!("-max_len={}", target.input_bytes_max()));
        fuzz.arg(format!("-artifact_prefix={}/", artifacts.display()));
        fuzz.arg("-print_final_stats=1");
        // libFuzzer writes to the first folder and only reads the others.
        fuzz.arg(found).args(self.seeds(target)?);
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
        let Some(input) = input else { bail!("{name} ended with {status} and left no input") };
        Ok(Some(format!("  cargo xtask fuzz {name} tests/fuzz/artifacts/{name}/{input}")))
    }

    /// The folders with inputs from which the fuzzer starts.
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

/// Whether libFuzzer prints such lines hundreds of times: new inputs, new functions, words that it
/// added to its dictionary.
fn is_noise(line: &str) -> bool {
    let is_input = line.contains("\tNEW ") || line.contains("\tREDUCE");
    let is_word = line.starts_with('"') && line.contains(" # Uses: ");
    (line.starts_with('#') && is_input) || is_word || line.starts_with("\tNEW_FUNC")
}

/// Prints a fuzzer's output without noise; returns the name of the input that failed.
fn print_output(output: impl BufRead, artifacts: &Path) -> anyhow::Result<Option<String>> {
    let mut failed = None;
    for line in output.split(b'\n') {
        let line = String::from_utf8_lossy(&line?).into_owned();
        if !is_noise(&line) {
            println!("    {line}");
        }
        let written = line.split_once("Test unit written to ").map(|(_, path)| Path::new(path));
        let name = written.and_then(|path| path.strip_prefix(artifacts).ok());
        failed = name.map(|name| name.display().to_string()).or(failed);
    }
    Ok(failed)
}
