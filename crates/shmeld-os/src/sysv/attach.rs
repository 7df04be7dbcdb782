//! Making a System V segment memory of this process.
#![allow(unsafe_code)] // shmat(2)

use std::ptr::{self, NonNull};

use rustix::io::Errno;

use super::refusal::{self, is_on_a_boundary};
use super::shared_memory::Segment;
use crate::mapping::Mapping;
use crate::{Error, Result, explain, sys};

/// Where and for what a segment is attached.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct How {
    /// `SHM_RDONLY`: a store would end the process.
    pub read_only: bool,
    /// At this address; `None` lets the kernel choose.
    pub address: Option<usize>,
    /// `SHM_RND`: round that address down to a multiple of [`boundary_bytes`].
    pub round: bool,
}

/// `SHMLBA`: addresses of attachments are multiples of this many bytes.
#[must_use]
#[doc(alias = "SHMLBA")]
pub fn boundary_bytes() -> usize {
    // A page on x86-64 and, for programs of 64 bits, on arm64.
    rustix::param::page_size()
}

/// `shmat(id)`.
pub(super) fn attach(segment: &Segment, how: How, label: &str) -> Result<Mapping> {
    let fail = |errno| refusal::of_shmat(segment, how, label, errno);
    if how
        .address
        .is_some_and(|address| !is_on_a_boundary(address, how.round))
    {
        // Root would get page 0 if an address is rounded down to it, and then dereference null pointers.
        return Err(fail(Errno::INVAL));
    }
    let mut flags = 0;
    if how.read_only {
        flags |= libc::SHM_RDONLY;
    }
    if how.round {
        flags |= libc::SHM_RND;
    }
    let address = how
        .address
        .map_or(ptr::null(), ptr::without_provenance::<libc::c_void>);
    // SAFETY: the kernel never attaches over memory in use (SHM_REMAP is not asked for). Other processes write the pages, therefore only a
    // raw pointer leaves here.
    let start = unsafe { libc::shmat(segment.id(), address, flags) };
    if start.addr() == usize::MAX {
        return Err(fail(sys::last_errno()));
    }
    let start = NonNull::new(start.cast::<u8>()).ok_or_else(|| fail(Errno::INVAL))?;
    let bytes = bytes_attached(segment, label).inspect_err(|_| {
        // SAFETY: exactly what `shmat` made, and nobody else knows of it.
        unsafe { libc::shmdt(start.as_ptr().cast_const().cast()) };
    })?;
    let mapping = Mapping::attached(start, bytes, how.read_only, label)?;
    let may = if how.read_only { "read" } else { "read and written" };
    explain!(
        "shmat",
        label,
        format_args!("{bytes} bytes at {start:p} can be {may} as memory")
    );
    Ok(mapping)
}

/// The size of a segment that this process has attached.
///
/// Never to be asked before: the number of a removed segment leads to another one in the end, maybe between the two calls. An attached one
/// keeps its number and its size until its last attachment goes, whoever removes it.
fn bytes_attached(segment: &Segment, label: &str) -> Result<usize> {
    let stat = segment.stat_of_any()?;
    usize::try_from(stat.bytes).map_err(|_| Error::new("shmat", label, Errno::NOMEM))
}
