//! One object, and its holders.

use shmeld_os::fs::Time;
use shmeld_os::sysv::Key;

use super::{Belonging, Kind, Place, State, Verdict};

/// A user and a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ids {
    /// The user.
    pub uid: u32,
    /// The group.
    pub gid: u32,
}

/// One object with all that is known of it. What permission hides is named in [`Object::hidden`], and its value is absent. What an object of its
/// kind does not have is absent too, and is not named there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// Where it is found.
    pub place: Place,
    /// The name of something that is not found by one: of a memfd, or of what was unlinked.
    pub former_name: Option<Vec<u8>>,
    /// Of a System V object: its key; [`Key::PRIVATE`] if it has none.
    pub key: Option<Key>,
    /// Whom it belongs to.
    pub owner: Option<Ids>,
    /// Of a System V object: who made it.
    pub creator: Option<Ids>,
    /// The permission bits.
    pub mode: Option<u32>,
    /// How large it is: of a segment its size, of a queue what fits into it. At least as much where the size is hidden.
    pub bytes: Option<u64>,
    /// How much of that is in use: memory behind a segment, messages in a queue.
    pub used_bytes: Option<u64>,
    /// Of a queue: how many messages wait.
    pub messages: Option<u64>,
    /// Of a POSIX queue: how many messages fit, and how long one can be.
    pub queue_limits: Option<(u64, u64)>,
    /// Of a POSIX queue: the process that is told of the next message.
    pub notified_pid: Option<u32>,
    /// Of semaphores: how many there are.
    pub semaphores: Option<u64>,
    /// Of semaphores: their values.
    pub values: Option<Vec<u32>>,
    /// When it was made.
    pub made: Option<Time>,
    /// When its owner or mode was set, or, of a POSIX object, its contents.
    pub changed: Option<Time>,
    /// When somebody used it last, as far as the kernel notes it: attached, operated, sent, received, wrote.
    pub used: Option<Time>,
    /// Of a System V segment: how many attachments there are.
    pub attached: Option<u64>,
    /// Of a System V segment: whether it goes with its last attachment.
    pub is_marked: bool,
    /// File system and number, of what is a file.
    pub identity: Option<(u64, u64)>,
    /// How many names it has.
    pub links: Option<u64>,
    /// The namespace that it is seen in, in words.
    pub namespace: String,
    /// Who holds it, or did something to it, as far as it can be seen; by process number. There may be more where holders are hidden.
    pub holders: Vec<Holder>,
    /// What it is of ours.
    pub belongs: Option<Belonging>,
    /// Whether anybody needs it, and the proof.
    pub verdict: Verdict,
    /// What permission hides.
    pub hidden: Vec<&'static str>,
}

impl Object {
    /// What it is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.place.kind()
    }

    /// Those that keep it alive: it is open, mapped or attached there.
    pub fn keepers(&self) -> impl Iterator<Item = &Holder> {
        self.holders.iter().filter(|holder| holder.keeps())
    }

    /// Whether a user owns or made it.
    #[must_use]
    pub fn is_of(&self, uid: u32) -> bool {
        self.owner.is_some_and(|owner| owner.uid == uid)
            || self.creator.is_some_and(|creator| creator.uid == uid)
    }

    /// Marks holders as hidden where there can be some that we do not see. Nobody counts who uses sets and queues of System V, so nothing of
    /// that is hidden.
    pub(super) fn note_hidden_holders(&mut self, sees_all: bool) {
        let can_be_more = match (self.kind(), self.attached) {
            (Kind::SysvSet | Kind::SysvQueue, _) => false,
            (_, Some(attached)) => (self.keepers().count() as u64) < attached,
            // The kernel itself said that nobody has it.
            (_, None) => self.verdict.state != State::Unheld,
        };
        if can_be_more && !sees_all {
            self.hidden.push("holders");
        }
    }

    pub(super) fn new(place: Place, namespace: String) -> Self {
        Self {
            place,
            former_name: None,
            key: None,
            owner: None,
            creator: None,
            mode: None,
            bytes: None,
            used_bytes: None,
            messages: None,
            queue_limits: None,
            notified_pid: None,
            semaphores: None,
            values: None,
            made: None,
            changed: None,
            used: None,
            attached: None,
            is_marked: false,
            identity: None,
            links: None,
            namespace,
            holders: Vec::new(),
            belongs: None,
            verdict: Verdict::unknown(String::new()),
            hidden: Vec::new(),
        }
    }
}

/// How a process has to do with an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// It has a POSIX object or a memfd mapped.
    Mapped,
    /// It has a descriptor.
    Open,
    /// It has a System V segment attached.
    Attached,
    /// It made a System V segment. It may be gone, and its number another process's by now.
    Creator,
    /// It used a System V object last. As above.
    LastUser,
    /// It is told of the next message of a queue.
    Notified,
}

impl Role {
    /// One or two words.
    #[must_use]
    pub fn in_words(self) -> &'static str {
        match self {
            Self::Mapped => "mapped",
            Self::Open => "open",
            Self::Attached => "attached",
            Self::Creator => "creator",
            Self::LastUser => "last user",
            Self::Notified => "notified",
        }
    }

    /// Whether it keeps an object alive.
    #[must_use]
    pub fn keeps(self) -> bool {
        matches!(self, Self::Mapped | Self::Open | Self::Attached)
    }
}

/// A process that has to do with an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Its number in our PID namespace.
    pub pid: u32,
    /// What it calls itself; `None` if there is no such process any more.
    pub command: Option<Vec<u8>>,
    /// The user whose rights it has, if that can be seen.
    pub uid: Option<u32>,
    /// How it has to do with it, each once.
    pub roles: Vec<Role>,
    /// How much of it is mapped, all mappings together.
    pub mapped_bytes: u64,
}

impl Holder {
    /// Whether it keeps the object alive.
    #[must_use]
    pub fn keeps(&self) -> bool {
        self.roles.iter().any(|role| role.keeps())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_hidden(place: Place, attached: Option<u64>, state: State, sees_all: bool) -> bool {
        let mut object = Object::new(place, String::new());
        object.attached = attached;
        object.verdict = Verdict::new(state, "");
        object.note_hidden_holders(sees_all);
        object.hidden == ["holders"]
    }

    /// An ordinary user was told that nobody has what programs of others have.
    #[test]
    fn holders_that_cannot_be_seen_are_hidden_and_not_absent() {
        let file = || Place::Named(Kind::Segment, b"a".to_vec());
        assert!(is_hidden(file(), None, State::Unknown, false));
        assert!(is_hidden(file(), None, State::Live, false));
        assert!(!is_hidden(file(), None, State::Unheld, false));
        assert!(!is_hidden(file(), None, State::Live, true));
        let numbered = |kind| Place::Numbered(kind, 7);
        assert!(is_hidden(
            numbered(Kind::SysvSegment),
            Some(1),
            State::Live,
            false
        ));
        assert!(!is_hidden(
            numbered(Kind::SysvSegment),
            Some(0),
            State::Unheld,
            false
        ));
        assert!(!is_hidden(numbered(Kind::SysvSet), None, State::Unknown, false));
    }
}
