//! Whether the modes of files show them to other users than the one this process runs as.

use std::os::fd::AsFd;

use super::Stat;
use super::acl::{Said, says_of_group};

/// May read a file, or list a directory.
const READ: u32 = 4;
/// May reach what is in a directory.
const SEARCH: u32 = 1;

/// Users to whom something is shown that they could not, or need not, open themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Audience {
    /// The members of the group with this number.
    Group(u32),
    /// Everybody.
    Others,
}

impl Audience {
    /// Whether the audience may read a file; `stat` is that of `file`.
    pub fn may_read(self, file: impl AsFd, stat: &Stat) -> bool {
        self.may(file, stat, READ)
    }

    /// Whether the audience may reach what is in a directory.
    pub fn may_search(self, directory: impl AsFd, stat: &Stat) -> bool {
        self.may(directory, stat, SEARCH)
    }

    /// Whether the audience may list a directory and reach what is in it.
    pub fn may_list(self, directory: impl AsFd, stat: &Stat) -> bool {
        self.may(directory, stat, READ | SEARCH)
    }

    /// The bits for others are right with and without an access control list, so nothing else is asked for everybody. What a group may do
    /// can stand in a list, and only the list says whether there is one.
    fn may(self, descriptor: impl AsFd, stat: &Stat, wanted: u32) -> bool {
        let said = match self {
            Audience::Group(gid) => says_of_group(descriptor, stat.gid, gid, wanted),
            Audience::Others => Said::AsOthers,
        };
        self.decide(stat, said, wanted)
    }

    fn decide(self, stat: &Stat, said: Said, wanted: u32) -> bool {
        let (group_bits, others_bits) = (stat.mode >> 3, stat.mode);
        let bits = match (self, said) {
            (_, Said::Yes) => return true,
            (_, Said::No) => return false,
            (Audience::Group(gid), Said::NoList) if gid == stat.gid => group_bits,
            (_, Said::NoList | Said::AsOthers) => others_bits,
        };
        bits & wanted == wanted
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::{FileKind, Time};

    fn stat(mode: u32, gid: u32) -> Stat {
        Stat {
            dev: 1,
            ino: 2,
            mode,
            kind: FileKind::File,
            uid: 1000,
            gid,
            links: 1,
            bytes: 0,
            blocks_512: 0,
            modified: Time::default(),
            changed: Time::default(),
        }
    }

    #[test]
    fn everybody_sees_what_the_bits_for_others_show() {
        let sees = |mode, wanted| Audience::Others.decide(&stat(mode, 50), Said::AsOthers, wanted);
        assert!(sees(0o604, READ) && !sees(0o640, READ) && !sees(0o600, READ));
        assert!(sees(0o755, READ | SEARCH) && !sees(0o754, READ | SEARCH) && sees(0o751, SEARCH));
    }

    #[test]
    fn a_group_sees_what_its_bits_show_and_else_what_others_see() {
        let sees = |mode, gid| Audience::Group(50).decide(&stat(mode, gid), Said::NoList, READ);
        assert!(
            sees(0o640, 50) && !sees(0o604, 50),
            "its own bits count, not those of others"
        );
        assert!(!sees(0o640, 51) && sees(0o604, 51));
    }

    #[test]
    fn where_there_is_a_list_the_group_bits_are_its_mask_and_show_nothing() {
        let sees = |mode, said| Audience::Group(50).decide(&stat(mode, 50), said, READ);
        assert!(!sees(0o664, Said::No) && sees(0o600, Said::Yes));
        assert!(sees(0o604, Said::AsOthers) && !sees(0o660, Said::AsOthers));
    }
}
