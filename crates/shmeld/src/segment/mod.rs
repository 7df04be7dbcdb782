//! Segments of shared memory of either family, System V and POSIX, as a user handles them: by an address, without a program of their own.
//!
//! * [`Address`]: which segment: `sysv:0x1234`, `sysv:#17`, `sysv:ftok:PATH:ID`, `posix:/name`;
//! * [`Segment`]: one that is there: made or opened, shown, changed, removed;
//! * [`Span`]: which bytes; reading and writing them from and to files and pipes;
//! * [`Attachment`]: one that is memory of this process.
//!
//! ```
//! use shmeld::file::Interrupt;
//! use shmeld::segment::{Creation, How, Removal, Segment};
//!
//! let creation = Creation { bytes: 27, mode: 0o660, exclusive: false };
//! let (segment, _) = Segment::create(&"sysv:0".parse()?, creation, &Interrupt::default())?; // 0: without a key
//! let attachment = segment.attach(How::default())?;
//! attachment.write(0, b"hello")?;
//! assert_eq!(segment.describe()?.attached(), Some(1));
//! assert_eq!(Segment::remove(&segment.lasting_address())?, Removal::Marked { attached: 1 });
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! What the families share has one form here; where they differ, an error says so. Not here: queues and semaphores, and lists of objects.

mod address;
mod attached;
mod attachment;
mod bytes;
mod change;
mod create;
mod error;
mod open;
mod span;
mod untouched;

pub use address::{Address, AddressError, SysvAddress};
pub use attachment::Attachment;
pub use change::Removal;
pub use create::{Creation, Made};
pub use error::SegmentError;
pub use open::{Description, Segment};
pub use span::Span;

pub use crate::file::single_output::Destination;
pub use shmeld_os::sysv::{How, Occupied};
