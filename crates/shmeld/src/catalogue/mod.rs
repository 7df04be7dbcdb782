//! Every object of interprocess communication of this machine in one list: who has it, how large it is, and whether it can go.
//!
//! * [`Snapshot`]: one look at all of them, a value;
//! * [`Object`]: one of them, found at its [`Place`], with its [`Holder`]s and a [`Verdict`] with its proof;
//! * [`Sight`]: what could not be seen. What permission hides is marked as hidden, never left out;
//! * [`Unit`]: what can go, and goes together; its removal looks once more.
//!
//! ```
//! use shmeld::catalogue::{Look, Snapshot};
//! use shmeld::os::{ObjectName, posix::shm::SharedMemory};
//!
//! let name = ObjectName::new(&format!("/shmeld-example-catalogue-{}", std::process::id()))?;
//! let memory = SharedMemory::create_new(&name, 0o600)?;
//! memory.reserve(8192)?;
//! let snapshot = Snapshot::take(Look::default());
//! SharedMemory::unlink(&name)?;
//!
//! for object in &snapshot.objects {
//!     println!("{} {}: {}", object.place, object.verdict.state.word(), object.verdict.proof);
//! }
//! let ours = snapshot.objects.iter().find(|object| object.place.to_string() == format!("posix:{name}"));
//! let ours = ours.ok_or("it is not in the list")?;
//! assert_eq!((ours.bytes, ours.used_bytes, ours.mode), (Some(8192), Some(8192), Some(0o600)));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Processes and objects come and go while they are looked at. That is normal: what vanishes is left out. The process that looks is a holder as others are.

mod belonging;
mod board;
mod channels;
mod clean;
mod holders;
mod json;
mod keeping;
mod object;
mod place;
mod posix;
mod probe;
mod relations;
mod snapshot;
mod sysv;
mod unheld;
mod unnamed;
mod verdict;
mod wanted;

pub use belonging::Belonging;
pub use clean::{Outcome, Scope, Unit};
pub use json::{rfc3339, system_time};
pub use object::{Holder, Ids, Object, Role};
pub use place::{Kind, Place};
pub use snapshot::{Look, Sight, Snapshot};
pub use verdict::{State, Verdict};
pub use wanted::{Wanted, WantedError};
