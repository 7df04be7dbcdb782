//! The four numbers of an image, as users and programs read them.

use std::fmt;

use super::{Geometry, GeometryError};

/// The four numbers of the channel's header. As JSON, `{"bytes":12,"width":2,"height":2,"channels":3}`, they stand in the file beside raw
/// pixels: `NAME.raw.json`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Shape {
    /// All bytes: the product of the others.
    pub bytes: u64,
    /// Pixels of a row.
    pub width: u64,
    /// Rows.
    pub height: u64,
    /// Bytes of a pixel.
    pub channels: u64,
}

impl From<Geometry> for Shape {
    fn from(geometry: Geometry) -> Self {
        Self {
            bytes: geometry.bytes(),
            width: geometry.width(),
            height: geometry.height(),
            channels: geometry.channels(),
        }
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            bytes,
            width,
            height,
            channels,
        } = self;
        write!(
            formatter,
            "{bytes} bytes, {width} x {height}, {channels} channels"
        )
    }
}

/// Why four numbers describe no image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ShapeError {
    /// Three of them do not.
    #[error(transparent)]
    Geometry(#[from] GeometryError),
    /// The first is not the product of the others.
    #[error("{} bytes are not {} x {} x {}", .0.bytes, .0.width, .0.height, .0.channels)]
    Product(Shape),
}

impl Shape {
    /// Checks four numbers, which may come from anybody.
    ///
    /// # Errors
    /// They do not describe an image that we would make room for.
    pub fn check(self) -> Result<Geometry, ShapeError> {
        let geometry = Geometry::new(self.width, self.height, self.channels)?;
        if geometry.bytes() == self.bytes {
            Ok(geometry)
        } else {
            Err(ShapeError::Product(self))
        }
    }

    /// One line of JSON, without its end.
    #[must_use]
    pub fn to_json(self) -> String {
        let Self {
            bytes,
            width,
            height,
            channels,
        } = self;
        format!(r#"{{"bytes":{bytes},"width":{width},"height":{height},"channels":{channels}}}"#)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_four_numbers_are_checked_against_each_other() {
        let shape = Shape::from(Geometry::new(3, 2, 4).unwrap());
        assert_eq!(shape.check(), Geometry::new(3, 2, 4).map_err(ShapeError::from));
        let lie = Shape { bytes: 23, ..shape };
        assert_eq!(lie.check(), Err(ShapeError::Product(lie)));
        let overflow = Shape {
            width: 1 << 63,
            height: 2,
            ..shape
        };
        assert!(matches!(overflow.check(), Err(ShapeError::Geometry(_))));
    }

    #[test]
    fn json_is_what_serde_reads_and_writes() {
        let shape = Shape::from(Geometry::new(1920, 1080, 3).unwrap());
        assert_eq!(serde_json::to_string(&shape).unwrap(), shape.to_json());
        assert_eq!(serde_json::from_str::<Shape>(&shape.to_json()).unwrap(), shape);
    }
}
