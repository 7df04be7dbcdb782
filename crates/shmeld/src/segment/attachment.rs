//! A segment as memory of this process.

use shmeld_core::Memory;
use shmeld_os::mapping::Mapping;
use shmeld_os::sysv::How;

use super::open::{Object, size};
use super::span::Span;
use super::{Segment, SegmentError};
use crate::Result;

/// A segment as memory of this process: its bytes are copied in and out. Dropping it detaches.
#[derive(Debug)]
pub struct Attachment<'s> {
    segment: &'s Segment,
    memory: Memory,
}

impl Segment {
    /// `shmat` or `mmap`: makes the whole segment memory of this process.
    ///
    /// # Errors
    /// What the kernel says; [`SegmentError::NotPossible`] for a POSIX segment at a chosen address: only `shmat` refuses one that is in use.
    pub fn attach(&self, how: How) -> Result<Attachment<'_>> {
        let mapping = match &self.object {
            Object::Sysv(segment) => segment.attach(how)?,
            Object::Posix(_) if how.address.is_some() => {
                return Err(SegmentError::NotPossible {
                    operation: "attach",
                    address: self.address.clone(),
                    reason: "only a System V segment is attached at a chosen address",
                    instead: "leave the address to the kernel",
                }
                .into());
            }
            Object::Posix(memory) => {
                let bytes = memory.stat()?.bytes;
                if bytes == 0 {
                    return Err(SegmentError::TooSmall {
                        operation: "attach",
                        address: self.address.clone(),
                        wanted: 1,
                        size: 0,
                    }
                    .into());
                }
                if how.read_only {
                    Mapping::read_only(memory, size(bytes), memory.label())?
                } else {
                    Mapping::new(memory, size(bytes), memory.label())?
                }
            }
        };
        Ok(Attachment {
            segment: self,
            memory: Memory::from(mapping),
        })
    }
}

impl Attachment<'_> {
    /// Where it lies in this process: a number for people.
    #[must_use]
    pub fn address(&self) -> usize {
        self.memory.address()
    }

    /// How many bytes it has.
    #[must_use]
    #[allow(clippy::len_without_is_empty)] // the kernel attaches nothing that is empty
    pub fn len(&self) -> usize {
        self.memory.len()
    }

    /// Whether it can only be read.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        self.memory.is_read_only()
    }

    /// Copies the bytes at `offset` out, once.
    ///
    /// # Errors
    /// [`SegmentError::BeyondEnd`]; [`SegmentError::Changed`] if a POSIX segment became shorter and the
    /// [guard](shmeld_os::sigbus) is installed.
    pub fn read(&self, offset: u64, bytes: &mut [u8]) -> Result<()> {
        let span = self.span("read", offset, bytes.len())?;
        self.memory.read(span, bytes);
        self.check_memory("read")
    }

    /// Copies `bytes` to `offset`.
    ///
    /// # Errors
    /// [`SegmentError::ReadOnly`], where a store of a C program would end it; else as for [`Attachment::read`].
    pub fn write(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        if self.is_read_only() {
            let address = self.segment.address.clone();
            return Err(SegmentError::ReadOnly { address }.into());
        }
        let span = self.span("write", offset, bytes.len())?;
        self.memory.write(span, bytes);
        self.check_memory("write")
    }

    /// `shmdt` or `munmap`: gives the memory back, as dropping does, and says what the kernel said.
    ///
    /// # Errors
    /// EINVAL if it has been taken away behind our back.
    pub fn detach(self) -> Result<()> {
        Ok(self.memory.detach()?)
    }

    fn span(&self, operation: &'static str, offset: u64, bytes: usize) -> Result<usize> {
        let span = Span::new(offset, Some(bytes as u64), self.len() as u64);
        let span = span.map_err(|beyond| self.segment.beyond(operation, beyond))?;
        Ok(size(span.start()))
    }

    fn check_memory(&self, operation: &'static str) -> Result<()> {
        if !self.memory.faulted() {
            return Ok(());
        }
        let address = self.segment.address.clone();
        let what = "somebody made it shorter meanwhile".to_owned();
        Err(SegmentError::Changed {
            operation,
            address,
            what,
        }
        .into())
    }
}
