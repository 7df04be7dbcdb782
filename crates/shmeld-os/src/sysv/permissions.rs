//! Who made a System V object, whom it belongs to, and whom it admits.

use super::{Key, refusal};
use crate::{Result, process, users};

/// `struct ipc_perm`.
///
/// The creator never changes, the owner can be set by either: whoever asks "is this ours?" asks for the creator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Permissions {
    /// The key it was made under; [`Key::PRIVATE`] once it has been marked for removal.
    pub key: Key,
    /// Owner; can be set.
    pub uid: u32,
    /// The owner's group; can be set.
    pub gid: u32,
    /// Whoever made it.
    pub creator_uid: u32,
    /// The group of whoever made it.
    pub creator_gid: u32,
    /// The nine permission bits.
    pub mode: u32,
}

// The field types differ in width from machine to machine.
#[allow(clippy::unnecessary_cast, clippy::useless_conversion)]
impl From<&libc::ipc_perm> for Permissions {
    fn from(raw: &libc::ipc_perm) -> Self {
        Self {
            key: Key::new((raw.__key as i32).cast_unsigned()),
            uid: raw.uid,
            gid: raw.gid,
            creator_uid: raw.cuid,
            creator_gid: raw.cgid,
            mode: raw.mode as u32 & 0o777,
        }
    }
}

/// The nine bits of a mode that creation takes, as C passes them: in one number with its flags.
pub(super) fn mode_bits(mode: u32) -> libc::c_int {
    (mode & 0o777).cast_signed()
}

/// The uid and gid of an IPC_SET, which has no way to leave one as it is. In a user namespace IPC_STAT shows one number for all users that it
/// does not know: setting that would give the object to the user who has it here.
pub(super) fn owner_to_set(
    operation: &'static str,
    label: &str,
    present: &libc::ipc_perm,
    uid: Option<u32>,
    gid: Option<u32>,
) -> Result<(libc::uid_t, libc::gid_t)> {
    if uid.is_none() && stands_for_others(present.uid, users::unmapped_uid(), process::effective_uid()) {
        return Err(refusal::of_unknown_owner(operation, label, "uid", present.uid));
    }
    if gid.is_none() && stands_for_others(present.gid, users::unmapped_gid(), process::effective_gid()) {
        return Err(refusal::of_unknown_owner(operation, label, "gid", present.gid));
    }
    Ok((uid.unwrap_or(present.uid), gid.unwrap_or(present.gid)))
}

/// Whether a number says nothing about who is meant. Our own one does: the kernel lets owners change what they own.
fn stands_for_others(id: u32, unmapped: Option<u32>, own: u32) -> bool {
    unmapped == Some(id) && id != own
}

/// What a call without a key is about.
pub(super) fn label(key: Key, id: libc::c_int) -> String {
    if key.is_private() {
        format!("#{id}")
    } else {
        key.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn number_of_all_unknown_users_says_nothing_unless_it_is_our_own() {
        assert!(stands_for_others(65534, Some(65534), 0));
        assert!(!stands_for_others(65534, Some(65534), 65534));
        assert!(!stands_for_others(65534, None, 0), "all users are known");
        assert!(!stands_for_others(1000, Some(65534), 0));
    }
}
