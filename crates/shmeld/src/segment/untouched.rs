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
            (Some(occupied), _) if is_nothing(occupied) => return Self::All,
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
        let first = usize::try_from(at / page_bytes).unwrap_or(usize::MAX);
        alike(touched.get(first..).unwrap_or_default(), page_bytes, at, end)
    }

    /// The same of a stretch that nobody had touched, by a second look: `seen` at the pages from the one of `at` on, before `occupied` was
    /// counted. `None` if what was known before no longer helps.
    pub(super) fn still(
        &self,
        at: u64,
        end: u64,
        seen: Option<Vec<u8>>,
        occupied: Option<Occupied>,
    ) -> Option<(bool, u64)> {
        let occupied = occupied?;
        match (self, seen) {
            _ if is_nothing(occupied) => Some((true, end)),
            (Self::Pages { page_bytes, .. }, Some(seen)) if occupied.swapped_bytes == 0 => {
                Some(alike(&seen, *page_bytes, at, end))
            }
            _ => None,
        }
    }
}

fn is_nothing(occupied: Occupied) -> bool {
    occupied.resident_bytes == 0 && occupied.swapped_bytes == 0
}

/// Whether the first of these pages, the one of `at`, is untouched, and up to where, at most `end`, its successors are like it.
fn alike(pages: &[u8], page_bytes: u64, at: u64, end: u64) -> (bool, u64) {
    let mut pages = pages.iter().map(|page| page & 1 != 0);
    let is_touched = pages.next().unwrap_or(true);
    let more = pages.take_while(|page| *page == is_touched).count() as u64;
    (!is_touched, end.min((at / page_bytes + 1 + more) * page_bytes))
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

    #[test]
    fn second_look_finds_what_came_since_the_first() {
        let pages = Untouched::Pages {
            touched: vec![1, 0, 0, 0],
            page_bytes: 100,
        };
        let still = |seen: &[u8], occupied| pages.still(150, 400, Some(seen.to_vec()), occupied);
        assert_eq!(still(&[0, 0, 0], occupied(1, 0)), Some((true, 400)));
        assert_eq!(still(&[0, 1, 0], occupied(2, 0)), Some((true, 200)));
        assert_eq!(still(&[1, 1, 0], occupied(3, 0)), Some((false, 300)));
        // Everything was taken away meanwhile.
        assert_eq!(still(&[1, 0, 0], occupied(0, 0)), Some((true, 400)));
        // Something is swapped out now, or nothing is told any more.
        assert_eq!(still(&[0, 0, 0], occupied(1, 1)), None);
        assert_eq!(still(&[0, 0, 0], None), None);
        assert_eq!(pages.still(150, 400, None, occupied(1, 0)), None);
        // Which pages are there was never compared with how many there are.
        let all = |occupied| Untouched::All.still(7, 9, Some(vec![0]), occupied);
        assert_eq!(all(occupied(0, 0)), Some((true, 9)));
        assert_eq!(all(occupied(1, 0)), None);
    }
}
