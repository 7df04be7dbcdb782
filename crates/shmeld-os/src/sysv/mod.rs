//! System V objects of interprocess communication: found by a number, living until somebody removes them.
//!
//! | C header | here |
//! |---|---|
//! | `<sys/ipc.h>` | [`Key`], [`FileKey`], [`Permissions`] |
//! | `<sys/shm.h>` | [`shared_memory::Segment`] |
//! | `<sys/sem.h>` | [`semaphore::SemaphoreSet`] |
//! | `<sys/msg.h>` | [`message_queue::MessageQueue`] |
//!
//! All three kinds share one shape: `create_new`, `open`, `open_or_create` by key, `from_id` by number, `stat`, `set_owner`, `set_mode`,
//! `remove`. There are no descriptors: that an object was removed is found out at the next call, by EINVAL; a call that was waiting on it is
//! woken with EIDRM. They belong to the IPC namespace. docs/SYSV.md lists every reason of every call.
//!
//! Differences from the POSIX kinds that matter: a segment cannot be shrunk or grown, so its memory does not vanish; what a semaphore
//! operation marked with *undo* did is taken back by the kernel when its process ends, however it ends.
//!
//! ```
//! use shmeld_os::ErrorKind;
//! use shmeld_os::sysv::{Key, shared_memory::Segment};
//!
//! let key = Key::new(0x5348_4d00_u32.wrapping_add(std::process::id()));
//! let segment = Segment::create_new(key, 1000, 0o600)?;
//! let found = Segment::open(key, 1000)?; // as another process finds it
//! assert_eq!(found.id(), segment.id());
//! assert_eq!((found.stat()?.bytes, found.stat()?.attached), (1000, 0));
//!
//! segment.remove()?;
//! assert_eq!(found.stat().unwrap_err().kind(), ErrorKind::Invalid); // it is gone
//! # Ok::<(), shmeld_os::Error>(())
//! ```

mod attach;
mod file_key;
mod initialise;
mod key;
pub mod message_queue;
mod occupied;
mod operation;
mod permissions;
mod refusal;
pub mod semaphore;
pub mod shared_memory;
mod stat_any;
mod values;

pub use attach::{How, boundary_bytes};
pub use file_key::{FileKey, FileKeyError};
pub use key::{Key, KeyError};
pub use occupied::Occupied;
pub use permissions::Permissions;
