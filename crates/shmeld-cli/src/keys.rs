//! Keys of System V objects as people write them.

use std::path::PathBuf;

use shmeld::os::sysv::Key;

/// A key by its number: `0x1234` or `5678`.
///
/// # Errors
/// Says what is accepted.
pub fn parse_key(text: &str) -> Result<Key, String> {
    let help = || format!("{text:?} is no key; write a number of 1 to 4294967295 such as 5678, or 0x1234");
    let number = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_hexdigit()) => {
            u32::from_str_radix(digits, 16)
        }
        // C would take a leading zero for octal; nobody says what was meant.
        None if text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0') => text.parse(),
        _ => return Err(help()),
    };
    match number {
        Ok(0) => Err("key 0 is IPC_PRIVATE, under which nobody finds anything".to_owned()),
        Ok(bits) => Ok(Key::new(bits)),
        Err(_) => Err(help()),
    }
}

/// A key that is made of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileKey {
    pub path: PathBuf,
    /// The project number of `ftok`.
    pub project: u8,
}

/// A file and a project number for `ftok`: `/etc/hostname:65`, or `/etc/hostname:A`, which is the same.
///
/// # Errors
/// Says what is accepted.
pub fn parse_file_key(text: &str) -> Result<FileKey, String> {
    let help = || {
        format!(
            "{text:?} is no PATH:ID; ID is a number of 1 to 255, or one character, such as /etc/hostname:A"
        )
    };
    let (path, id) = text.rsplit_once(':').ok_or_else(help)?;
    let project = match (id.parse(), id.as_bytes()) {
        (Ok(number), _) => number,
        (Err(_), [letter]) => *letter,
        _ => return Err(help()),
    };
    if path.is_empty() || project == 0 {
        return Err(help());
    }
    Ok(FileKey {
        path: PathBuf::from(path),
        project,
    })
}

/// The character of `--ack`: one byte that is not NUL.
///
/// # Errors
/// Says what is accepted.
pub fn parse_mark(text: &str) -> Result<u8, String> {
    match text.as_bytes() {
        [byte] if *byte != 0 => Ok(*byte),
        _ => Err(format!("{text:?} is not one character of ASCII, such as *")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_decimal_or_hexadecimal() {
        for (text, bits) in [
            ("5678", 5678),
            ("0x1234", 0x1234),
            ("0XABCDEF01", 0xabcd_ef01),
            ("4294967295", u32::MAX),
        ] {
            assert_eq!(parse_key(text), Ok(Key::new(bits)), "{text}");
        }
        for text in [
            "",
            "0",
            "0x0",
            "0x",
            "010",
            "-1",
            "+5",
            "0x+1",
            "0x100000000",
            "4294967296",
            "x12",
            "1 ",
        ] {
            assert!(parse_key(text).is_err(), "{text}");
        }
    }

    #[test]
    fn file_keys_have_a_path_and_a_project() {
        let key = |path: &str, project| {
            let path = PathBuf::from(path);
            Ok(FileKey { path, project })
        };
        assert_eq!(parse_file_key("/a:65"), key("/a", 65));
        assert_eq!(parse_file_key("/a:A"), key("/a", 65));
        assert_eq!(parse_file_key("/a:b:7"), key("/a:b", 7));
        for text in ["/a", "/a:", ":1", "/a:0", "/a:256", "/a:AB"] {
            assert!(parse_file_key(text).is_err(), "{text}");
        }
    }

    #[test]
    fn mark_is_one_byte() {
        assert_eq!(parse_mark("*"), Ok(b'*'));
        assert!(parse_mark("").is_err() && parse_mark("**").is_err() && parse_mark("ä").is_err());
    }
}
