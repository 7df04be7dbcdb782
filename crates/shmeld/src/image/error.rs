//! What can go wrong on a channel, told apart by what its user can do about it.

use std::time::Duration;

use shmeld_os::ObjectName;
use shmeld_os::name::escape;

use crate::error::waited_text;

/// Why an image did not come, or a channel cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ImageError {
    /// A living requester has the channel.
    #[error("channel {channel}: in use by {holder}")]
    InUse {
        /// The channel.
        channel: String,
        /// Who has it, in words.
        holder: String,
    },
    /// One of the four names is another user's object.
    #[error("channel {channel}: {object} belongs to uid {uid}, not to us")]
    Foreign {
        /// The channel.
        channel: String,
        /// The object.
        object: ObjectName,
        /// Its owner.
        uid: u32,
    },
    /// Nobody took the request.
    #[error("channel {channel}: no provider{}", waited_text(*.waited))]
    NoProvider {
        /// The channel.
        channel: String,
        /// How long the requester waited.
        waited: Duration,
    },
    /// Somebody took the request and did not answer.
    #[error("channel {channel}: no answer, although a provider took the request{}", waited_text(*.waited))]
    Silent {
        /// The channel.
        channel: String,
        /// How long the requester waited.
        waited: Duration,
    },
    /// The provider that had the request died.
    #[error("channel {channel}: the provider died")]
    ProviderDied {
        /// The channel.
        channel: String,
    },
    /// Nobody asked for an image.
    #[error("channel {channel}: no request{}", waited_text(*.waited))]
    NoRequest {
        /// The channel.
        channel: String,
        /// How long the provider waited.
        waited: Duration,
    },
    /// The provider says that it has no such image.
    #[error("{text}")]
    Refused {
        /// What it says; printable.
        text: String,
    },
    /// No image can be called so.
    #[error("{}: {reason}", escape(.name))]
    Name {
        /// The name.
        name: Vec<u8>,
        /// Which rule it breaks.
        reason: String,
    },
    /// Sizes and numbers contradict each other.
    #[error("channel {channel}: the peer broke the protocol: {what}")]
    Broken {
        /// The channel.
        channel: String,
        /// How.
        what: String,
    },
    /// An image came that the caller has no room for.
    #[error("{reason}")]
    Unwanted {
        /// Why not.
        reason: String,
    },
    /// There is no memory for what the peer announces, although it may.
    #[error("no memory for an image of {bytes} bytes")]
    NoMemory {
        /// How much it takes.
        bytes: u64,
    },
}

impl ImageError {
    /// The exit code, as for [`crate::Error::exit_code`].
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Refused { .. } | Self::Name { .. } | Self::Unwanted { .. } => 1,
            Self::InUse { .. }
            | Self::Foreign { .. }
            | Self::NoProvider { .. }
            | Self::NoRequest { .. }
            | Self::NoMemory { .. } => 3,
            Self::Silent { .. } | Self::ProviderDied { .. } | Self::Broken { .. } => 4,
        }
    }

    /// What the reader of the message can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::InUse { .. } => {
                Some("choose another channel, stop that program, or take the channel away from it: --force".to_owned())
            }
            Self::Foreign { object, .. } => Some(format!(
                "choose another channel, or have that user or root remove it: rm /dev/shm/{}; a provider accepts the \
                 channel of another user with --requester-uid",
                object.as_str()
            )),
            Self::NoProvider { channel, .. } => Some(format!(
                "start one: shmeld image provide {channel} DIR; or wait longer: --timeout forever"
            )),
            Self::NoRequest { channel, .. } => Some(format!(
                "ask for something: shmeld image request {channel} NAME; or wait longer: --timeout forever"
            )),
            Self::Silent { .. } => Some(
                "it may be slow: wait longer with --timeout; a provider that is another program may have to be started again, \
                 because what it still holds was replaced"
                    .to_owned(),
            ),
            _ => None,
        }
    }

    /// Whether the channel is as good as before: the peer did nothing wrong and nothing is under way.
    pub(super) fn leaves_channel_usable(&self) -> bool {
        matches!(
            self,
            Self::Refused { .. } | Self::Name { .. } | Self::Unwanted { .. } | Self::NoMemory { .. }
        )
    }
}
