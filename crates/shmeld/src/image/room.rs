//! Where the pixels of an answer go.

use super::{Geometry, ImageError};

/// Memory for an image whose shape is known when it has come. A vector is one: it takes every image and is used again.
pub trait Room {
    /// Exactly [`Geometry::bytes`] bytes, which are overwritten.
    ///
    /// # Errors
    /// [`ImageError::Unwanted`] or [`ImageError::NoMemory`]: the caller gets that error, and the channel stays as it is.
    fn room(&mut self, geometry: Geometry) -> Result<&mut [u8], ImageError>;

    /// The request failed: there is no image.
    fn clear(&mut self) {}
}

impl Room for Vec<u8> {
    fn room(&mut self, geometry: Geometry) -> Result<&mut [u8], ImageError> {
        let bytes = geometry.bytes();
        let no_memory = || ImageError::NoMemory { bytes };
        let len = usize::try_from(bytes).map_err(|_| no_memory())?;
        let more = len.saturating_sub(self.len());
        self.try_reserve_exact(more).map_err(|_| no_memory())?;
        // Nothing to do where the last image had as many.
        self.resize(len, 0);
        Ok(self)
    }

    fn clear(&mut self) {
        Vec::clear(self);
    }
}
