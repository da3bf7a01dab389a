//! Implements `jackfield:connector/log`: adds the guest's log lines to the log of the run. Never
//! redacts a line.

use crate::domain::LogLevel;
use crate::runtime::bindings::log;
use crate::runtime::guest::Guest;

impl log::Host for Guest {
    fn log(&mut self, level: log::Level, message: String) -> wasmtime::Result<()> {
        self.log.add_line(level.into(), &message);
        Ok(())
    }
}

impl From<log::Level> for LogLevel {
    fn from(level: log::Level) -> Self {
        match level {
            log::Level::Debug => Self::Debug,
            log::Level::Info => Self::Info,
            log::Level::Warn => Self::Warn,
            log::Level::Error => Self::Error,
        }
    }
}
