//! POSIX objects of interprocess communication, each with a name that everybody can open who may.
//!
//! | C header | here |
//! |---|---|
//! | `<mqueue.h>` | [`mqueue::MessageQueue`] |
//! | `<sys/mman.h>`, `shm_open` | [`shm::SharedMemory`] |
//! | `<semaphore.h>`, `sem_open` | [`semaphore::NamedSemaphore`]; [`kernel_semaphore::KernelSemaphore`] where peers are not trusted |
//!
//! Objects live until they are unlinked, not until their makers end. Queues belong to the IPC namespace,
//! the other two to whatever is mounted on `/dev/shm`: sharing one does not share the other.
//!
//! ```
//! use shmeld_os::ObjectName;
//! use shmeld_os::posix::{mqueue::MessageQueue, semaphore::NamedSemaphore, shm::SharedMemory};
//!
//! // Each kind has names of its own: these three do not know of each other.
//! let name = ObjectName::new(&format!("/shmeld-example-posix-{}", std::process::id()))?;
//! let queue = MessageQueue::create_new(&name, 1, 16, 0o600)?;
//! let memory = SharedMemory::create_new(&name, 0o600)?;
//! let semaphore = NamedSemaphore::create_new(&name, 0o600, 1)?;
//!
//! MessageQueue::unlink(&name)?;
//! SharedMemory::unlink(&name)?;
//! NamedSemaphore::unlink(&name)?;
//! assert!(SharedMemory::open(&name, false).is_err()); // nobody finds them any more; who has them goes on
//! queue.send(b"still there", 0, None)?;
//! memory.write_at(b"still there", 0)?;
//! assert!(semaphore.try_wait()?);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod kernel_semaphore;
pub mod mqueue;
mod notify;
pub(crate) mod queue_root;
mod reserve;
pub mod semaphore;
pub mod shm;
