//! Raw pixels in a file, and the four numbers beside them: `NAME.raw` and `NAME.raw.json`.

use super::Geometry;
use super::shape::{Shape, ShapeError};

/// What the name of the file with the four numbers adds to that of the pixels, without the dot.
pub(super) const SIDECAR_EXTENSION: &str = "json";
/// The longest file with four numbers that is read: they need fewer than 120 bytes.
pub(super) const SIDECAR_BYTES_MAX: u64 = 4096;

/// Why raw pixels are no image.
#[derive(Debug, thiserror::Error)]
pub(super) enum RawError {
    /// The file beside is not the JSON of four numbers.
    #[error("the .json beside it does not hold the four numbers bytes, width, height, channels: {0}")]
    Sidecar(#[from] serde_json::Error),
    /// The four numbers do not fit together.
    #[error("the .json beside it describes no image: {0}")]
    Shape(#[from] ShapeError),
    /// They describe another file.
    #[error("it has {found} bytes, and the .json beside it says {said}")]
    Length {
        /// What the file has.
        found: u64,
        /// What the numbers say.
        said: u64,
    },
}

/// The shape of raw pixels of `found` bytes, from the text beside them.
pub(super) fn geometry_of(sidecar: &[u8], found: u64) -> Result<Geometry, RawError> {
    let shape: Shape = serde_json::from_slice(sidecar)?;
    let geometry = shape.check()?;
    if shape.bytes == found {
        Ok(geometry)
    } else {
        let said = shape.bytes;
        Err(RawError::Length { found, said })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn raw_pixels_have_the_length_that_their_four_numbers_say() {
        let text = br#"{"bytes":6,"width":3,"height":2,"channels":1}"#;
        assert_eq!(geometry_of(text, 6).unwrap(), Geometry::new(3, 2, 1).unwrap());
        assert!(matches!(
            geometry_of(text, 7),
            Err(RawError::Length { found: 7, said: 6 })
        ));
        let lie = br#"{"bytes":7,"width":3,"height":2,"channels":1}"#;
        assert!(matches!(geometry_of(lie, 7), Err(RawError::Shape(_))));
        for text in [&b""[..], b"[]", b"{}", b"{\"bytes\":-1}"] {
            assert!(matches!(geometry_of(text, 6), Err(RawError::Sidecar(_))));
        }
    }
}
