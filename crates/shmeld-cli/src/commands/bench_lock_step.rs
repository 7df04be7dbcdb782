//! The rival: a transfer as textbooks show it, through one page and with two semaphores that block.
//!
//! ```text
//! writer   wait(free);   read a piece of the file into the page;   post(filled)
//! reader   wait(filled); write the page to the output;             post(free)
//! ```
//! One piece, one turn of each process. Nothing here is slower than it must be: the pieces are as large as those of our own page, the
//! kernel copies them straight between file and page, the semaphores are the C library's, and both sides know the length beforehand.

use std::fs::File;
use std::io::Write;
use std::os::fd::AsFd;

use shmeld::os::mapping::Mapping;
use shmeld::os::posix::semaphore::NamedSemaphore;
use shmeld::os::{Errno, Error, Result};

use crate::args::{LockStepArgs, LockStepRole};
use crate::program::{Program, exit};

/// The page that both processes map.
pub const PAGE_BYTES: usize = 4096;
/// What one turn moves: as much as a slot of our own page has for the bytes of a file.
pub const PIECE_BYTES: u64 = 3744;

/// Runs one side. The bench starts it; nobody else has a use for it.
#[must_use]
pub fn run(program: &Program, args: &LockStepArgs) -> u8 {
    let outcome = match args.role {
        LockStepRole::Writer => write(args),
        LockStepRole::Reader => read(args),
    };
    match outcome {
        Ok(()) => exit::DONE,
        Err(message) => {
            program.complain(&format!("lock-step: {message}"), None);
            3
        }
    }
}

struct Shared {
    page: Mapping,
    filled: NamedSemaphore,
    free: NamedSemaphore,
}

impl Shared {
    fn open(args: &LockStepArgs) -> std::result::Result<Self, String> {
        let page = File::options().read(true).write(true).open(&args.page);
        let page = page.map_err(|error| format!("open {}: {error}", args.page.display()))?;
        let open = || -> Result<Self> {
            Ok(Self {
                page: Mapping::new(&page, PAGE_BYTES, "the page")?,
                filled: NamedSemaphore::open(&args.filled)?,
                free: NamedSemaphore::open(&args.free)?,
            })
        };
        open().map_err(|error| error.to_string())
    }
}

fn write(args: &LockStepArgs) -> std::result::Result<(), String> {
    let shared = Shared::open(args)?;
    let file = File::open(&args.file).map_err(|error| format!("open {}: {error}", args.file.display()))?;
    // The clock starts when the reader is started: this side stands ready by then, as a server does.
    let mut stdout = std::io::stdout();
    writeln!(stdout, "ready")
        .and_then(|()| stdout.flush())
        .map_err(|error| error.to_string())?;
    for_each_piece(args.bytes, |offset, len| {
        shared.free.wait()?;
        whole(shared.page.fill_from(0, len, file.as_fd(), offset), len)?;
        shared.filled.post()
    })
}

fn read(args: &LockStepArgs) -> std::result::Result<(), String> {
    let shared = Shared::open(args)?;
    let file =
        File::create_new(&args.file).map_err(|error| format!("create {}: {error}", args.file.display()))?;
    for_each_piece(args.bytes, |offset, len| {
        shared.filled.wait()?;
        whole(shared.page.drain_to(0, len, file.as_fd(), Some(offset)), len)?;
        shared.free.post()
    })
}

fn for_each_piece(
    bytes: u64,
    mut turn: impl FnMut(u64, usize) -> Result<()>,
) -> std::result::Result<(), String> {
    let mut offset = 0;
    while offset < bytes {
        let len = (bytes - offset).min(PIECE_BYTES);
        turn(offset, len as usize).map_err(|error| error.to_string())?;
        offset += len;
    }
    Ok(())
}

/// Files on tmpfs are read and written whole; anything else ends the measurement.
fn whole(moved: std::result::Result<usize, Errno>, len: usize) -> Result<()> {
    let fail = |errno| Error::new("copy of a piece", "the page", errno);
    match moved {
        Ok(count) if count == len => Ok(()),
        Ok(_) => Err(fail(Errno::IO)),
        Err(errno) => Err(fail(errno)),
    }
}
