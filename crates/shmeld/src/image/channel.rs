//! The name of a channel, and the four objects that follow from it.

use std::fmt;
use std::str::FromStr;

use shmeld_os::ObjectName;
use shmeld_os::name::NameError;

/// The name both sides agree on.
///
/// ```
/// use shmeld::image::ChannelName;
///
/// let channel = ChannelName::new("cameras/left")?;
/// assert_eq!(channel.to_string(), "cameras_left");
/// assert_eq!(channel.head().to_string(), "/SEG_cameras_left_HEAD");
/// assert!(ChannelName::new("..").is_err());
/// # Ok::<(), shmeld::os::name::NameError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelName {
    name: ObjectName,
    request: ObjectName,
    answer: ObjectName,
    head: ObjectName,
    data: ObjectName,
}

impl ChannelName {
    /// Checks a name: 1 to 200 bytes without control characters, neither `.` nor `..`. Each `/` becomes `_`; names that collide after that
    /// are one channel.
    ///
    /// # Errors
    /// Says what is wrong with the name.
    pub fn new(name: &str) -> Result<Self, NameError> {
        let name = ObjectName::new(&name.replace('/', "_"))?;
        Ok(Self {
            request: name.between("sem.SEM_", "_REQ"),
            answer: name.between("sem.SEM_", "_RES"),
            head: name.between("SEG_", "_HEAD"),
            data: name.between("SEG_", "_DATA"),
            name,
        })
    }

    /// The file of the semaphore `/SEM_C_REQ`, posted for each request.
    #[must_use]
    pub fn request(&self) -> &ObjectName {
        &self.request
    }

    /// The file of the semaphore `/SEM_C_RES`, posted for each answer.
    #[must_use]
    pub fn answer(&self) -> &ObjectName {
        &self.answer
    }

    /// The segment `/SEG_C_HEAD`: the length of a name, or the shape of an image.
    #[must_use]
    pub fn head(&self) -> &ObjectName {
        &self.head
    }

    /// The segment `/SEG_C_DATA`: a name, or pixels.
    #[must_use]
    pub fn data(&self) -> &ObjectName {
        &self.data
    }

    /// All four files in /dev/shm, in the order in which they are removed. What is created last, in the opposite order, goes first: a
    /// provider that finds the first of them unchanged has found four that belong together.
    #[must_use]
    pub fn objects(&self) -> [&ObjectName; 4] {
        [&self.request, &self.answer, &self.data, &self.head]
    }
}

impl FromStr for ChannelName {
    type Err = NameError;
    fn from_str(name: &str) -> Result<Self, NameError> {
        Self::new(name)
    }
}

impl fmt::Display for ChannelName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_four_objects_are_those_of_the_document() {
        let channel = ChannelName::new("frames").unwrap();
        assert_eq!(
            channel.objects().map(ObjectName::to_string),
            [
                "/sem.SEM_frames_REQ",
                "/sem.SEM_frames_RES",
                "/SEG_frames_DATA",
                "/SEG_frames_HEAD"
            ]
        );
        assert_eq!(ChannelName::new("/a/b").unwrap().to_string(), "_a_b");
        let long = "x".repeat(200);
        assert_eq!(ChannelName::new(&long).unwrap().request().as_str().len(), 212);
    }

    #[test]
    fn names_that_no_channel_can_have_are_refused() {
        let long = "x".repeat(201);
        for name in ["", ".", "..", "a\nb", "a\0b", "a\u{202e}b", &long] {
            assert!(ChannelName::new(name).is_err(), "{name:?}");
        }
    }
}
