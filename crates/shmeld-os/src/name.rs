//! Names of kernel objects, checked before any system call, and the escaping of names in messages.
//!
//! `shm_open("..")` succeeds and returns a directory, `"///x"` is `"/x"`, and a newline or an escape
//! sequence is accepted. None of this gets past [`ObjectName`].
//!
//! ```
//! use shmeld_os::name::escape;
//! use shmeld_os::ObjectName;
//!
//! for unsound in ["", "/", "..", "/a/b", "/a\n", "///a"] {
//!     assert!(ObjectName::new(unsound).is_err(), "{unsound:?}");
//! }
//! assert_eq!(escape(b"\x1b[2Jframes"), "\\x1b[2Jframes"); // what strangers call their files
//! ```

use std::ffi::CString;
use std::fmt::{self, Write as _};
use std::str::FromStr;

/// The longest name of a file on tmpfs.
const KERNEL_BYTES_MAX: usize = 255;

/// The name of a POSIX message queue, shared memory object or named semaphore, without its slash.
///
/// One path component of 1 to [`ObjectName::BYTES_MAX`] bytes without control characters, not `.` or `..`.
/// It prints as users write it, with a leading slash.
///
/// ```
/// use shmeld_os::ObjectName;
///
/// let name = ObjectName::new("/frames")?;
/// assert_eq!(name.as_str(), "frames");
/// assert_eq!(name.to_string(), "/frames");
/// assert!(ObjectName::new("..").is_err());
/// # Ok::<(), shmeld_os::name::NameError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectName(String);

impl ObjectName {
    /// The longest name in bytes. The kernel allows 255; the difference is room for the prefixes and
    /// suffixes that are put around a user's name.
    pub const BYTES_MAX: usize = 200;

    /// Checks a name, written with or without its one leading slash.
    ///
    /// # Errors
    /// [`NameError`] says which rule the name breaks.
    pub fn new(name: &str) -> Result<Self, NameError> {
        let bare = name.strip_prefix('/').unwrap_or(name);
        if bare.is_empty() {
            return Err(NameError::Empty);
        }
        if bare == "." || bare == ".." {
            return Err(NameError::Dots);
        }
        if bare.contains('/') {
            return Err(NameError::Slash);
        }
        if bare.chars().any(is_unprintable) {
            return Err(NameError::Control);
        }
        if bare.len() > Self::BYTES_MAX {
            return Err(NameError::TooLong {
                bytes_max: Self::BYTES_MAX,
            });
        }
        Ok(ObjectName(bare.to_owned()))
    }

    /// This name between two parts of ours: `SEG_` and `_HEAD` make `SEG_frames_HEAD`. It may be longer than [`ObjectName::BYTES_MAX`].
    ///
    /// # Panics
    /// If the parts are no part of a name, or leave the kernel's 255 bytes: they are fixed texts of the caller.
    #[must_use]
    pub fn between(&self, prefix: &'static str, suffix: &'static str) -> Self {
        let has_room = prefix.len() + suffix.len() <= KERNEL_BYTES_MAX - Self::BYTES_MAX;
        let is_sound = |part: &str| !part.chars().any(|letter| letter == '/' || is_unprintable(letter));
        assert!(
            has_room && is_sound(prefix) && is_sound(suffix),
            "{prefix:?}, {suffix:?}"
        );
        ObjectName(format!("{prefix}{}{suffix}", self.0))
    }

    /// The name without its slash, as it appears in `/dev/shm`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name with its slash, as the C calls want it.
    pub fn with_slash(&self) -> CString {
        // A checked name holds no NUL, so the conversion cannot fail; the fallback is a name that every
        // call refuses.
        CString::new(format!("/{}", self.0)).unwrap_or_default()
    }
}

impl fmt::Display for ObjectName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "/{}", self.0)
    }
}

impl FromStr for ObjectName {
    type Err = NameError;

    fn from_str(name: &str) -> Result<Self, NameError> {
        ObjectName::new(name)
    }
}

/// Which rule a name breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// Nothing is left after the slash.
    #[error("an object name must not be empty")]
    Empty,
    /// `.` and `..` are directories.
    #[error("an object name must not be . or ..")]
    Dots,
    /// The kernel's name spaces for objects are flat.
    #[error("an object name has no / after its first character")]
    Slash,
    /// NUL, newline, escape and the like.
    #[error("an object name must not contain control characters")]
    Control,
    /// Too many bytes.
    #[error("the name has at most {bytes_max} bytes")]
    TooLong {
        /// As many as it may have.
        bytes_max: usize,
    },
}

/// Makes any bytes printable in a message: text stays, everything else becomes an escape.
///
/// Valid UTF-8 is kept. Control characters, invalid bytes and backslashes become `\n`, `\t`, `\x1b`,
/// `\xff`, `\\`; characters that reorder or hide text become `\u{202e}`. Different bytes always give
/// different text.
///
/// ```
/// use shmeld_os::name::escape;
///
/// assert_eq!(escape("grün".as_bytes()), "grün");
/// assert_eq!(escape(b"a\n\x1b[2J\xff"), "a\\n\\x1b[2J\\xff");
/// ```
pub fn escape(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '\\' => text.push_str("\\\\"),
                _ => push_printable(&mut text, character),
            }
        }
        for byte in chunk.invalid() {
            push_byte(&mut text, *byte);
        }
    }
    text
}

