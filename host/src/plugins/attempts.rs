//! Which files made their compiler die, by content and engine, so that they are not compiled again
//! and again: not at each scan, and not at each start.
//!
//! An attempt is recorded before it begins. A server that was killed together with its compiler, as
//! happens when a container's memory runs out, finds it at its next start.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::runtime::{CompileError, CompileLimits};

use super::error::PluginError;

/// The ending of a record's name.
const ENDING: &str = "attempt";
/// So often the server may end while it compiles a file; a power cut or `kill -9` may be the cause.
const UNFINISHED_MAX: u32 = 2;
/// A file whose compiler died is compiled again once it may have this much more memory, in percent.
const MORE_PERCENT: u64 = 150;
/// Records that are kept.
const RECORDS_MAX: usize = 200;

/// The records, in the folder of compiled code.
pub(super) struct Attempts {
    folder: PathBuf,
}

/// What is known of the attempts to compile a file.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Record {
    /// Attempts that neither succeeded nor failed: the server ended.
    unfinished: u32,
    /// Why the compiler died.
    died: Option<String>,
    /// The limits of the last attempt.
    memory_bytes: u64,
    time_ms: u64,
}

/// An attempt under way. When it is dropped, the server has given it up in good order.
pub(super) struct Attempt {
    file: PathBuf,
    before: Record,
    now: Record,
    ended: bool,
}

impl Attempts {
    pub(super) fn in_folder(folder: &Path) -> Self {
        Self { folder: folder.to_owned() }
    }

    /// Records that a file is about to be compiled.
    ///
    /// # Errors
    /// It made its compiler die before, under limits like these; or the record cannot be written.
    pub(super) fn begin(
        &self,
        sha256: &str,
        fingerprint: &str,
        limits: &CompileLimits,
    ) -> Result<Attempt, PluginError> {
        let file = self.folder.join(format!("{sha256}-{fingerprint}.{ENDING}"));
        // What cannot be read does not prevent an attempt.
        let before = Record::read(&file).unwrap_or_default();
        if !before.has_more(limits)
            && let Some(reason) = before.given_up(&file)
        {
            return Err(reason);
        }
        let unfinished = if before.has_more(limits) { 1 } else { before.unfinished + 1 };
        let CompileLimits { memory_bytes, time_ms, .. } = *limits;
        let now = Record { unfinished, died: None, memory_bytes, time_ms };
        self.prune().and_then(|()| write(&file, &now)).map_err(PluginError::Store)?;
        Ok(Attempt { file, before, now, ended: false })
    }

    /// Deletes the oldest records: files come and go.
    fn prune(&self) -> io::Result<()> {
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

/// Why files are not compiled again, from the records in the folder of compiled code.
pub(crate) fn given_up(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
    let records = entries.map(|entry| entry.path()).filter(|path| is_record(path));
    let reasons = records.filter_map(|path| Record::read(&path)?.given_up(&path));
    reasons.map(|reason| reason.to_string()).collect()
}

fn is_record(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending == ENDING)
}

impl Record {
    fn read(file: &Path) -> Option<Self> {
        serde_json::from_slice(&fs::read(file).ok()?).ok()
    }

    /// Why the file is not compiled again with as much as before; `None` if it is.
    fn given_up(&self, file: &Path) -> Option<PluginError> {
        let (times, file) = (self.unfinished, file.to_owned());
        match self.died.clone() {
            Some(reason) => Some(PluginError::DiedBefore { reason, file }),
            None if times >= UNFINISHED_MAX => Some(PluginError::EndedBefore { times, file }),
            None => None,
        }
    }

