//! `shmeld ipc read` and `shmeld ipc write`.

use std::fs::{File, OpenOptions};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use serde_json::json;
use shmeld::file::OutputOptions;
use shmeld::os::{Error, fs, process};
use shmeld::segment::{Destination, SegmentError, Span};

use super::ipc::{self, Talk, event};
use crate::args_ipc::{ReadArgs, WriteArgs};
use crate::program::refused;
use crate::values::count_bytes;

pub(super) fn read(talk: &Talk<'_>, args: &ReadArgs) -> u8 {
    let to_stdout = args.output == Path::new("-");
    let umask = talk.program.umask;
    process::set_umask(umask);
    let options = OutputOptions {
        umask,
        process_umask: Some(umask),
        ..OutputOptions::default()
    };
    let interrupt = talk.program.interrupt();
    // A reader that takes nothing must not keep us from hearing signals.
    talk.program.end_when_blocked(interrupt.clone());
    let outcome = || {
        let destination = if to_stdout {
            Destination::Stream(Arc::new(duplicate(std::io::stdout())?))
        } else if is_made_up(&args.output) {
            Destination::Stream(Arc::new(open_to_write(&args.output)?))
        } else {
            Destination::File(args.output.clone())
        };
        let segment = ipc::open(&args.address, false)?;
        let read = segment.read(args.offset, args.length, &destination, options, &interrupt);
        let span = read.map_err(|error| {
            if to_stdout {
                error
            } else {
                of_file(error, &args.output)
            }
        })?;
        if to_stdout {
            // The bytes are there; a line of news would be among them for who reads both.
            return Ok(0);
        }
        let path = args.output.display();
        let text = format!("read {} of {} to {path}", in_words(span), segment.address());
        let json = || {
            event(
                "read",
                segment.address(),
                json!({"offset": span.start(), "bytes": span.bytes()}),
            )
        };
        Ok(talk.news(text, json))
    };
    talk.code(outcome())
}

pub(super) fn write(talk: &Talk<'_>, args: &WriteArgs) -> u8 {
    let interrupt = talk.program.interrupt();
    // So must a writer that has nothing to say.
    talk.program.end_when_blocked(interrupt.clone());
    let outcome = || {
        let (mut file, label) = input(&args.file)?;
        let segment = ipc::open(&args.address, true)?;
        let span = segment.write(args.offset, &mut file, &label, &interrupt)?;
        let text = format!("wrote {} of {}", in_words(span), segment.address());
        let json = || {
            event(
                "written",
                segment.address(),
                json!({"offset": span.start(), "bytes": span.bytes()}),
            )
        };
        Ok(talk.news(text, json))
    };
    talk.code(outcome())
}

fn in_words(span: Span) -> String {
    format!("{} at {}", count_bytes(span.bytes()), span.start())
}

/// Files of the kernel, as in /proc and /sys, cannot be replaced by another one with their name: they are written into.
fn is_made_up(path: &Path) -> bool {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let directory = File::open(directory.unwrap_or(Path::new(".")));
    directory.is_ok_and(|directory| fs::is_pseudo(&directory).unwrap_or(false))
}

fn open_to_write(path: &Path) -> Result<OwnedFd, SegmentError> {
    match OpenOptions::new().write(true).open(path) {
        Ok(file) => Ok(file.into()),
        Err(error) => Err(SegmentError::File(refused(
            "open",
            &path.display().to_string(),
            &error,
        ))),
    }
}

/// What went wrong with a file that is written into as a stream is told with its name.
fn of_file(error: shmeld::Error, path: &Path) -> shmeld::Error {
    match error {
        shmeld::Error::Segment(SegmentError::File(error)) if is_made_up(path) => {
            let label = path.display().to_string();
            SegmentError::File(Error::new(error.operation(), label, error.errno())).into()
        }
        error => error,
    }
}

fn duplicate(stream: impl AsFd) -> Result<OwnedFd, SegmentError> {
    let duplicate = stream.as_fd().try_clone_to_owned();
    duplicate.map_err(|error| SegmentError::File(refused("fcntl(F_DUPFD_CLOEXEC)", "", &error)))
}

/// The file, and what messages call it.
fn input(path: &Path) -> Result<(File, String), SegmentError> {
    if path == Path::new("-") {
        return Ok((duplicate(std::io::stdin())?.into(), "standard input".to_owned()));
    }
    let label = path.display().to_string();
    match File::open(path) {
        Ok(file) => Ok((file, label)),
        Err(error) => Err(SegmentError::File(refused("open", &label, &error))),
    }
}
