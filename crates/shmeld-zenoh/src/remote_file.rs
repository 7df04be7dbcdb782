//! A file of a remote export as a file of a local server's source.

use std::cell::{OnceCell, RefCell};
use std::sync::Arc;
use std::time::Instant;

use shmeld::file::record::Entry;
use shmeld::file::source::{FillError, SourceFile, Span};
use shmeld::file::{Refusal, Status};
use shmeld_core::Window;

use crate::chunk::Chunk;
use crate::course::{Aim, Course};
use crate::remote::{LOOK, Remote};
use crate::wire::CHUNK_BYTES;

/// See the module.
#[derive(Debug)]
pub struct RemoteFile {
    aim: Aim,
    course: RefCell<Course>,
}

impl RemoteFile {
    /// A file that is asked for when it is first looked at.
    #[must_use]
    pub fn new(remote: Arc<Remote>, path: Vec<u8>) -> Self {
        let aim = Aim {
            remote,
            path,
            entry: OnceCell::new(),
        };
        let course = RefCell::new(Course::new(&aim));
        Self { aim, course }
    }

    /// Asks for the beginning without waiting for it.
    pub fn prefetch(&self) {
        // What is wrong is told when the file is looked at.
        let _ = self.look(0, Instant::now());
    }

    fn look(&self, position: u64, until: Instant) -> Result<bool, Refusal> {
        let is_behind_end = self.aim.entry.get().is_some_and(|entry| position >= entry.size);
        if is_behind_end {
            return Ok(true);
        }
        self.course
            .borrow_mut()
            .look(&self.aim, chunk_of(position), until)
    }

    /// Does something with the chunk that has this position.
    fn with_chunk<T>(
        &self,
        position: u64,
        behind_end: T,
        act: impl FnOnce(&Chunk) -> T,
    ) -> Result<T, Refusal> {
        if self.entry().size <= position {
            return Ok(behind_end);
        }
        match self.course.borrow().chunk(chunk_of(position)) {
            Some(chunk) => Ok(act(chunk)),
            None => Err(Refusal::new(
                Status::Io,
                "read before it was there: a fault of the bridge",
            )),
        }
    }
}

fn chunk_of(position: u64) -> u64 {
    position - position % CHUNK_BYTES
}

impl SourceFile for RemoteFile {
    fn entry(&self) -> &Entry {
        self.aim
            .entry
            .get_or_init(|| Entry::refusal(b"", &Status::Io.into()))
    }

    fn is_ready(&self, position: u64) -> Result<bool, Refusal> {
        self.look(position, Instant::now() + LOOK)
    }

    fn identity(&self) -> [u8; 32] {
        self.course.borrow().identity().unwrap_or_default()
    }

    fn read_at(&self, buffer: &mut [u8], position: u64) -> Result<usize, Refusal> {
        self.with_chunk(position, 0, |chunk| chunk.copy_to(buffer, position))
    }

    fn fill(&self, slot: &Window<'_>, at: usize, len: usize, position: u64) -> Result<usize, FillError> {
        Ok(self.with_chunk(position, 0, |chunk| chunk.copy_to_slot(slot, at, len, position))?)
    }

    fn span_at(&self, position: u64) -> Result<Span, Refusal> {
        let end = self.entry().size;
        self.with_chunk(position, Span::Hole { end }, |chunk| {
            let end = chunk.end();
            if chunk.is_zeros() {
                Span::Hole { end }
            } else {
                Span::Data { end }
            }
        })
    }

    /// Each chunk has been read from the same state of the file, or is known to be the same.
    fn is_unchanged(&self) -> Result<bool, Refusal> {
        Ok(true)
    }
}
