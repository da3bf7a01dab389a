//! Compiles a component in a child process with its own limits. The compiler is large and its input
//! is untrusted, so it must not use up the server's time or memory. The child process never runs a
//! guest.

mod exit;
mod limits;

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};
use std::time::Duration;

use tokio::process::Command;
use tokio::time::timeout;

use crate::domain::{CompileFor, StringEnum};

use super::address_space::MemoryLayout;
use super::engine::{CodeSettings, Engine};
use super::error::{CompileError, EngineError, WrongFile};
use super::unsupported::explain_refusal;

use exit::{Failure, classify_exit};
use limits::limit_this_process;

pub(crate) use limits::CompileLimits;

/// The hidden subcommand that starts the child process.
pub const SUBCOMMAND: &str = "compile-component";

/// The path of this program. The path is valid even if the file was replaced or removed since the
/// start, for example by a package upgrade.
const THIS_PROGRAM: &str = "/proc/self/exe";

/// The environment variable that configures jemalloc in the child process, and its value. jemalloc
/// then uses one arena and does not keep unused address space, so the limit on the address space
/// limits the memory in use.
const ALLOCATOR_VARIABLE: (&str, &str) =
    ("_RJEM_MALLOC_CONF", "narenas:1,retain:false,background_thread:false");

pub(crate) struct CompiledFiles {
    /// The path of the component.
    pub(crate) source: PathBuf,
    /// The path of the machine code.
    pub(crate) code: PathBuf,
}

pub(crate) struct Compiler {
    /// The Jackfield executable that the child process runs.
    program: PathBuf,
    settings: CodeSettings,
}

impl Compiler {
    /// Creates a compiler that produces code for this engine. The child processes run `program`, or
    /// the executable of this process if `program` is `None`.
    pub(crate) fn for_engine(engine: &Engine, program: Option<&Path>) -> io::Result<Self> {
        let program = match program {
            Some(path) => path.to_owned(),
            None => std::fs::metadata(THIS_PROGRAM).map(|_| PathBuf::from(THIS_PROGRAM))?,
        };
        Ok(Self { program, settings: engine.code_settings() })
    }

    /// Compiles a component. Writes the component and its machine code into `folder`, and returns
    /// the paths of both files.
    pub(crate) async fn compile(
        &self,
        wasm: &[u8],
        folder: &Path,
        limits: &CompileLimits,
    ) -> Result<CompiledFiles, CompileError> {
        let files =
            CompiledFiles { source: folder.join("in.wasm"), code: folder.join("out.cwasm") };
        tokio::fs::write(&files.source, wasm).await.map_err(CompileError::Input)?;
        // A fuzzer compiles in its own process. It observes only the branches of this process, and
        // would be slow if it started a child process for each input.
        if cfg!(fuzzing) {
            let compiled = compile_file(&files.source, &files.code, self.settings);
            compiled.map_err(|error| CompileError::Refused(error.to_string()))?;
            return Ok(files);
        }
        let child = self.command(&files, limits).spawn();
        let child = child.map_err(|source| match source.kind() {
            io::ErrorKind::WouldBlock => CompileError::NoThread,
            _ => CompileError::Start { program: self.program.clone(), source },
        })?;
        match timeout(Duration::from_millis(limits.time_ms), child.wait_with_output()).await {
            Err(_) => Err(CompileError::OverTime(limits.time_ms)),
            Ok(Err(error)) => Err(CompileError::Wait(error)),
            Ok(Ok(output)) => {
                classify_exit(output.status, &String::from_utf8_lossy(&output.stderr), limits)?;
                Ok(files)
            }
        }
    }

    fn command(&self, files: &CompiledFiles, limits: &CompileLimits) -> Command {
        let mut command = Command::new(&self.program);
        command
            .arg0("jackfield")
            .arg(SUBCOMMAND)
            .args([&files.source, &files.code])
            .arg(limits.memory_bytes.to_string())
            .arg(limits.time_ms.to_string())
            .args([self.settings.layout.as_str(), self.settings.compile_for.as_str()])
            .env_clear()
            .env(ALLOCATOR_VARIABLE.0, ALLOCATOR_VARIABLE.1)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }
}

