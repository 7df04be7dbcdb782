//! The integration tests of shmeld-os: real kernel objects, real processes, real faults.
//!
//! Every object has a name of its own (process id and a counter) and is removed by a guard. What changes a
//! whole process (umask, signals, locks that die with it) happens in a helper process: this binary again,
//! in a role from [`roles`]. A test that needs root or a tool says `skipped: needs …` and returns, or
//! panics if `SHMELD_REQUIRE=all` is set.

mod acl;
mod alone;
mod beneath;
mod confine;
mod example;
mod examples;
mod explain;
mod facts;
mod files;
mod find;
mod futex;
mod kernel_semaphore;
mod lease;
mod limits;
mod listing;
mod mapping;
mod queue;
mod reserve;
mod roles;
mod semaphore;
mod shared_memory;
mod sigbus;
mod support;
mod sysv_huge;
mod sysv_limits;
mod sysv_objects;
mod sysv_owner;
mod sysv_queue;
mod sysv_reuse;
mod sysv_segment;
mod sysv_semaphore;
