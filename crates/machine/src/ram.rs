//! The memory of this machine or of the container that this program runs in, whichever has less
//! left.

use std::fs;
use std::path::{Path, PathBuf};

use config::Bytes;

/// Total memory, and how much of it programs can still use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ram {
    /// Total memory.
    pub total: Bytes,
    /// Memory that programs can use without swapping; the kernel drops file caches if needed.
    pub available: Bytes,
}

/// Reads both figures; `None` if the system does not report them, as on systems other than Linux.
#[doc(alias = "MemAvailable")]
#[doc(alias = "virtual_memory")]
pub fn read() -> Option<Ram> {
    let machine = of_machine(&fs::read_to_string("/proc/meminfo").ok()?)?;
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let container = of_container(Path::new("/sys/fs/cgroup"), &groups);
    Some(match container {
        // Ignore a cgroup limit above physical memory.
        Some(container) if container.total < machine.total => Ram {
            available: container.available.min(machine.available),
            ..container
        },
        _ => machine,
    })
}

/// Parses `/proc/meminfo`, which counts in KiB.
fn of_machine(meminfo: &str) -> Option<Ram> {
    let line = |name: &str| {
        let mut lines = meminfo.lines();
        let kib = lines.find_map(|line| line.strip_prefix(name))?;
        let kib: u64 = kib.trim().strip_suffix("kB")?.trim().parse().ok()?;
        kib.checked_mul(Bytes::KIB).map(Bytes)
    };
    Some(Ram {
        total: line("MemTotal:")?,
        available: line("MemAvailable:")?,
    })
}

/// File names of a control group, which depend on the version of the interface.
struct Names {
    limit: &'static str,
    usage: &'static str,
    /// Lines of `memory.stat` for cached files: files that were read once and files in repeated
    /// use.
    reclaimable: [&'static str; 2],
}

const V2: Names = Names {
    limit: "memory.max",
    usage: "memory.current",
    reclaimable: ["inactive_file ", "active_file "],
};

const V1: Names = Names {
    limit: "memory.limit_in_bytes",
    usage: "memory.usage_in_bytes",
    reclaimable: ["total_inactive_file ", "total_active_file "],
};

/// The tightest limit on this process, from its group or from an enclosing one. `root` is where the
/// groups are mounted; `groups` is the text of `/proc/self/cgroup`.
fn of_container(root: &Path, groups: &str) -> Option<Ram> {
    let of_line = |line: &str| {
        let mut fields = line.splitn(3, ':').skip(1);
        let (controllers, path) = (fields.next()?, fields.next()?);
        let (mount, names) = match controllers {
            "" => (root.to_owned(), V2),
            list if list.split(',').any(|name| name == "memory") => (root.join("memory"), V1),
            _ => return None,
        };
        around(&mount, path)
            .into_iter()
            .filter_map(|group| of_group(&group, &names))
            .min_by_key(|ram| ram.available)
    };
    groups
        .lines()
        .filter_map(of_line)
        .min_by_key(|ram| ram.available)
}

/// The folder of a group and the folders of its enclosing groups. In a container the path may lie
/// outside the mount; then only the mount itself exists.
fn around(mount: &Path, path: &str) -> Vec<PathBuf> {
    let path = Path::new(path.trim_start_matches('/'));
    path.ancestors().map(|group| mount.join(group)).collect()
}

/// The limit of a group and what is left of it; `None` if the group has no limit.
fn of_group(group: &Path, names: &Names) -> Option<Ram> {
    let read = |name: &str| fs::read_to_string(group.join(name)).ok();
    let number = |name: &str| read(name)?.trim().parse::<u64>().ok();
    let (limit, usage) = (number(names.limit)?, number(names.usage)?);
    let stat = read("memory.stat").unwrap_or_default();
    let of_stat = |name: &str| {
        let mut lines = stat.lines();
        lines.find_map(|line| line.strip_prefix(name)?.trim().parse::<u64>().ok())
    };
    let reclaimable = names.reclaimable.into_iter().filter_map(of_stat);
    let in_use = usage.saturating_sub(reclaimable.fold(0, u64::saturating_add));
    Some(Ram {
        total: Bytes(limit),
        available: Bytes(limit.saturating_sub(in_use)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_linux_says_of_the_machine() {
        let text = "MemTotal:       25165824 kB\nMemFree: 1 kB\nMemAvailable:   20971520 kB\n";
        let ram = of_machine(text).unwrap();
        assert_eq!(ram.total, Bytes(24 * Bytes::GIB));
        assert_eq!(ram.available, Bytes(20 * Bytes::GIB));
        assert_eq!(of_machine("MemTotal: 1 kB\nMemAvailable: lots"), None);
        assert_eq!(of_machine(""), None);
    }

    /// A tree of groups, each with its files.
    fn groups(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        root
    }

    #[test]
    fn the_tightest_group_counts_and_cached_files_do_not() {
        let root = groups(&[
            ("job/memory.max", "1000\n"),
            ("job/memory.current", "900\n"),
            (
                "job/memory.stat",
                "anon 500\ninactive_file 200\nactive_file 100\n",
            ),
            ("job/step/memory.max", "max\n"),
            ("job/step/memory.current", "100\n"),
        ]);
        let ram = of_container(root.path(), "0::/job/step\n").unwrap();
        assert_eq!((ram.total, ram.available), (Bytes(1000), Bytes(400)));
        assert_eq!(of_container(root.path(), "0::/other\n"), None);
        assert_eq!(of_container(root.path(), ""), None);
    }

    #[test]
    fn the_older_interface_is_read_too() {
        let root = groups(&[
            ("memory/memory.limit_in_bytes", "1000"),
            ("memory/memory.usage_in_bytes", "1200"),
            (
                "memory/memory.stat",
                "inactive_file 1\ntotal_inactive_file 250\n",
            ),
        ]);
        let text = "9:name=systemd:/\n4:cpu,memory:/docker/abc\n0::/\n";
        let ram = of_container(root.path(), text).unwrap();
        assert_eq!((ram.total, ram.available), (Bytes(1000), Bytes(50)));
    }
}
