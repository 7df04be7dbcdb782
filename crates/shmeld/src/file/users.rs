//! Who the users of this machine are to a process: itself, root, strangers, and those whom its user namespace cannot tell apart. Pure, but
//! for one look at the process.

use shmeld_os::users::ROOT;
use shmeld_os::{process, users};

/// See the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Users {
    /// The user this process runs as.
    pub own: u32,
    /// The uid that stands for all users that this namespace does not know; `None` if it knows all, or if they are allowed.
    pub unmapped: Option<u32>,
}

impl Users {
    /// Asks the kernel.
    pub(super) fn look(allow_unmapped: bool) -> Self {
        Self {
            own: process::effective_uid(),
            unmapped: if allow_unmapped {
                None
            } else {
                users::unmapped_uid()
            },
        }
    }

    /// Whether this uid means nobody in particular: not even this process's own user, should it show as that.
    pub(super) fn is_unmapped(self, uid: u32) -> bool {
        self.unmapped == Some(uid)
    }

    /// Whether objects of this uid are this process's own.
    pub(super) fn is_own(self, uid: u32) -> bool {
        uid == self.own && !self.is_unmapped(uid)
    }

    /// Whether what a dead process of this user left may be removed: root cleans up after everybody.
    pub(super) fn may_sweep(self, uid: u32) -> bool {
        self.is_own(uid) || self.own == ROOT
    }

    /// Whether a server admits this user's regions. If its queue lets others send, whoever has sent is one of them.
    pub(super) fn are_served(self, uid: u32, serves_others: bool) -> bool {
        !self.is_unmapped(uid) && (uid == self.own || uid == ROOT || serves_others)
    }
}

/// What a client thinks of the owner of a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Owner {
    /// Somebody who took the name: no server for us.
    Stranger,
    /// Accepted, and able to open our regions as they are.
    Able,
    /// Accepted; our regions must be opened to this user.
    Other(u32),
}

impl Owner {
    /// Decides about a queue of `uid` by this process's own user, root, and the users whom it was told to trust.
    pub(super) fn judge(uid: u32, trusted: &[u32]) -> Self {
        let is_own = uid == process::effective_uid();
        // Root without CAP_DAC_OVERRIDE, as in many a container, is a user like others.
        if uid == ROOT && !is_own {
            return Self::Other(ROOT);
        }
        // Whoever is what the kernel shows for unknown users by default must find out whether its own number is everybody's. A kernel that
        // was told to show another number costs nothing here, so that a process that is somebody has nothing to look at.
        let is_unmapped = (!is_own || uid == NOBODY) && users::unmapped_uid() == Some(uid);
        match (is_own && !is_unmapped, trusted.contains(&uid)) {
            (true, _) => Self::Able,
            (false, false) => Self::Stranger,
            // A user who is not known here cannot be named in an access control list. If it is root elsewhere, with all capabilities, it
            // needs none.
            (false, true) if is_own || is_unmapped => Self::Able,
            (false, true) => Self::Other(uid),
        }
    }
}

/// What the kernel shows for unknown users unless it was told otherwise.
const NOBODY: u32 = 65534;

#[cfg(test)]
mod tests {
    use super::*;

    const USERS: Users = Users {
        own: 1000,
        unmapped: Some(65534),
    };

    #[test]
    fn a_server_admits_its_own_user_and_root_and_others_if_it_serves_them() {
        for (uid, alone, with_others) in [(1000, true, true), (0, true, true), (1001, false, true)] {
            assert_eq!(USERS.are_served(uid, false), alone, "{uid}");
            assert_eq!(USERS.are_served(uid, true), with_others, "{uid}");
        }
    }

    #[test]
    fn the_overflow_uid_is_nobody_where_not_all_users_are_known() {
        assert!(!USERS.are_served(65534, true));
        let as_nobody = Users { own: 65534, ..USERS };
        assert!(!as_nobody.is_own(65534) && !as_nobody.are_served(65534, true));
        let allowed = Users {
            unmapped: None,
            ..as_nobody
        };
        assert!(allowed.is_own(65534) && allowed.are_served(65534, false));
    }

    #[test]
    fn a_client_opens_its_regions_to_those_whom_it_was_told_to_trust() {
        let own = process::effective_uid();
        assert_eq!(Owner::judge(own, &[]), Owner::Able);
        let of_root = if own == ROOT {
            Owner::Able
        } else {
            Owner::Other(ROOT)
        };
        assert_eq!(Owner::judge(ROOT, &[]), of_root);
        let other = own + 1;
        assert_eq!(Owner::judge(other, &[own + 2]), Owner::Stranger);
        assert_eq!(Owner::judge(other, &[own + 2, other]), Owner::Other(other));
    }

    #[test]
    fn root_sweeps_for_all_and_others_for_themselves() {
        assert!(USERS.may_sweep(1000) && !USERS.may_sweep(1001) && !USERS.may_sweep(0));
        let root = Users { own: 0, ..USERS };
        assert!(root.may_sweep(0) && root.may_sweep(1001));
    }
}
