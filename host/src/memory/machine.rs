//! How much memory the machine and the process's control group allow.

use std::path::{Path, PathBuf};

/// The share of that memory which runs may use, in percent: the rest is for the server itself, its
/// database, the compiler process and the system.
const RUNS_PERCENT: u64 = 60;
/// What is assumed where neither is known.
const UNKNOWN_BYTES: u64 = 2 << 30;

/// What the runs of the whole host may use where the configuration does not say.
pub(crate) fn default_bytes_max() -> u64 {
    allowed().0 / 100 * RUNS_PERCENT
}

/// [`default_bytes_max`], and what it was derived from.
pub(crate) fn describe_default() -> (u64, String) {
    let (bytes, source) = allowed();
    (default_bytes_max(), format!("{RUNS_PERCENT} % of {} MiB ({source})", bytes >> 20))
}

/// The memory that the machine and the control groups allow, and which of them does.
fn allowed() -> (u64, String) {
    let group = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let group = group_bytes(&group, Path::new("/sys/fs/cgroup"));
    let group = group.map(|(bytes, file)| (bytes, format!("the limit in {}", file.display())));
    let total = std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| total_bytes(&text));
    let total = total.map(|bytes| (bytes, "the machine's memory".to_owned()));
    let known = group.into_iter().chain(total).min_by_key(|(bytes, _)| *bytes);
    known
        .unwrap_or_else(|| (UNKNOWN_BYTES, "a guess: neither limit nor memory is known".to_owned()))
}

/// The lowest limit of the process's control groups and of those above them, version 1 and 2, and its
/// file. `list` is `/proc/self/cgroup`. In a container, only the topmost folder may be visible.
fn group_bytes(list: &str, root: &Path) -> Option<(u64, PathBuf)> {
    let limits = list.lines().filter_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        let (controllers, path) = (parts.next()?, parts.next()?);
        let (base, file) = match controllers {
            "" => (root.to_owned(), "memory.max"),
            _ if controllers.split(',').any(|name| name == "memory") => {
                (root.join("memory"), "memory.limit_in_bytes")
            }
            _ => return None,
        };
        let group = base.join(path.trim_start_matches('/'));
        let groups = group.ancestors().take_while(|folder| folder.starts_with(&base));
        let files = groups.map(|folder| folder.join(file));
        files.filter_map(|file| Some((read_number(&file)?, file))).min()
    });
    limits.min()
}

/// The number in a file; `None` for `max`.
fn read_number(file: &Path) -> Option<u64> {
    std::fs::read_to_string(file).ok()?.trim().parse().ok()
}

fn total_bytes(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
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
    fn the_lowest_limit_of_the_groups_above_the_process_counts() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        let group_bytes = |list: &str, root: &Path| {
            group_bytes(list, root).map(|(bytes, file)| {
                assert_eq!(read_number(&file), Some(bytes));
                bytes
            })
        };
        write(root, "a/b/memory.max", "max\n");
        write(root, "a/memory.max", "3000\n");
        write(root, "memory.max", "4000\n");
        assert_eq!(group_bytes("0::/a/b\n", root), Some(3_000));
        assert_eq!(group_bytes("0::/\n", root), Some(4_000));
        assert_eq!(group_bytes("0::/not/visible/here\n", root), Some(4_000));
        write(root, "memory/memory.limit_in_bytes", "2000\n");
        write(root, "memory/c/memory.limit_in_bytes", "9223372036854771712\n");
        let old = "5:cpu,cpuacct:/c\n4:memory:/c\n1:name=systemd:/c\n";
        assert_eq!(group_bytes(old, root), Some(2_000));
        assert_eq!(group_bytes("1:name=systemd:/c\n", root), None);
        assert_eq!(group_bytes("nonsense", root), None);
    }

    #[test]
    fn the_total_is_read_in_kib() {
        assert_eq!(total_bytes("MemTotal:       16 kB\nMemFree: 1 kB\n"), Some(16_384));
        assert_eq!(total_bytes("MemTotal: much"), None);
        assert!(default_bytes_max() > 1 << 20);
    }
}
