//! Images between processes: the requester asks for one by name, the provider answers with its pixels.
//!
//! ```
//! use std::time::Duration;
//! use shmeld::file::Interrupt;
//! use shmeld::image::{ChannelName, Geometry, Provider, ProviderOptions, Requester, RequesterOptions};
//!
//! let channel = ChannelName::new(&format!("shmeld-example-{}", std::process::id()))?;
//! let limit = Some(Duration::from_secs(10));
//! let interrupt = Interrupt::default();
//! let mut requester = Requester::create(&channel, RequesterOptions::default())?;
//!
//! let provider = std::thread::spawn({
//!     let interrupt = interrupt.clone();
//!     move || -> shmeld::Result<()> {
//!         let mut provider = Provider::open(&channel, ProviderOptions::default(), limit, &interrupt)?;
//!         let mut grey = |_: &[u8], pixels: &mut Vec<u8>| {
//!             pixels.clear();
//!             pixels.resize(12, 128);
//!             Geometry::new(4, 3, 1).map_err(|error| error.to_string())
//!         };
//!         provider.serve_next(&mut grey, limit, &interrupt)?;
//!         Ok(())
//!     }
//! });
//! let mut pixels = Vec::new();
//! let geometry = requester.request(b"grey", &mut pixels, limit, &interrupt)?;
//! assert_eq!((geometry.width(), geometry.height(), pixels.len()), (4, 3, 12));
//! # provider.join().unwrap()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Four kernel objects take part: two segments of POSIX shared memory, HEAD and DATA, and two named semaphores, REQ and RES. Their layout is
//! that of programs which check nothing and hold no lease, and which are peers all the same. docs/PROTOCOL.md has every byte and state.
//!
//! | room | what for |
//! |---|---|
//! | [`Requester`], [`Provider`] | the two sides |
//! | [`ChannelName`] | the name both sides agree on, and those of the four objects |
//! | [`Geometry`], [`Shape`] | the shape of an image: numbers that can be believed; as users see them |
//! | [`ImageSource`] | where a provider has its images from |
//! | [`Room`] | where the pixels of an answer go |
//! | [`Folder`], [`decode`] | a directory of image files as such a source |
//! | [`PictureFolder`], [`encode`] | received images as files |
//! | [`Choice`], [`read_names`] | which images are asked for |
//! | `layout` | the bytes of the segments |
//! | `standing` | what follows from what is seen on a channel, without system calls |
//! | `owned`, `joined` | the channel as the requester made it, and as the provider found it |
//! | `objects`, `segment`, `hold` | the four objects; one of the segments; leases |
//!
//! Without the feature `codecs` there are no image files: no `Folder`, `PictureFolder`, `decode` and `encode`.

mod channel;
#[cfg(feature = "codecs")]
mod decode;
#[cfg(feature = "codecs")]
mod encode;
mod error;
#[cfg(feature = "codecs")]
mod folder;
mod geometry;
mod hold;
mod joined;
#[cfg(feature = "codecs")]
mod jpeg;
mod layout;
pub(crate) mod mark;
mod names;
mod objects;
mod owned;
#[cfg(feature = "codecs")]
mod picture_folder;
mod provider;
#[cfg(feature = "codecs")]
mod quiet;
#[cfg(feature = "codecs")]
mod raw;
pub(crate) mod remains;
mod requester;
mod room;
mod segment;
mod shape;
mod source;
mod standing;

use std::time::Duration;

pub use channel::ChannelName;
#[cfg(feature = "codecs")]
pub use decode::{Conversion, DecodeError, DecodeLimits, Decoded, FILE_BYTES_MAX, decode};
#[cfg(feature = "codecs")]
pub use encode::{EncodeError, Format, Loss, encode};
pub use error::ImageError;
#[cfg(feature = "codecs")]
pub use folder::{EXTENSIONS, Folder};
pub use geometry::{BYTES_MAX, CHANNELS_MAX, Geometry, GeometryError, PIXELS_MAX};
pub use layout::{REFUSAL_BYTES_MAX, check_name};
pub use names::{Choice, NAME_BYTES_MAX, NAMES_MAX, NamesError, read_names};
#[cfg(feature = "codecs")]
pub use picture_folder::{Picture, PictureError, PictureFolder};
pub use provider::{Provider, ProviderOptions, Served};
pub use requester::{Requester, RequesterOptions};
pub use room::Room;
pub use shape::{Shape, ShapeError};
pub use source::ImageSource;

/// How long a side looks for its unit before it sleeps: about what a blocking wake across CPUs costs on a virtual machine.
const SPIN: Duration = Duration::from_micros(120);
