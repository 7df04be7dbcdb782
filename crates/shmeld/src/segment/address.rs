//! Which segment: one form of text for both families.

use std::fmt;
use std::str::FromStr;

use shmeld_os::ObjectName;
use shmeld_os::name::NameError;
use shmeld_os::sysv::{FileKey, FileKeyError, Key, KeyError};

/// Where a segment is found. It prints as it is written.
///
/// ```
/// use shmeld::segment::Address;
///
/// for text in ["sysv:0x00001234", "sysv:#17", "sysv:ftok:/etc/passwd:65", "posix:/frames"] {
///     assert_eq!(text.parse::<Address>()?.to_string(), text);
/// }
/// assert_eq!("sysv:4660".parse::<Address>()?.to_string(), "sysv:0x00001234");
/// # Ok::<(), shmeld::segment::AddressError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// A System V segment.
    Sysv(SysvAddress),
    /// A POSIX segment: its name.
    Posix(ObjectName),
}

/// Where a System V segment is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SysvAddress {
    /// By its key.
    Key(Key),
    /// By the number that the kernel gave it.
    Id(i32),
    /// By the key that `ftok` makes of a file and a project number.
    File(FileKey),
}

/// Why a text is no address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AddressError {
    /// It does not begin with a family.
    #[error("{0:?} names no segment; write sysv:0xKEY, sysv:#ID, sysv:ftok:PATH:ID or posix:/name")]
    Family(String),
    /// It is the address of something else.
    #[error("{address:?} is {what}, and this is for segments; {removal}")]
    OtherKind {
        /// What was written.
        address: String,
        /// What has such an address.
        what: &'static str,
        /// How it is removed.
        removal: &'static str,
    },
    /// The key is no number of 32 bits.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The number after `#` is none.
    #[error("{0:?} is no number of a segment; write sysv:#ID with the shmid that ipcs -m shows")]
    Id(String),
    /// What follows `ftok:` is not a path and a project.
    #[error(transparent)]
    File(#[from] FileKeyError),
    /// The name is none.
    #[error(transparent)]
    Name(#[from] NameError),
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        match text.split_once(':') {
            Some(("posix", name)) => Ok(Self::Posix(ObjectName::new(name)?)),
            Some(("sysv", place)) => Ok(Self::Sysv(place.parse()?)),
            Some((family, _)) => Err(of_other_kind(family, text)),
            None => Err(AddressError::Family(text.to_owned())),
        }
    }
}

/// What `shmeld ipc ls` shows besides segments.
fn of_other_kind(family: &str, address: &str) -> AddressError {
    let (what, removal) = match family {
        "mq" => (
            "a message queue",
            "to remove it: shmeld ipc clean, if it is stale, or rm /dev/mqueue/NAME",
        ),
        "sem" => (
            "a semaphore",
            "to remove it: shmeld ipc clean, if it is stale, or rm /dev/shm/sem.NAME",
        ),
        "sysv-sem" => (
            "a set of semaphores",
            "to remove it: shmeld ipc clean, if it is stale, or ipcrm -s ID (-S KEY)",
        ),
        "sysv-msg" => (
            "a message queue",
            "to remove it: shmeld ipc clean, if it is stale, or ipcrm -q ID (-Q KEY)",
        ),
        "memfd" | "unlinked-posix" => (
            "memory without a name",
            "it goes when the last process that has it lets go or ends",
        ),
        _ => return AddressError::Family(address.to_owned()),
    };
    let address = address.to_owned();
    AddressError::OtherKind {
        address,
        what,
        removal,
    }
}

impl FromStr for SysvAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        if let Some(number) = text.strip_prefix('#') {
            // As the decimal digits of a key, of which it has one less.
            let id: Option<Key> = number.parse().ok().filter(|_| !number.contains(['x', 'X']));
            return id
                .and_then(|id| i32::try_from(id.bits()).ok())
                .map(Self::Id)
                .ok_or_else(|| AddressError::Id(number.to_owned()));
        }
        match text.strip_prefix("ftok:") {
            Some(file) => Ok(Self::File(file.parse()?)),
            None => Ok(Self::Key(text.parse()?)),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sysv(place) => write!(formatter, "sysv:{place}"),
            Self::Posix(name) => write!(formatter, "posix:{name}"),
        }
    }
}

impl fmt::Display for SysvAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(key) => key.fmt(formatter),
            Self::Id(id) => write!(formatter, "#{id}"),
            Self::File(file) => write!(formatter, "ftok:{file}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(bits: u32) -> Address {
        Address::Sysv(SysvAddress::Key(Key::new(bits)))
    }

    #[test]
    fn every_form_is_understood() {
        let file = |text: &str| Address::Sysv(SysvAddress::File(text.parse().expect("valid")));
        for (text, address) in [
            ("sysv:0x1234", key(0x1234)),
            ("sysv:0XffffFFFF", key(u32::MAX)),
            ("sysv:5678", key(5678)),
            ("sysv:0", key(0)),
            ("sysv:4294967295", key(u32::MAX)),
            ("sysv:#0", Address::Sysv(SysvAddress::Id(0))),
            ("sysv:#2147483647", Address::Sysv(SysvAddress::Id(i32::MAX))),
            ("sysv:ftok:/tmp/a:b:7", file("/tmp/a:b:7")),
            ("sysv:ftok:.:A", file(".:65")),
            ("sysv:ftok:file:0x41", file("file:65")),
            (
                "posix:/frames",
                Address::Posix(ObjectName::new("/frames").expect("valid")),
            ),
            (
                "posix:frames",
                Address::Posix(ObjectName::new("/frames").expect("valid")),
            ),
        ] {
            assert_eq!(text.parse(), Ok(address), "{text}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused_with_what_would_be_one() {
        for (text, word) in [
            ("", "sysv:0xKEY"),
            ("0x1234", "sysv:0xKEY"),
            ("/frames", "posix:/name"),
            ("mq:/frames", "is a message queue"),
            ("sysv:", "0x"),
            ("sysv:0x", "0x"),
            ("sysv:0x1_0", "0x"),
            ("sysv:+5", "decimal"),
            ("sysv:-1", "decimal"),
            ("sysv:017", "leading zeros"),
            ("sysv:0x100000000", "32 bits"),
            ("sysv:4294967296", "32 bits"),
            ("sysv:#", "ipcs"),
            ("sysv:#-1", "ipcs"),
            ("sysv:#2147483648", "ipcs"),
            ("sysv:#0x10", "ipcs"),
            ("sysv:ftok:", "PATH:ID"),
            ("sysv:ftok:/tmp", "PATH:ID"),
            ("sysv:ftok::7", "PATH:ID"),
            ("sysv:ftok:/tmp:0", "1 to 255"),
            ("sysv:ftok:/tmp:256", "1 to 255"),
            ("sysv:ftok:/tmp:AB", "1 to 255"),
            ("posix:", "empty"),
            ("posix:/..", ".."),
            ("posix:/a/b", "no /"),
        ] {
            let error = text.parse::<Address>().expect_err(text).to_string();
            assert!(error.contains(word), "{text}: {error}");
        }
    }
}
