//! Bytes of a segment to and from files and pipes.
//!
//! A System V segment is attached for it: it cannot shrink. A POSIX segment can, at any moment, under whoever has mapped it; it is read and
//! written through its descriptor, which cannot fault.

use std::fs::File;
use std::io::{ErrorKind, Read, Seek};

use shmeld_os::Error as OsError;
use shmeld_os::fs::{self, FileKind};
use shmeld_os::posix::shm::SharedMemory;

use super::attached::{Attached, position};
use super::open::Object;
use super::span::{Beyond, Span};
use super::{Destination, Segment, SegmentError};
use crate::file::single_output::SingleOutput;
use crate::file::{Interrupt, OutputOptions};
use crate::{Error, Result};

/// What is moved at a time: large enough that calls cost nothing, small enough to stay in the second-level cache.
const CHUNK_BYTES: usize = 256 * 1024;

/// The bytes of a segment, wherever they are.
enum Bytes<'s> {
    Attached(Attached<'s>),
    Open(&'s SharedMemory),
}

impl Segment {
    fn bytes(&self, read_only: bool) -> Result<Bytes<'_>> {
        Ok(match &self.object {
            Object::Sysv(segment) => Bytes::Attached(Attached::new(segment, read_only)?),
            Object::Posix(memory) => Bytes::Open(memory),
        })
    }

    /// Copies bytes at `offset` to a file or pipe: `bytes` of them, or all that follow. Holes stay holes in a file, and in the segment: what
    /// nobody has touched takes no memory by being read. (Of a System V segment of which a part is swapped out, of more than 64 GiB or in
    /// large pages that cannot be told; then all of it is touched, but for one that nobody has touched at all.)
    ///
    /// A file appears when it is whole, and gets no permission that the segment lacks.
    ///
    /// # Errors
    /// [`SegmentError::BeyondEnd`]: nothing was written. [`SegmentError::Changed`]: it became shorter meanwhile. [`SegmentError::File`].
    pub fn read(
        &self,
        offset: u64,
        bytes: Option<u64>,
        destination: &Destination,
        options: OutputOptions,
        interrupt: &Interrupt,
    ) -> Result<Span> {
        // First: an attached segment keeps its number, so that what is described is what is read.
        let mut source = self.bytes(true)?;
        let description = self.describe()?;
        let span =
            Span::new(offset, bytes, description.bytes()).map_err(|beyond| self.beyond("read", beyond))?;
        let mut output =
            SingleOutput::create(destination, span.bytes(), description.mode(), options).map_err(of_file)?;
        let mut buffer = vec![0; CHUNK_BYTES];
        let mut at = span.start();
        while at < span.end() {
            interrupt.check()?;
            let stretch = source.stretch(at, span.end())?;
            if stretch.is_hole {
                output
                    .hole(stretch.end - at, || interrupt.check().is_ok())
                    .map_err(|error| interrupted_or_file(error, interrupt))?;
                at = stretch.end;
                continue;
            }
            let chunk = &mut buffer[..chunk_bytes(stretch.end - at)];
            let count = source.read(at, chunk)?;
            if count == 0 {
                return Err(self.changed("read", at).into());
            }
            output
                .write(at - span.start(), &chunk[..count])
                .map_err(SegmentError::File)?;
            at += count as u64;
        }
        output.finish().map_err(of_file)?;
        Ok(span)
    }

    /// Copies all that a file or pipe has to `offset`. It must fit: nothing is written that does not, and nothing of what does.
    ///
    /// The whole of a pipe is taken into private memory first, at most what fits.
    ///
    /// # Errors
    /// [`SegmentError::BeyondEnd`]: nothing was written. [`SegmentError::Changed`]: the segment or the file became shorter meanwhile, and a
    /// part was written. [`SegmentError::File`]; EACCES if the mode of the segment does not let us write.
    pub fn write(&self, offset: u64, input: &mut File, label: &str, interrupt: &Interrupt) -> Result<Span> {
        let target = self.bytes(false)?;
        let size = self.describe()?.bytes();
        let room = Span::new(offset, None, size).map_err(|beyond| self.beyond("write", beyond))?;
        if let Some(known) = bytes_left(input) {
            let span = Span::new(offset, Some(known), size).map_err(|beyond| self.beyond("write", beyond))?;
            let end = self.fill(&target, span, &mut input.take(known), label, interrupt)?;
            if end < span.end() {
                return Err(self.cut_short(label, span, end).into());
            }
            return Ok(span);
        }
        let mut all = Vec::new();
        read_all(
            &mut input.take(room.bytes().saturating_add(1)),
            &mut all,
            label,
            interrupt,
        )?;
        let span = Span::new(offset, Some(all.len() as u64), size).map_err(|_| {
            let what = format!("more than {} bytes at {offset} lie", room.bytes());
            self.beyond_end("write", what, size)
        })?;
        self.fill(&target, span, &mut all.as_slice(), label, interrupt)?;
        Ok(span)
    }

    /// Copies until the input ends; returns where.
    fn fill(
        &self,
        target: &Bytes<'_>,
        span: Span,
        input: &mut impl Read,
        label: &str,
        interrupt: &Interrupt,
    ) -> Result<u64> {
        let mut buffer = vec![0; CHUNK_BYTES];
        let mut at = span.start();
        loop {
            interrupt.check()?;
            let chunk = &mut buffer[..chunk_bytes(span.end() - at)];
            let count = read_some(input, chunk, label)?;
            if count == 0 {
                return Ok(at);
            }
            if !target.write(at, &chunk[..count])? {
                return Err(self.changed("write", at).into());
            }
            at += count as u64;
        }
    }

    pub(super) fn beyond(&self, operation: &'static str, beyond: Beyond) -> SegmentError {
        let what = match beyond.bytes {
            None => format!("offset {} lies", beyond.offset),
            Some(1) => format!("1 byte at {} lies", beyond.offset),
            Some(bytes) => format!("{bytes} bytes at {} lie", beyond.offset),
        };
        self.beyond_end(operation, what, beyond.size)
    }

    fn beyond_end(&self, operation: &'static str, what: String, size: u64) -> SegmentError {
        SegmentError::BeyondEnd {
            operation,
            address: self.address.clone(),
            what,
            size,
        }
    }

    fn cut_short(&self, label: &str, span: Span, end: u64) -> SegmentError {
        let (done, offset, all) = (end - span.start(), span.start(), span.bytes());
        SegmentError::Changed {
            operation: "write",
            address: self.address.clone(),
            what: format!(
                "{label} became shorter while it was read: {done} of {all} bytes are written, at {offset}"
            ),
        }
    }

    fn changed(&self, operation: &'static str, at: u64) -> SegmentError {
        SegmentError::Changed {
            operation,
            address: self.address.clone(),
            what: format!("somebody made it shorter than {} bytes meanwhile", at + 1),
        }
    }
}

