//! `jackfield check` on bytes, with an engine that is started once.
//!
//! Guests do not run under the default limits: each input may compute for at most 20 ms.

use std::path::PathBuf;
use std::sync::LazyLock;

use jackfield::app::ConnectorLoader;
use jackfield::config::Config;
use jackfield::domain::Limits;
use jackfield::plugins::CheckReport;
use tempfile::TempDir;

use crate::wait;

/// A complete connector in a few kilobytes; `connector.wat` says how it was built.
pub const CONNECTOR: &[u8] = include_bytes!("../corpus/component_mutated/connector.wasm");

/// The longest error text, in characters. The text is logged, stored, and shown in the admin API.
const ERROR_CHARS_MAX: usize = 2_000;

/// The report of `check`, or its error as text.
pub type Checked = Result<CheckReport, String>;

struct Fixture {
    loader: ConnectorLoader,
    folder: TempDir,
}

static FIXTURE: LazyLock<Fixture> = LazyLock::new(|| {
    let limits = Limits { memory_bytes: 16 << 20, cpu_ms: 20, run_ms: 500, ..Limits::default() };
    let config = Config { limits, ..Config::default() };
    let loader = wait(async { ConnectorLoader::start(config) }).expect("the engine starts");
    Fixture { loader, folder: tempfile::tempdir().expect("a temporary folder") }
});

impl Fixture {
    fn file(&self) -> PathBuf {
        self.folder.path().join("input.wasm")
    }
}

/// Runs `check` on a component. Asserts what must be true of every result: a report is complete,
/// and an error is a short text.
pub fn check(component: &[u8]) -> Checked {
    let fixture = &*FIXTURE;
    // Some file systems flush a file that replaces another; they do not flush a new one.
    let _ = std::fs::remove_file(fixture.file());
    std::fs::write(fixture.file(), component).expect("the input is written");
    let checked = wait(fixture.loader.check(&fixture.file()));
    let checked = checked.map(|it| it.report).map_err(|error| error.to_string());
    match &checked {
        Ok(report) => {
            assert!(report.interfaces.defects || report.interfaces.kpis);
            assert_eq!(report.bytes, component.len() as u64);
            assert!(report.sha256.len() == 64 && !report.manifest.name.trim().is_empty());
        }
        Err(error) => {
            let length = error.chars().count();
            assert!((1..=ERROR_CHARS_MAX).contains(&length), "an error of {length} characters");
        }
    }
    checked
}
