//! `/proc/sysvipc`: the System V objects of this IPC namespace. The kernel shows them to everybody, whatever their modes are.
//!
//! A table begins with a line of headings; columns are found by them, because kernels have added some.

use crate::fs::Time;
use crate::sysv::shared_memory::MARKED;
use crate::sysv::{Key, Permissions};
use crate::{Error, Result};

/// A System V segment, as a line of `/proc/sysvipc/shm` has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SysvSegmentRow {
    /// Its number (`shmid`).
    pub id: i32,
    /// Who made it, whom it belongs to, whom it admits.
    pub permissions: Permissions,
    /// Whether it goes with its last attachment (`SHM_DEST`).
    pub is_marked: bool,
    /// Whether it is kept in memory (`SHM_LOCKED`).
    pub is_locked: bool,
    /// Size as it was asked for.
    pub bytes: u64,
    /// Bytes of it that are in memory.
    pub resident_bytes: u64,
    /// Bytes of it that are swapped out.
    pub swapped_bytes: u64,
    /// How many attachments there are.
    pub attached: u64,
    /// Process that made it; 0 if it is in a namespace that we do not see.
    pub creator_pid: u32,
    /// Process that attached or detached last; 0 if none did, or as above.
    pub last_pid: u32,
    /// When somebody attached it last.
    pub attach_time: Option<Time>,
    /// When somebody detached it last.
    pub detach_time: Option<Time>,
    /// When it was made, or its owner or mode set.
    pub change_time: Option<Time>,
}

/// A System V set of semaphores, as a line of `/proc/sysvipc/sem` has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SysvSetRow {
    /// Its number (`semid`).
    pub id: i32,
    /// Who made it, whom it belongs to, whom it admits.
    pub permissions: Permissions,
    /// How many semaphores it has.
    pub semaphores: u64,
    /// When it was operated on last.
    pub operate_time: Option<Time>,
    /// When it was made, or a value, its owner or its mode set.
    pub change_time: Option<Time>,
}

/// A System V message queue, as a line of `/proc/sysvipc/msg` has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SysvQueueRow {
    /// Its number (`msqid`).
    pub id: i32,
    /// Who made it, whom it belongs to, whom it admits.
    pub permissions: Permissions,
    /// How many bytes all waiting messages together have.
    pub bytes: u64,
    /// How many messages wait.
    pub messages: u64,
    /// Process that sent last; 0 if none did, or it is in a namespace that we do not see.
    pub last_sender_pid: u32,
    /// Process that received last; 0 as above.
    pub last_receiver_pid: u32,
    /// When somebody sent last.
    pub send_time: Option<Time>,
    /// When somebody received last.
    pub receive_time: Option<Time>,
    /// When it was made, or its owner, mode or size set.
    pub change_time: Option<Time>,
}

/// `/proc/sysvipc/shm`: all segments of this IPC namespace, in the order of the kernel's table.
///
/// # Errors
/// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) if the kernel has no System V objects, or /proc is missing.
///
/// See [sysvipc(7)](https://man7.org/linux/man-pages/man7/sysvipc.7.html).
pub fn sysv_segments() -> Result<Vec<SysvSegmentRow>> {
    Ok(rows(&table("shm")?, segment))
}

/// `/proc/sysvipc/sem`: all sets of semaphores of this IPC namespace.
///
/// # Errors
/// As for [`sysv_segments`].
pub fn sysv_sets() -> Result<Vec<SysvSetRow>> {
    Ok(rows(&table("sem")?, set))
}

/// `/proc/sysvipc/msg`: all System V message queues of this IPC namespace.
///
/// # Errors
/// As for [`sysv_segments`].
pub fn sysv_queues() -> Result<Vec<SysvQueueRow>> {
    Ok(rows(&table("msg")?, queue))
}

fn table(kind: &str) -> Result<String> {
    let path = format!("/proc/sysvipc/{kind}");
    std::fs::read_to_string(&path).map_err(|error| Error::of_io("open", path, &error))
}

/// One line under the headings.
struct Row<'t> {
    headings: &'t [&'t str],
    fields: Vec<&'t str>,
}

impl Row<'_> {
    fn text(&self, heading: &str) -> Option<&str> {
        let column = self.headings.iter().position(|name| *name == heading)?;
        self.fields.get(column).copied()
    }

    fn number<T: std::str::FromStr>(&self, heading: &str) -> Option<T> {
        self.text(heading)?.parse().ok()
    }

    fn count(&self, heading: &str) -> u64 {
        self.number(heading).unwrap_or_default()
    }

    /// A process in a namespace that we do not see has number 0, one in a parent of ours -1 on old kernels.
    fn pid(&self, heading: &str) -> u32 {
        self.number(heading).unwrap_or_default()
    }

    /// Zero stands for "never".
    fn time(&self, heading: &str) -> Option<Time> {
        let seconds = self.number(heading).filter(|seconds| *seconds != 0)?;
        Some(Time {
            seconds,
            nanoseconds: 0,
        })
    }

    /// All bits of the mode: the kernel's own flags are among them.
    fn mode(&self) -> Option<u32> {
        u32::from_str_radix(self.text("perms")?, 8).ok()
    }

    fn permissions(&self) -> Option<Permissions> {
        Some(Permissions {
            key: Key::new(self.number::<i32>("key")?.cast_unsigned()),
            uid: self.number("uid")?,
            gid: self.number("gid")?,
            creator_uid: self.number("cuid")?,
            creator_gid: self.number("cgid")?,
            mode: self.mode()? & 0o777,
        })
    }
}

