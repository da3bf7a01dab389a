//! `jackfield check` on bytes, with an engine that is started once.
//!
//! Never runs a guest under the limits of production: each input computes for a fiftieth of a second.

use std::path::PathBuf;
use std::sync::LazyLock;

use jackfield::connector::CheckReport;
use jackfield::domain::Limits;
use jackfield::fuzz::Checker;
use tempfile::TempDir;

use crate::wait;

/// A whole connector in a few kilobytes; `connector.wat` says how it was made.
pub const CONNECTOR: &[u8] = include_bytes!("../corpus/component_mutated/connector.wasm");

/// Longest words of a refusal, in characters: they are logged, kept, and shown in the admin API.
const WORDS_MAX: usize = 2_000;

/// What `check` said.
pub type Checked = Result<CheckReport, String>;

struct Bench {
    checker: Checker,
    folder: TempDir,
}

static BENCH: LazyLock<Bench> = LazyLock::new(|| {
    let limits = Limits { memory_bytes: 16 << 20, cpu_ms: 20, run_ms: 500, ..Limits::default() };
    let checker = wait(async { Checker::start(limits) }).expect("an engine");
    Bench { checker, folder: tempfile::tempdir().expect("a folder for temporary files") }
});

impl Bench {
    fn file(&self) -> PathBuf {
        self.folder.path().join("input.wasm")
    }
}

/// Checks a component, and what holds of every answer: a report is whole, a refusal is a short text.
pub fn check(component: &[u8]) -> Checked {
    let bench = &*BENCH;
    // A file that replaces another is flushed by some file systems; a new one is not.
    let _ = std::fs::remove_file(bench.file());
    std::fs::write(bench.file(), component).expect("room for the input");
    let checked = wait(bench.checker.check(&bench.file()));
    match &checked {
        Ok(report) => {
            assert!(report.interfaces.defects || report.interfaces.kpis);
            assert_eq!(report.bytes, component.len() as u64);
            assert!(report.sha256.len() == 64 && !report.manifest.name.trim().is_empty());
        }
        Err(words) => {
            let length = words.chars().count();
            assert!((1..=WORDS_MAX).contains(&length), "a refusal of {length} characters");
        }
    }
    checked
}
