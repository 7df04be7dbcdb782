//! A key by the file that it is made of.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use super::Key;
use crate::Result;

/// What `ftok` makes a key of. It prints as it is written: `/etc/hostname:65`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileKey {
    path: PathBuf,
    project: u8,
}

/// A text is no file and project.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no PATH:ID; ID is a number from 1 to 255, or one character, as in /etc/hostname:A")]
pub struct FileKeyError(String);

impl FileKey {
    /// The key, made of the file now: see [`Key::of_file`].
    ///
    /// # Errors
    /// As there.
    pub fn key(&self) -> Result<Key> {
        Key::of_file(&self.path, self.project)
    }
}

impl FromStr for FileKey {
    type Err = FileKeyError;

    /// The path may have colons: the last one counts.
    fn from_str(text: &str) -> Result<Self, FileKeyError> {
        let parts = text.rsplit_once(':').filter(|(path, _)| !path.is_empty());
        let parts = parts.and_then(|(path, project)| Some((path.into(), project_of(project)?)));
        parts
            .map(|(path, project)| Self { path, project })
            .ok_or_else(|| FileKeyError(text.to_owned()))
    }
}

/// A number, or a character as in `ftok(path, 'A')`. Zero is left undefined by POSIX.
fn project_of(text: &str) -> Option<u8> {
    match text.as_bytes() {
        [character] if character.is_ascii_graphic() && !character.is_ascii_digit() => Some(*character),
        _ => {
            let number: Key = text.parse().ok()?;
            u8::try_from(number.bits()).ok().filter(|project| *project != 0)
        }
    }
}

impl fmt::Display for FileKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}", self.path.display(), self.project)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_keys_have_a_path_and_a_project() {
        for (text, path, project) in [
            ("/a:65", "/a", 65),
            ("/a:A", "/a", b'A'),
            ("/a:b:7", "/a:b", 7),
            (".:0x41", ".", 0x41),
            ("/a:255", "/a", 255),
        ] {
            let path = PathBuf::from(path);
            assert_eq!(text.parse(), Ok(FileKey { path, project }), "{text}");
        }
        for text in ["", "/a", "/a:", ":1", "/a:0", "/a:256", "/a:AB", "/a: "] {
            assert!(text.parse::<FileKey>().is_err(), "{text}");
        }
    }
}
