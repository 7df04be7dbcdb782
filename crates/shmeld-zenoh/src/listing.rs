//! What a directory holds, as an export has listed it: checked once, kept as it came, and read entry by entry.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use shmeld::file::Status;
use shmeld::file::path::check_relative;
use shmeld::file::record::Entry;

use crate::list_wire::{LIST_BYTES_MAX, take_listed};
use crate::wire::{Malformed, is_of_a_name};

/// How many bytes of lists all walks together keep.
pub const LISTS_BYTES_MAX: usize = 64 << 20;
const _: () = assert!(LIST_BYTES_MAX <= LISTS_BYTES_MAX);

/// How many bytes of lists are kept at the moment, from when they come until they have been walked.
#[derive(Debug, Clone, Default)]
pub struct ListBudget(Arc<AtomicUsize>);

/// Room for one list, given back when nobody has it any more.
#[derive(Debug)]
pub struct Room {
    bytes: usize,
    budget: ListBudget,
}

impl ListBudget {
    /// Room for a list, if there is any.
    #[must_use]
    pub fn take(&self, bytes: usize) -> Option<Arc<Room>> {
        // Relaxed: the number stands for itself.
        let before = self.0.fetch_add(bytes, Ordering::Relaxed);
        let budget = self.clone();
        // Given back by drop if it is too much.
        let room = Arc::new(Room { bytes, budget });
        (before + bytes <= LISTS_BYTES_MAX).then_some(room)
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.budget.0.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// See the module.
#[derive(Debug)]
pub struct Listing {
    list: Vec<u8>,
    at: usize,
    _room: Arc<Room>,
}

impl Listing {
    /// Checks a list; returns what was listed itself, and what it holds. Every name is one component: an export that says anything else is
    /// not believed.
    ///
    /// # Errors
    /// It is no list.
    pub fn read(list: Vec<u8>, room: Arc<Room>) -> Result<(Entry, Self), Malformed> {
        let bad = Malformed::Impossible;
        let mut rest = list.as_slice();
        let mut next = || take_listed(&mut rest);
        let itself = match next()? {
            Some((Status::Ok, itself)) if itself.name == b"." => itself,
            _ => return Err(bad("a list that does not begin with what was asked for")),
        };
        while let Some((status, entry)) = next()? {
            let is_component = check_relative(&entry.name).is_ok() && !entry.name.contains(&b'/');
            if !is_component || entry.size > i64::MAX as u64 || !is_of_a_name(status) {
                return Err(bad("a list with an impossible name, size or status"));
            }
        }
        let mut listing = Self {
            list,
            at: 0,
            _room: room,
        };
        listing.next();
        Ok((itself, listing))
    }

    /// The entries that follow, without taking them.
    pub fn ahead(&self) -> impl Iterator<Item = (Status, Entry)> + '_ {
        let mut rest = &self.list[self.at..];
        // The whole list has been checked.
        std::iter::from_fn(move || take_listed(&mut rest).ok().flatten())
    }
}

impl Iterator for Listing {
    type Item = (Status, Entry);

    fn next(&mut self) -> Option<Self::Item> {
        let mut rest = &self.list[self.at..];
        let taken = take_listed(&mut rest).ok().flatten();
        self.at = self.list.len() - rest.len();
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::entry;
    use crate::list_wire::push_listed;
    use shmeld::file::record::EntryKind;

    fn list(names: &[&[u8]]) -> Vec<u8> {
        let mut list = Vec::new();
        assert!(push_listed(
            &mut list,
            Status::Ok,
            &entry(EntryKind::Directory, b".", 0)
        ));
        for name in names {
            assert!(push_listed(
                &mut list,
                Status::Ok,
                &entry(EntryKind::File, name, 1)
            ));
        }
        list
    }

    fn room() -> Arc<Room> {
        ListBudget::default().take(0).unwrap()
    }

    #[test]
    fn entries_come_one_by_one_and_can_be_seen_before() {
        let (itself, mut listing) = Listing::read(list(&[b"a", b"b", b"c"]), room()).unwrap();
        assert_eq!(itself.name, b".");
        assert_eq!(listing.next().unwrap().1.name, b"a");
        let ahead: Vec<_> = listing.ahead().map(|(_, entry)| entry.name).collect();
        assert_eq!(ahead, [b"b", b"c"]);
        assert_eq!(listing.by_ref().count(), 2);
        assert!(listing.next().is_none() && listing.ahead().next().is_none());
    }

    /// An export is only believed what a directory can hold.
    #[test]
    fn list_with_a_name_that_is_no_component_is_not_used() {
        let is_refused = |list: Vec<u8>| Listing::read(list, room()).is_err();
        for name in [&b"../x"[..], b"a/b", b"..", b".", b"", b"/etc", b"a\0b"] {
            assert!(is_refused(list(&[name])), "{}", name.escape_ascii());
        }
        for bytes in [&b""[..], b"\0", b"\xff\xff\0\0"] {
            assert!(is_refused(bytes.to_vec()));
        }
        let mut denied = Vec::new();
        assert!(push_listed(
            &mut denied,
            Status::Denied,
            &entry(EntryKind::Unknown, b".", 0)
        ));
        assert!(is_refused(denied));
    }

    #[test]
    fn lists_take_no_more_memory_than_allowed_and_give_it_back() {
        let budget = ListBudget::default();
        let first = budget.take(LISTS_BYTES_MAX - 10).unwrap();
        let small = budget.take(10).unwrap();
        assert!(budget.take(1).is_none() && budget.take(1).is_none());
        drop(small);
        let (_, listing) = Listing::read(list(&[b"a"]), first).unwrap();
        assert!(budget.take(11).is_none() && budget.take(10).is_some());
        drop(listing);
        assert!(budget.take(LISTS_BYTES_MAX).is_some());
    }
}
