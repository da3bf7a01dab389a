//! The wall clock of one server. A test sets it while the server runs. The other clocks of the
//! server and other processes are not changed.

use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::Setup;

/// Returns the path of the library in Debian's package libfaketime.
fn library() -> String {
    format!("/usr/lib/{}-linux-gnu/faketime/libfaketime.so.1", std::env::consts::ARCH)
}

/// The wall clock of a server, which a test can set.
#[derive(Debug)]
pub struct WallClock(NamedTempFile);

impl WallClock {
    /// Makes a clock that shows the real time until it is set.
    ///
    /// # Panics
    /// If no file can be created.
    #[must_use]
    pub fn new() -> Self {
        let clock = Self(NamedTempFile::new().expect("a temporary file"));
        clock.set_ahead(0);
        clock
    }

    /// Sets the clock to this many seconds after the real time; a negative number is before it.
    ///
    /// # Panics
    /// If the file cannot be replaced.
    pub fn set_ahead(&self, seconds: i64) {
        // The file is replaced by rename, so the server never reads half a value.
        let new = self.path().with_extension("new");
        std::fs::write(&new, format!("{seconds:+}")).expect("a new file");
        std::fs::rename(&new, self.path()).expect("the file is replaced");
    }

    fn path(&self) -> PathBuf {
        self.0.path().to_owned()
    }

    /// Makes a server use this clock.
    #[must_use]
    pub fn of(&self, setup: Setup) -> Setup {
        let library = library();
        assert!(Path::new(&library).exists(), "{library} is missing (apt-get install libfaketime)");
        setup
            .env("LD_PRELOAD", &library)
            .env("FAKETIME_TIMESTAMP_FILE", &self.path().to_string_lossy())
            .env("FAKETIME_NO_CACHE", "1")
            .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
            .env("FAKETIME_FORCE_MONOTONIC_FIX", "0")
    }
}

impl Default for WallClock {
    fn default() -> Self {
        Self::new()
    }
}
