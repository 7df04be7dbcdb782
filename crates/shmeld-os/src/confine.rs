//! Giving up, for good, what this process does not need: landlock, best effort over its versions.
//!
//! ```text
//! Confinement::new()      nothing may be opened
//!     .read_beneath(d)    but files and directories beneath d, for reading
//!     .apply()            from here on, for this thread and those that it starts
//! ```
//! What is open already stays as it is. Landlock knows opening, making, removing and renaming; it does not know `stat`, `mq_unlink` and
//! System V objects. Descriptors say what is allowed, so a name that changes meanwhile allows nothing else.
//!
//! Whether it holds can be tried instead of believed: [`openable`] before, [`attempt`] after.
//!
//! ```
//! use std::{os::fd::AsFd, thread};
//! use shmeld_os::confine::{self, Confinement, Landlock};
//! use shmeld_os::fs;
//!
//! let confined = thread::spawn(|| {
//!     let paths = confine::openable(); // "/" and a file below /proc, on most machines
//!     let readable = fs::open_directory("/dev/shm".as_ref())?;
//!     let landlock = Confinement::new().read_beneath(readable.as_fd()).apply()?;
//!     Ok((landlock, confine::attempt(&paths)))
//! });
//! let (landlock, trials) = confined.join().unwrap()?;
//! let is_refused = trials.iter().all(|trial| trial.refusal.is_some());
//! assert!(is_refused || matches!(landlock, Landlock::Unavailable(_)), "{trials:?}");
//! assert!(confine::attempt(&["/"])[0].refusal.is_none()); // other threads go on as before
//! # Ok::<(), shmeld_os::Error>(())
//! ```

use std::error::Error as _;
use std::io;
use std::os::fd::BorrowedFd;
use std::path::Path;

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, LandlockStatus, PathBeneath, RestrictionStatus, Ruleset,
    RulesetAttr, RulesetCreatedAttr, RulesetError, Scope, make_bitflags,
};
use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::{Errno, retry_on_intr};

use crate::{Error, Result, explain};

/// The newest version whose rights are given up; older kernels have fewer, see [`gaps`].
const NEWEST: ABI = ABI::V9;

/// What everybody may open for reading on every machine, for [`Trial`]s: a directory and a file.
const READABLE_BY_ALL: [&str; 2] = ["/", "/proc/self/status"];

/// What no version forbids.
const KNOWN_BY_NONE: [&str; 3] = [
    "chmod, chown, times and attributes of files outside",
    "UDP and raw sockets",
    "as root what capabilities allow (cure: run it as a user of its own)",
];

/// What a process will still be able to open. Nothing, before something is added.
#[derive(Debug, Default)]
pub struct Confinement<'fd> {
    allowed: Vec<(BorrowedFd<'fd>, BitFlags<AccessFs>)>,
}

/// What [`Confinement::apply`] has reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Landlock {
    /// This kernel does not have it, or does not let us use it: why.
    Unavailable(&'static str),
    /// The kernel has accepted it.
    On {
        /// The version of landlock that is in force.
        abi: u32,
        /// What this version cannot forbid, in words.
        gaps: Vec<&'static str>,
    },
}

/// An attempt to open something that could be opened before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trial {
    /// What was opened.
    pub path: &'static str,
    /// Why it was refused; `None` if it was not.
    pub refusal: Option<Errno>,
}

impl<'fd> Confinement<'fd> {
    /// Allows nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Allows to read files and list directories beneath this one.
    #[must_use]
    pub fn read_beneath(self, directory: BorrowedFd<'fd>) -> Self {
        self.allow(directory, make_bitflags!(AccessFs::{ReadFile | ReadDir}))
    }

    /// Allows to read and write files beneath this directory.
    #[must_use]
    pub fn write_beneath(self, directory: BorrowedFd<'fd>) -> Self {
        self.allow(directory, make_bitflags!(AccessFs::{ReadFile | WriteFile}))
    }

