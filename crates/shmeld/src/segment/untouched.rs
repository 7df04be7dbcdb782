//! Which parts of an attached System V segment nobody has touched. They are zeros, and take memory as soon as they are read: a reader that
//! knows them leaves them alone.
//!
//! The kernel tells which pages are in memory (`mincore`), but not of the others whether they were never touched or lie on a swap device. It
//! also tells, for one moment, how much of the segment is in memory and how much is swapped out. If nothing is swapped out, and as much is
//! in memory as was seen before, then the pages seen are all that there are. Whatever does not add up is read.

use shmeld_os::sysv::Occupied;

/// The pages of one segment, as they were before its bytes were read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Untouched {
    /// Nobody has touched any.
    All,
    /// Bit 0 says of each page whether it was touched.
    Pages { touched: Vec<u8>, page_bytes: u64 },
    /// Nothing is known.
    Unknown,
}

impl Untouched {
    /// `seen`: bit 0 of each byte for a page in memory. It was looked at before `occupied` was counted: a page that came between is one too
    /// many, and nothing is believed.
    pub(super) fn new(seen: Option<Vec<u8>>, page_bytes: u64, occupied: Option<Occupied>) -> Self {
        let (resident_bytes, seen) = match (occupied, seen) {
            // Both are counted under one lock, and a page on its way is counted twice rather than never.
            (Some(occupied), _) if occupied.resident_bytes == 0 && occupied.swapped_bytes == 0 => {
                return Self::All;
            }
            (Some(occupied), Some(seen)) if occupied.swapped_bytes == 0 => (occupied.resident_bytes, seen),
            _ => return Self::Unknown,
        };
        let count = seen.iter().filter(|page| **page & 1 != 0).count() as u64;
        if count.checked_mul(page_bytes) != Some(resident_bytes) {
            return Self::Unknown;
        }
        Self::Pages {
            touched: seen,
            page_bytes,
        }
    }

    /// Whether `at` lies in what nobody has touched, and up to where, at most `end`, the same is true.
    pub(super) fn stretch(&self, at: u64, end: u64) -> (bool, u64) {
        let (touched, page_bytes) = match self {
            Self::All => return (true, end),
            Self::Unknown => return (false, end),
            Self::Pages { touched, page_bytes } => (touched, *page_bytes),
        };
        let first = at / page_bytes;
        let mut pages = touched.iter().skip(usize::try_from(first).unwrap_or(usize::MAX));
        let is_touched = pages.next().is_none_or(|page| page & 1 != 0);
        let more = pages.take_while(|page| (**page & 1 != 0) == is_touched).count() as u64;
        (!is_touched, end.min((first + 1 + more) * page_bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn occupied(resident_pages: u64, swapped_pages: u64) -> Option<Occupied> {
        Some(Occupied {
            resident_bytes: resident_pages * 100,
            swapped_bytes: swapped_pages * 100,
        })
    }

    #[test]
    fn only_what_adds_up_is_believed() {
        let new = |seen: &[u8], occupied| Untouched::new(Some(seen.to_vec()), 100, occupied);
        let pages = |touched: &[u8]| Untouched::Pages {
            touched: touched.to_vec(),
            page_bytes: 100,
        };
        assert_eq!(new(&[0, 1, 0], occupied(1, 0)), pages(&[0, 1, 0]));
        assert_eq!(new(&[1, 1], occupied(2, 0)), pages(&[1, 1]));
        assert_eq!(new(&[0, 0], occupied(0, 0)), Untouched::All);
        assert_eq!(Untouched::new(None, 100, occupied(0, 0)), Untouched::All);
        // Swapped out, wholly or in part; come or gone between the two looks; large pages; nobody counts.
        for (seen, occupied) in [
            (&[0, 0][..], occupied(0, 1)),
            (&[0, 1], occupied(1, 1)),
            (&[0, 1], occupied(2, 0)),
            (&[1, 1], occupied(1, 0)),
            (&[0, 0], occupied(512, 0)),
            (&[0, 1], None),
        ] {
            assert_eq!(new(seen, occupied), Untouched::Unknown, "{seen:?} {occupied:?}");
        }
        assert_eq!(Untouched::new(None, 100, occupied(1, 0)), Untouched::Unknown);
    }

    #[test]
    fn stretches_end_with_pages_and_with_what_was_asked_for() {
        let pages = Untouched::Pages {
            touched: vec![0, 0, 1, 0x81, 0],
            page_bytes: 100,
        };
        assert_eq!(pages.stretch(0, 450), (true, 200));
        assert_eq!(pages.stretch(150, 170), (true, 170));
        assert_eq!(pages.stretch(199, 450), (true, 200));
        assert_eq!(pages.stretch(200, 450), (false, 400));
        assert_eq!(pages.stretch(399, 450), (false, 400));
        assert_eq!(pages.stretch(400, 450), (true, 450));
        // A page that nobody has looked at is read.
        assert_eq!(pages.stretch(500, 550), (false, 550));
        assert_eq!(Untouched::All.stretch(7, 9), (true, 9));
        assert_eq!(Untouched::Unknown.stretch(7, 9), (false, 9));
    }
}
