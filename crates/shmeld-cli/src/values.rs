//! The values that options take: sizes and durations as people write them.

use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;

use shmeld::os::ErrorKind;
use shmeld::os::sysv::{Key, KeyError};
use shmeld::os::users::group_number;

/// A number of bytes: `4096`, `64K`, `1MiB`, `2G`. All units are powers of 1024.
///
/// # Errors
/// Says what is accepted.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| size_help(text))?;
    let shift = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kib" => 10,
        "m" | "mib" => 20,
        "g" | "gib" => 30,
        "t" | "tib" => 40,
        _ => return Err(size_help(text)),
    };
    number
        .checked_mul(1 << shift)
        .ok_or_else(|| format!("{text} is more than 2^64 bytes"))
}

fn size_help(text: &str) -> String {
    format!(
        "{text:?} is no size; write bytes, or a number with K, M, G, KiB, MiB or GiB (powers of 1024), such as 64K"
    )
}

/// The size of a region: a multiple of a page, at least one.
///
/// # Errors
/// Says what is accepted.
pub fn parse_region(text: &str) -> Result<u64, String> {
    let bytes = parse_size(text)?;
    if bytes == 0 || !bytes.is_multiple_of(4096) || bytes > 1 << 30 {
        return Err(format!(
            "a region is a multiple of 4096 bytes between 4096 and 1 GiB; {bytes} is not"
        ));
    }
    Ok(bytes)
}

/// Which region a client takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RegionSize {
    /// A page where all is known to be small, else what was measured to be fast; a page too where there is no room for more.
    Auto,
    /// This many bytes and nothing else.
    Bytes(u64),
}

/// `auto`, or the size of a region.
///
/// # Errors
/// Says what is accepted.
pub fn parse_region_size(text: &str) -> Result<RegionSize, String> {
    if text == "auto" {
        Ok(RegionSize::Auto)
    } else {
        parse_region(text).map(RegionSize::Bytes)
    }
}

/// A time to wait; `None` is for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wait(pub Option<Duration>);

/// A duration or `forever`: `500ms`, `10s`, `2m`.
///
/// # Errors
/// Says what is accepted.
pub fn parse_wait(text: &str) -> Result<Wait, String> {
    if text == "forever" {
        return Ok(Wait(None));
    }
    parse_duration(text).map(|duration| Wait(Some(duration)))
}

/// A duration: `500ms`, `10s`, `2m`.
///
/// # Errors
/// Says what is accepted.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    humantime::parse_duration(text)
        .map_err(|_| format!("{text:?} is no duration; write a number and a unit, such as 500ms, 10s or 2m"))
}

/// What reads a number from `first` on, up to `last` if there is one.
pub fn number<T>(
    first: T,
    last: Option<T>,
) -> impl Fn(&str) -> Result<T, String> + Clone + Send + Sync + 'static
where
    T: FromStr + PartialOrd + Display + Copy + Send + Sync + 'static,
{
    move |text| {
        let number = text.parse().ok();
        let number = number.filter(|number| *number >= first && last.is_none_or(|last| *number <= last));
        number.ok_or_else(|| {
            let end = last.map_or_else(|| "or more".to_owned(), |last| format!("to {last}"));
            format!("{text:?} is no number that can be meant here; write one of {first} {end}")
        })
    }
}

/// The number of a user. Names are not looked up: nobody who waits for a file waits for a directory of users.
///
/// # Errors
/// Says what is accepted.
pub fn parse_uid(text: &str) -> Result<u32, String> {
    text.parse()
        .map_err(|_| format!("{text:?} is no number of a user; `id -u NAME` prints it"))
}

/// The number of a group: given as such, or by its name in /etc/group.
///
/// # Errors
/// Says what is accepted.
pub fn parse_group(text: &str) -> Result<u32, String> {
    group_number(text).map_err(|error| match error.kind() {
        ErrorKind::NotFound if error.object() == text => format!(
            "/etc/group has no group {text:?}; groups that are kept elsewhere are given by number (getent group {text})"
        ),
        ErrorKind::Invalid => format!("{text} is no group"),
        _ => error.to_string(),
    })
}

