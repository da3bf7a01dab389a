//! `jackfield check` describes what a connector may do. If the host cannot run a file, the command
//! names the cause and the fix.

use std::path::PathBuf;
use std::process::Command;

use jackfield_tests::{Guest, Setup, binary, root};
use serde_json::Value;
use tempfile::TempDir;

struct CheckFolder(TempDir);

impl CheckFolder {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a temporary folder"))
    }

    fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let file = self.0.path().join(format!("{name}.wasm"));
        std::fs::write(&file, bytes).expect("the file is written");
        file
    }

    /// Returns the exit code, stdout and stderr.
    fn check(&self, name: &str, bytes: &[u8], options: &[&str]) -> (Option<i32>, String, String) {
        let file = self.write(name, bytes);
        let mut command = Command::new(binary());
        let output =
            command.arg("check").arg(file).args(options).current_dir(self.0.path()).output();
        let output = output.expect("the binary starts");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    }

    #[track_caller]
    fn assert_refused(&self, name: &str, bytes: &[u8], words: &[&str]) {
        let (code, stdout, stderr) = self.check(name, bytes, &[]);
        assert_eq!((code, stdout.as_str()), (Some(1), ""), "{name}: {stderr}");
        assert_eq!(stderr.trim_end().lines().count(), 1, "{name}: not one line: {stderr}");
        for word in words {
            assert!(stderr.contains(word), "{name}: {word:?} is missing in: {stderr}");
        }
    }
}

