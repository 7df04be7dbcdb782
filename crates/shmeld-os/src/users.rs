//! Numbers of users and groups: which of them mean nobody in particular, and which one a group's name means.
//!
//! ```
//! use shmeld_os::{process, users};
//!
//! assert_eq!(users::group_number("4711")?, 4711);
//! assert_eq!(users::group_number("root")?, 0);
//! let uid = process::effective_uid();
//! assert_eq!(users::is_own_uid(uid), users::unmapped_uid() != Some(uid));
//! # Ok::<(), shmeld_os::Error>(())
//! ```

use crate::{Errno, Error, Result, process};

/// The number of root.
pub const ROOT: u32 = 0;

/// Where the kernel tells which numbers a namespace knows, and which one stands for all others.
struct Numbers {
    map: &'static str,
    overflow: &'static str,
}

const UIDS_HERE: Numbers = Numbers {
    map: "/proc/self/uid_map",
    overflow: "/proc/sys/kernel/overflowuid",
};
const GIDS_HERE: Numbers = Numbers {
    map: "/proc/self/gid_map",
    overflow: "/proc/sys/kernel/overflowgid",
};
const GROUPS: &str = "/etc/group";

/// What the kernel shows for users and groups that a namespace does not know, unless it was told otherwise.
const OVERFLOW_DEFAULT: u32 = 65534;
/// How many uids there are, and gids: all numbers but the one that means "none" in C.
const IDS: u64 = u32::MAX as u64;

/// The uid that means no user in particular here: in a user namespace that does not know all users it stands for every one of the others.
/// `None` where all users are known, as outside of containers.
///
/// If the kernel does not say, the answer is the usual number: better one user too few than all too many.
///
/// See [user_namespaces(7)](https://man7.org/linux/man-pages/man7/user_namespaces.7.html).
#[doc(alias = "overflowuid")]
pub fn unmapped_uid() -> Option<u32> {
    unmapped(&UIDS_HERE)
}

/// Whether `uid`, as the kernel shows it of an object, is certainly our own user: its number is ours, and stands for nobody else. Where
/// a namespace does not know our own user, its number is that of all the others, and nothing is certainly ours.
#[must_use]
pub fn is_own_uid(uid: u32) -> bool {
    is_own(uid, process::effective_uid(), unmapped_uid())
}

fn is_own(uid: u32, own: u32, unmapped: Option<u32>) -> bool {
    uid == own && unmapped != Some(uid)
}

/// The gid that means no group in particular here: the same as [`unmapped_uid`] among groups.
///
/// See [user_namespaces(7)](https://man7.org/linux/man-pages/man7/user_namespaces.7.html).
#[doc(alias = "overflowgid")]
pub fn unmapped_gid() -> Option<u32> {
    unmapped(&GIDS_HERE)
}

fn unmapped(numbers: &Numbers) -> Option<u32> {
    let map = match std::fs::read_to_string(numbers.map) {
        Ok(map) => map,
        // With /proc and without this file: a kernel without user namespaces.
        Err(_)
            if std::fs::exists(numbers.overflow).unwrap_or(false)
                && !std::fs::exists(numbers.map).unwrap_or(true) =>
        {
            return None;
        }
        Err(_) => String::new(),
    };
    if knows_all(&map) {
        return None;
    }
    let overflow = std::fs::read_to_string(numbers.overflow).unwrap_or_default();
    Some(overflow.trim().parse().unwrap_or(OVERFLOW_DEFAULT))
}

/// Whether the ranges of a `uid_map` or `gid_map`, which never overlap, cover all numbers. A line is: first one inside, first one outside,
/// how many.
fn knows_all(map: &str) -> bool {
    let counts = map
        .lines()
        .filter_map(|line| line.split_ascii_whitespace().nth(2));
    counts.filter_map(|count| count.parse::<u64>().ok()).sum::<u64>() >= IDS
}

/// The number of a group, given as such or as a name in /etc/group. No other name service is asked: whoever keeps groups elsewhere gives
/// the number.
///
/// # Errors
/// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) if /etc/group has no such name; what reading it says.
///
/// See [group(5)](https://man7.org/linux/man-pages/man5/group.5.html).
pub fn group_number(name: &str) -> Result<u32> {
    if let Ok(number) = name.parse::<u32>() {
        // C's -1 means no group.
        return if number == u32::MAX {
            Err(Error::new("group", name, Errno::INVAL))
        } else {
            Ok(number)
        };
    }
    let groups = std::fs::read(GROUPS).map_err(|error| Error::of_io("read", GROUPS, &error))?;
    find_group(&groups, name).ok_or_else(|| Error::new("group", name, Errno::NOENT))
}

/// A line is: name, password, number, members; separated by colons.
fn find_group(groups: &[u8], name: &str) -> Option<u32> {
    groups.split(|byte| *byte == b'\n').find_map(|line| {
        let mut fields = line.split(|byte| *byte == b':');
        let is_it = fields.next() == Some(name.as_bytes());
        let number = std::str::from_utf8(fields.nth(1)?).ok()?;
        number.parse().ok().filter(|_| is_it)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_map_of_all_users_knows_all() {
        assert!(knows_all("         0          0 4294967295\n"));
        assert!(knows_all("0 100000 65536\n65536 0 4294901759\n"));
        assert!(!knows_all("0 0 1\n"));
        assert!(!knows_all("0 100000 65536\n"));
        assert!(!knows_all(""));
    }

    #[test]
    fn number_of_all_unknown_users_is_nobodys_own() {
        assert!(is_own(1000, 1000, None) && is_own(1000, 1000, Some(65534)));
        assert!(
            is_own(65534, 65534, None),
            "a user like any other where all are known"
        );
        assert!(!is_own(65534, 65534, Some(65534)));
        assert!(!is_own(1001, 1000, None) && !is_own(0, 1000, Some(65534)));
    }

    #[test]
    fn this_namespace_agrees_with_its_map() {
        for (numbers, unmapped) in [(UIDS_HERE, unmapped_uid()), (GIDS_HERE, unmapped_gid())] {
            let map = std::fs::read_to_string(numbers.map).unwrap();
            assert_eq!(unmapped.is_none(), knows_all(&map), "{}", numbers.map);
        }
    }

    #[test]
    fn a_group_is_its_number_or_its_name() {
        assert_eq!(group_number("17").unwrap(), 17);
        assert_eq!(group_number("root").unwrap(), 0);
        for wrong in ["4294967295", "no-such-group-here", "", "-1", "root:x"] {
            assert!(group_number(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn lines_that_are_no_groups_are_passed_over() {
        let groups = b"# a comment\n\nbroken\nstaff:x:fifty:\nstaff:x:50:a,b\nst\xffaff:x:51:\n";
        assert_eq!(find_group(groups, "staff"), Some(50));
        assert_eq!(find_group(groups, "broken"), None);
        assert_eq!(find_group(groups, "x"), None);
    }
}
