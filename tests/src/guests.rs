//! Builds the connectors that the tests run: the test guests and the example connectors. Also makes
//! other versions of them.

use std::path::PathBuf;
use std::process::Command;
use std::sync::{Mutex, OnceLock, PoisonError};

use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};

use crate::repository::{cargo, root, run, target, xtask};
use crate::wasm::{count_core_modules, leb128, push_section};

/// A connector's file, in memory: a component or a script.
#[derive(Debug, Clone)]
pub struct Guest {
    /// The bytes of the file.
    pub bytes: Vec<u8>,
}

impl Guest {
    /// Returns the test guest with this name: an example in `tests/guests/examples`, such as
    /// `spin-host-call`.
    #[must_use]
    pub fn named(name: &str) -> Self {
        let path = guest_folder().join(format!("{}.wasm", name.replace('-', "_")));
        let bytes = std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        Self { bytes }
    }

    /// Returns the guest with this build number. Each number makes another version. Panics if the
    /// file has no build number.
    #[must_use]
    pub fn with_build(mut self, number: u32) -> Self {
        const BUILD_NUMBER_PREFIX: &[u8] = b"jackfield-build-";
        let at =
            self.bytes.windows(BUILD_NUMBER_PREFIX.len()).position(|it| it == BUILD_NUMBER_PREFIX);
        let at = at.expect("the file has a build number") + BUILD_NUMBER_PREFIX.len();
        self.bytes[at..at + 6].copy_from_slice(format!("{number:06}").as_bytes());
        self
    }

    /// Returns the guest with an additional custom section. The host ignores the section, but the
    /// file has another hash.
    #[must_use]
    pub fn with_custom_section(mut self, number: u32) -> Self {
        let content = number.to_be_bytes();
        push_section(&mut self.bytes, 0, &[&[4], b"note".as_slice(), &content].concat());
        self
    }

    /// Returns the guest with the additional core module `tests/guests/wat/NAME.wat`. The guest
    /// instantiates this module `times` times.
    #[must_use]
    pub fn with_core_module(self, name: &str, times: u32) -> Self {
        let path = root().join("tests/guests/wat").join(format!("{name}.wat"));
        let module = wat::parse_file(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        self.with_module(&module, times)
    }

    /// Returns the guest with an additional core module. The guest instantiates this module `times`
    /// times.
    #[must_use]
    pub fn with_module(mut self, module: &[u8], times: u32) -> Self {
        let index = count_core_modules(&self.bytes);
        push_section(&mut self.bytes, 1, module);
        let mut instances = leb128(times);
        for _ in 0..times {
            instances.push(0);
            instances.extend(leb128(index));
            instances.push(0);
        }
        push_section(&mut self.bytes, 2, &instances);
        self
    }

    /// Returns the file's SHA-256, in lower-case hex.
    #[must_use]
    pub fn sha256(&self) -> String {
        sha256(&self.bytes)
    }
}

/// Returns the SHA-256 of bytes, in lower-case hex.
#[must_use]
pub fn sha256(bytes: &[u8]) -> String {
    HEXLOWER.encode(&Sha256::digest(bytes))
}

impl Guest {
    /// Returns the connector with this name that `cargo xtask connectors` builds, such as
    /// `redmine`.
    #[must_use]
    pub fn example(name: &str) -> Self {
        static BUILD_LOCK: Mutex<()> = Mutex::new(());
        let prebuilt = std::env::var_os("TEST_PLUGINS").map(PathBuf::from);
        let folder = prebuilt.unwrap_or_else(|| {
            let _one_at_a_time = BUILD_LOCK.lock().unwrap_or_else(PoisonError::into_inner);
            xtask(&["connectors", "--only", name]);
            root().join("plugins")
        });
        let path = folder.join(format!("{name}.wasm"));
        let bytes = std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        Self { bytes }
    }
}

impl Guest {
    /// Builds the JavaScript example from a changed source, with the tools of the example. If
    /// `is_sync` is false, the component uses the asynchronous ABI.
    #[must_use]
    pub fn javascript(change: impl FnOnce(String) -> String, is_sync: bool) -> Self {
        // The build of the example installs the tools.
        let _example = Self::example("javascript");
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (script, component) =
            (folder.path().join("connector.js"), folder.path().join("built.wasm"));
        let source = root().join("guest-examples/javascript/connector.js");
        let source = std::fs::read_to_string(source).expect("the example's source");
        std::fs::write(&script, change(source)).expect("the script is written");
        let modules = target().join("guests/javascript/node_modules");
        let mut build = Command::new("node");
        build.arg(modules.join("componentize-qjs/bin/componentize-qjs"));
        build.args(["--wit", "wit", "--world", "follow-up-connector", "--js"]).arg(&script);
        build.args(is_sync.then_some("--sync")).arg("--output").arg(&component);
        run(build.current_dir(root()));
        Self { bytes: std::fs::read(component).expect("the component") }
    }
}

/// Returns the folder with the built test guests: the value of `TEST_GUESTS`. If this variable is
/// not set, the first call builds the guests.
fn guest_folder() -> &'static PathBuf {
    static GUEST_FOLDER: OnceLock<PathBuf> = OnceLock::new();
    GUEST_FOLDER.get_or_init(|| {
        if let Some(prebuilt) = std::env::var_os("TEST_GUESTS") {
            return prebuilt.into();
        }
        let folder = target().join("guests");
        run(Command::new(cargo())
            .args(["build", "--locked", "--release", "--target", "wasm32-wasip2", "--examples"])
            .arg("--target-dir")
            .arg(&folder)
            .current_dir(root().join("tests/guests")));
        folder.join("wasm32-wasip2/release/examples")
    })
}