    /// Whether an attempt would have clearly more than the last one had.
    fn has_more(&self, limits: &CompileLimits) -> bool {
        limits.time_ms > self.time_ms
            || limits.memory_bytes / 100
                >= (self.memory_bytes / 100).saturating_mul(MORE_PERCENT) / 100
    }
}

impl Attempt {
    /// Records how it ended: only a compiler that died is remembered.
    pub(super) fn end<T>(mut self, result: &Result<T, CompileError>) {
        self.ended = true;
        let recorded = match result {
            Err(error) if error.compiler_died() => {
                let died = Some(error.to_string());
                write(&self.file, &Record { unfinished: 0, died, ..self.now.clone() })
            }
            _ => fs::remove_file(&self.file),
        };
        self.warn(recorded);
    }

    fn warn(&self, recorded: io::Result<()>) {
        if let Err(error) = recorded {
            let file = self.file.display();
            tracing::warn!(%error, %file, "cannot record how compiling a connector ended");
        }
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if !self.ended {
            let recorded = match self.before.unfinished {
                0 => fs::remove_file(&self.file),
                _ => write(&self.file, &self.before),
            };
            self.warn(recorded);
        }
    }
}

/// Replaces a record, durably.
fn write(file: &Path, record: &Record) -> io::Result<()> {
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

    const LIMITS: CompileLimits =
        CompileLimits { memory_bytes: 10_000, memory_bound: MemoryBound::Left, time_ms: 1_000 };

    fn over_memory() -> Result<(), CompileError> {
        Err(CompileError::OverMemory { bytes: 10_000, by: MemoryBound::Left })
    }

    #[test]
    fn a_file_that_made_its_compiler_die_is_tried_again_only_with_more() {
        let folder = tempfile::tempdir().unwrap();
        let begin = |sha: &str, limits: &CompileLimits| {
            Attempts::in_folder(folder.path()).begin(sha, "engine", limits)
        };
        begin("a", &LIMITS).unwrap().end(&over_memory());
        let again = begin("a", &LIMITS).err().unwrap().to_string();
        assert!(again.contains("container more memory") && again.contains(".attempt"), "{again}");
        assert!(begin("b", &LIMITS).is_ok(), "another file");
        let other = Attempts::in_folder(folder.path()).begin("a", "other engine", &LIMITS);
        assert!(other.is_ok());
        let little_more = CompileLimits { memory_bytes: 14_000, ..LIMITS };
        assert!(begin("a", &little_more).is_err());
        let more = CompileLimits { memory_bytes: 15_000, ..LIMITS };
        begin("a", &more).unwrap().end(&Ok(()));
        assert!(begin("a", &LIMITS).is_ok(), "it succeeded meanwhile");
        let longer = CompileLimits { time_ms: 2_000, ..LIMITS };
        begin("c", &LIMITS).unwrap().end::<()>(&Err(CompileError::OverTime(1_000)));
        assert!(begin("c", &LIMITS).is_err() && begin("c", &longer).is_ok());
    }

    #[test]
    fn what_is_no_death_is_not_remembered() {
        let folder = tempfile::tempdir().unwrap();
        let attempts = Attempts::in_folder(folder.path());
        for error in [CompileError::Refused("no".into()), CompileError::NoThread] {
            attempts.begin("a", "engine", &LIMITS).unwrap().end::<()>(&Err(error));
            assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        }
        drop(attempts.begin("a", "engine", &LIMITS).unwrap());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "an orderly end");
    }

    /// A forgotten attempt is one whose server was killed.
    #[test]
    fn a_file_that_took_the_server_with_it_twice_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let attempts = Attempts::in_folder(folder.path());
        for _ in 0..UNFINISHED_MAX {
            std::mem::forget(attempts.begin("a", "engine", &LIMITS).unwrap());
        }
        let text = attempts.begin("a", "engine", &LIMITS).err().unwrap().to_string();
        assert!(text.contains('2') && text.contains("memory"), "{text}");
        for number in 0..RECORDS_MAX + 10 {
            let result = attempts.begin(&number.to_string(), "engine", &LIMITS);
            result.unwrap().end(&over_memory());
        }
        assert!(fs::read_dir(folder.path()).unwrap().count() <= RECORDS_MAX + 1);
    }
}
