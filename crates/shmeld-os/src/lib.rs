//! Linux kernel objects for shared memory and message passing, as owned, named, typed handles.
//!
//! Floor 1 of shmeld. What lies below, rustix and libc, is named only here; what lies above never calls the
//! kernel. Each function is one C call made safe: names are checked, descriptors are owned and
//! close-on-exec, interrupted calls are repeated, time-outs are monotonic deadlines, and an error says
//! which call failed on which object, why, and what cures it.
//!
//! | room | kernel facility |
//! |---|---|
//! | [`posix::mqueue`] | message queues |
//! | [`posix::shm`] | shared memory objects |
//! | [`posix::semaphore`] | named semaphores |
//! | [`posix::kernel_semaphore`] | named semaphores that others write, operated by system calls alone |
//! | [`sysv`] | shared memory, semaphores and message queues by key |
//! | [`mapping`] | mapped memory, moved by the kernel instead of dereferenced |
//! | [`sigbus`] | the guard against memory that vanishes |
//! | [`futex`] | sleeping on a word, waking who sleeps |
//! | [`lease`] | locks that die with their holder |
//! | [`mappers`] | which processes have a file mapped |
//! | [`event`] | waiting for several descriptors |
//! | [`confine`] | giving up, for good, what a process does not need |
//! | [`fs`] | files and directories, by descriptor |
//! | [`listing`], [`limits`] | what exists, and how much may |
//! | [`surroundings`] | privileges, container, calls that are allowed: for advice |
//! | [`process`] | this process: umask, CPUs, signals, random bytes, pipes |
//! | [`users`] | numbers of users and groups |
//! | [`error`], [`name`] | reasons with cures; names that cannot hurt |
//!
//! Each room begins with an example. Examples of two processes: `cargo run -p shmeld-os --example queue`, and `lease`.
//!
//! What this crate does to every call: `O_CLOEXEC`, repetition after `EINTR` (except
//! [`futex::wait`](futex::wait()), whose caller loops anyway), and a [`explain!`] event for each step of
//! control. What it does not do: threads, global state (but for the [`sigbus`] guard, when it is asked for),
//! and decisions.
#![deny(unsafe_code)]

#[cfg(not(target_os = "linux"))]
compile_error!("shmeld works with the kernel objects of Linux, and on no other system");

pub mod confine;
pub mod error;
pub mod event;
pub mod fs;
pub mod futex;
pub mod lease;
pub mod limits;
pub mod listing;
pub mod mappers;
pub mod mapping;
pub mod name;
pub mod posix;
pub mod process;
pub mod sigbus;
pub mod surroundings;
pub mod sysv;
pub mod users;

mod clock;
mod hint;
mod hint_sysv;
mod hint_sysv_text;
mod sys;

pub use error::{Error, ErrorKind, Result};
pub use name::ObjectName;
pub use rustix::io::Errno;
#[doc(hidden)]
pub use tracing;

/// Narrates one step of control for `--explain`: the C call, the object, and why, in plain words.
///
/// It becomes a `tracing` event of level DEBUG and target `shmeld::explain` with the fields `call`,
/// `object` and `why`; the command line turns it into a line of text. Object and reason need only be
/// `Display`; they are formatted only if somebody listens.
///
/// ```
/// let name = shmeld_os::ObjectName::new("/frames")?;
/// shmeld_os::explain!("mq_open", name, format_args!("open the queue of {}", "the server"));
/// # Ok::<(), shmeld_os::name::NameError>(())
/// ```
#[macro_export]
macro_rules! explain {
    ($call:expr, $object:expr, $why:expr $(,)?) => {
        $crate::tracing::debug!(target: "shmeld::explain", call = $call, object = %$object, why = %$why)
    };
}

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