    /// Allows to read, write and remove files beneath this directory, and to make none.
    #[must_use]
    pub fn remove_beneath(self, directory: BorrowedFd<'fd>) -> Self {
        self.allow(
            directory,
            make_bitflags!(AccessFs::{ReadFile | WriteFile | RemoveFile}),
        )
    }

    /// Allows to write files beneath this directory, and to make them, and not to read any: for a log.
    #[must_use]
    pub fn append_beneath(self, directory: BorrowedFd<'fd>) -> Self {
        self.allow(directory, make_bitflags!(AccessFs::{WriteFile | MakeReg}))
    }

    fn allow(mut self, directory: BorrowedFd<'fd>, rights: BitFlags<AccessFs>) -> Self {
        self.allowed.push((directory, rights));
        self
    }

    /// `prctl(PR_SET_NO_NEW_PRIVS)`, `landlock_create_ruleset()`, `landlock_add_rule()`, `landlock_restrict_self()`: confines this thread
    /// and all that it will start. It cannot be undone. TCP, abstract sockets of others and signals to others go too, where the kernel's
    /// version knows them.
    ///
    /// # Errors
    /// What the kernel says, if it has landlock and refuses nevertheless: a limit (E2BIG: 16 confinements in one another), or no memory.
    /// A kernel without landlock is no error.
    ///
    /// See [landlock(7)](https://man7.org/linux/man-pages/man7/landlock.7.html).
    #[doc(alias = "landlock_restrict_self")]
    pub fn apply(self) -> Result<Landlock> {
        let status = self.restrict().map_err(|error| reason(&error))?;
        let abi = match status.landlock {
            LandlockStatus::NotEnabled => {
                return Ok(Landlock::Unavailable("EOPNOTSUPP: not enabled at boot"));
            }
            LandlockStatus::NotImplemented => {
                return Ok(Landlock::Unavailable(
                    "ENOSYS: not in this kernel, or forbidden by a filter",
                ));
            }
            LandlockStatus::Available { effective_abi, .. } => effective_abi,
        };
        explain!(
            "landlock_restrict_self",
            format_args!("version {}", abi as i32),
            "from here on nothing else can be opened, whatever happens to this process"
        );
        Ok(Landlock::On {
            abi: abi as u32,
            gaps: gaps(abi),
        })
    }

    fn restrict(&self) -> Result<RestrictionStatus, RulesetError> {
        let mut ruleset = Ruleset::default()
            .handle_access(AccessFs::from_all(NEWEST))?
            .handle_access(AccessNet::from_all(NEWEST))?
            .scope(Scope::from_all(NEWEST))?
            .create()?;
        for (directory, rights) in &self.allowed {
            ruleset = ruleset.add_rule(PathBeneath::new(directory, *rights))?;
        }
        ruleset.restrict_self()
    }
}

/// What everybody may open and this thread can: a directory and a file, to try again when it is confined.
#[must_use]
pub fn openable() -> Vec<&'static str> {
    let paths = READABLE_BY_ALL.into_iter();
    paths.filter(|path| open(path).is_ok()).collect()
}

/// Tries to open each of these for reading.
#[must_use]
pub fn attempt(paths: &[&'static str]) -> Vec<Trial> {
    let attempt = |path: &&'static str| Trial {
        path,
        refusal: open(path).err(),
    };
    paths.iter().map(attempt).collect()
}

/// What a version of landlock cannot forbid, in words that complete "it cannot forbid".
fn gaps(abi: ABI) -> Vec<&'static str> {
    const KNOWN_SINCE: [(ABI, &str); 5] = [
        (ABI::V3, "truncating a file by its name"),
        (ABI::V4, "TCP"),
        (ABI::V5, "ioctl on devices among what may be opened"),
        (ABI::V6, "signals and abstract sockets to others"),
        (ABI::V9, "connecting to sockets by their path"),
    ];
    let missing = KNOWN_SINCE.iter().filter(|(since, _)| abi < *since);
    missing.map(|(_, what)| *what).chain(KNOWN_BY_NONE).collect()
}