/// Compiles the file `tests/guests/wat/NAME.wat`.
fn compile_wat(name: &str) -> Vec<u8> {
    let path = root().join("tests/guests/wat").join(format!("{name}.wat"));
    wat::parse_file(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Names of refused files, each with words of the message about the file. Most often, the words are
/// the unsupported feature or import, its usual source, and the fix.
const REFUSED_FILES: [(&str, [&str; 3]); 18] = [
    ("exceptions", ["WebAssembly exceptions", "C++", "-fno-exceptions"]),
    ("gc", ["GC types", "Kotlin", "language"]),
    ("threads", ["threads", "-pthread", "one thread"]),
    ("memory64", ["64-bit addresses", "wasm64", "wasm32"]),
    ("relaxed-simd", ["relaxed SIMD", "-mrelaxed-simd", "leave that option out"]),
    ("stack-switching", ["stack switching", "coroutines", "switch that option"]),
    ("async-export", ["asynchronous functions", "without `--sync`", "add `--sync`"]),
    ("async-builtin", ["streams", "without `--sync`", "add `--sync`"]),
    ("wasi-03", ["wasi:clocks/monotonic-clock@0.3.0", "WASI 0.3", "wasm32-wasip2"]),
    ("wasi-03-sync", ["wasi:random/random@0.3.0", "WASI 0.3", "wasm32-wasip2"]),
    ("sockets-03", ["wasi:sockets/ip-name-lookup@0.3.0", "sockets", "jackfield:connector/http"]),
    ("keyvalue", ["wasi:keyvalue/store@0.2.0-draft", "a store", "in the tracker"]),
    ("unknown-function", ["wasi:random/random@0.2.0", "get-better-random", "unstable"]),
    ("foreign-import", ["acme:tools/files@1.0.0", "function read", "wit/connector.wit"]),
    ("other-version", ["jackfield:connector/log@0.9.0", "another version", "update Jackfield"]),
    ("core-module", ["core module", "wasm32-wasip2", "wasm-tools component new"]),
    ("other-world", ["jackfield:connector/plugin@0.1.0", "it exports run", "wit/connector.wit"]),
    ("without-events", ["neither `defects` nor `kpis`", "it exports", "wit/connector.wit"]),
];

#[test]
fn an_unsupported_feature_is_refused_with_its_usual_source_and_the_fix() {
    let folder = CheckFolder::new();
    for (name, words) in REFUSED_FILES {
        folder.assert_refused(name, &compile_wat(name), &words);
    }
    folder.assert_refused(
        "without-plugin",
        &compile_wat("without-plugin"),
        &["jackfield:connector/defects@0.1.0"],
    );
}

#[test]
fn the_error_of_a_failed_describe_is_printed_by_check_and_shown_in_lists_and_the_log() {
    let folder = CheckFolder::new();
    let guest = Guest::named("traps-on-demand").with_build(2);
    let words = ["its `describe` failed", "panicked at", "build 2 does not describe itself"];
    folder.assert_refused("panics", &guest.bytes, &words);
    let host = Setup::new().start();
    host.install("panics", &guest);
    let listed = host.await_connector("panics", "broken", None);
    let (_, shown) = host.run_cli(&["connectors", "show", "panics"]);
    let (_, list) = host.run_cli(&["connectors", "list"]);
    let log = host.output();
    for text in [listed.to_string(), shown, list, log] {
        assert!(words.iter().all(|word| text.contains(word)), "{text}");
    }
}

#[test]
fn check_describes_the_permissions_and_the_functions_of_a_connector() {
    let folder = CheckFolder::new();
    let (code, text, stderr) = folder.check("redmine", &Guest::example("redmine").bytes, &[]);
    assert_eq!((code, stderr.as_str()), (Some(0), ""), "{text}");
    for line in [
        "  send requests to the address of the setting `url`",
        "  use the secret `api-key`, which goes to the address of the setting `url` in the header \
         x-redmine-api-key",
        "  create a defect for a failed test (`defects`)",
        "  count defects (`kpis`)",
        "  --set url=…  (Redmine address)",
        "  --secret api-key  (API key)",
    ] {
        assert!(text.lines().any(|printed| printed == line), "{line:?} is missing in:\n{text}");
    }
    for words in [
        "parts of a failed test's report",
        "screenshots, logs and files",
        "search for a defect",
        "reopen",
    ] {
        assert!(text.contains(words), "{words:?} is missing in:\n{text}");
    }
    assert!(
        !text.contains("all data of a failed test"),
        "the connector uses only `report`:\n{text}"
    );

    let (_, text, _) = folder.check("no-search", &Guest::named("no-search").bytes, &[]);
    let (_, missing) = text.split_once("It cannot").expect("the section of missing functions");
    for words in ["`index-delay-seconds` is absent", "no `follow-up`"] {
        assert!(missing.contains(words), "{words:?} is missing in:\n{text}");
    }
    assert!(
        !text.contains("parts of a failed test's report"),
        "the connector reads no test data:\n{text}"
    );

    let (_, json, _) = folder.check("redmine", &Guest::example("redmine").bytes, &["--json"]);
    let json: Value = serde_json::from_str(&json).expect("JSON");
    assert!(json["may"].as_array().is_some_and(|may| may.len() == 3), "{json}");
    assert_eq!(json["missing"], serde_json::json!([]), "{json}");
}

/// A component on QuickJS exports each interface of the world, even if its JavaScript source does
/// not export an object for this interface. So the exports of the component do not show what is
/// missing.
#[test]
fn check_reports_an_object_or_a_function_that_a_javascript_source_does_not_export() {
    let folder = CheckFolder::new();
    const DEFECTS_EXPORT: &str = "export const defects = { create, find };";
    let with_exports = |to: &'static str| {
        Guest::javascript(
            move |source| {
                assert!(
                    source.contains(DEFECTS_EXPORT),
                    "the example has no line {DEFECTS_EXPORT:?}"
                );
                source.replace(DEFECTS_EXPORT, to)
            },
            true,
        )
    };
    for (name, to, missing) in [
        ("no-object", "const defects = { create, find };", "`export const defects = { … }`"),
        ("no-function", "export const defects = { create };", "`defects` has no function `find`"),
    ] {
        let (code, _, stderr) = folder.check(name, &with_exports(to).bytes, &[]);
        assert_eq!(code, Some(1), "{name}: {stderr}");
        assert!(stderr.contains(missing) && stderr.contains("first event"), "{name}: {stderr}");
    }
    let (code, text, stderr) = folder.check("whole", &Guest::example("javascript").bytes, &[]);
    assert_eq!((code, stderr.as_str()), (Some(0), ""), "{text}");
    let without_sync = Guest::javascript(|source| source, false);
    folder.assert_refused("without-sync", &without_sync.bytes, &["asynchronous", "add `--sync`"]);
}
