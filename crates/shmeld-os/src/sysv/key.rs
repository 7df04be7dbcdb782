//! The number under which strangers find the same System V object.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use rustix::io::{Errno, retry_on_intr};

use crate::{Error, Result, explain};

/// `key_t`: a number that processes agree on, as the name of an object.
///
/// It prints as `ipcs` prints it, `0x00001234`, and is read from hexadecimal digits behind `0x` or from decimal ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(libc::key_t);

impl Key {
    /// `IPC_PRIVATE`: no key at all. Each creation makes another object, which only its number finds.
    #[doc(alias = "IPC_PRIVATE")]
    pub const PRIVATE: Self = Self(libc::IPC_PRIVATE);

    /// The key with these 32 bits. Zero is [`Key::PRIVATE`].
    #[must_use]
    pub const fn new(bits: u32) -> Self {
        Self(bits.cast_signed())
    }

    /// `ftok(path, project)`: a key made of 16 bits of the file's inode number, 8 bits of its device and the project number.
    ///
    /// Different files can give the same key, and a file that was replaced gives another one than before. The key 0xffffffff is one like all
    /// others here; programs in C take it for a failure of `ftok`, and need another project number.
    ///
    /// # Errors
    /// What `stat` says of the path; EINVAL for project 0, which POSIX leaves undefined, and for a path with a NUL.
    ///
    /// See [ftok(3)](https://man7.org/linux/man-pages/man3/ftok.3.html).
    #[doc(alias = "ftok")]
    pub fn of_file(path: &Path, project: u8) -> Result<Self> {
        let fail = |errno| Error::new("ftok", path.to_string_lossy(), errno);
        if project == 0 {
            return Err(fail(Errno::INVAL));
        }
        // Not the C library's function: it gives -1 for a file with such numbers, as for a failure.
        let stat = retry_on_intr(|| rustix::fs::stat(path)).map_err(fail)?;
        let key = Self::of_numbers(stat.st_ino, stat.st_dev, project);
        let warning = if key == Self::MINUS_ONE {
            "; programs in C take this key for a failure of ftok: choose another project"
        } else {
            ""
        };
        explain!(
            "ftok",
            path.display(),
            format_args!("the key {key} is made of this file's numbers and project {project}{warning}")
        );
        Ok(key)
    }

    const MINUS_ONE: Self = Self(-1);

    fn of_numbers(inode: u64, device: u64, project: u8) -> Self {
        let of_file = (device & 0xff) << 16 | inode & 0xffff;
        Self::new(u32::from(project) << 24 | u32::try_from(of_file).unwrap_or_default())
    }

    /// The 32 bits.
    #[must_use]
    pub const fn bits(self) -> u32 {
        self.0.cast_unsigned()
    }

    /// Whether this is no key: see [`Key::PRIVATE`].
    #[must_use]
    pub const fn is_private(self) -> bool {
        self.0 == libc::IPC_PRIVATE
    }

    pub(super) const fn raw(self) -> libc::key_t {
        self.0
    }
}

impl fmt::Display for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:#010x}", self.bits())
    }
}

/// A text is no key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no key; write a number of at most 32 bits, in hexadecimal with 0x or in decimal without leading zeros"
)]
pub struct KeyError(String);

impl FromStr for Key {
    type Err = KeyError;

    /// A leading zero means octal to C and `ipcrm`, and decimal to everybody else: it is refused.
    fn from_str(text: &str) -> Result<Self, KeyError> {
        let (digits, radix) = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
            Some(digits) => (digits, 16),
            None => (text, 10),
        };
        let is_plain = digits.chars().all(|digit| digit.is_digit(radix))
            && (radix == 16 || digits == "0" || !digits.starts_with('0'));
        let bits = is_plain
            .then(|| u32::from_str_radix(digits, radix).ok())
            .flatten();
        bits.map(Self::new).ok_or_else(|| KeyError(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_prints_as_ipcs_prints_it() {
        assert_eq!(Key::new(0x1234).to_string(), "0x00001234");
        assert_eq!(Key::new(u32::MAX).to_string(), "0xffffffff");
        assert_eq!(Key::new(u32::MAX).bits(), u32::MAX);
        assert!(Key::new(0).is_private());
    }

    /// The C library gives -1 for such a file and no reason, which was a panic here.
    #[test]
    fn key_of_a_file_can_have_all_bits() {
        assert_eq!(Key::of_numbers(0x1234_ffff, 0xabff, 255), Key::new(u32::MAX));
        assert_eq!(Key::of_numbers(0x000a_0001, 0x0103, 0x41), Key::new(0x4103_0001));
    }

    #[test]
    fn keys_are_read_from_decimal_and_hexadecimal_digits() {
        for (text, bits) in [
            ("0", 0),
            ("5678", 5678),
            ("4294967295", u32::MAX),
            ("0x1234", 0x1234),
            ("0x00001234", 0x1234),
            ("0XffffFFFF", u32::MAX),
        ] {
            assert_eq!(text.parse(), Ok(Key::new(bits)), "{text}");
        }
        for text in [
            "",
            "0x",
            "0x+1",
            "0x1_0",
            "010",
            "00",
            "-1",
            "+5",
            "0x100000000",
            "4294967296",
            "x12",
            "1 ",
            "#1",
        ] {
            assert!(text.parse::<Key>().is_err(), "{text}");
        }
    }
}
