//! File-system calls of the upper floors: on directory descriptors, with names as bytes.
//!
//! A path that is looked up twice can change in between; a descriptor cannot. So every function works
//! *beneath* a descriptor that was opened once, or on a descriptor itself. Names are bytes because file
//! names are; one name is one component unless the function says `relative`.
//!
//! | room | what is in it |
//! |---|---|
//! | `stat` | what a file is: [`stat`], [`stat_at`], [`stat_path`], [`is_pseudo`], [`space_free`], [`device_numbers`] |
//! | `open` | directories, files and new files: [`open_directory`], [`create_new`], [`create_unnamed`], … |
//! | `beneath` | opening a path that strangers chose: [`open_beneath`] |
//! | `walk` | the same without `openat2`: [`open_beneath_by_walk`]; for others' eyes only: [`open_beneath_for`] |
//! | `audience` | whether modes and lists show a file to others: [`Audience`] |
//! | `acl` | one user more than a mode can name: [`admit_user`], [`admits_only`] |
//! | `entries` | listing a directory: [`entries`] |
//! | `change` | names and metadata: [`rename`], [`link_unnamed`], [`unlink`], [`set_mode`], … |
//! | `data` | bytes: [`read_at`], [`write_all_at`], [`span_at`], [`allocate`], [`flush`], [`sync`] |
//!
//! Every descriptor is close-on-exec. Every call is repeated when a signal interrupts it. Errors name the
//! path as `/proc/self/fd` knows it, which costs nothing until there is an error. Functions that move bytes
//! return the bare [`Errno`](crate::Errno): their caller knows which file it is, and must tell a bad file
//! from a bad peer.
//!
//! ```
//! use shmeld_os::fs::{self, Links};
//!
//! let directory = fs::open_directory("/dev/shm".as_ref())?;
//! let file = fs::create_unnamed(&directory, 0o600)?; // goes with us as long as it has no name
//! fs::write_all_at(&file, b"whole", 0)?;
//! let name = format!("shmeld-example-fs-{}", std::process::id());
//! fs::link_unnamed(&file, &directory, name.as_bytes())?;
//!
//! let found = fs::open_beneath(&directory, name.as_bytes(), Links::Refuse)?;
//! fs::unlink(&directory, name.as_bytes())?;
//! assert!(fs::stat(&found)?.is_same_file(&fs::stat(&file)?));
//! let mut bytes = [0; 8];
//! assert_eq!(fs::read_at(&found, &mut bytes, 0)?, 5);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod acl;
mod audience;
mod beneath;
mod change;
mod data;
mod entries;
pub(crate) mod label;
mod open;
mod stat;
mod walk;

pub use acl::{admit_user, admits_only};
pub use audience::Audience;
pub use beneath::{Links, open_beneath};
pub use change::{
    link_unnamed, make_directory, make_symlink, remove_directory, rename, rename_noreplace, set_mode,
    set_owner, set_times, set_times_at, unlink,
};
pub use data::{
    Span, allocate, flush, read_at, set_size, span_at, sync, write_all, write_all_at, write_once,
};
pub use entries::{Entries, Entry, entries};
pub use open::{
    create_new, create_unnamed, open_append, open_child, open_child_to_write, open_directory,
    open_directory_at, read_link,
};
pub use stat::{
    FileKind, Stat, Time, device_numbers, find_at, is_faster_reserved, is_pseudo, space_free, stat, stat_at,
    stat_path,
};
pub use walk::{open_beneath_by_walk, open_beneath_for};

pub(crate) use change::{change_mode, link_by_descriptor};
pub(crate) use data::wait_until_writable;
pub(crate) use stat::is_tmpfs;
