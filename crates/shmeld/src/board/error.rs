//! What can go wrong at a message board, told apart by what its user can do about it.

use std::time::Duration;

use shmeld_os::sysv::Key;

use super::segment;
use crate::error::waited_text;

/// Why a message was not posted or not read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BoardError {
    /// A living poster has the board.
    #[error("board {key}: a message is posted already{}", by_process(*.pid))]
    AlreadyPosted {
        /// The board.
        key: Key,
        /// The process that the kernel saw last at the poster's semaphore: for people, never a proof. `None` if we cannot see it from our
        /// namespace.
        pid: Option<u32>,
    },
    /// The key is taken by another user's object.
    #[error("board {key}: the {what} under this key {}", of_user(*.uid))]
    Foreign {
        /// The board.
        key: Key,
        /// `set of semaphores` or `segment`.
        what: &'static str,
        /// Who made it; `None` if its mode does not let us see that (EACCES).
        uid: Option<u32>,
    },
    /// We are in a user namespace that does not know our own user: what is ours looks like everybody else's.
    #[error(
        "board {key}: in this user namespace uid {uid} is our user and every other one that it does not know: what is ours cannot be told"
    )]
    UnknownUser {
        /// The board.
        key: Key,
        /// The number that stands for all of them.
        uid: u32,
    },
    /// The key is taken by a set of semaphores that is no board.
    #[error("board {key}: the set under this key has {semaphores} semaphores; that of a board has 5")]
    OtherSet {
        /// The board.
        key: Key,
        /// How many it has.
        semaphores: u64,
    },
    /// What is under the key admits others than a board does, or not even its own user.
    #[error("board {key}: the {what} under this key has mode {mode:04o}, and that of a board 0600")]
    OtherMode {
        /// The board.
        key: Key,
        /// `set of semaphores` or `segment`.
        what: &'static str,
        /// The nine bits.
        mode: u32,
    },
    /// The key is taken by a set of five semaphores that is no board.
    #[error("board {key}: the set of 5 semaphores under this key is another program's: {values:?}")]
    OtherValues {
        /// The board.
        key: Key,
        /// What they were.
        values: [u16; 5],
    },
    /// The key is taken by a segment that somebody uses.
    #[error("board {key}: the segment under this key is in use: {attached} attached")]
    SegmentInUse {
        /// The board.
        key: Key,
        /// How many attachments it has.
        attached: u64,
    },
    /// The key is taken by a segment that no poster of ours made.
    #[error("board {key}: the segment of {bytes} bytes under this key is another program's")]
    OtherSegment {
        /// The board.
        key: Key,
        /// Its size.
        bytes: u64,
    },
    /// Readers of an earlier message did not leave in time.
    #[error("board {key}: readers of an earlier message are still inside: {inside}{}", waited_text(*.waited))]
    StillInside {
        /// The board.
        key: Key,
        /// How many.
        inside: u16,
        /// How long the poster waited.
        waited: Duration,
    },
    /// Nobody posted within the time given.
    #[error("board {key}: no message{}", waited_text(*.waited))]
    NoMessage {
        /// The board.
        key: Key,
        /// How long the reader waited.
        waited: Duration,
    },
    /// The segment is for readers with semaphores: a mark stored in it would destroy the message for them.
    #[error("board {key}: the message under this key is on a board with semaphores")]
    HasSemaphores {
        /// The board.
        key: Key,
    },
    /// The poster ended before this reader was inside.
    #[error("board {key}: closed before this reader was inside")]
    Closed {
        /// The board.
        key: Key,
    },
    /// The kernel has taken back what the poster held.
    #[error("board {key}: its poster died")]
    PosterDied {
        /// The board.
        key: Key,
    },
    /// Somebody removed what we had made while we used it.
    #[error("board {key}: somebody removed the {what} while the message was posted (EIDRM)")]
    Removed {
        /// The board.
        key: Key,
        /// `set of semaphores` or `segment`.
        what: &'static str,
    },
    /// The semaphores or the segment contradict themselves.
    #[error("board {key}: the peer broke the protocol: {what}")]
    Broken {
        /// The board.
        key: Key,
        /// How.
        what: String,
    },
}

