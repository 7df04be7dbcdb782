//! What can go wrong with a bridge as a whole. What goes wrong with one name is a refusal, which the client at the other end reads.

/// See the module.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A value that cannot be.
    #[error("{0}")]
    Usage(String),
    /// Zenoh refuses.
    #[error("{operation} {object}: {reason}")]
    Zenoh {
        /// What was tried.
        operation: &'static str,
        /// With what.
        object: String,
        /// What zenoh says.
        reason: String,
    },
    /// The local side refuses.
    #[error(transparent)]
    Local(#[from] shmeld::Error),
}

impl From<shmeld::os::Error> for Error {
    fn from(error: shmeld::os::Error) -> Self {
        Self::Local(error.into())
    }
}

impl Error {
    /// What zenoh said of an operation.
    pub(crate) fn zenoh(operation: &'static str, object: &str, reason: &zenoh::Error) -> Self {
        Self::Zenoh {
            operation,
            object: object.to_owned(),
            reason: reason.to_string(),
        }
    }

    /// The exit code of a program that ends with it: section "Exit codes" of the README.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) => 2,
            Self::Zenoh { .. } => 3,
            Self::Local(error) => error.exit_code(),
        }
    }

    /// What the user can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Usage(_) => None,
            Self::Zenoh { .. } => Some(
                "zenoh's own log tells more: look at the endpoints of --connect, --listen and --config"
                    .to_owned(),
            ),
            Self::Local(error) => error.hint(),
        }
    }
}