/// Nine permission bits: `660`, `0660`.
///
/// # Errors
/// Says what is accepted.
pub fn parse_mode(text: &str) -> Result<u32, String> {
    let is_octal = !text.is_empty() && text.bytes().all(|digit| matches!(digit, b'0'..=b'7'));
    let mode = is_octal.then(|| u32::from_str_radix(text, 8).ok()).flatten();
    mode.filter(|mode| *mode <= 0o777)
        .ok_or_else(|| format!("{text:?} is no mode; write nine bits in octal, such as 0660"))
}

/// An address of memory: `0x7f0000000000`.
///
/// # Errors
/// Says what is accepted.
pub fn parse_address(text: &str) -> Result<usize, String> {
    let digits = text.strip_prefix("0x").unwrap_or(text);
    let is_hexadecimal = !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    let address = is_hexadecimal
        .then(|| usize::from_str_radix(digits, 16).ok())
        .flatten();
    address.ok_or_else(|| format!("{text:?} is no address; write it in hexadecimal, such as 0x7f0000000000"))
}

/// Whom something is given to; `None` leaves what is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    pub uid: Option<u32>,
    pub gid: Option<u32>,
}

/// `UID`, `UID:GID` or `:GID`, as numbers.
///
/// # Errors
/// Says what is accepted.
pub fn parse_owner(text: &str) -> Result<Owner, String> {
    let help = || format!("{text:?} is no owner; write numbers: UID, UID:GID or :GID");
    let number = |part: &str| -> Result<Option<u32>, String> {
        if part.is_empty() {
            return Ok(None);
        }
        // The largest number means "nobody" to the kernel.
        let number = part
            .parse()
            .ok()
            .filter(|number| *number != u32::MAX && !part.starts_with('+'));
        number.map(Some).ok_or_else(help)
    };
    let (uid, gid) = text.split_once(':').unwrap_or((text, ""));
    let owner = Owner {
        uid: number(uid)?,
        gid: number(gid)?,
    };
    if owner.uid.or(owner.gid).is_none() {
        return Err(help());
    }
    Ok(owner)
}

