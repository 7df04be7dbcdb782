//! Images between processes: the requester asks for one by name, the provider answers with its pixels.
//!
//! | room | what for |
//! |---|---|
//! | [`Geometry`], [`Shape`] | the shape of an image: numbers that can be believed; as users see them |
//! | [`ImageSource`] | where a provider has its images from |
//! | [`Folder`], [`decode`] | a directory of image files as such a source |
//! | [`PictureFolder`], [`encode`] | received images as files |
//! | [`Choice`], [`read_names`] | which images are asked for |
//!
//! Without the feature `codecs` there are no image files: no `Folder`, `PictureFolder`, `decode` and `encode`.

#[cfg(feature = "codecs")]
mod decode;
#[cfg(feature = "codecs")]
mod encode;
#[cfg(feature = "codecs")]
mod folder;
mod geometry;
mod names;
#[cfg(feature = "codecs")]
mod picture_folder;
#[cfg(feature = "codecs")]
mod raw;
mod shape;
mod source;

#[cfg(feature = "codecs")]
pub use decode::{Conversion, DecodeError, DecodeLimits, Decoded, FILE_BYTES_MAX, decode};
#[cfg(feature = "codecs")]
pub use encode::{EncodeError, Format, Loss, encode};
#[cfg(feature = "codecs")]
pub use folder::{EXTENSIONS, Folder};
pub use geometry::{BYTES_MAX, CHANNELS_MAX, Geometry, GeometryError, PIXELS_MAX};
pub use names::{Choice, NAME_BYTES_MAX, NAMES_MAX, NamesError, read_names};
#[cfg(feature = "codecs")]
pub use picture_folder::{Picture, PictureError, PictureFolder};
pub use shape::{Shape, ShapeError};
pub use source::ImageSource;
