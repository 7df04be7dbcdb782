//! Which processes have a file mapped, as far as /proc shows it.
//!
//! ```
//! use shmeld_os::{mappers, mapping::Mapping, posix::shm::SharedMemory};
//!
//! let memory = SharedMemory::create_unnamed()?;
//! memory.reserve(4096)?;
//! assert_eq!(mappers::processes_mapping(&memory.stat()?)?, []);
//!
//! let mapping = Mapping::new(&memory, 4096, "the example")?;
//! assert_eq!(mappers::processes_mapping(&memory.stat()?)?, [std::process::id()]);
//! # drop(mapping);
//! # Ok::<(), shmeld_os::Error>(())
//! ```

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;

use crate::fs::{Stat, entries, open_directory};
use crate::{Result, process};

/// Reads `/proc/*/maps`: the processes that have this file mapped, ourselves included.
///
/// What cannot be seen is left out: processes of other users (unless we are root), of other PID namespaces, and those that end meanwhile. So
/// an empty answer proves nothing to somebody without rights; one that is not empty is true at the moment of reading.
///
/// # Errors
/// /proc is not there.
///
/// See [proc_pid_maps(5)](https://man7.org/linux/man-pages/man5/proc_pid_maps.5.html).
pub fn processes_mapping(file: &Stat) -> Result<Vec<u32>> {
    let mut found = Vec::new();
    for entry in entries(open_directory("/proc".as_ref())?)? {
        let Ok(entry) = entry else { continue };
        let pid = std::str::from_utf8(&entry.name)
            .ok()
            .and_then(|name| name.parse().ok());
        let Some(pid) = pid else { continue };
        if has_mapped(pid, file) {
            found.push(pid);
        }
    }
    Ok(found)
}

/// Whether this process has it mapped; see [`processes_mapping`].
fn has_mapped(pid: u32, file: &Stat) -> bool {
    let mut path = PathBuf::from("/proc");
    path.push(if pid == process::pid() {
        "self".to_owned()
    } else {
        pid.to_string()
    });
    path.push("maps");
    let Ok(maps) = File::open(path) else {
        return false;
    };
    let mut lines = BufReader::new(maps);
    let mut line = Vec::new();
    while matches!(lines.read_until(b'\n', &mut line), Ok(1..)) {
        if identity(&line) == Some((file.dev, file.ino)) {
            return true;
        }
        line.clear();
    }
    false
}

/// Device and inode of a line: `7f00-7f01 rw-s 00000000 00:1a 42 /dev/shm/x`.
fn identity(line: &[u8]) -> Option<(u64, u64)> {
    // The path at the end may be any bytes.
    let mut fields = line
        .split(|byte| *byte == b' ')
        .map(|field| std::str::from_utf8(field).ok());
    let (major, minor) = fields.nth(3)??.split_once(':')?;
    let inode = fields.next()??.trim_end().parse().ok()?;
    let (major, minor) = (
        u32::from_str_radix(major, 16).ok()?,
        u32::from_str_radix(minor, 16).ok()?,
    );
    Some((rustix::fs::makedev(major, minor), inode))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mapping::Mapping;
    use crate::posix::shm::SharedMemory;

    #[test]
    fn device_and_inode_are_found_whatever_the_path_is() {
        let device = rustix::fs::makedev(0, 0x1a);
        for line in [
            &b"7f00-7f01 rw-s 00000000 00:1a 42                         /dev/shm/x y\n"[..],
            b"7f00-7f01 rw-s 00000000 00:1a 42 /dev/shm/\xff (deleted)\n",
            b"7f00-7f01 rw-s 00000000 00:1a 42\n",
        ] {
            assert_eq!(identity(line), Some((device, 42)));
        }
        for line in [
            &b""[..],
            b"\n",
            b"7f00-7f01 rw-s 0 001a 42",
            b"7f00-7f01 rw-s 0 00:1a x",
        ] {
            assert_eq!(identity(line), None);
        }
    }

    #[test]
    fn this_process_is_found_while_it_has_the_file_mapped() {
        let memory = SharedMemory::create_unnamed().expect("tmpfs");
        memory.reserve(4096).expect("space");
        let stat = memory.stat().expect("stat");
        assert_eq!(processes_mapping(&stat), Ok(vec![]));
        let mapping = Mapping::new(&memory, 4096, "test").expect("mapped");
        assert_eq!(processes_mapping(&stat), Ok(vec![process::pid()]));
        drop(mapping);
        assert_eq!(processes_mapping(&stat), Ok(vec![]));
    }
}