/// A line that cannot be understood is passed over: it would be another kernel's, and the others are worth having.
fn rows<T>(table: &str, parse: impl Fn(&Row<'_>) -> Option<T>) -> Vec<T> {
    let mut lines = table.lines();
    let headings: Vec<&str> = lines.next().unwrap_or_default().split_whitespace().collect();
    let row = |line: &'_ str| {
        parse(&Row {
            headings: &headings,
            fields: line.split_whitespace().collect(),
        })
    };
    lines.filter_map(row).collect()
}

const LOCKED: u32 = 0o2000;

fn segment(row: &Row<'_>) -> Option<SysvSegmentRow> {
    let mode = row.mode()?;
    Some(SysvSegmentRow {
        id: row.number("shmid")?,
        permissions: row.permissions()?,
        is_marked: mode & MARKED != 0,
        is_locked: mode & LOCKED != 0,
        bytes: row.number("size")?,
        resident_bytes: row.count("rss"),
        swapped_bytes: row.count("swap"),
        attached: row.number("nattch")?,
        creator_pid: row.pid("cpid"),
        last_pid: row.pid("lpid"),
        attach_time: row.time("atime"),
        detach_time: row.time("dtime"),
        change_time: row.time("ctime"),
    })
}

fn set(row: &Row<'_>) -> Option<SysvSetRow> {
    Some(SysvSetRow {
        id: row.number("semid")?,
        permissions: row.permissions()?,
        semaphores: row.number("nsems")?,
        operate_time: row.time("otime"),
        change_time: row.time("ctime"),
    })
}

fn queue(row: &Row<'_>) -> Option<SysvQueueRow> {
    Some(SysvQueueRow {
        id: row.number("msqid")?,
        permissions: row.permissions()?,
        bytes: row.number("cbytes")?,
        messages: row.number("qnum")?,
        last_sender_pid: row.pid("lspid"),
        last_receiver_pid: row.pid("lrpid"),
        send_time: row.time("stime"),
        receive_time: row.time("rtime"),
        change_time: row.time("ctime"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The kernel's lines are padded; the second one is of a segment that is as large as can be.
    const SEGMENTS: &str = "\
        key shmid perms size cpid lpid nattch uid gid cuid cgid atime dtime ctime rss swap\n\
        \x20     4660         65  3660  5678   310     0      2  1000  1001     0     7  0 1795300000 1795301877  4096  8192\n\
        -559038737      32770   600   18446744073692774399     1    -1      0     0     0     0     0 1795300000  0  0  0  0\n";

    #[test]
    fn a_line_of_segments_is_understood_by_its_headings() {
        let found = rows(SEGMENTS, segment);
        let first = &found[0];
        assert_eq!((first.id, first.permissions.key), (65, Key::new(0x1234)));
        assert_eq!(
            (first.permissions.mode, first.is_marked, first.is_locked),
            (0o660, true, true)
        );
        assert_eq!((first.permissions.uid, first.permissions.creator_gid), (1000, 7));
        assert_eq!(
            (first.bytes, first.resident_bytes, first.swapped_bytes),
            (5678, 4096, 8192)
        );
        assert_eq!((first.attached, first.creator_pid, first.last_pid), (2, 310, 0));
        assert_eq!(first.attach_time, None);
        assert_eq!(first.change_time.map(|time| time.seconds), Some(1_795_301_877));
        let second = &found[1];
        assert_eq!(
            (second.permissions.key, second.last_pid),
            (Key::new(0xdead_beef), 0)
        );
        assert_eq!(
            (second.bytes, second.is_marked),
            (18_446_744_073_692_774_399, false)
        );
    }

    #[test]
    fn other_columns_and_broken_lines_disturb_nothing() {
        let table = "semid new perms key nsems uid gid cuid cgid otime ctime\n7 x 600 0 5 1 2 3 4 9 8\nbroken\n\n8 x 600 0\n";
        let found = rows(table, set);
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].id, found[0].semaphores), (7, 5));
        assert!(rows("", queue).is_empty());
    }

    #[test]
    fn the_tables_of_this_machine_can_be_read() {
        sysv_segments().expect("shm");
        sysv_sets().expect("sem");
        sysv_queues().expect("msg");
    }
}
