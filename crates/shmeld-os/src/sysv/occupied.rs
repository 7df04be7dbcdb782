//! How much of a System V segment is stored, and which of its pages.
#![allow(unsafe_code)] // mincore(2)

use std::fs::File;
use std::io::{BufRead, BufReader};

use super::shared_memory::Segment;
use crate::mapping::Mapping;
use crate::{Error, Result, sys};

/// Where the kernel lists all segments of this IPC namespace, a line each.
const LIST: &str = "/proc/sysvipc/shm";

/// What a segment takes: a page that nobody has touched takes nothing, and reads as zeros.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Occupied {
    /// In memory.
    pub resident_bytes: u64,
    /// On a swap device.
    pub swapped_bytes: u64,
}

impl Segment {
    /// `/proc/sysvipc/shm`: how much of the segment is stored. Both numbers are counted at one moment. `None` if the segment is gone, or /proc
    /// is missing. The mode of the segment has no say.
    ///
    /// See [proc_sysvipc(5)](https://man7.org/linux/man-pages/man5/proc_sysvipc.5.html).
    pub fn occupied(&self) -> Option<Occupied> {
        let lines = BufReader::new(File::open(LIST).ok()?).lines();
        occupied_in(lines.map_while(|line| line.ok()), self.id())
    }
}

impl Mapping {
    /// `mincore(start + offset, len)`: which pages of these bytes are in memory, in order; bit 0 of each byte says so. What is on a swap device
    /// is not, and of memory in large pages only what this process has touched is.
    ///
    /// # Errors
    /// Practically never.
    ///
    /// # Panics
    /// If the range is not within the mapping.
    ///
    /// See [mincore(2)](https://man7.org/linux/man-pages/man2/mincore.2.html).
    #[doc(alias = "mincore")]
    pub fn pages_in_memory(&self, offset: usize, len: usize) -> Result<Vec<u8>> {
        let page_bytes = rustix::param::page_size();
        let before = offset % page_bytes;
        let len = len.saturating_add(before);
        let start = self.window(offset - before, len);
        let mut pages = vec![0; len.div_ceil(page_bytes)];
        // SAFETY: `window` proved that the range lies in the mapping, and it begins with a page; the kernel writes one byte for each page of it,
        // of which `pages` has as many. Nothing is dereferenced.
        sys::check(unsafe { libc::mincore(start.cast(), len, pages.as_mut_ptr()) })
            .map_err(|errno| Error::new("mincore", self.label(), errno))?;
        Ok(pages)
    }
}

/// The columns have names in the first line.
fn occupied_in(mut lines: impl Iterator<Item = String>, id: i32) -> Option<Occupied> {
    let names = lines.next()?;
    let column = |name| names.split_whitespace().position(|found| found == name);
    let (number, resident, swapped) = (column("shmid")?, column("rss")?, column("swap")?);
    lines.find_map(|line| {
        let value = |column| line.split_whitespace().nth(column)?.parse::<u64>().ok();
        (value(number)? == u64::try_from(id).ok()?).then_some(())?;
        Some(Occupied {
            resident_bytes: value(resident)?,
            swapped_bytes: value(swapped)?,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "
       key      shmid perms                  size  cpid  lpid nattch   uid   gid                   rss                  swap
      4660          7   660                  5000    10    11      0     0     0                  4096                     0
         0      32777  1600              67108864    10    11      1     0     0                 12288                  8192";

    #[test]
    fn the_line_of_a_segment_is_found_by_its_number() {
        let found = |text: &str, id| occupied_in(text.trim_start().lines().map(str::to_owned), id);
        let occupied = |resident_bytes, swapped_bytes| {
            Some(Occupied {
                resident_bytes,
                swapped_bytes,
            })
        };
        assert_eq!(found(TEXT, 7), occupied(4096, 0));
        assert_eq!(found(TEXT, 32777), occupied(12288, 8192));
        // No such number; one that stands in another column; kernels that do not count.
        assert_eq!(found(TEXT, 4660), None);
        assert_eq!(found(TEXT, 10), None);
        assert_eq!(found(&TEXT.replace("swap", "paws"), 7), None);
        assert_eq!(found("", 7), None);
    }
}
