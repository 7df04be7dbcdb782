//! POSIX access control lists: letting in one more user than owner, group and others can say, and reading what a list says of a group.
//!
//! The kernel keeps a list in the attribute `system.posix_acl_access`, in little-endian numbers whatever the machine is:
//! ```text
//! offset size
//!      0    4  version 2
//!      4    8  an entry: tag (2), permissions (2: r 4, w 2, x 1), id (4: a uid or gid, else all ones); and so on
//! ```
//! Entries come in the order of their tags. Where there is a list, the group bits of the mode are its *mask*: the most that named users and
//! all groups get.

use std::os::fd::{AsFd, AsRawFd};

use rustix::fs::{Mode, OFlags, XattrFlags};
use rustix::io::{Errno, retry_on_intr};

use crate::{Error, Result, explain};

const ATTRIBUTE: &str = "system.posix_acl_access";
const VERSION: u32 = 2;
/// The id of an entry that is about no particular user or group.
const NO_ID: u32 = u32::MAX;
/// Longer lists are not read: whoever asks is told no.
const ENTRIES_MAX: usize = 128;

const OWNER: u16 = 0x01;
const USER: u16 = 0x02;
const OWNING_GROUP: u16 = 0x04;
const GROUP: u16 = 0x08;
const MASK: u16 = 0x10;
const OTHERS: u16 = 0x20;

/// Length of the list that lets in one user.
const LIST_OF_ONE_BYTES: usize = 4 + 8 * 5;

const NOTHING: u16 = 0;
const READ_AND_WRITE: u16 = 6;

/// `fsetxattr(fd, "system.posix_acl_access", …)`: lets the owner and the user `uid` read and write, and nobody else anything. `label` is the
/// file's name in messages.
///
/// The mode shows as 0660 from then on, since its group bits are the list's mask. A later `fchmod` would change that mask: set the
/// mode before.
///
/// # Errors
/// [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) where the file system has no such lists; EINVAL for a user whom this user
/// namespace does not know; EPERM for files of others.
///
/// See [setxattr(2)](https://man7.org/linux/man-pages/man2/fsetxattr.2.html), [acl(5)](https://man7.org/linux/man-pages/man5/acl.5.html).
#[doc(alias = "fsetxattr")]
#[doc(alias = "acl_set_fd")]
pub fn admit_user(fd: impl AsFd, uid: u32, label: &str) -> Result<()> {
    let list = encode(&list_of(uid));
    retry_on_intr(|| rustix::fs::fsetxattr(&fd, ATTRIBUTE, &list, XattrFlags::empty()))
        .map_err(|errno| Error::new("fsetxattr", label, errno))?;
    explain!(
        "fsetxattr(system.posix_acl_access)",
        label,
        format_args!("uid {uid} may read and write it too, and nobody else")
    );
    Ok(())
}

/// The list that lets in the user `uid` besides the owner.
fn list_of(uid: u32) -> [Entry; 5] {
    [
        (OWNER, READ_AND_WRITE, NO_ID),
        (USER, READ_AND_WRITE, uid),
        (OWNING_GROUP, NOTHING, NO_ID),
        (MASK, READ_AND_WRITE, NO_ID),
        (OTHERS, NOTHING, NO_ID),
    ]
}

/// `fgetxattr(fd, "system.posix_acl_access")`: whether the list of a file is exactly the one that [`admit_user`] writes for `uid`, so that
/// nobody but the owner and this user may read or write it. `label` is the file's name in messages.
///
/// The kernel shows ids as this process's user namespace numbers them.
///
/// # Errors
/// Practically never: a file without a list, one with another list, and a file system without lists say no.
///
/// See [getxattr(2)](https://man7.org/linux/man-pages/man2/fgetxattr.2.html), [acl(5)](https://man7.org/linux/man-pages/man5/acl.5.html).
#[doc(alias = "fgetxattr")]
#[doc(alias = "acl_get_fd")]
pub fn admits_only(fd: impl AsFd, uid: u32, label: &str) -> Result<bool> {
    let expected = encode(&list_of(uid));
    let mut list = [0; LIST_OF_ONE_BYTES];
    match retry_on_intr(|| rustix::fs::fgetxattr(&fd, ATTRIBUTE, &mut list)) {
        Ok(length) => Ok(list[..length] == expected),
        // A list that is longer is another one.
        Err(Errno::NODATA | Errno::OPNOTSUPP | Errno::RANGE) => Ok(false),
        Err(errno) => Err(Error::new("fgetxattr", label, errno)),
    }
}

/// What the list of a file says about the members of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Said {
    /// There is no list: the mode's bits count.
    NoList,
    /// They may.
    Yes,
    /// They may not; or the list could not be read or understood.
    No,
    /// The group is not in the list: the bits for others count.
    AsOthers,
}

/// `fgetxattr(fd, "system.posix_acl_access")`: whether the list of a file, which belongs to the group `owning_gid`, gives all of the
/// permissions `wanted` to the group `gid`. A descriptor of `O_PATH` must be a directory's.
pub(super) fn says_of_group(fd: impl AsFd, owning_gid: u32, gid: u32, wanted: u32) -> Said {
    let mut list = [0; 4 + 8 * ENTRIES_MAX];
    let read = match retry_on_intr(|| rustix::fs::fgetxattr(&fd, ATTRIBUTE, &mut list)) {
        Err(Errno::BADF) => list_of_directory(&fd, &mut list),
        read => read,
    };
    match read {
        Ok(length) => decide(&list[..length], owning_gid, gid, wanted),
        Err(Errno::NODATA | Errno::OPNOTSUPP) => Said::NoList,
        Err(_) => Said::No,
    }
}

