//! Contains the errors of the engine's start and of compiling and loading a file. Never shows a
//! long text from a connector's file, because the file is untrusted.

use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;

/// A message repeats at most this number of characters of a text from a connector's file or from
/// the compiler.
const QUOTED_CHARS_MAX: usize = 1_500;

/// The reason why the engine does not start.
#[derive(Debug, thiserror::Error)]
#[error("{0:#}")]
pub struct EngineError(#[source] pub(super) wasmtime::Error);

/// The reason why a file is not a component.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WrongFile {
    /// The file has no bytes.
    #[error("the file is empty")]
    Empty,
    /// The file is a core module.
    #[error(
        "a core module, not a component: build it for wasm32-wasip2 (Rust), or wrap it with \
         `wasm-tools component embed` and `wasm-tools component new` (C, C++, Go)"
    )]
    CoreModule,
    /// The file begins neither like a core module nor like a component.
    #[error("not a WebAssembly file (wrong magic bytes)")]
    NotWasm,
}

/// The reason why a file was not compiled.
#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    /// The file is not a component.
    #[error(transparent)]
    WrongFile(#[from] WrongFile),
    /// The input file of the compiler cannot be written.
    #[error("cannot write the compiler's input: {0}")]
    Input(#[source] io::Error),
    /// The compiler process does not start.
    #[error("cannot start the compiler {}: {source}", .program.display())]
    Start {
        /// The path of the compiler's executable.
        program: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// The server cannot wait for the compiler process.
    #[error("cannot read the compiler's result: {0}")]
    Wait(#[source] io::Error),
    /// The compiler needed more time than its limit.
    #[error("the compile time is over `limits.compile_ms` = {0}")]
    OverTime(u64),
    /// The compiler needed more memory than its limit.
    #[error("the compile memory is over {}", .by.describe(*.bytes))]
    OverMemory {
        /// The limit, bytes.
        bytes: u64,
        /// The reason for this limit.
        by: MemoryBound,
    },
    /// The compiler was killed, probably by the kernel because memory ran out.
    #[error(
        "the compiler was killed, as the kernel does when memory runs out; its limit was {bytes} bytes: \
         give the machine or the container more memory, or lower `limits.compile_memory_bytes`"
    )]
    Killed {
        /// The compiler's memory limit, bytes.
        bytes: u64,
    },
    /// The compiler used more CPU time than `ulimit -t` allows a process of this server.
    #[error(
        "the compiler is over the CPU time that a process of this service may have (`ulimit -t`)"
    )]
    OverCpuTime,
    /// The compiled code is larger than the maximum size of a file.
    #[error(
        "the compiled code is larger than {bytes_max} bytes, the maximum size of a file (2 GiB, or \
         `ulimit -f` of the service)"
    )]
    OverFileSize {
        /// The maximum size of a file that the compiler may write, bytes.
        bytes_max: u64,
    },
    /// The system refused to start a process or a thread for the compiler.
    #[error(
        "no process or thread could be started for the compiler: raise the limit on processes (`ulimit -u`, \
         `TasksMax=`, pids.max), or `limits.compile_memory_bytes`"
    )]
    NoThread,
    /// The compiler cannot write its output.
    #[error("{}; is the disk of the data folder full?", shortened(.0))]
    Output(String),
    /// A signal or a panic ended the compiler.
    #[error("the compiler died on this file: {0}")]
    Died(ExitStatus),
    /// The compiler refused the component or failed, with this reason.
    #[error("{}", shortened(.0))]
    Refused(String),
    /// The compiler process failed and printed no reason.
    #[error("the compiler failed without a message: {0}")]
    Failed(ExitStatus),
}

/// The reason for a compiler's memory limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemoryBound {
    /// The key `limits.compile_memory_bytes`.
    ConfigKey,
    /// A part of the free memory of the machine or of its control group.
    FreeMemory,
    /// The limit on the address space of the server's processes.
    ProcessLimit,
}

