//! Records which files made the compiler process die, so that the server does not compile such a
//! file again at each scan and at each start. A record is for one content of a file and one engine.
//!
//! Each attempt is recorded before it begins. If a container runs out of memory, the kernel may
//! kill the server together with its compiler; the server then finds the record at its next start.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::runtime::{CompileError, CompileLimits};

use super::error::PluginError;

/// The file name extension of a record.
const EXTENSION: &str = "attempt";
/// A file is blocked after the server was killed in this many attempts to compile it. After one
/// such attempt, the file need not be the cause: a power cut or `kill -9` may have ended the
/// server.
const UNFINISHED_MAX: u32 = 2;
/// A blocked file is compiled again if the memory limit is now at least this percentage of the
/// limit in the last attempt.
const RETRY_MEMORY_PERCENT: u64 = 150;
/// Before a new record is written, the oldest records are deleted until at most this many remain.
const RECORDS_MAX: usize = 200;

/// The records of attempts, in the folder of compiled code.
pub(super) struct Attempts {
    folder: PathBuf,
}

/// The stored record of the attempts to compile a file.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Record {
    /// The number of attempts without a result, including an attempt in progress.
    unfinished: u32,
    /// The reason why the compiler died; `None` if it did not die.
    died: Option<String>,
    /// The memory limit of the last attempt.
    memory_bytes: u64,
    /// The time limit of the last attempt, milliseconds.
    time_ms: u64,
}

/// An attempt in progress. If the attempt is dropped without [`Attempt::end`], the server has
/// cancelled it, for example at a shutdown. A cancelled attempt does not count.
pub(super) struct Attempt {
    file: PathBuf,
    record_before: Record,
    /// The record that was written when this attempt began.
    record: Record,
    has_ended: bool,
}

impl Attempts {
    pub(super) fn in_folder(folder: &Path) -> Self {
        Self { folder: folder.to_owned() }
    }

    /// Records that a file is about to be compiled.
    ///
    /// # Errors
    /// The file is blocked because of earlier attempts with similar limits, or the record cannot be
    /// written.
    pub(super) fn begin(
        &self,
        sha256: &str,
        fingerprint: &str,
        limits: &CompileLimits,
    ) -> Result<Attempt, PluginError> {
        let file = self.folder.join(format!("{sha256}-{fingerprint}.{EXTENSION}"));
        // A record that cannot be read does not block the file.
        let record_before = Record::read(&file).unwrap_or_default();
        let has_larger_limits = record_before.had_smaller_limits(limits);
        if !has_larger_limits && let Some(reason) = record_before.block_reason(&file) {
            return Err(reason);
        }
        let unfinished = if has_larger_limits { 1 } else { record_before.unfinished + 1 };
        let CompileLimits { memory_bytes, time_ms, .. } = *limits;
        let record = Record { unfinished, died: None, memory_bytes, time_ms };
        let written = self.delete_oldest_records().and_then(|()| write_record(&file, &record));
        written.map_err(PluginError::Store)?;
        Ok(Attempt { file, record_before, record, has_ended: false })
    }

    fn delete_oldest_records(&self) -> io::Result<()> {
        let mut records = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let path = entry?.path();
            if is_record(&path) {
                let written = path.metadata().and_then(|metadata| metadata.modified());
                records.push((written.unwrap_or(SystemTime::UNIX_EPOCH), path));
            }
        }
        records.sort();
        let surplus = records.len().saturating_sub(RECORDS_MAX);
        records.into_iter().take(surplus).try_for_each(|(_, path)| fs::remove_file(path))
    }
}

/// Reads the records in the folder of compiled code, and returns the reason for each file that is
/// not compiled again with similar limits.
pub(crate) fn blocked_files(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
    let records = entries.map(|entry| entry.path()).filter(|path| is_record(path));
    let reasons = records.filter_map(|path| Record::read(&path)?.block_reason(&path));
    reasons.map(|reason| reason.to_string()).collect()
}

fn is_record(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == EXTENSION)
}

impl Record {
    fn read(file: &Path) -> Option<Self> {
        serde_json::from_slice(&fs::read(file).ok()?).ok()
    }

    /// Returns the reason why the file is not compiled again with limits similar to those of the
    /// last attempt.
    fn block_reason(&self, file: &Path) -> Option<PluginError> {
        let (times, file) = (self.unfinished, file.to_owned());
        match self.died.clone() {
            Some(reason) => Some(PluginError::DiedBefore { reason, file }),
            None if times >= UNFINISHED_MAX => Some(PluginError::EndedBefore { times, file }),
            None => None,
        }
    }

    fn had_smaller_limits(&self, limits: &CompileLimits) -> bool {
        limits.time_ms > self.time_ms
            || limits.memory_bytes / 100
                >= (self.memory_bytes / 100).saturating_mul(RETRY_MEMORY_PERCENT) / 100
    }
}

impl Attempt {
    /// Records how the attempt ended. The attempt does not count if the compiler did not die and
    /// the state of the machine may be the cause of the failure.
    pub(super) fn end<T>(mut self, result: &Result<T, CompileError>) {
        self.has_ended = true;
        let recorded = match result {
            Err(error) if error.compiler_died() => {
                let died = Some(error.to_string());
                write_record(&self.file, &Record { unfinished: 0, died, ..self.record.clone() })
            }
            Err(error) if error.may_be_temporary() => self.restore_earlier_record(),
            _ => fs::remove_file(&self.file),
        };
        self.warn_if_not_recorded(recorded);
    }