/// Escapes what could drive a terminal and leaves backslashes alone, so that doing it twice changes nothing.
pub fn escape_controls(text: String) -> String {
    if !text.chars().any(is_unprintable) {
        return text;
    }
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        push_printable(&mut escaped, character);
    }
    escaped
}

fn push_printable(text: &mut String, character: char) {
    match character {
        '\n' => text.push_str("\\n"),
        '\r' => text.push_str("\\r"),
        '\t' => text.push_str("\\t"),
        _ if character.is_ascii_control() => push_byte(text, character as u8),
        _ if is_unprintable(character) => {
            // Writing to a String cannot fail.
            let _ = write!(text, "\\u{{{:x}}}", u32::from(character));
        }
        _ => text.push(character),
    }
}

fn push_byte(text: &mut String, byte: u8) {
    let _ = write!(text, "\\x{byte:02x}");
}

/// Control characters, and the invisible ones that reorder or break lines of text (a name such as
/// `gpj.<U+202E>exe` must not read as something else).
fn is_unprintable(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{061c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{feff}' | '\u{fff9}'..='\u{fffb}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_name_is_taken_with_or_without_its_slash() {
        let with = ObjectName::new("/frames").expect("valid");
        let without = ObjectName::new("frames").expect("valid");
        assert_eq!(with, without);
        assert_eq!(with.as_str(), "frames");
        assert_eq!(with.to_string(), "/frames");
        assert_eq!(with.with_slash().as_bytes(), b"/frames");
    }

    #[test]
    fn every_rule_has_its_own_error() {
        for (name, error) in [
            ("", NameError::Empty),
            ("/", NameError::Empty),
            (".", NameError::Dots),
            ("/..", NameError::Dots),
            ("//x", NameError::Slash),
            ("a/b", NameError::Slash),
            ("x/", NameError::Slash),
            ("a\0b", NameError::Control),
            ("a\nb", NameError::Control),
            ("a\u{1b}[m", NameError::Control),
            ("a\u{202e}b", NameError::Control),
        ] {
            assert_eq!(ObjectName::new(name), Err(error), "{name:?}");
        }
        assert!(ObjectName::new(&"x".repeat(200)).is_ok());
        assert_eq!(
            ObjectName::new(&"x".repeat(201)),
            Err(NameError::TooLong { bytes_max: 200 })
        );
        assert!(ObjectName::new("...").is_ok());
    }

    #[test]
    fn a_name_between_two_parts_may_be_longer_than_a_name() {
        let name = ObjectName::new(&"x".repeat(200)).expect("valid");
        let whole = name.between("sem.SEM_", "_REQ");
        assert_eq!((whole.as_str().len(), &whole.as_str()[..9]), (212, "sem.SEM_x"));
    }

    #[test]
    fn escapes_are_the_ones_people_know() {
        assert_eq!(escape(b"plain"), "plain");
        assert_eq!(escape(b"\n\r\t\x1b\\\x00\x7f"), "\\n\\r\\t\\x1b\\\\\\x00\\x7f");
        assert_eq!(escape(b"ok\xffok\xc3"), "ok\\xffok\\xc3");
        assert_eq!(escape("\u{9b}".as_bytes()), "\\u{9b}");
    }

    /// Reads an escaped text back, to prove that nothing is lost.
    fn unescape(text: &str) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut rest = text.chars();
        while let Some(character) = rest.next() {
            if character != '\\' {
                bytes.extend_from_slice(character.to_string().as_bytes());
                continue;
            }
            match rest.next().expect("an escape goes on") {
                'n' => bytes.push(b'\n'),
                'r' => bytes.push(b'\r'),
                't' => bytes.push(b'\t'),
                '\\' => bytes.push(b'\\'),
                'x' => {
                    let digits: String = rest.by_ref().take(2).collect();
                    bytes.push(u8::from_str_radix(&digits, 16).expect("two digits"));
                }
                'u' => {
                    let digits: String = rest.by_ref().skip(1).take_while(|c| *c != '}').collect();
                    let code = u32::from_str_radix(&digits, 16).expect("digits");
                    bytes
                        .extend_from_slice(char::from_u32(code).expect("a character").to_string().as_bytes());
                }
                other => panic!("unknown escape {other}"),
            }
        }
        bytes
    }

    proptest! {
        #[test]
        fn escaped_text_is_printable_and_can_be_read_back(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            let text = escape(&bytes);
            prop_assert!(!text.chars().any(is_unprintable));
            prop_assert_eq!(unescape(&text), bytes);
            prop_assert_eq!(escape_controls(text.clone()), text);
        }

        #[test]
        fn an_accepted_name_is_one_harmless_component(name in any::<String>()) {
            if let Ok(name) = ObjectName::new(&name) {
                prop_assert!(!name.as_str().contains('/') && !name.as_str().contains('\0'));
                prop_assert!(!name.as_str().is_empty() && name.as_str().len() <= ObjectName::BYTES_MAX);
                prop_assert_eq!(name.with_slash().as_bytes().len(), name.as_str().len() + 1);
                prop_assert_eq!(ObjectName::new(&name.to_string()), Ok(name));
            }
        }
    }
}