/// Checks whether the first bytes of a file are those of a component.
pub(crate) fn check_magic_bytes(wasm: &[u8]) -> Result<(), WrongFile> {
    match wasm.get(..8) {
        _ if wasm.is_empty() => Err(WrongFile::Empty),
        Some([0, b'a', b's', b'm', 0x01, 0, 0, 0]) => Err(WrongFile::CoreModule),
        Some([0, b'a', b's', b'm', _, _, 1, 0]) => Ok(()),
        _ => Err(WrongFile::NotWasm),
    }
}

/// The main function of the child process: sets the limits of the process, and compiles. Reports an
/// error in the exit code and on stderr. `args` are the arguments after the subcommand: input,
/// output, address space in bytes, time in milliseconds, layout of memories, and the processors for
/// which the code is compiled.
#[must_use]
pub fn compile_component_child(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    match compile_with_limits(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // The parent process may have closed the pipe.
            let _ = writeln!(io::stderr(), "{error}");
            Failure::of(&error).into()
        }
    }
}

/// The parent process gets only the text of this error, and the exit code that [`Failure::of`]
/// chooses.
#[derive(Debug, thiserror::Error)]
enum ChildError {
    #[error("{SUBCOMMAND} is internal and takes the arguments IN OUT BYTES MS LAYOUT CPU")]
    Arguments,
    #[error("cannot set the compiler's limits: {0}")]
    Limits(#[from] rustix::io::Errno),
    #[error("cannot read the file: {0}")]
    Read(#[source] io::Error),
    #[error("cannot start the compiler: {0:#}")]
    Engine(#[from] EngineError),
    #[error("not a valid component: {0}")]
    Invalid(String),
    #[error("cannot write the compiled code: {0}")]
    Write(#[source] io::Error),
}

fn compile_with_limits(args: impl IntoIterator<Item = OsString>) -> Result<(), ChildError> {
    let args: Vec<OsString> = args.into_iter().collect();
    let [input, output, memory_bytes, time_ms, layout, compile_for] = args.as_slice() else {
        return Err(ChildError::Arguments);
    };
    let number = |arg: &OsString| arg.to_str().and_then(|text| text.parse::<u64>().ok());
    let layout = layout.to_str().and_then(MemoryLayout::parse);
    let compile_for = compile_for.to_str().and_then(CompileFor::parse);
    let (Some(memory_bytes), Some(time_ms), Some(layout), Some(compile_for)) =
        (number(memory_bytes), number(time_ms), layout, compile_for)
    else {
        return Err(ChildError::Arguments);
    };
    limit_this_process(memory_bytes, time_ms)?;
    compile_file(Path::new(input), Path::new(output), CodeSettings { layout, compile_for })
}

fn compile_file(input: &Path, output: &Path, settings: CodeSettings) -> Result<(), ChildError> {
    let wasm = std::fs::read(input).map_err(ChildError::Read)?;
    let engine = Engine::for_compiling(settings)?;
    let compiled = engine
        .precompile_component(&wasm)
        .map_err(|error| ChildError::Invalid(explain_refusal(&format!("{error:#}"), &wasm)))?;
    std::fs::write(output, compiled).map_err(ChildError::Write)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_file_that_is_not_a_component_has_its_own_error() {
        assert_eq!(check_magic_bytes(b""), Err(WrongFile::Empty));
        assert_eq!(check_magic_bytes(b"\0asm\x01\0\0\0"), Err(WrongFile::CoreModule));
        assert_eq!(check_magic_bytes(b"hello world"), Err(WrongFile::NotWasm));
        assert_eq!(check_magic_bytes(b"\0as"), Err(WrongFile::NotWasm));
        assert_eq!(check_magic_bytes(b"\0asm\x0d\0\x01\0"), Ok(()));
        assert!(WrongFile::CoreModule.to_string().contains("core module"));
    }
}
