//! What the numbers of an image mean, and which of them can be believed.

/// The most pixels of an image: 16,384 by 16,384.
pub const PIXELS_MAX: u64 = 1 << 28;
/// The most bytes of an image: [`PIXELS_MAX`] with four channels.
pub const BYTES_MAX: u64 = 1 << 30;
/// The most channels of a pixel: red, green, blue, alpha.
pub const CHANNELS_MAX: u64 = 4;

const _: () = assert!(BYTES_MAX == CHANNELS_MAX * PIXELS_MAX);

/// The shape of an image: rows of pixels of one to four channels of 8 bits, interleaved, without gaps.
///
/// ```
/// use shmeld::image::Geometry;
///
/// let geometry = Geometry::new(1920, 1080, 3)?;
/// assert_eq!(geometry.bytes(), 6_220_800);
/// # Ok::<(), shmeld::image::GeometryError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Geometry {
    width: u64,
    height: u64,
    channels: u64,
}

/// Why three numbers are not the shape of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum GeometryError {
    /// No pixel at all.
    #[error("an image of {width} by {height} pixels is empty")]
    Empty {
        /// Pixels of a row.
        width: u64,
        /// Rows.
        height: u64,
    },
    /// More than we would make room for.
    #[error("an image of {width} by {height} pixels has more than {PIXELS_MAX}")]
    TooLarge {
        /// Pixels of a row.
        width: u64,
        /// Rows.
        height: u64,
    },
    /// None, or more than four.
    #[error("an image has one to {CHANNELS_MAX} channels, not {channels}")]
    Channels {
        /// What was said.
        channels: u64,
    },
}

impl Geometry {
    /// Checks three numbers, which may come from anybody.
    ///
    /// # Errors
    /// They are not the shape of an image that we would make room for.
    pub fn new(width: u64, height: u64, channels: u64) -> Result<Self, GeometryError> {
        if width == 0 || height == 0 {
            return Err(GeometryError::Empty { width, height });
        }
        if width.checked_mul(height).is_none_or(|pixels| pixels > PIXELS_MAX) {
            return Err(GeometryError::TooLarge { width, height });
        }
        if channels == 0 || channels > CHANNELS_MAX {
            return Err(GeometryError::Channels { channels });
        }
        Ok(Self {
            width,
            height,
            channels,
        })
    }

    /// Pixels of a row.
    pub fn width(self) -> u64 {
        self.width
    }

    /// Rows.
    pub fn height(self) -> u64 {
        self.height
    }

    /// Bytes of a pixel.
    pub fn channels(self) -> u64 {
        self.channels
    }

    /// Bytes of the image; at most [`BYTES_MAX`].
    pub fn bytes(self) -> u64 {
        self.width * self.height * self.channels
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_that_overflow_are_no_images() {
        for (width, height) in [
            (u64::MAX, u64::MAX),
            (1 << 32, 1 << 32),
            (PIXELS_MAX + 1, 1),
            (1, u64::MAX),
        ] {
            assert_eq!(
                Geometry::new(width, height, 1),
                Err(GeometryError::TooLarge { width, height })
            );
        }
        assert_eq!(
            Geometry::new(PIXELS_MAX, 1, 4).map(Geometry::bytes),
            Ok(BYTES_MAX)
        );
    }

    #[test]
    fn nothing_and_too_many_channels_are_no_images() {
        assert!(matches!(Geometry::new(0, 5, 3), Err(GeometryError::Empty { .. })));
        assert!(matches!(Geometry::new(5, 0, 3), Err(GeometryError::Empty { .. })));
        assert_eq!(
            Geometry::new(5, 5, 0),
            Err(GeometryError::Channels { channels: 0 })
        );
        assert_eq!(
            Geometry::new(5, 5, 5),
            Err(GeometryError::Channels { channels: 5 })
        );
    }
}
