//! Finds out how much memory the machine has, and how much the control groups of the process allow.

use std::path::{Path, PathBuf};

/// The percentage of the allowed memory that runs may use. The rest is for the server itself, its
/// database, the compiler process and the system.
const RUNS_PERCENT: u64 = 60;
/// The assumed memory if neither the machine's memory nor a limit of a control group is known,
/// bytes.
const ASSUMED_BYTES: u64 = 2 << 30;

/// Returns how much memory all runs together may use if no limit is configured, bytes.
pub(crate) fn default_bytes_max() -> u64 {
    allowed_bytes().0 / 100 * RUNS_PERCENT
}

/// Returns [`default_bytes_max`], and a text that explains it.
pub(crate) fn describe_default() -> (u64, String) {
    let (bytes, source) = allowed_bytes();
    (default_bytes_max(), format!("{RUNS_PERCENT} % of {} MiB ({source})", bytes >> 20))
}

/// Returns the machine's memory or the limit of the control groups, whichever is lower, bytes, and
/// a text for people that names the source. If neither is known, returns [`ASSUMED_BYTES`].
fn allowed_bytes() -> (u64, &'static str) {
    let group = ControlGroups::of_this_process().limit();
    let group = group.map(|bytes| (bytes, "the limit of the control group"));
    let total = read_meminfo("MemTotal:").map(|bytes| (bytes, "the machine's memory"));
    let lowest = group.into_iter().chain(total).min_by_key(|(bytes, _)| *bytes);
    let assumed = "assumed, because neither the machine's memory nor a limit is known";
    lowest.unwrap_or((ASSUMED_BYTES, assumed))
}

/// The memory that is free now, bytes: the lower value of the machine and of the control groups.
pub(crate) fn free_bytes() -> Option<u64> {
    ControlGroups::of_this_process().free().into_iter().chain(read_meminfo("MemAvailable:")).min()
}

/// Returns the lowest memory limit of the process's control groups.
pub(crate) fn group_limit_bytes() -> Option<u64> {
    ControlGroups::of_this_process().limit()
}

/// The control groups that limit the memory of the process (version 1 or 2), with their parent
/// groups.
struct ControlGroups(Vec<ControlGroup>);

struct ControlGroup {
    folder: PathBuf,
    files: &'static GroupFiles,
}

/// The names of the files of a control group, which depend on the version of control groups.
struct GroupFiles {
    limits: &'static [&'static str],
    used: &'static str,
    /// The name of the line in `memory.stat` with the size of the inactive file pages of the group
    /// and its child groups. The kernel drops these pages before it kills a process.
    inactive_file_line: &'static str,
}

const CGROUP_V1: GroupFiles = GroupFiles {
    limits: &["memory.limit_in_bytes"],
    used: "memory.usage_in_bytes",
    inactive_file_line: "total_inactive_file",
};
/// `memory.high` counts as a limit, because above it the kernel slows processes down until they
/// hardly run.
const CGROUP_V2: GroupFiles = GroupFiles {
    limits: &["memory.max", "memory.high"],
    used: "memory.current",
    inactive_file_line: "inactive_file",
};

impl ControlGroups {
    fn of_this_process() -> Self {
        let list = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        Self::from_list(&list, Path::new("/sys/fs/cgroup"))
    }

    /// `list` is the content of `/proc/self/cgroup`. Parent groups are included, because their
    /// limits apply too, and because in a container only the topmost folder may be visible.
    fn from_list(list: &str, root: &Path) -> Self {
        let groups = list.lines().filter_map(|line| {
            let mut fields = line.splitn(3, ':').skip(1);
            let (controllers, path) = (fields.next()?, fields.next()?);
            let (base, files) = match controllers {
                "" => (root.to_owned(), &CGROUP_V2),
                _ if controllers.split(',').any(|name| name == "memory") => {
                    (root.join("memory"), &CGROUP_V1)
                }
                _ => return None,
            };
            let group = base.join(path.trim_start_matches('/'));
            let folders = group.ancestors().take_while(|folder| folder.starts_with(&base));
            let group_at = |folder: &Path| ControlGroup { folder: folder.to_owned(), files };
            Some(folders.map(group_at).collect::<Vec<_>>())
        });
        Self(groups.flatten().collect())
    }

    fn limit(&self) -> Option<u64> {
        self.0.iter().filter_map(ControlGroup::limit).min()
    }

    /// Returns the free memory of the group that has the least.
    fn free(&self) -> Option<u64> {
        self.0.iter().filter_map(ControlGroup::free).min()
    }
}

