//! Which object somebody means, in the form of text in which the catalogue prints it. Pure, but for the file behind a key of `ftok`.

use std::fmt;
use std::str::FromStr;

use super::{Kind, Object, Place};
use crate::segment::{Address, SysvAddress};

/// The address of an object of any kind.
///
/// ```
/// use shmeld::catalogue::Wanted;
///
/// for text in ["posix:/a", "mq:/a", "sem:/a", "sysv:#17", "sysv-sem:0x00001234", "sysv-msg:#17", "memfd:#9", "unlinked-posix:#9"] {
///     assert_eq!(text.parse::<Wanted>()?.to_string(), text);
/// }
/// assert!("semaphore:/a".parse::<Wanted>().is_err());
/// # Ok::<(), shmeld::catalogue::WantedError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// A segment of shared memory, which has commands of its own.
    Segment(Address),
    /// A System V set or queue.
    Sysv(Kind, SysvAddress),
    /// Anything else: the text is compared with that of each object.
    Other(String),
}

/// Why a text is no address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct WantedError(String);

impl FromStr for Wanted {
    type Err = WantedError;

    fn from_str(text: &str) -> Result<Self, WantedError> {
        let (prefix, place) = text.split_once(':').unwrap_or((text, ""));
        let sysv = |kind| {
            let address = place
                .parse()
                .map_err(|error: crate::segment::AddressError| WantedError(error.to_string()));
            address.map(|address| Self::Sysv(kind, address))
        };
        match prefix {
            "sysv-sem" => sysv(Kind::SysvSet),
            "sysv-msg" => sysv(Kind::SysvQueue),
            "mq" | "sem" if !place.is_empty() => Ok(Self::Other(format!(
                "{prefix}:/{}",
                place.strip_prefix('/').unwrap_or(place)
            ))),
            "memfd" | "unlinked-posix" | "unlinked-sem" | "unlinked-mq" if place.starts_with('#') => {
                Ok(Self::Other(text.to_owned()))
            }
            "posix" | "sysv" => match text.parse() {
                Ok(address) => Ok(Self::Segment(address)),
                // Names of strangers can have any bytes; the catalogue prints them escaped.
                Err(_) if place.starts_with('/') => Ok(Self::Other(text.to_owned())),
                Err(error) => Err(WantedError(error.to_string())),
            },
            _ => Err(WantedError(format!(
                "{text:?} is no object; write sysv:0xKEY, sysv:#ID, sysv:ftok:PATH:ID or posix:/name for segments, sem:/name, mq:/name, \
                 sysv-sem: or sysv-msg: with the like, or what shmeld ipc ls shows"
            ))),
        }
    }
}

impl Wanted {
    /// Whether an object is meant.
    ///
    /// # Errors
    /// What `ftok` says of the file.
    pub fn is(&self, object: &Object) -> crate::Result<bool> {
        Ok(match self {
            // As it is, or as it is printed.
            Self::Segment(Address::Posix(name)) => {
                object.place == Place::Named(Kind::Segment, name.as_str().as_bytes().to_vec())
                    || object.place.to_string() == self.to_string()
            }
            Self::Segment(Address::Sysv(place)) => is_sysv(Kind::SysvSegment, place, object)?,
            Self::Sysv(kind, place) => is_sysv(*kind, place, object)?,
            Self::Other(text) => object.place.to_string() == *text,
        })
    }
}

fn is_sysv(kind: Kind, place: &SysvAddress, object: &Object) -> crate::Result<bool> {
    if object.kind() != kind {
        return Ok(false);
    }
    Ok(match place {
        SysvAddress::Id(id) => object.place == Place::Numbered(kind, *id),
        SysvAddress::Key(key) => !key.is_private() && object.key == Some(*key),
        SysvAddress::File(file) => object.key == Some(file.key()?),
    })
}

impl fmt::Display for Wanted {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Segment(address) => address.fmt(formatter),
            Self::Sysv(kind, place) => write!(formatter, "{}:{place}", kind.word()),
            Self::Other(text) => formatter.write_str(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use shmeld_os::sysv::Key;

    use super::*;

    fn is(text: &str, object: &Object) -> bool {
        text.parse::<Wanted>().expect(text).is(object).expect("no file")
    }

    #[test]
    fn each_object_is_found_by_what_the_catalogue_prints() {
        let mut objects: Vec<Object> = [
            Place::Named(Kind::Segment, b"a".to_vec()),
            Place::Named(Kind::Segment, b"a\n\\b".to_vec()),
            Place::Named(Kind::Segment, vec![b'x'; 250]),
            Place::Named(Kind::Semaphore, b"a".to_vec()),
            Place::Named(Kind::Queue, b"a".to_vec()),
            Place::Numbered(Kind::SysvSegment, 7),
            Place::Numbered(Kind::SysvSet, 7),
            Place::Numbered(Kind::SysvQueue, 7),
            Place::Unnamed(Kind::Memfd, 7),
            Place::Unnamed(Kind::Segment, 7),
            Place::Unnamed(Kind::Queue, 7),
        ]
        .map(|place| Object::new(place, String::new()))
        .to_vec();
        for object in &mut objects {
            object.key = object.kind().is_sysv().then_some(Key::new(0x1234));
        }
        for (index, wanted) in objects.iter().enumerate() {
            let text = wanted.place.to_string();
            let found: Vec<usize> = (0..objects.len())
                .filter(|other| is(&text, &objects[*other]))
                .collect();
            assert_eq!(found, [index], "{text}");
        }
        assert!(is("sysv-sem:0x1234", &objects[6]) && !is("sysv-sem:0x1234", &objects[5]));
        assert!(is("sysv:4660", &objects[5]) && !is("sysv:0", &objects[5]));
        assert!(is("mq:a", &objects[4]));
    }

    #[test]
    fn what_is_no_address_is_refused_with_what_would_be_one() {
        for (text, word) in [
            ("", "posix:/name"),
            ("0x1234", "sysv:0xKEY"),
            ("queue:/a", "mq:/name"),
            ("mq:", "mq:/name"),
            ("memfd:7", "ls"),
            ("sysv:-1", "decimal"),
            ("sysv-sem:x", "decimal"),
            ("posix:", "empty"),
        ] {
            let error = text.parse::<Wanted>().expect_err(text).to_string();
            assert!(error.contains(word), "{text}: {error}");
        }
    }
}
