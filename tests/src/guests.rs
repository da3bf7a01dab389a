//! The test guests: built once, stamped with a number so that one build becomes many, and given
//! further core modules that no compiler of Rust would emit.

use std::path::PathBuf;
use std::process::Command;
use std::sync::{Mutex, OnceLock, PoisonError};

use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};

use crate::repository::{cargo, root, run, target, xtask};

/// A connector file in memory.
#[derive(Debug, Clone)]
pub struct Guest {
    /// The component's bytes.
    pub bytes: Vec<u8>,
}

impl Guest {
    /// A guest of `tests/guests` by the name of its example (`spin-host-call`).
    ///
    /// # Panics
    /// When the guests do not build, or there is none by that name.
    #[must_use]
    pub fn named(name: &str) -> Self {
        let path = built().join(format!("{}.wasm", name.replace('-', "_")));
        let bytes = std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        Self { bytes }
    }

    /// The same guest as another build: other bytes, and an answer that names `number`.
    ///
    /// # Panics
    /// When the guest carries no stamp.
    #[must_use]
    pub fn build(mut self, number: u32) -> Self {
        const STAMP: &[u8] = b"jackfield-build-";
        let at = self.bytes.windows(STAMP.len()).position(|window| window == STAMP);
        let at = at.expect("the guest carries a stamp") + STAMP.len();
        self.bytes[at..at + 6].copy_from_slice(format!("{number:06}").as_bytes());
        self
    }

    /// The same guest as other bytes: with a custom section that nobody reads.
    #[must_use]
    pub fn noted(mut self, number: u32) -> Self {
        let note = number.to_be_bytes();
        section(&mut self.bytes, 0, &[&[4], b"note".as_slice(), &note].concat());
        self
    }

    /// The same guest, which on its way up also instantiates the core module `tests/guests/wat/NAME.wat`
    /// so many times.
    ///
    /// # Panics
    /// When there is no such text, or it is no module.
    #[must_use]
    pub fn with_core(self, name: &str, times: u32) -> Self {
        let path = root().join("tests/guests/wat").join(format!("{name}.wat"));
        let module = wat::parse_file(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        self.with_module(&module, times)
    }

    /// The same guest with a core module, instantiated so many times.
    #[must_use]
    pub fn with_module(mut self, module: &[u8], times: u32) -> Self {
        let index = core_modules(&self.bytes);
        section(&mut self.bytes, 1, module);
        let mut instances = leb128(times);
        for _ in 0..times {
            instances.push(0);
            instances.extend(leb128(index));
            instances.push(0);
        }
        section(&mut self.bytes, 2, &instances);
        self
    }

    /// SHA-256 of the file, hex, as the admin API shows it.
    #[must_use]
    pub fn sha256(&self) -> String {
        sha256(&self.bytes)
    }
}

/// SHA-256 in lower-case hex.
#[must_use]
pub fn sha256(bytes: &[u8]) -> String {
    HEXLOWER.encode(&Sha256::digest(bytes))
}

impl Guest {
    /// The example connector of that name (`redmine`, `javascript`, `python`).
    ///
    /// # Panics
    /// When it does not build.
    #[must_use]
    pub fn example(name: &str) -> Self {
        static BUILDING: Mutex<()> = Mutex::new(());
        let given = std::env::var_os("JACKFIELD_PLUGINS").map(PathBuf::from);
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

/// Builds all guests, once in a run of the tests, unless `JACKFIELD_GUESTS` says where they are.
fn built() -> &'static PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        if let Some(given) = std::env::var_os("JACKFIELD_GUESTS") {
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

/// How many core modules the component itself defines: its top-level sections with the id 1.
fn core_modules(component: &[u8]) -> u32 {
    let (mut at, mut count) = (8, 0);
    while at < component.len() {
        count += u32::from(component[at] == 1);
        let (mut size, mut shift) = (0usize, 0);
        loop {
            at += 1;
            size |= usize::from(component[at] & 0x7f) << shift;
            shift += 7;
            if component[at] < 0x80 {
                break;
            }
        }
        at += 1 + size;
    }
    count
}

fn section(component: &mut Vec<u8>, id: u8, payload: &[u8]) {
    component.push(id);
    component.extend(leb128(u32::try_from(payload.len()).expect("a section below 4 GiB")));
    component.extend(payload);
}

fn leb128(mut value: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    bytes.push((value & 0x7f) as u8);
    bytes
}
