//! Where a provider has its images from.

use super::Geometry;

/// Finds images by name.
pub trait ImageSource {
    /// Puts the pixels of the image of this name into `pixels`, whose old content goes and whose memory is used again, and returns their shape;
    /// `pixels` then has exactly [`Geometry::bytes`].
    ///
    /// `name` is what the requester sent: any bytes but NUL, at most 200 of them, no `/` and not `..`.
    ///
    /// # Errors
    /// A sentence for the requester: why it gets none.
    fn load(&mut self, name: &[u8], pixels: &mut Vec<u8>) -> Result<Geometry, String>;
}

impl<F: FnMut(&[u8], &mut Vec<u8>) -> Result<Geometry, String>> ImageSource for F {
    fn load(&mut self, name: &[u8], pixels: &mut Vec<u8>) -> Result<Geometry, String> {
        self(name, pixels)
    }
}
