//! Who made a System V object, whom it belongs to, and whom it admits.

use super::Key;

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

/// What a call without a key is about.
pub(super) fn label(key: Key, id: libc::c_int) -> String {
    if key.is_private() {
        format!("#{id}")
    } else {
        key.to_string()
    }
}
