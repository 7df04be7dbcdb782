//! One output that is no answer of a server: with the same promise, a final name holds the whole file or what was there before.

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;

use shmeld_os::Error as OsError;

use super::output::{OutputFile, OutputOptions};
#[cfg(feature = "codecs")]
pub(crate) use super::place::Place;
use super::record::Entry;
use super::target::create_at;
use crate::Result;

/// Where the bytes go.
#[derive(Debug, Clone)]
pub enum Destination {
    /// A file with this path; a device or FIFO there is written into.
    File(PathBuf),
    /// Into this descriptor, as they come.
    Stream(Arc<OwnedFd>),
}

/// See the module.
#[derive(Debug)]
pub(crate) struct SingleOutput {
    output: OutputFile,
    entry: Entry,
}

impl SingleOutput {
    /// `mode` is that of the source: the file gets no bit that it lacks.
    pub(crate) fn create(
        destination: &Destination,
        bytes: u64,
        mode: u32,
        options: OutputOptions,
    ) -> Result<Self> {
        let entry = entry_of(bytes, mode);
        let output = match destination {
            Destination::File(path) => create_at(path, &entry, options)?,
            Destination::Stream(file) => OutputFile::stream(file.clone(), options),
        };
        Ok(Self { output, entry })
    }

    /// As [`SingleOutput::create`], for a name in a directory that is open: one component, which the caller has checked.
    #[cfg(feature = "codecs")]
    pub(crate) fn create_in(
        place: &Place,
        name: &[u8],
        bytes: u64,
        mode: u32,
        options: OutputOptions,
    ) -> Result<Self> {
        let entry = entry_of(bytes, mode);
        let output = OutputFile::create(place, name, &entry, options)?;
        Ok(Self { output, entry })
    }

    /// All of `bytes`, at `position` or, in a stream, next.
    pub(crate) fn write(&mut self, position: u64, bytes: &[u8]) -> Result<(), OsError> {
        let written = self.output.write(position, bytes);
        written.map_err(|errno| OsError::new("write", self.output.label(), errno))
    }

    /// Zeros from here on: left out of a file, written into a stream until `between` ends it.
    pub(crate) fn hole(&mut self, bytes: u64, between: impl FnMut() -> bool) -> Result<(), OsError> {
        let written = self.output.hole(bytes, between);
        written.map_err(|errno| OsError::new("write", self.output.label(), errno))
    }

    /// It is whole: it gets its name.
    pub(crate) fn finish(self) -> Result<()> {
        self.output.finish(&self.entry)
    }
}

fn entry_of(bytes: u64, mode: u32) -> Entry {
    Entry {
        mode: mode & 0o666,
        ..Entry::file(b"", bytes)
    }
}
