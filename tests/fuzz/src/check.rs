//! Runs `jackfield check` on the bytes of a component. The engine is started only once. The guests
//! have lower limits than by default.

use std::path::PathBuf;
use std::sync::LazyLock;

use jackfield::app::ConnectorLoader;
use jackfield::config::Config;
use jackfield::domain::Limits;
use jackfield::plugins::CheckReport;
use tempfile::TempDir;

use crate::run_to_completion;

/// A complete connector of a few kilobytes. The comment in `connector.wat` describes how it was
/// built.
pub const CONNECTOR: &[u8] = include_bytes!("../corpus/component_mutated/connector.wasm");

/// Maximum length of an error text, characters.
const ERROR_CHARS_MAX: usize = 2_000;

/// The report of `jackfield check`, or the text of its error.
pub type CheckResult = Result<CheckReport, String>;

struct Fixture {
    loader: ConnectorLoader,
    folder: TempDir,
}

static FIXTURE: LazyLock<Fixture> = LazyLock::new(|| {
    let limits = Limits { memory_bytes: 16 << 20, cpu_ms: 20, run_ms: 500, ..Limits::default() };
    let config = Config { limits, ..Config::default() };
    let loader =
        run_to_completion(async { ConnectorLoader::start(config) }).expect("the engine starts");
    Fixture { loader, folder: tempfile::tempdir().expect("a temporary folder") }
});

impl Fixture {
    fn file(&self) -> PathBuf {
        self.folder.path().join("input.wasm")
    }
}

/// Runs `jackfield check` on a component. Asserts what must be true for every result: a report is
/// complete, and an error is a short text.
pub fn check(component: &[u8]) -> CheckResult {
    let fixture = &*FIXTURE;
    // Some file systems flush a file that replaces another file, which is slow. They do not flush a
    // new file.
    let _ = std::fs::remove_file(fixture.file());
    std::fs::write(fixture.file(), component).expect("the input is written");
    let checked = run_to_completion(fixture.loader.check(&fixture.file()));
    let checked = checked.map(|it| it.report).map_err(|error| error.to_string());
    match &checked {
        Ok(report) => {
            assert!(report.interfaces.exports_defects || report.interfaces.exports_kpis);
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
