//! `/proc/PID/maps`: which files a process has mapped. Pure.

use super::Devices;

/// One line of a file that concerns us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mapped<'t> {
    pub(super) start: u64,
    pub(super) end: u64,
    pub(super) dev: u64,
    pub(super) ino: u64,
    /// As the kernel shows it: line feeds as `\012`, and ` (deleted)` behind a name that is gone.
    pub(super) path: &'t [u8],
}

/// The lines that are about files of these devices. A line is `START-END PERMISSIONS OFFSET MAJOR:MINOR INODE [PATH]`.
pub(super) fn mapped<'t>(maps: &'t [u8], devices: &Devices) -> impl Iterator<Item = Mapped<'t>> {
    let devices = devices.clone();
    maps.split(|byte| *byte == b'\n')
        .filter_map(line)
        .filter(move |line| devices.is_ours(line.dev))
}

fn line(line: &[u8]) -> Option<Mapped<'_>> {
    // Most lines are not about shared memory, and the path of a file begins with a slash.
    let (numbers, path) = line.split_at(line.iter().position(|byte| *byte == b'/')?);
    // `[anon_shmem:a/b]` is a name that a program gave to memory that is no file.
    numbers.ends_with(b" ").then_some(())?;
    let mut fields = std::str::from_utf8(numbers).ok()?.split_ascii_whitespace();
    let (start, end) = fields.next()?.split_once('-')?;
    let (major, minor) = fields.nth(2)?.split_once(':')?;
    let hexadecimal = |text: &str| u32::from_str_radix(text, 16).ok();
    Some(Mapped {
        start: u64::from_str_radix(start, 16).ok()?,
        end: u64::from_str_radix(end, 16).ok()?,
        dev: rustix::fs::makedev(hexadecimal(major)?, hexadecimal(minor)?),
        ino: fields.next()?.parse().ok()?,
        path,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAPS: &[u8] = b"55d0c8a00000-55d0c8a02000 r--p 00000000 08:01 4711                       /usr/bin/a b\n\
        7f2b00000000-7f2b00100000 rw-s 00001000 00:1c 42                         /dev/shm/shmeld.x (deleted)\n\
        7f2b00200000-7f2b00201000 rw-s 00000000 00:01 65                         /SYSV00001234 (deleted)\n\
        7f2b00300000-7f2b00301000 rw-p 00000000 00:00 0 \n\
        7ffc1c000000-7ffc1c021000 rw-p 00000000 00:00 0                          [stack]\n\
        7f2b00400000-7f2b00401000 rw-s 00000000 00:01 9                          [anon_shmem:a/memfd:x]\n\
        nonsense /\n\
        1-2 rw-s 0 1c 42 /x\n";

    fn devices() -> Devices {
        Devices {
            shared_memory: Some(rustix::fs::makedev(0, 0x1c)),
            internal: Some(rustix::fs::makedev(0, 1)),
            queues: Vec::new(),
        }
    }

    #[test]
    fn lines_of_shared_memory_are_found_by_their_device() {
        let found: Vec<_> = mapped(MAPS, &devices()).collect();
        let inodes: Vec<_> = found
            .iter()
            .map(|line| (line.ino, line.end - line.start))
            .collect();
        assert_eq!(inodes, [(42, 0x10_0000), (65, 0x1000)]);
        assert_eq!(found[0].path, b"/dev/shm/shmeld.x (deleted)");
        assert_eq!(found[1].path, b"/SYSV00001234 (deleted)");
    }

    #[test]
    fn without_devices_nothing_is_found() {
        assert_eq!(mapped(MAPS, &Devices::default()).count(), 0);
    }
}
