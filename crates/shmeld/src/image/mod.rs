//! Images between processes: the requester asks for one by name, the provider answers with its pixels.
//!
//! | room | what for |
//! |---|---|
//! | [`Geometry`] | the shape of an image: numbers that can be believed |
//! | [`ImageSource`] | where a provider has its images from |

mod geometry;
mod source;

pub use geometry::{BYTES_MAX, CHANNELS_MAX, Geometry, GeometryError, PIXELS_MAX};
pub use source::ImageSource;
