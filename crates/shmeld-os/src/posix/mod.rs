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

mod find;
pub mod kernel_semaphore;
pub mod mqueue;
mod notify;
pub(crate) mod queue_root;
mod reserve;
pub mod semaphore;
pub mod shm;
