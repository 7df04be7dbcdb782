//! `shmeld ipc read` and `shmeld ipc write`.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::rc::Rc;

use serde_json::json;
use shmeld::file::OutputOptions;
use shmeld::os::process;
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
            Destination::Stream(Rc::new(duplicate(std::io::stdout())?))
        } else {
            Destination::File(args.output.clone())
        };
        let segment = ipc::open(&args.address, false)?;
        let span = segment.read(args.offset, args.length, &destination, options, &interrupt)?;
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