/// What went wrong was wrong with the file that gets the bytes.
fn of_file(error: Error) -> Error {
    match error {
        Error::Os(error) => SegmentError::File(error).into(),
        error => error,
    }
}

/// Bytes that are alike: stored, or a hole.
struct Stretch {
    end: u64,
    is_hole: bool,
}

impl Bytes<'_> {
    /// What begins at `at`, which lies before `end`.
    fn stretch(&mut self, at: u64, end: u64) -> Result<Stretch> {
        let memory = match self {
            Self::Attached(attached) => {
                let (is_hole, end) = attached.stretch(at, end);
                return Ok(Stretch { end, is_hole });
            }
            Self::Open(memory) => *memory,
        };
        Ok(match fs::span_at(memory, at, end)? {
            // What has been cut off meanwhile looks like a hole too. Reading tells.
            fs::Span::Hole { end, .. } => Stretch {
                end,
                is_hole: memory.stat()?.bytes >= end,
            },
            fs::Span::Data { end, .. } => Stretch { end, is_hole: false },
            fs::Span::End => Stretch { end, is_hole: false },
        })
    }

    /// 0 if there is nothing any more.
    fn read(&self, at: u64, buffer: &mut [u8]) -> Result<usize> {
        match self {
            Self::Attached(attached) => {
                attached.memory().read(position(at), buffer);
                Ok(buffer.len())
            }
            Self::Open(memory) => Ok(memory.read_at(buffer, at)?),
        }
    }

    /// `false` if there is no room any more: a descriptor would make the segment longer again, at our expense.
    fn write(&self, at: u64, bytes: &[u8]) -> Result<bool> {
        match self {
            Self::Attached(attached) => attached.memory().write(position(at), bytes),
            Self::Open(memory) => {
                let mut done = 0;
                while done < bytes.len() {
                    if memory.stat()?.bytes < at + bytes.len() as u64 {
                        return Ok(false);
                    }
                    done += memory.write_at(&bytes[done..], at + done as u64)?;
                }
            }
        }
        Ok(true)
    }
}

fn chunk_bytes(left: u64) -> usize {
    usize::try_from(left).unwrap_or(usize::MAX).min(CHUNK_BYTES)
}

/// How much a regular file still has; `None` for a pipe, and for files that the kernel makes up while they are read: their length is 0 or a
/// page, whatever they have.
fn bytes_left(mut input: &File) -> Option<u64> {
    let stat = fs::stat(input).ok()?;
    let position = input.stream_position().ok()?;
    let is_counted = stat.kind == FileKind::File && !fs::is_pseudo(input).unwrap_or(true);
    is_counted.then(|| stat.bytes.saturating_sub(position))
}

fn read_all(input: &mut impl Read, all: &mut Vec<u8>, label: &str, interrupt: &Interrupt) -> Result<()> {
    let mut buffer = vec![0; CHUNK_BYTES];
    loop {
        interrupt.check()?;
        let count = read_some(input, &mut buffer, label)?;
        if count == 0 {
            return Ok(());
        }
        all.extend_from_slice(&buffer[..count]);
    }
}

fn read_some(input: &mut impl Read, buffer: &mut [u8], label: &str) -> Result<usize> {
    loop {
        match input.read(buffer) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            outcome => {
                return outcome
                    .map_err(|error| SegmentError::File(OsError::of_io("read", label, &error)).into());
            }
        }
    }
}

/// A stream that is ended between two pieces of a hole says EINTR.
fn interrupted_or_file(error: OsError, interrupt: &Interrupt) -> Error {
    match interrupt.check() {
        Err(interrupted) => interrupted,
        Ok(()) => SegmentError::File(error).into(),
    }
}
