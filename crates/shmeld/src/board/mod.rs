//! The message board: one process posts a message under a key, others read it, and the last act of the poster is to remove it all.
//!
//! ```
//! use std::time::Duration;
//! use shmeld::board::{self, PostOptions, ReadOptions};
//! use shmeld::os::sysv::Key;
//!
//! let key = Key::new(0x5348_0000 | std::process::id() & 0xffff);
//! let limit = Some(Duration::from_secs(10));
//! let posted = board::post(b"hello", PostOptions { readers: Some(1), timeout: limit, ..PostOptions::new(key) })?;
//! let reader = std::thread::spawn(move || {
//!     let reading = board::read(ReadOptions { timeout: limit, ..ReadOptions::new(key) })?;
//!     assert_eq!(reading.message(), b"hello");
//!     reading.finish()
//! });
//! assert!(posted.wait()?.is_complete());
//! # reader.join().unwrap()?;
//! # Ok::<(), shmeld::Error>(())
//! ```
//!
//! Two kernel objects take part, both of System V and both under the key: a segment of shared memory with the message, and a set of five
//! semaphores that say who is where. What a process has changed in `POSTER`, `OPEN` and `INSIDE` is taken back by the kernel when it dies,
//! so nobody waits for the dead. docs/PROTOCOL.md has every byte and state.
//!
//! | room | what for |
//! |---|---|
//! | `set` | the five semaphores as operations with names |
//! | `standing` | what their values mean, without system calls |
//! | `layout` | the bytes of the segment |
//! | `segment` | finding, judging, making it |
//! | `poster`, `reader` | the two sides |
//! | `owner` | that a forked child is neither |
//! | [`textbook`] | the handshake of many a textbook, without semaphores: plain C programs can be either side |

mod error;
mod layout;
mod owner;
mod poster;
mod reader;
pub(crate) mod remains;
mod segment;
mod set;
mod standing;
pub mod textbook;

use std::time::Duration;

use shmeld_os::process;
use shmeld_os::sysv::Key;
use shmeld_os::users::is_own_uid;

use crate::Result;
use crate::file::Interrupt;

pub use error::BoardError;
pub use layout::{HEADER_BYTES, MESSAGE_BYTES_MAX};
pub use poster::{Delivery, Posted, post};
pub use reader::{Reading, read};

/// The mode of what a poster makes: other users are not admitted.
const MODE: u32 = 0o600;

/// Whether we can know at all what is ours. To be asked before anything is made: we could not tell it from others' afterwards.
///
/// # Errors
/// [`BoardError::UnknownUser`].
fn check_user(key: Key) -> Result<()> {
    let uid = process::effective_uid();
    if is_own_uid(uid) {
        return Ok(());
    }
    Err(BoardError::UnknownUser { key, uid }.into())
}

/// What a poster can choose.
#[derive(Debug, Clone)]
pub struct PostOptions {
    /// Under which key.
    pub key: Key,
    /// Size of the segment in bytes; `None` takes what the message needs, and a page at least.
    pub segment_bytes: Option<u64>,
    /// For how many readers it waits; `None` leaves the message until the time is up.
    pub readers: Option<u32>,
    /// How long it waits in all; `None` for ever.
    pub timeout: Option<Duration>,
    /// The caller's wish to stop.
    pub interrupt: Interrupt,
}

impl PostOptions {
    /// A message that stays until somebody stops it.
    #[must_use]
    pub fn new(key: Key) -> Self {
        Self {
            key,
            segment_bytes: None,
            readers: None,
            timeout: None,
            interrupt: Interrupt::default(),
        }
    }
}

/// What a reader can choose.
#[derive(Debug, Clone)]
pub struct ReadOptions {
    /// Under which key.
    pub key: Key,
    /// How long it waits for a message; `None` for ever.
    pub timeout: Option<Duration>,
    /// The caller's wish to stop.
    pub interrupt: Interrupt,
}

impl ReadOptions {
    /// How long a reader waits if nobody says how long.
    pub const TIMEOUT: Duration = Duration::from_secs(30);

    /// A reader that waits for [`Self::TIMEOUT`].
    #[must_use]
    pub fn new(key: Key) -> Self {
        Self {
            key,
            timeout: Some(Self::TIMEOUT),
            interrupt: Interrupt::default(),
        }
    }
}