    fn restore_earlier_record(&self) -> io::Result<()> {
        match &self.record_before {
            Record { unfinished: 0, died: None, .. } => fs::remove_file(&self.file),
            earlier => write_record(&self.file, earlier),
        }
    }

    fn warn_if_not_recorded(&self, recorded: io::Result<()>) {
        if let Err(error) = recorded {
            let file = self.file.display();
            tracing::warn!(%error, %file, "cannot record how compiling a connector ended");
        }
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if !self.has_ended {
            self.warn_if_not_recorded(self.restore_earlier_record());
        }
    }
}

/// Replaces a record, and syncs it to the disk.
fn write_record(file: &Path, record: &Record) -> io::Result<()> {
    let folder = file.parent().ok_or(io::ErrorKind::NotFound)?;
    let mut new = super::cache::temporary_file(folder)?;
    new.write_all(&serde_json::to_vec(record)?)?;
    new.as_file().sync_all()?;
    new.persist(file).map_err(|error| error.error)?;
    fs::File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use crate::runtime::MemoryBound;

    use super::*;

    const LIMITS: CompileLimits = CompileLimits {
        memory_bytes: 10_000,
        memory_bound: MemoryBound::FreeMemory,
        time_ms: 1_000,
    };

    fn over_memory_error() -> Result<(), CompileError> {
        Err(CompileError::OverMemory { bytes: 10_000, by: MemoryBound::FreeMemory })
    }

    #[test]
    fn a_file_whose_compiler_died_is_compiled_again_only_with_larger_limits() {
        let folder = tempfile::tempdir().unwrap();
        let begin = |sha: &str, limits: &CompileLimits| {
            Attempts::in_folder(folder.path()).begin(sha, "engine", limits)
        };
        begin("a", &LIMITS).unwrap().end(&over_memory_error());
        let again = begin("a", &LIMITS).err().unwrap().to_string();
        assert!(again.contains("container more memory") && again.contains(".attempt"), "{again}");
        assert!(begin("b", &LIMITS).is_ok(), "another file");
        let other = Attempts::in_folder(folder.path()).begin("a", "other engine", &LIMITS);
        assert!(other.is_ok());
        let slightly_more_memory = CompileLimits { memory_bytes: 14_000, ..LIMITS };
        assert!(begin("a", &slightly_more_memory).is_err());
        let more_memory = CompileLimits { memory_bytes: 15_000, ..LIMITS };
        begin("a", &more_memory).unwrap().end(&Ok(()));
        assert!(begin("a", &LIMITS).is_ok(), "the last attempt succeeded");
        let more_time = CompileLimits { time_ms: 2_000, ..LIMITS };
        begin("c", &LIMITS).unwrap().end::<()>(&Err(CompileError::OverTime(1_000)));
        assert!(begin("c", &LIMITS).is_err() && begin("c", &more_time).is_ok());
    }

    #[test]
    fn an_attempt_whose_compiler_did_not_die_leaves_no_record() {
        let folder = tempfile::tempdir().unwrap();
        let attempts = Attempts::in_folder(folder.path());
        for error in [CompileError::Refused("no".into()), CompileError::NoThread] {
            attempts.begin("a", "engine", &LIMITS).unwrap().end::<()>(&Err(error));
            assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        }
        drop(attempts.begin("a", "engine", &LIMITS).unwrap());
        assert_eq!(
            fs::read_dir(folder.path()).unwrap().count(),
            0,
            "a cancelled attempt leaves no record"
        );
    }

    #[test]
    fn a_cancelled_retry_leaves_the_record_of_the_attempt_whose_compiler_died() {
        let folder = tempfile::tempdir().unwrap();
        let attempts = Attempts::in_folder(folder.path());
        attempts.begin("a", "engine", &LIMITS).unwrap().end(&over_memory_error());
        let more_memory = CompileLimits { memory_bytes: 15_000, ..LIMITS };
        drop(attempts.begin("a", "engine", &more_memory).unwrap());
        assert!(attempts.begin("a", "engine", &LIMITS).is_err());
        let retry = attempts.begin("a", "engine", &more_memory).unwrap();
        retry.end::<()>(&Err(CompileError::NoThread));
        assert!(attempts.begin("a", "engine", &LIMITS).is_err(), "no compiler was started");
    }

    /// Simulates a killed server: after `forget`, the record of the attempt is not changed.
    #[test]
    fn a_file_is_blocked_after_the_server_was_killed_in_two_attempts() {
        let folder = tempfile::tempdir().unwrap();
        let attempts = Attempts::in_folder(folder.path());
        for _ in 0..UNFINISHED_MAX {
            std::mem::forget(attempts.begin("a", "engine", &LIMITS).unwrap());
        }
        let text = attempts.begin("a", "engine", &LIMITS).err().unwrap().to_string();
        assert!(text.contains('2') && text.contains("memory"), "{text}");
        for number in 0..RECORDS_MAX + 10 {
            let result = attempts.begin(&number.to_string(), "engine", &LIMITS);
            result.unwrap().end(&over_memory_error());
        }
        assert!(fs::read_dir(folder.path()).unwrap().count() <= RECORDS_MAX + 1);
    }
}
