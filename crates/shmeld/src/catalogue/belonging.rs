//! Which objects are ours, by their names, and what they are for. Pure.

use std::fmt;

use shmeld_core::attach::RegionId;
use shmeld_os::name::escape;
use shmeld_os::sysv::Key;

use super::Kind;
use crate::ServerName;
use crate::doctor::{TRIAL_BYTES, TRIAL_PREFIX};

/// What an object is of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Belonging {
    /// The memory of a session of a file transfer; its server if that can be seen: it has the same memory mapped.
    Region(Option<ServerName>),
    /// The object whose lock says who owns a server's name.
    Gate(ServerName),
    /// A server's queue.
    ServerQueue(ServerName),
    /// The semaphores or the segment of a message board.
    Board(Key),
    /// One of the four objects of a channel of images.
    Image(Vec<u8>),
    /// What `demo meld` shares.
    Meld,
    /// A queue that [`doctor`](crate::doctor) makes for a moment.
    Trial,
    /// Not ours: what `sem_open` of the GNU C library leaves behind if it is killed, as far as the name goes.
    HalfMadeSemaphore,
}

impl Belonging {
    /// What a name says; `None` if it says nothing. That of a server's queue says nothing without its gate.
    pub(super) fn of_name(kind: Kind, name: &[u8], bytes: u64) -> Option<Self> {
        match kind {
            Kind::Segment if RegionId::from_name(name).is_some() => Some(Self::Region(None)),
            Kind::Segment if name == b"shm-demo" => Some(Self::Meld),
            Kind::Segment => ServerName::from_gate(name)
                .map(Self::Gate)
                .or_else(|| channel(name, b"SEG_", [b"_HEAD", b"_DATA"])),
            Kind::Semaphore if is_half_made(name, bytes) => Some(Self::HalfMadeSemaphore),
            Kind::Semaphore => channel(name, b"SEM_", [b"_REQ", b"_RES"]),
            Kind::Queue if is_trial(name) => Some(Self::Trial),
            _ => None,
        }
    }

    /// Whether it is of this project at all.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        !matches!(self, Self::HalfMadeSemaphore)
    }
}

fn channel(name: &[u8], prefix: &[u8], suffixes: [&[u8]; 2]) -> Option<Belonging> {
    let rest = name.strip_prefix(prefix)?;
    let channel = suffixes
        .into_iter()
        .find_map(|suffix| rest.strip_suffix(suffix))?;
    (!channel.is_empty()).then(|| Belonging::Image(channel.to_vec()))
}

fn is_trial(name: &[u8]) -> bool {
    let digits = name.strip_prefix(TRIAL_PREFIX.as_bytes()).unwrap_or_default();
    digits.len() == 2 * TRIAL_BYTES
        && digits
            .iter()
            .all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'))
}

/// `sem_open` makes `sem.XXXXXX`, fills it and links it to its name. A semaphore can be called so, too.
fn is_half_made(name: &[u8], bytes: u64) -> bool {
    const SEMAPHORE_BYTES: u64 = 32;
    name.len() == 6 && name.iter().all(u8::is_ascii_alphanumeric) && bytes == SEMAPHORE_BYTES
}

impl fmt::Display for Belonging {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Region(Some(server)) => write!(formatter, "session of {server}"),
            Self::Region(None) => write!(formatter, "session"),
            Self::Gate(server) => write!(formatter, "gate of {server}"),
            Self::ServerQueue(server) => write!(formatter, "server {server}"),
            Self::Board(key) => write!(formatter, "board {key}"),
            Self::Image(channel) => write!(formatter, "image channel {}", escape(channel)),
            Self::Meld => write!(formatter, "mind meld"),
            Self::Trial => write!(formatter, "doctor's trial"),
            Self::HalfMadeSemaphore => write!(formatter, "sem_open?"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(kind: Kind, name: &str) -> Option<String> {
        Belonging::of_name(kind, name.as_bytes(), 32).map(|belonging| belonging.to_string())
    }

    #[test]
    fn names_of_ours_are_recognised_and_no_others() {
        let region = format!("shmeld.{}", "0f".repeat(16));
        let trial = format!("shmeld.trial.{}", "0f".repeat(16));
        for (kind, name, expected) in [
            (Kind::Segment, region.as_str(), Some("session")),
            (Kind::Segment, "shmeld.frames.gate", Some("gate of /frames")),
            (Kind::Segment, "shm-demo", Some("mind meld")),
            (Kind::Segment, "SEG_cam_1_HEAD", Some("image channel cam_1")),
            (Kind::Segment, "SEG_cam_DATA", Some("image channel cam")),
            (Kind::Semaphore, "SEM_cam_REQ", Some("image channel cam")),
            (Kind::Semaphore, "aB3xYz", Some("sem_open?")),
            (Kind::Segment, "shmeld.x", None),
            (Kind::Segment, "shmeld..gate", None),
            (Kind::Segment, "SEG__HEAD", None),
            (Kind::Segment, "SEM_cam_REQ", None),
            (Kind::Semaphore, "aB3-Yz", None),
            (Kind::Semaphore, "aB3xYz7", None),
            (Kind::Queue, "shmeld", None),
            (Kind::Queue, trial.as_str(), Some("doctor's trial")),
            (Kind::Queue, &trial[..44], None),
            (Kind::Segment, trial.as_str(), None),
        ] {
            assert_eq!(of(kind, name).as_deref(), expected, "{name}");
        }
        assert_eq!(Belonging::of_name(Kind::Semaphore, b"aB3xYz", 16), None);
    }
}