/// A key that others can find something under: `0x1234` or `5678`.
///
/// # Errors
/// Says what is accepted.
pub fn parse_key(text: &str) -> Result<Key, String> {
    let key: Key = text.parse().map_err(|error: KeyError| error.to_string())?;
    if key.is_private() {
        return Err("key 0 is IPC_PRIVATE, under which nobody finds anything".to_owned());
    }
    Ok(key)
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

/// A number of bytes, exactly: `1 byte`, `4096 bytes`.
#[must_use]
pub fn count_bytes(bytes: u64) -> String {
    format!("{bytes} byte{}", if bytes == 1 { "" } else { "s" })
}

/// A number of bytes for people: `25.1 KiB`.
#[must_use]
pub fn show_size(bytes: u64) -> String {
    let mut amount = bytes as f64;
    let mut unit = "B";
    for next in ["KiB", "MiB", "GiB", "TiB"] {
        if amount < 1024.0 {
            break;
        }
        amount /= 1024.0;
        unit = next;
    }
    if unit == "B" {
        format!("{bytes} B")
    } else {
        format!("{amount:.1} {unit}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_powers_of_1024() {
        for (text, bytes) in [
            ("0", 0),
            ("4096", 4096),
            ("64K", 65536),
            ("64KiB", 65536),
            ("1m", 1 << 20),
            ("2GiB", 2 << 30),
        ] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn what_is_no_size_is_refused_with_an_example() {
        for text in ["", "K", "-1", "1.5M", "1KB", "1 M", "99999999999G"] {
            assert!(parse_size(text).is_err(), "{text}");
        }
        assert_eq!(parse_region_size("auto"), Ok(RegionSize::Auto));
        assert_eq!(parse_region_size("64K"), Ok(RegionSize::Bytes(65536)));
        assert!(parse_region_size("Auto").is_err());
        assert!(parse_region("4097").is_err() && parse_region("0").is_err() && parse_region("2G").is_err());
    }

    #[test]
    fn modes_are_nine_octal_bits() {
        assert_eq!((parse_mode("660"), parse_mode("0660")), (Ok(0o660), Ok(0o660)));
        assert_eq!((parse_mode("0"), parse_mode("777")), (Ok(0), Ok(0o777)));
        for text in ["", "8", "1777", "-1", "+7", "0o660", "rw", "99999999999"] {
            assert!(parse_mode(text).is_err(), "{text}");
        }
    }

    #[test]
    fn addresses_are_hexadecimal() {
        assert_eq!(parse_address("0x7f0000000000"), Ok(0x7f00_0000_0000));
        assert_eq!(parse_address("1000"), Ok(0x1000));
        for text in ["", "0x", "x", "-1", "+1", "0x1g", "0x10000000000000000"] {
            assert!(parse_address(text).is_err(), "{text}");
        }
    }

    #[test]
    fn owners_are_numbers() {
        let owner = |uid, gid| Ok(Owner { uid, gid });
        assert_eq!(parse_owner("1000"), owner(Some(1000), None));
        assert_eq!(parse_owner("0:5"), owner(Some(0), Some(5)));
        assert_eq!(parse_owner(":5"), owner(None, Some(5)));
        assert_eq!(parse_owner("5:"), owner(Some(5), None));
        for text in [
            "",
            ":",
            "root",
            "1:x",
            "-1",
            "+1",
            "4294967295",
            "4294967296",
            "1:2:3",
        ] {
            assert!(parse_owner(text).is_err(), "{text}");
        }
    }

    #[test]
    fn key_and_mark_of_a_board() {
        assert_eq!(parse_key("0x1234"), Ok(Key::new(0x1234)));
        assert!(parse_key("0").unwrap_err().contains("IPC_PRIVATE"));
        assert!(parse_key("010").unwrap_err().contains("leading zeros"));
        assert_eq!(parse_mark("*"), Ok(b'*'));
        assert!(parse_mark("").is_err() && parse_mark("**").is_err() && parse_mark("ä").is_err());
    }

    #[test]
    fn durations_have_units_or_are_forever() {
        assert_eq!(parse_wait("forever"), Ok(Wait(None)));
        assert_eq!(parse_wait("500ms"), Ok(Wait(Some(Duration::from_millis(500)))));
        assert_eq!(parse_duration("2m"), Ok(Duration::from_secs(120)));
        assert_eq!(parse_duration("0"), Ok(Duration::ZERO));
        assert!(
            parse_duration("5").is_err() && parse_duration("-1s").is_err() && parse_duration("").is_err()
        );
    }

    /// It was "invalid digit found in string".
    #[test]
    fn numbers_that_are_none_are_refused_with_what_to_write() {
        assert_eq!(
            (number(1, Some(9))("9"), number(0, None)("0"), parse_uid("0")),
            (Ok(9), Ok(0), Ok(0))
        );
        for text in ["0", "10", "x", "", "-1", "1.5"] {
            let refusal = number(1_u32, Some(9))(text).unwrap_err();
            assert!(refusal.ends_with("write one of 1 to 9"), "{refusal}");
        }
        let refusal = number(1_u64, None)("18446744073709551616").unwrap_err();
        assert!(refusal.ends_with("write one of 1 or more"), "{refusal}");
        for text in ["bob", "", "-1", "4294967296"] {
            assert!(parse_uid(text).unwrap_err().contains("id -u NAME"), "{text}");
        }
    }

    #[test]
    fn a_group_that_is_none_is_refused_with_what_to_do() {
        assert_eq!((parse_group("0"), parse_group("root")), (Ok(0), Ok(0)));
        let refusal = parse_group("no-such-group-here").unwrap_err();
        assert!(
            refusal.contains("/etc/group") && refusal.contains("by number"),
            "{refusal}"
        );
        assert!(parse_group("4294967295").is_err() && parse_group("").is_err());
    }

    #[test]
    fn sizes_are_shown_with_one_digit_behind_the_point() {
        assert_eq!(
            (show_size(0), show_size(1023), show_size(1536)),
            ("0 B".into(), "1023 B".into(), "1.5 KiB".into())
        );
    }
}
