//! The file system of the rows "on disk", which this machine's description needs.

use std::path::Path;

use nix::sys::statfs::{self, FsType, statfs};

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
    fn file_systems_have_names() {
        assert_eq!(file_system(Path::new("/dev/shm")), "tmpfs");
        assert!(file_system(Path::new("/dev/null/nothing")).starts_with("unknown"));
        assert_eq!(name_of(FsType(0x1234)), "type 0x1234");
    }
}