fn open(path: &str) -> Result<(), Errno> {
    let flags = OFlags::RDONLY | OFlags::NOCTTY | OFlags::CLOEXEC;
    retry_on_intr(|| rustix::fs::openat(CWD, Path::new(path), flags, Mode::empty())).map(drop)
}

/// The refused call is somewhere down the chain of the error.
fn reason(error: &RulesetError) -> Error {
    let operation = match error {
        RulesetError::AddRules(_) => "landlock_add_rule",
        RulesetError::RestrictSelf(_) => "landlock_restrict_self",
        _ => "landlock_create_ruleset",
    };
    let mut cause = error.source();
    while let Some(found) = cause {
        if let Some(errno) = found.downcast_ref::<io::Error>().and_then(Errno::from_io_error) {
            return Error::new(operation, "", errno);
        }
        cause = found.source();
    }
    // Only a rule that contradicts itself has no call behind it, and those above do not.
    Error::new(operation, "", Errno::INVAL)
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn older_versions_have_more_gaps() {
        assert_eq!(gaps(ABI::V1).len(), 5 + KNOWN_BY_NONE.len());
        assert_eq!(
            gaps(ABI::V4)[..3],
            [
                "ioctl on devices among what may be opened",
                "signals and abstract sockets to others",
                "connecting to sockets by their path"
            ]
        );
        assert_eq!(gaps(ABI::V9), KNOWN_BY_NONE);
    }

    /// In a thread of its own: it is for ever.
    #[test]
    fn what_is_not_allowed_cannot_be_opened_and_what_is_allowed_can() {
        let folder = std::env::temp_dir().join(format!("shmeld-confine-{}", std::process::id()));
        std::fs::create_dir_all(folder.join("inside")).expect("a folder");
        std::fs::write(folder.join("inside/file"), "in").expect("a file");
        std::fs::write(folder.join("outside"), "out").expect("a file");
        let inside = std::fs::File::open(folder.join("inside")).expect("the folder");
        let open_before = std::fs::File::open(folder.join("outside")).expect("a file");
        let names = folder.clone();
        let confined = std::thread::spawn(move || {
            let paths = openable();
            assert_eq!(paths, READABLE_BY_ALL);
            let confinement = Confinement::new().read_beneath(inside.as_fd());
            if let Landlock::Unavailable(_) = confinement.apply().expect("no limit is near") {
                return;
            }
            assert_eq!(
                attempt(&paths),
                READABLE_BY_ALL.map(|path| Trial {
                    path,
                    refusal: Some(Errno::ACCESS)
                })
            );
            let denied = |error: io::Error| error.kind() == io::ErrorKind::PermissionDenied;
            assert_eq!(std::fs::read(names.join("inside/file")).expect("allowed"), b"in");
            assert!(std::fs::read(names.join("outside")).is_err_and(denied));
            assert!(std::fs::write(names.join("inside/file"), "").is_err_and(denied));
            assert!(std::fs::write(names.join("inside/new"), "").is_err_and(denied));
            assert!(std::fs::remove_file(names.join("inside/file")).is_err_and(denied));
            let all = io::read_to_string(&open_before);
            assert_eq!(all.expect("what is open stays open"), "out");
            // A thread inherits it.
            let below = std::thread::spawn(move || std::fs::read(names.join("outside")).is_err_and(denied));
            assert!(below.join().expect("thread"));
        });
        let outcome = confined.join();
        // The others of this process are as free as before.
        std::fs::remove_dir_all(folder).expect("not confined");
        outcome.expect("the confined thread");
    }

    #[test]
    fn a_refused_call_is_named_with_its_reason() {
        let not_a_directory = rustix::pipe::pipe().expect("a pipe").0;
        let thread =
            std::thread::spawn(move || Confinement::new().read_beneath(not_a_directory.as_fd()).apply());
        match thread.join().expect("thread") {
            Ok(reached) => assert!(matches!(reached, Landlock::Unavailable(_)), "{reached:?}"),
            Err(error) => assert_eq!(
                (error.operation(), error.errno()),
                ("landlock_add_rule", Errno::BADFD)
            ),
        }
    }
}
