//! What can go wrong with a segment beyond what the kernel says.

use super::Address;

/// Why something asked of a segment cannot be had. What the kernel refuses is [`shmeld_os::Error`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SegmentError {
    /// Its family does not have the operation.
    #[error("{operation} {address}: {reason} (NOT_POSSIBLE)")]
    NotPossible {
        /// What was asked for.
        operation: &'static str,
        /// Of which segment.
        address: Address,
        /// Why not.
        reason: &'static str,
        /// What can be done instead.
        instead: &'static str,
    },
    /// It is smaller than what was asked for.
    #[error("{operation} {address}: {} wanted, it has {size} (TOO_SMALL)", in_words(*.wanted))]
    TooSmall {
        /// What was asked for.
        operation: &'static str,
        /// Of which segment.
        address: Address,
        /// How many bytes.
        wanted: u64,
        /// How many there are.
        size: u64,
    },
    /// Some of the bytes lie behind its end. Nothing was read or written.
    #[error("{operation} {address}: {what} beyond its end at {size} (BEYOND_END)")]
    BeyondEnd {
        /// What was asked for.
        operation: &'static str,
        /// Of which segment.
        address: Address,
        /// Which bytes are, in words.
        what: String,
        /// Where it ends.
        size: u64,
    },
    /// Somebody made it, or the file that it is written from, shorter while that was at work.
    #[error("{operation} {address}: {what} (CHANGED)")]
    Changed {
        /// What was asked for.
        operation: &'static str,
        /// Of which segment.
        address: Address,
        /// What changed, in words.
        what: String,
    },
    /// It was attached for reading only.
    #[error("write {address}: it is attached read-only (EACCES)")]
    ReadOnly {
        /// Of which segment.
        address: Address,
    },
    /// The file that the bytes come from or go to.
    #[error(transparent)]
    File(shmeld_os::Error),
}

impl SegmentError {
    /// 1 not delivered, 2 usage, 3 system.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::NotPossible { .. } => 2,
            Self::TooSmall { .. } | Self::ReadOnly { .. } => 3,
            Self::BeyondEnd { .. } | Self::Changed { .. } | Self::File(_) => 1,
        }
    }

    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Self::NotPossible { instead, .. } => Some((*instead).to_owned()),
            // What is not there cannot be read, however long the segment is made.
            Self::BeyondEnd {
                operation: "read", ..
            }
            | Self::Changed { .. } => None,
            Self::TooSmall { address, .. } | Self::BeyondEnd { address, .. } => Some(match address {
                Address::Posix(_) => format!("shmeld ipc resize {address} SIZE makes it longer"),
                Address::Sysv(_) => {
                    "a System V segment never grows: remove it and create a larger one".to_owned()
                }
            }),
            Self::File(error) => error.hint(),
            Self::ReadOnly { .. } => Some("attach it without --read-only".to_owned()),
        }
    }
}

/// A number of bytes.
pub(super) fn in_words(bytes: u64) -> String {
    if bytes == 1 {
        "1 byte".to_owned()
    } else {
        format!("{bytes} bytes")
    }
}
