//! A wall clock for one server and its child processes. A test can set this clock while the server
//! runs. The server's monotonic clock and the clock of the machine do not change.

use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::Setup;

fn library_path() -> String {
    format!("/usr/lib/{}-linux-gnu/faketime/libfaketime.so.1", std::env::consts::ARCH)
}

/// A wall clock that a test can set.
#[derive(Debug)]
pub struct WallClock(NamedTempFile);

impl WallClock {
    /// Creates a clock that shows the real time until a test sets it.
    #[must_use]
    pub fn new() -> Self {
        let clock = Self(NamedTempFile::new().expect("a temporary file"));
        clock.set_ahead(0);
        clock
    }

    /// Sets the clock to the real time plus this number of seconds, which may be negative.
    pub fn set_ahead(&self, seconds: i64) {
        // A rename replaces the file, so the server never reads an incomplete value.
        let new = self.path().with_extension("new");
        std::fs::write(&new, format!("{seconds:+}")).expect("a new file");
        std::fs::rename(&new, self.path()).expect("the file is replaced");
    }

    fn path(&self) -> PathBuf {
        self.0.path().to_owned()
    }

    /// Returns the setup with environment variables that make the server use this clock.
    #[must_use]
    pub fn add_to(&self, setup: Setup) -> Setup {
        let library = library_path();
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
