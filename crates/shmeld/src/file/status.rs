//! What became of a request, a name, a region or a session: one list of numbers for all four, docs/PROTOCOL.md section 5.

use std::fmt;

macro_rules! statuses {
    ($($number:literal $variant:ident $name:literal $text:literal)*) => {
        /// What became of a request, a name, a region or a session.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u16)]
        pub enum Status {
            $(#[doc = $text] $variant = $number,)*
        }

        impl Status {
            /// Every status, in the order of its number.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The status with this number, if there is one.
            #[must_use]
            pub fn from_code(code: u16) -> Option<Self> {
                match code { $($number => Some(Self::$variant),)* _ => None }
            }
            /// The name as it stands in messages: `FNF`.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }
            /// A short text that says it.
            #[must_use]
            pub fn text(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }
        }
    };
}

statuses! {
    0 Ok "OK" "done"
    1 Fnf "FNF" "no such file"
    2 Denied "DENIED" "the server may not or will not read it"
    3 NotAFile "NOT_A_FILE" "not a regular file"
    4 Changed "CHANGED" "the source changed while it was read"
    5 TooLarge "TOO_LARGE" "larger than the server's --file-max"
    6 NameTooLong "NAME_TOO_LONG" "the name is too long"
    7 BadName "BAD_NAME" "the name is empty or contains NUL"
    8 Busy "BUSY" "a limit of the server is reached"
    9 Io "IO" "reading failed"
    10 Unsupported "UNSUPPORTED" "this server does not know that request"
    11 Cancelled "CANCELLED" "cancelled by the client"
    12 Misbehaved "MISBEHAVED" "the peer broke the protocol"
    13 Stalled "STALLED" "the peer did nothing for too long"
    14 Stopping "STOPPING" "the server is shutting down"
    15 BadRegion "BAD_REGION" "the region is not as the protocol wants it"
}

impl Status {
    /// The number on the wire.
    #[must_use]
    pub fn code(self) -> u16 {
        self as u16
    }
}

impl fmt::Display for Status {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// Why something asked for is not delivered: a number for programs and a text for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Never [`Status::Ok`].
    pub status: Status,
    /// A short text.
    pub text: String,
}

impl Refusal {
    /// A refusal with a text of its own.
    #[must_use]
    pub fn new(status: Status, text: impl Into<String>) -> Self {
        Self {
            status,
            text: text.into(),
        }
    }
}

impl From<Status> for Refusal {
    fn from(status: Status) -> Self {
        Self::new(status, status.text())
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} ({})", self.text, self.status)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_survives_its_number_and_others_are_unknown() {
        for (number, status) in Status::ALL.iter().enumerate() {
            assert_eq!(usize::from(status.code()), number);
            assert_eq!(Status::from_code(status.code()), Some(*status));
        }
        assert_eq!(Status::from_code(Status::ALL.len() as u16), None);
    }
}
