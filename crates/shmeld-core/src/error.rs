//! What can go wrong with a region, told apart by who is to blame: the kernel, the format, or the peer.

use crate::layout::LayoutError;

/// The result of an operation on a region.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why an operation on a region failed. The variants say what a caller can do about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The kernel refused: a limit, a permission, no space.
    #[error(transparent)]
    Os(#[from] shmeld_os::Error),
    /// The object is not a region of this format.
    #[error("region {object}: {reason}")]
    Layout {
        /// The name of the object.
        object: String,
        /// What is wrong with it.
        reason: LayoutError,
    },
    /// The memory is too short for the type that should lie in it.
    #[error("{object}: {bytes} bytes are too few for a type of {bytes_min}")]
    TooSmall {
        /// The name of the object.
        object: String,
        /// How long it is.
        bytes: usize,
        /// How long it must be at least.
        bytes_min: usize,
    },
    /// The peer broke the protocol; the region must not be used any more.
    #[error("the peer broke the protocol: {0}")]
    Peer(#[from] Misbehaviour),
    /// The peer died: the kernel released its lease.
    #[error("the peer died")]
    PeerGone,
}

/// Whether a type of `bytes_min` bytes fits an object.
pub(crate) fn check_room(object: &str, bytes: usize, bytes_min: usize) -> Result<()> {
    if bytes >= bytes_min {
        return Ok(());
    }
    Err(Error::TooSmall {
        object: object.to_owned(),
        bytes,
        bytes_min,
    })
}

/// How a peer broke the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Misbehaviour {
    /// Its sequence word claims more slots than the ring has, or went backwards.
    #[error("its sequence word is impossible")]
    Sequence,
    /// It truncated the region or punched a hole into it.
    #[error("it took memory of the region away")]
    Vanished,
    /// An offset in shared memory leads outside, or between two values.
    #[error("an offset leads to no value of its type")]
    Offset,
    /// A record in a slot contradicts itself or the grammar of an answer.
    #[error("a record is malformed: {0}")]
    Record(&'static str),
    /// It holds locks that are not its own.
    #[error("it holds a lease that is not its own")]
    Lease,
    /// It sent more requests than a session may have unanswered.
    #[error("too many requests at once")]
    Flood,
}
