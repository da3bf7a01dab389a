//! A control group with a memory limit, as a container has.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// A control group of version 1 or 2. Dropping this value removes the group, but only if all
/// processes of the group have ended.
pub struct MemoryGroup {
    folder: PathBuf,
    kills_file: &'static str,
}

impl MemoryGroup {
    /// Creates a group with this memory limit, in bytes.
    ///
    /// # Panics
    /// If the test does not run as root, or the system has no memory controller.
    #[must_use]
    pub fn with_limit(bytes: u64) -> Self {
        static GROUP_COUNT: AtomicU32 = AtomicU32::new(0);
        let number = GROUP_COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("jackfield-test-{}-{number}", std::process::id());
        let list = fs::read_to_string("/proc/self/cgroup")
            .expect("the list of control groups of this process");
        let version_1 = list.lines().find_map(|line| line.split_once(":memory:"));
        let (parent, limit_file, kills_file) = match version_1 {
            Some((_, path)) => {
                let parent = Path::new("/sys/fs/cgroup/memory").join(path.trim_start_matches('/'));
                (parent, "memory.limit_in_bytes", "memory.oom_control")
            }
            None => {
                let parent = PathBuf::from("/sys/fs/cgroup");
                // The result of this write is ignored, because the write of the limit below also
                // fails if the memory controller cannot be enabled.
                let _ = fs::write(parent.join("cgroup.subtree_control"), "+memory");
                (parent, "memory.max", "memory.events")
            }
        };
        let folder = parent.join(name);
        let created = fs::create_dir(&folder)
            .and_then(|()| fs::write(folder.join(limit_file), bytes.to_string()));
        let path = folder.display();
        created.unwrap_or_else(|error| panic!("{path}: {error}; run this test as root"));
        Self { folder, kills_file }
    }

    /// Returns the first words of a command line. The command enters the group, and then executes
    /// the words that follow.
    #[must_use]
    pub fn command_prefix(&self) -> [String; 4] {
        let processes = self.folder.join("cgroup.procs").display().to_string();
        let script = format!("echo $$ > {processes} && exec \"$@\"");
        ["sh".to_owned(), "-c".to_owned(), script, "sh".to_owned()]
    }

    /// Returns the number of processes that the kernel has killed because of the memory limit.
    #[must_use]
    pub fn kills(&self) -> u64 {
        let text = fs::read_to_string(self.folder.join(self.kills_file))
            .expect("a file of the control group");
        let line = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
        line.and_then(|count| count.trim().parse().ok()).unwrap_or_else(|| panic!("{text}"))
    }
}

impl Drop for MemoryGroup {
    fn drop(&mut self) {
        // The removal fails if a process is still in the group, for example after a failed test.
        let _ = fs::remove_dir(&self.folder);
    }
}
