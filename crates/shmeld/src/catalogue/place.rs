//! Where an object is found, as text that leads back to it.

use std::fmt;

use shmeld_os::name::escape;

/// What an object is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A POSIX segment: a file in `/dev/shm`.
    Segment,
    /// A POSIX named semaphore: a file there whose name begins with `sem.`.
    Semaphore,
    /// A POSIX message queue.
    Queue,
    /// A file that is memory and never had a name.
    Memfd,
    /// A System V segment.
    SysvSegment,
    /// A System V set of semaphores.
    SysvSet,
    /// A System V message queue.
    SysvQueue,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Segment,
        Self::Semaphore,
        Self::Queue,
        Self::Memfd,
        Self::SysvSegment,
        Self::SysvSet,
        Self::SysvQueue,
    ];

    /// One word, as `ls` shows it and `--kind` takes it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Segment => "shm",
            Self::Semaphore => "sem",
            Self::Queue => "mq",
            Self::Memfd => "memfd",
            Self::SysvSegment => "sysv-shm",
            Self::SysvSet => "sysv-sem",
            Self::SysvQueue => "sysv-msg",
        }
    }

    /// The same for people.
    #[must_use]
    pub fn in_words(self) -> &'static str {
        match self {
            Self::Segment => "POSIX segment",
            Self::Semaphore => "POSIX semaphore",
            Self::Queue => "POSIX message queue",
            Self::Memfd => "memfd",
            Self::SysvSegment => "System V segment",
            Self::SysvSet => "System V set of semaphores",
            Self::SysvQueue => "System V message queue",
        }
    }

    /// Whether it belongs to System V.
    #[must_use]
    pub fn is_sysv(self) -> bool {
        matches!(self, Self::SysvSegment | Self::SysvSet | Self::SysvQueue)
    }
}

/// Where an object is found. It prints as it is written; names of strangers are escaped.
///
/// ```
/// use shmeld::catalogue::{Kind, Place};
///
/// assert_eq!(Place::Named(Kind::Queue, b"frames".to_vec()).to_string(), "mq:/frames");
/// assert_eq!(Place::Numbered(Kind::SysvSegment, 17).to_string(), "sysv:#17");
/// assert_eq!(Place::Named(Kind::Segment, b"a\nb".to_vec()).to_string(), "posix:/a\\nb");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Place {
    /// A POSIX object: its name without the slash.
    Named(Kind, Vec<u8>),
    /// A System V object: the number that the kernel gave it.
    Numbered(Kind, i32),
    /// A memfd, or a POSIX object that has lost its name and lives as long as somebody holds it: the number of its file.
    Unnamed(Kind, u64),
}

impl Place {
    /// What it is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Named(kind, _) | Self::Numbered(kind, _) | Self::Unnamed(kind, _) => *kind,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let prefix = match self.kind() {
            Kind::Segment => "posix",
            Kind::SysvSegment => "sysv",
            other => other.word(),
        };
        match self {
            Self::Named(_, name) => write!(formatter, "{prefix}:/{}", escape(name)),
            Self::Numbered(_, id) => write!(formatter, "{prefix}:#{id}"),
            Self::Unnamed(Kind::Memfd, ino) => write!(formatter, "{prefix}:#{ino}"),
            Self::Unnamed(_, ino) => write!(formatter, "unlinked-{prefix}:#{ino}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_of_different_objects_differ_as_text() {
        let name = || b"17".to_vec();
        let mut texts: Vec<String> = Kind::ALL
            .into_iter()
            .flat_map(|kind| [Place::Named(kind, name()), Place::Numbered(kind, 17)])
            .chain(Kind::ALL[..3].iter().map(|kind| Place::Unnamed(*kind, 17)))
            .map(|place| place.to_string())
            .collect();
        let all = texts.len();
        texts.sort();
        texts.dedup();
        assert_eq!(texts.len(), all);
        assert_eq!(Place::Unnamed(Kind::Memfd, 9).to_string(), "memfd:#9");
        assert_eq!(Place::Unnamed(Kind::Queue, 9).to_string(), "unlinked-mq:#9");
        assert_eq!(Place::Numbered(Kind::SysvSet, 9).to_string(), "sysv-sem:#9");
    }
}
