//! A control group with a memory limit, like that of a container.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// A control group of this machine, version 1 or 2. Dropping it removes the group, once its
/// processes have ended.
pub struct MemoryGroup {
    folder: PathBuf,
    /// The file with the number of processes that the kernel killed.
    kills: &'static str,
}

impl MemoryGroup {
    /// Creates a group with this memory limit, bytes, below the group of the test.
    ///
    /// # Panics
    /// If the machine does not allow such a group. The test must run as root and needs a memory
    /// controller.
    #[must_use]
    pub fn with_limit(bytes: u64) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("jackfield-test-{}-{number}", std::process::id());
        let list = fs::read_to_string("/proc/self/cgroup")
            .expect("the list of control groups of this process");
        let version_1 = list.lines().find_map(|line| line.split_once(":memory:"));
        let (parent, limit, kills) = match version_1 {
            Some((_, path)) => {
                let parent = Path::new("/sys/fs/cgroup/memory").join(path.trim_start_matches('/'));
                (parent, "memory.limit_in_bytes", "memory.oom_control")
            }
            None => {
                let parent = PathBuf::from("/sys/fs/cgroup");
                // This fails if the controller is already enabled, or cannot be enabled. In the
                // second case, the write of the limit below fails.
                let _ = fs::write(parent.join("cgroup.subtree_control"), "+memory");
                (parent, "memory.max", "memory.events")
            }
        };
        let folder = parent.join(name);
        let made =
            fs::create_dir(&folder).and_then(|()| fs::write(folder.join(limit), bytes.to_string()));
        let shown = folder.display();
        made.unwrap_or_else(|error| panic!("{shown}: {error}; run this test as root"));
        Self { folder, kills }
    }

    /// Returns a command line that enters the group and then executes its arguments.
    #[must_use]
    pub fn enter(&self) -> [String; 4] {
        let processes = self.folder.join("cgroup.procs").display().to_string();
        let script = format!("echo $$ > {processes} && exec \"$@\"");
        ["sh".to_owned(), "-c".to_owned(), script, "sh".to_owned()]
    }

    /// Returns how many processes the kernel killed because of the memory limit.
    ///
    /// # Panics
    /// If the kernel does not report the number.
    #[must_use]
    pub fn kills(&self) -> u64 {
        let text =
            fs::read_to_string(self.folder.join(self.kills)).expect("a file of the control group");
        let line = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
        line.and_then(|count| count.trim().parse().ok()).unwrap_or_else(|| panic!("{text}"))
    }
}

impl Drop for MemoryGroup {
    fn drop(&mut self) {
        // This fails while a process is in the group, which happens only if the test fails.
        let _ = fs::remove_dir(&self.folder);
    }
}
