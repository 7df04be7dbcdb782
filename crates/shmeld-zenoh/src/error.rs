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
            reason: words_of(reason),
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
            Self::Zenoh { .. } => {
                Some("look at the endpoints of --connect, --listen and --config".to_owned())
            }
            Self::Local(error) => error.hint(),
        }
    }
}

/// What zenoh says, without the lines of its source files: ` at /home/.../tcp.rs:61.` is nothing to a user, and names a folder of whoever
/// built this.
pub(crate) fn words_of(error: &dyn std::fmt::Display) -> String {
    let mut text = error.to_string();
    let mut from = 0;
    while let Some(start) = text[from..].find(" at /").map(|at| from + at) {
        let place = &text[start + 4..];
        let path = &place[..place.find(char::is_whitespace).unwrap_or(place.len())];
        let Some(number) = path.find(".rs:").map(|at| at + 4) else {
            from = start + 4;
            continue;
        };
        let rest = path[number..].trim_start_matches(|digit: char| digit.is_ascii_digit());
        let rest = rest.strip_prefix('.').unwrap_or(rest);
        let end = start + 4 + path.len() - rest.len();
        text.replace_range(start..end, "");
        from = start;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_zenoh_have_no_lines_of_source_files() {
        for (said, told) in [
            ("no such file at /a b.json5", "no such file at /a b.json5"),
            (
                "[x (os error 99) at /u/link-1.10/src/tcp.rs:61.] at /u/unicast.rs:338.",
                "[x (os error 99)]",
            ),
            (
                "nowhere at /u/endpoint.rs:615.\", more }) at /u/c.rs:86.",
                "nowhere\", more })",
            ),
            ("é at /é.rs:", "é"),
            (" at / at /.rs:7 at /x", " at / at /x"),
            ("", ""),
        ] {
            assert_eq!(words_of(&said), told);
        }
    }
}
