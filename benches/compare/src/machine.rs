//! What this machine is: figures without it mean nothing.

use std::fs;
use std::path::Path;

use nix::sys::statfs::{self, FsType, statfs};

/// See the module.
#[derive(Debug, Clone)]
pub struct Machine {
    pub cpus: usize,
    pub model: String,
    pub kernel: String,
    pub memory_bytes: u64,
    /// The type of the file system of the rows "on disk".
    pub disk: String,
}

/// Looks around. What cannot be found out is called unknown.
pub fn describe(disk: &Path) -> Machine {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kib: u64 = value_of(&meminfo, "MemTotal")
        .and_then(|text| text.trim_end_matches(" kB").parse().ok())
        .unwrap_or_default();
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_else(|_| "unknown".to_owned());
    Machine {
        cpus: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        model: value_of(&cpuinfo, "model name").unwrap_or("unknown").to_owned(),
        // The version, without the name that its builder gave it.
        kernel: release.trim().split('-').next().unwrap_or_default().to_owned(),
        memory_bytes: kib * 1024,
        disk: file_system(disk),
    }
}

/// The value behind `key` and a colon.
fn value_of<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    let line = text.lines().find(|line| line.starts_with(key))?;
    line.split_once(':').map(|(_, value)| value.trim())
}

/// The type of the file system that `path` is on, as `statfs` tells it.
pub fn file_system(path: &Path) -> String {
    statfs(path).map_or_else(
        |error| format!("unknown ({error})"),
        |found| name_of(found.filesystem_type()),
    )
}

fn name_of(found: FsType) -> String {
    let names = [
        (statfs::EXT4_SUPER_MAGIC, "ext4"),
        (statfs::TMPFS_MAGIC, "tmpfs"),
        (statfs::BTRFS_SUPER_MAGIC, "btrfs"),
        (statfs::XFS_SUPER_MAGIC, "xfs"),
        (statfs::OVERLAYFS_SUPER_MAGIC, "overlayfs"),
        (statfs::NFS_SUPER_MAGIC, "nfs"),
    ];
    let known = names.iter().find(|(magic, _)| *magic == found);
    known.map_or_else(|| format!("type {:#x}", found.0), |(_, name)| (*name).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_stand_behind_a_colon() {
        let text = "processor\t: 0\nmodel name\t: A CPU @ 1: x\nMemTotal:       24684084 kB\n";
        assert_eq!(value_of(text, "model name"), Some("A CPU @ 1: x"));
        assert_eq!(value_of(text, "MemTotal"), Some("24684084 kB"));
        assert_eq!(value_of(text, "nothing"), None);
    }

    #[test]
    fn file_systems_have_names() {
        assert_eq!(file_system(Path::new("/dev/shm")), "tmpfs");
        assert!(file_system(Path::new("/nonexistent")).starts_with("unknown"));
        assert_eq!(name_of(FsType(0x1234)), "type 0x1234");
    }
}
