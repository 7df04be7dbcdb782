//! What of this machine would make shmeld fail, and what cures it.
//!
//! ```text
//! Facts::gather()   asks the kernel and the system's files, and tries to make a queue and a region
//! examine(&facts)   decides, without system calls
//! ```
//!
//! ```
//! use shmeld::doctor::{Facts, Severity, examine};
//!
//! let mut facts = Facts::gather();
//! for finding in examine(&facts) {
//!     println!("{}: {}: {}", finding.severity.word(), finding.subject, finding.text);
//! }
//! facts.file_bytes = (Some(1000), None); // soft and hard, as after `ulimit -S -f 1`
//! let is_bad = |severity| severity > Severity::Note;
//! assert!(examine(&facts).iter().any(|finding| is_bad(finding.severity) && !finding.cures.is_empty()));
//! ```
//!
//! A cure is a command for a shell, and its effect is at once; the lasting form of it is told beside it.

mod examine;
mod facts;
mod finding;
mod host;
mod queues;
mod shared_memory;
mod sysv;

/// What the name of the queue begins with that is made for a moment; random bytes in digits of base 16 follow.
pub(crate) const TRIAL_PREFIX: &str = "shmeld.trial.";
/// How many.
pub(crate) const TRIAL_BYTES: usize = 16;

pub use examine::examine;
pub use facts::{Facts, Queues, Resource, SharedMemory, Sysv};
pub use finding::{Cure, Finding, Severity};
