//! The connectors that the tests run: the test guests and the example connectors. Each is built
//! once. A build number, a custom section or further core modules turn one build into many
//! versions.

use std::path::PathBuf;
use std::process::Command;
use std::sync::{Mutex, OnceLock, PoisonError};

use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};

use crate::repository::{cargo, root, run, target, xtask};
use crate::wasm::{core_modules, leb128, push_section};

/// A connector's component file, in memory.
#[derive(Debug, Clone)]
pub struct Guest {
    /// The bytes of the component.
    pub bytes: Vec<u8>,
}

impl Guest {
    /// Returns the test guest of this name: an example in `tests/guests/examples`, such as
    /// `spin-host-call`.
    ///
    /// # Panics
    /// If the guests do not build, or no guest has this name.
    #[must_use]
    pub fn named(name: &str) -> Self {
        let path = built().join(format!("{}.wasm", name.replace('-', "_")));
        let bytes = std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        Self { bytes }
    }

    /// Returns the guest with another build number. Its bytes and version differ, and the titles of
    /// its defects name the number.
    ///
    /// # Panics
    /// If the file has no build number.
    #[must_use]
    pub fn with_build(mut self, number: u32) -> Self {
        const BUILD_MARK: &[u8] = b"jackfield-build-";
        let at = self.bytes.windows(BUILD_MARK.len()).position(|window| window == BUILD_MARK);
        let at = at.expect("the file has a build number") + BUILD_MARK.len();
        self.bytes[at..at + 6].copy_from_slice(format!("{number:06}").as_bytes());
        self
    }

    /// Returns the guest with another hash: with a custom section, which the host ignores.
    #[must_use]
    pub fn with_custom_section(mut self, number: u32) -> Self {
        let content = number.to_be_bytes();
        push_section(&mut self.bytes, 0, &[&[4], b"note".as_slice(), &content].concat());
        self
    }

    /// Returns the guest with the core module `tests/guests/wat/NAME.wat`, which it instantiates
    /// `times` times.
    ///
    /// # Panics
    /// If there is no such file, or it is not a module.
    #[must_use]
    pub fn with_core_module(self, name: &str, times: u32) -> Self {
        let path = root().join("tests/guests/wat").join(format!("{name}.wat"));
        let module = wat::parse_file(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        self.with_module(&module, times)
    }

    /// Returns the guest with a further core module, which it instantiates `times` times.
    #[must_use]
    pub fn with_module(mut self, module: &[u8], times: u32) -> Self {
        let index = core_modules(&self.bytes);
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

    /// Returns the file's SHA-256, in lower-case hex, as the admin API shows it.
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
    /// Returns the connector of this name that `cargo xtask connectors` builds, such as `redmine`.
    ///
    /// # Panics
    /// If the example does not build.
    #[must_use]
    pub fn example(name: &str) -> Self {
        static BUILDING: Mutex<()> = Mutex::new(());
        let given = std::env::var_os("TEST_PLUGINS").map(PathBuf::from);
        let folder = given.unwrap_or_else(|| {
            let _one_at_a_time = BUILDING.lock().unwrap_or_else(PoisonError::into_inner);
            xtask(&["connectors", "--only", name]);
            root().join("plugins")
        });
        let path = folder.join(format!("{name}.wasm"));
        let bytes = std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        Self { bytes }
    }
}

impl Guest {
    /// Returns the JavaScript example with another source, built as the example is. Without
    /// `--sync`, QuickJS makes an asynchronous component.
    ///
    /// # Panics
    /// If the example does not build.
    #[must_use]
    pub fn javascript(change: impl FnOnce(String) -> String, is_sync: bool) -> Self {
        // Installs the tools of the example.
        let _installed = Self::example("javascript");
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (script, built) =
            (folder.path().join("connector.js"), folder.path().join("built.wasm"));
        let source = root().join("guest-examples/javascript/connector.js");
        let source = std::fs::read_to_string(source).expect("the example's source");
        std::fs::write(&script, change(source)).expect("the script is written");
        let modules = target().join("guests/javascript/node_modules");
        let mut build = Command::new("node");
        build.arg(modules.join("componentize-qjs/bin/componentize-qjs"));
        build.args(["--wit", "wit", "--world", "follow-up-connector", "--js"]).arg(&script);
        build.args(is_sync.then_some("--sync")).arg("--output").arg(&built);
        run(build.current_dir(root()));
        Self { bytes: std::fs::read(built).expect("the component") }
    }
}

/// Returns the folder of the built guests: `TEST_GUESTS`, or else a folder that is built once per
/// test run.
fn built() -> &'static PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        if let Some(given) = std::env::var_os("TEST_GUESTS") {
            return given.into();
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