impl ControlGroup {
    fn limit(&self) -> Option<u64> {
        let limits = self.files.limits.iter();
        limits.filter_map(|file| read_number(&self.folder.join(file))).min()
    }

    /// Returns how much memory the group may still use, if it has a limit and its use is known.
    fn free(&self) -> Option<u64> {
        let used = read_number(&self.folder.join(self.files.used))?;
        let statistics = std::fs::read_to_string(self.folder.join("memory.stat"));
        let statistics = statistics.unwrap_or_default();
        let mut lines = statistics.lines().filter_map(|line| line.split_once(' '));
        let reclaimable = lines.find(|(name, _)| *name == self.files.inactive_file_line);
        let reclaimable = reclaimable.and_then(|(_, bytes)| bytes.trim().parse().ok());
        let used = used.saturating_sub(reclaimable.unwrap_or(0));
        Some(self.limit()?.saturating_sub(used))
    }
}

/// A file with the text `max` contains no number.
fn read_number(file: &Path) -> Option<u64> {
    std::fs::read_to_string(file).ok()?.trim().parse().ok()
}

/// In bytes.
fn read_meminfo(name: &str) -> Option<u64> {
    kib_after(name, &std::fs::read_to_string("/proc/meminfo").ok()?)
}

/// Returns the value after `name` in the text of `/proc/meminfo`, in bytes.
fn kib_after(name: &str, meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(root: &Path, file: &str, text: &str) {
        let file = root.join(file);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, text).unwrap();
    }

    #[test]
    fn the_lowest_limit_of_the_group_and_its_parent_groups_counts() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        write(root, "a/b/memory.max", "max\n");
        write(root, "a/memory.max", "3000\n");
        write(root, "memory.max", "4000\n");
        let group_bytes = |list: &str, root: &Path| ControlGroups::from_list(list, root).limit();
        assert_eq!(group_bytes("0::/a/b\n", root), Some(3_000));
        assert_eq!(group_bytes("0::/\n", root), Some(4_000));
        assert_eq!(group_bytes("0::/not/visible/here\n", root), Some(4_000));
        write(root, "memory/memory.limit_in_bytes", "2000\n");
        write(root, "memory/c/memory.limit_in_bytes", "9223372036854771712\n");
        let version_1 = "5:cpu,cpuacct:/c\n4:memory:/c\n1:name=systemd:/c\n";
        assert_eq!(group_bytes(version_1, root), Some(2_000));
        assert_eq!(group_bytes("1:name=systemd:/c\n", root), None);
        assert_eq!(group_bytes("nonsense", root), None);
    }

    #[test]
    fn file_pages_that_can_be_dropped_count_as_free() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        let free = |list: &str| ControlGroups::from_list(list, root).free();
        write(root, "pod/memory.max", "536870912\n");
        write(root, "pod/memory.current", "436870912\n");
        write(root, "pod/memory.stat", "anon 90000000\nfile 330000000\ninactive_file 300000000\n");
        write(root, "pod/container/memory.max", "max\n");
        write(root, "pod/container/memory.current", "436870912\n");
        assert_eq!(free("0::/pod/container\n"), Some(400_000_000));
        write(root, "pod/container/memory.high", "236870912\n");
        write(root, "pod/container/memory.stat", "inactive_file 300000000\n");
        assert_eq!(free("0::/pod/container\n"), Some(100_000_000));
        write(root, "memory/c/memory.limit_in_bytes", "300000000\n");
        write(root, "memory/c/memory.usage_in_bytes", "250000000\n");
        write(root, "memory/c/memory.stat", "inactive_file 1\ntotal_inactive_file 50000000\n");
        assert_eq!(free("4:memory:/c\n0::/\n"), Some(100_000_000));
        write(root, "memory/c/memory.usage_in_bytes", "400000000\n");
        assert_eq!(free("4:memory:/c\n"), Some(0));
        assert_eq!(free("0::/\n"), None);
    }

    #[test]
    fn the_memory_of_the_machine_is_read_in_kib() {
        let total = |text| kib_after("MemTotal:", text);
        assert_eq!(total("MemTotal:       16 kB\nMemFree: 1 kB\n"), Some(16_384));
        assert_eq!(total("MemTotal: much"), None);
        assert!(default_bytes_max() > 1 << 20);
        assert!(free_bytes().is_some_and(|bytes| bytes > 1 << 20));
    }
}