/// Through its entry in /proc, for a directory that may be searched and not listed; where there is no /proc, by opening it.
fn list_of_directory(directory: impl AsFd, list: &mut [u8]) -> Result<usize, Errno> {
    let entry = format!("/proc/self/fd/{}", directory.as_fd().as_raw_fd());
    match retry_on_intr(|| rustix::fs::getxattr(entry.as_str(), ATTRIBUTE, &mut *list)) {
        Err(Errno::NOENT) => {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let opened = retry_on_intr(|| rustix::fs::openat(&directory, ".", flags, Mode::empty()))?;
            retry_on_intr(|| rustix::fs::fgetxattr(&opened, ATTRIBUTE, &mut *list))
        }
        read => read,
    }
}

/// The decision of [`says_of_group`]. Several entries can be about one group; as in the kernel one of them must give all that is wanted,
/// and the mask too.
fn decide(list: &[u8], owning_gid: u32, gid: u32, wanted: u32) -> Said {
    let Some(entries) = decode(list) else {
        return Said::No;
    };
    let gives = |permissions: u16| u32::from(permissions) & wanted == wanted;
    let is_about = |entry: &&Entry| match entry.0 {
        OWNING_GROUP => owning_gid == gid,
        GROUP => entry.2 == gid,
        _ => false,
    };
    let mut about = entries.iter().filter(is_about).peekable();
    if about.peek().is_none() {
        return Said::AsOthers;
    }
    let mask_gives = entries
        .iter()
        .find(|entry| entry.0 == MASK)
        .is_none_or(|entry| gives(entry.1));
    if mask_gives && about.any(|entry| gives(entry.1)) {
        Said::Yes
    } else {
        Said::No
    }
}

/// Tag, permissions, id.
type Entry = (u16, u16, u32);

fn encode(entries: &[Entry]) -> Vec<u8> {
    let mut list = VERSION.to_le_bytes().to_vec();
    for (tag, permissions, id) in entries {
        list.extend_from_slice(&tag.to_le_bytes());
        list.extend_from_slice(&permissions.to_le_bytes());
        list.extend_from_slice(&id.to_le_bytes());
    }
    list
}

fn decode(list: &[u8]) -> Option<Vec<Entry>> {
    let (version, entries) = list.split_first_chunk()?;
    if u32::from_le_bytes(*version) != VERSION || entries.len() % 8 != 0 {
        return None;
    }
    let entry = |bytes: &[u8]| {
        let (tag, rest) = bytes.split_first_chunk()?;
        let (permissions, id) = rest.split_first_chunk()?;
        let id = u32::from_le_bytes(id.try_into().ok()?);
        Some((u16::from_le_bytes(*tag), u16::from_le_bytes(*permissions), id))
    };
    entries.chunks_exact(8).map(entry).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: [Entry; 6] = [
        (OWNER, 7, NO_ID),
        (OWNING_GROUP, 4, NO_ID),
        (GROUP, 6, 50),
        (GROUP, 0, 60),
        (MASK, 5, NO_ID),
        (OTHERS, 4, NO_ID),
    ];

    #[test]
    fn a_list_has_the_bytes_that_setfacl_writes() {
        // setfacl -m u:65534:rw on a file of mode 0600.
        let written =
            "0200000001000600ffffffff02000600feff000004000000ffffffff10000600ffffffff20000000ffffffff";
        let list = encode(&list_of(65534));
        let hexadecimal: String = list.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hexadecimal, written);
        assert_eq!(list.len(), LIST_OF_ONE_BYTES);
    }

    #[test]
    fn a_group_gets_what_its_entries_give_within_the_mask() {
        let list = encode(&LIST);
        let says = |owning_gid, gid, wanted| decide(&list, owning_gid, gid, wanted);
        assert_eq!((says(40, 40, 4), says(40, 40, 1)), (Said::Yes, Said::No));
        assert_eq!(
            (says(40, 50, 4), says(40, 50, 2)),
            (Said::Yes, Said::No),
            "the mask takes w"
        );
        assert_eq!(says(40, 60, 4), Said::No, "named and given nothing");
        assert_eq!(says(60, 60, 4), Said::Yes, "one of two entries gives");
        assert_eq!(says(40, 70, 4), Said::AsOthers);
    }

    /// Two entries that give one half each do not give the whole.
    #[test]
    fn one_entry_must_give_all_that_is_wanted() {
        let list = encode(&[(OWNING_GROUP, 4, NO_ID), (GROUP, 1, 40), (MASK, 7, NO_ID)]);
        assert_eq!(decide(&list, 40, 40, 4), Said::Yes);
        assert_eq!(decide(&list, 40, 40, 5), Said::No);
    }

    #[test]
    fn whatever_is_no_list_gives_nothing() {
        let list = encode(&LIST);
        for broken in [&list[..0], &list[..3], &list[..11], &[3, 0, 0, 0]] {
            assert_eq!(decide(broken, 40, 40, 4), Said::No, "{broken:?}");
        }
    }

    #[test]
    fn a_decoded_list_is_the_one_that_was_encoded() {
        assert_eq!(decode(&encode(&LIST)).as_deref(), Some(&LIST[..]));
    }
}