impl MemoryBound {
    fn describe(self, bytes: u64) -> String {
        match self {
            Self::ConfigKey => format!("`limits.compile_memory_bytes` = {bytes}"),
            Self::FreeMemory => format!(
                "{bytes} bytes, three quarters of the free memory of the machine or its control \
                 group: give the container more memory"
            ),
            Self::ProcessLimit => {
                format!(
                    "{bytes} bytes, the limit on the address space of the service (`ulimit -v`)"
                )
            }
        }
    }
}

impl CompileError {
    /// Returns whether the compiler exceeded a limit or died while it compiled the file.
    #[must_use]
    pub fn compiler_died(&self) -> bool {
        match self {
            Self::OverTime(_)
            | Self::OverMemory { .. }
            | Self::Killed { .. }
            | Self::OverCpuTime
            | Self::OverFileSize { .. }
            | Self::Died(_) => true,
            Self::WrongFile(_)
            | Self::Input(_)
            | Self::Start { .. }
            | Self::Wait(_)
            | Self::NoThread
            | Self::Output(_)
            | Self::Refused(_)
            | Self::Failed(_) => false,
        }
    }

    /// Returns whether the state of the machine may be the cause, so that another attempt with the
    /// same file may succeed.
    #[must_use]
    pub fn may_be_temporary(&self) -> bool {
        match self {
            Self::Input(_)
            | Self::Start { .. }
            | Self::Wait(_)
            | Self::NoThread
            | Self::Output(_)
            | Self::Killed { .. } => true,
            Self::OverMemory { by, .. } => *by == MemoryBound::FreeMemory,
            _ => false,
        }
    }
}

/// The reason why compiled code is not a connector that this host can run.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file of compiled code cannot be mapped.
    #[error("cannot map the compiled code: {}", shortened(&format!("{:#}", .0)))]
    Map(#[source] wasmtime::Error),
    /// The component imports an interface or a function that the host does not provide.
    #[error(
        "imports an interface that the host does not provide: {}{}. {advice}", shortened(.name),
        .function.as_deref().map(|it| format!(", function {}", shortened(it))).unwrap_or_default()
    )]
    UnknownImport {
        /// The name of the import.
        name: String,
        /// The function of this import that the engine's error names, if it names one.
        function: Option<String>,
        /// Advice on what to change.
        advice: String,
    },
    /// The engine cannot prepare an instance of the component.
    #[error("cannot link the component: {}", shortened(&format!("{:#}", .0)))]
    Link(#[source] wasmtime::Error),
    /// The component does not export `plugin` with all its functions.
    #[error(
        "does not export `jackfield:connector/plugin@0.1.0` with all its functions: build it for a \
         world of wit/connector.wit; {}", describe_exports(.0)
    )]
    NoPlugin(Vec<String>),
    /// The component has more memories or tables than one run may have.
    #[error("has {count} {what}; a component may have at most {max}")]
    TooMany {
        /// `memories` or `tables`.
        what: &'static str,
        /// The number that the component has.
        count: u32,
        /// The maximum number for one run.
        max: u32,
    },
    /// The component imports a core module.
    #[error("imports a core module, which the host does not provide")]
    ImportsModule,
    /// The component or script exports neither `defects` nor `kpis`.
    #[error(
        "exports neither `defects` nor `kpis` of `jackfield:connector@0.1.0`, so no event can call \
         it: build it for a world of wit/connector.wit that has one of them; {}",
        describe_exports(.0)
    )]
    NoEventInterface(Vec<String>),
}

fn describe_exports(exports: &[String]) -> String {
    let has = |name: &str| exports.iter().any(|export| export.starts_with(name));
    let hint = if exports.is_empty() {
        " (in Rust: call `export!`, and make the crate a `cdylib`)"
    } else if has("wasi:cli/run") {
        " (it is a command-line program; in Rust: call `export!`, and make the crate a `cdylib`)"
    } else if has("wasi:http/incoming-handler") {
        " (it is a web server of the world wasi:http/proxy)"
    } else {
        ""
    };
    let names = if exports.is_empty() { "nothing".to_owned() } else { exports.join(", ") };
    format!("it exports {}{hint}", shortened(&names))
}

pub(crate) fn shortened(text: &str) -> String {
    text.chars().take(QUOTED_CHARS_MAX).collect()
}
