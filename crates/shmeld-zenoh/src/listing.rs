//! What a directory holds, as an export has listed it: checked once, kept as it came, and read entry by entry.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use shmeld::file::path::check_relative;
use shmeld::file::record::Entry;
use shmeld::file::{Refusal, Status};

use crate::list_wire::{LIST_BYTES_MAX, take_listed};

/// How many bytes of lists all walks together keep.
pub const LISTS_BYTES_MAX: usize = 64 << 20;
const _: () = assert!(LIST_BYTES_MAX <= LISTS_BYTES_MAX);

/// How many bytes of lists are kept at the moment.
#[derive(Debug, Clone, Default)]
pub struct ListBudget(Arc<AtomicUsize>);

/// See the module.
#[derive(Debug)]
pub struct Listing {
    list: Vec<u8>,
    at: usize,
    budget: ListBudget,
}

fn bad(why: &str) -> Refusal {
    let text = format!("the list of the exporting side cannot be used: {why}");
    Refusal::new(Status::Io, text)
}

impl Listing {
    /// Checks a list; returns what was listed itself, and what it holds. Every name is one component: an export that says anything else is
    /// not believed.
    ///
    /// # Errors
    /// It is no list, or there is no room for it.
    pub fn read(list: Vec<u8>, budget: &ListBudget) -> Result<(Entry, Self), Refusal> {
        let mut rest = list.as_slice();
        let mut next = || take_listed(&mut rest).map_err(|error| bad(&error.to_string()));
        let itself = match next()? {
            Some((Status::Ok, itself)) if itself.name == b"." => itself,
            _ => return Err(bad("it does not begin with what was asked for")),
        };
        while let Some((_, entry)) = next()? {
            let is_component = check_relative(&entry.name).is_ok() && !entry.name.contains(&b'/');
            if !is_component || entry.size > i64::MAX as u64 {
                return Err(bad("an impossible name or size"));
            }
        }
        // Relaxed: the number stands for itself.
        if budget.0.fetch_add(list.len(), Ordering::Relaxed) + list.len() > LISTS_BYTES_MAX {
            budget.0.fetch_sub(list.len(), Ordering::Relaxed);
            let text = "too many large directories are being walked at once";
            return Err(Refusal::new(Status::Busy, text));
        }
        let mut listing = Self {
            list,
            at: 0,
            budget: budget.clone(),
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

impl Drop for Listing {
    fn drop(&mut self) {
        self.budget.0.fetch_sub(self.list.len(), Ordering::Relaxed);
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

    #[test]
    fn entries_come_one_by_one_and_can_be_seen_before() {
        let (itself, mut listing) = Listing::read(list(&[b"a", b"b", b"c"]), &ListBudget::default()).unwrap();
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
        let refused = |list: Vec<u8>| Listing::read(list, &ListBudget::default()).unwrap_err().status;
        for name in [&b"../x"[..], b"a/b", b"..", b".", b"", b"/etc", b"a\0b"] {
            assert_eq!(refused(list(&[name])), Status::Io, "{}", name.escape_ascii());
        }
        for bytes in [&b""[..], b"\0", b"\xff\xff\0\0"] {
            assert_eq!(refused(bytes.to_vec()), Status::Io);
        }
        let mut denied = Vec::new();
        assert!(push_listed(
            &mut denied,
            Status::Denied,
            &entry(EntryKind::Unknown, b".", 0)
        ));
        assert_eq!(refused(denied), Status::Io);
    }

    #[test]
    fn lists_take_no_more_memory_than_allowed_and_give_it_back() {
        let budget = ListBudget::default();
        let most = LISTS_BYTES_MAX - list(&[b"a"]).len();
        budget.0.store(most, Ordering::Relaxed);
        let first = Listing::read(list(&[b"a"]), &budget).unwrap();
        assert_eq!(
            Listing::read(list(&[]), &budget).unwrap_err().status,
            Status::Busy
        );
        drop(first);
        assert_eq!(budget.0.load(Ordering::Relaxed), most);
    }
}