impl BoardError {
    /// The exit code, as for [`crate::Error::exit_code`].
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Closed { .. } => 1,
            Self::PosterDied { .. } | Self::Broken { .. } => 4,
            Self::AlreadyPosted { .. }
            | Self::Foreign { .. }
            | Self::UnknownUser { .. }
            | Self::OtherSet { .. }
            | Self::OtherMode { .. }
            | Self::OtherValues { .. }
            | Self::SegmentInUse { .. }
            | Self::OtherSegment { .. }
            | Self::StillInside { .. }
            | Self::HasSemaphores { .. }
            | Self::NoMessage { .. }
            | Self::Removed { .. } => 3,
        }
    }

    /// What the reader of the message can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::AlreadyPosted { pid, .. } => Some(format!(
                "wait until its readers have finished,{} or choose another key",
                pid.map_or_else(String::new, |pid| format!(" stop it (kill {pid}),"))
            )),
            Self::Foreign { what, key, .. } => Some(format!(
                "choose another key, or have that user or root remove it: {}",
                removal(what, *key)
            )),
            Self::UnknownUser { .. } => {
                Some("use a namespace that knows the user (unshare --map-current-user), or none".to_owned())
            }
            Self::OtherSet { key, .. } | Self::OtherValues { key, .. } => Some(format!(
                "another program uses this key: choose another one, or remove what it left: ipcrm -S {key}"
            )),
            Self::SegmentInUse { .. } => Some(
                "another program uses this key: choose another one (ipcs -m -p shows whose it is)".to_owned(),
            ),
            Self::OtherMode { key, what, .. } => Some(format!(
                "another program made it, or somebody changed its mode: choose another key, or, if nobody wants it any more, remove it: {}",
                removal(what, *key)
            )),
            Self::OtherSegment { key, .. } => Some(format!(
                "choose another key; or, if nobody wants any more what is in it, remove it: ipcrm -M {key}"
            )),
            Self::StillInside { .. } => Some(
                "they may be stopped, or their output is not read; wait longer with --timeout".to_owned(),
            ),
            Self::HasSemaphores { .. } => Some("read it without --ack".to_owned()),
            Self::NoMessage { key, .. } if segment::is_for_textbook(*key) => Some(format!(
                "a segment is there without the semaphores of a board: if a textbook program waits for a character, name it: --ack '*'; \
                 see ipcs -m for {key}"
            )),
            Self::NoMessage { key, .. } => Some(format!(
                "post one: shmeld board post --key {key} MESSAGE; or wait longer: --timeout forever"
            )),
            Self::PosterDied { .. } => {
                Some("post the message again: the next poster takes over what is left".to_owned())
            }
            Self::Closed { .. } => Some(
                "the poster waits for as many readers as --readers says, and this one came later".to_owned(),
            ),
            Self::Removed { .. } => {
                Some("ipcrm, or another program of this user, did it; post the message again".to_owned())
            }
            Self::Broken { key, .. } => Some(format!(
                "another program of this user writes there: choose another key, or remove both: ipcrm -S {key} -M {key}"
            )),
        }
    }
}

/// How messages call the two objects.
pub(super) const SET: &str = "set of semaphores";
/// See [`SET`].
pub(super) const SEGMENT: &str = "segment";

fn removal(what: &str, key: Key) -> String {
    format!("ipcrm {} {key}", if what == SET { "-S" } else { "-M" })
}

fn by_process(pid: Option<u32>) -> String {
    pid.map_or_else(
        || ", by a process of another namespace".to_owned(),
        |pid| format!(", by process {pid}"),
    )
}

fn of_user(uid: Option<u32>) -> String {
    uid.map_or_else(
        || "does not let us look at it (EACCES): another user made it, or its mode shuts us out".to_owned(),
        |uid| format!("belongs to uid {uid}, not to us"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The kernel says 0 for a poster in another PID namespace, and the hint was: kill 0.
    #[test]
    fn nobody_is_told_to_kill_a_process_that_cannot_be_seen() {
        let key = Key::new(0x1234);
        let unseen = BoardError::AlreadyPosted { key, pid: None };
        assert!(
            unseen
                .to_string()
                .ends_with("posted already, by a process of another namespace")
        );
        assert!(!unseen.hint().unwrap().contains("kill"));
        let seen = BoardError::AlreadyPosted { key, pid: Some(7) };
        assert!(seen.to_string().ends_with("posted already, by process 7"));
        assert!(seen.hint().unwrap().contains("stop it (kill 7), or"));
    }
}
