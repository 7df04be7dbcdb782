//! Chunks that are under way or have come lately: the bound of what is read ahead, and what several clients of one file share.
//!
//! A place is freed for another chunk when nobody reads the one on it any more. If there is no such place nothing is asked for ahead, so that
//! memory does not grow with the number of clients. Pure, but for the lock.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use crate::asked::Asked;
use crate::key::ExportId;

/// How many chunks, of [`CHUNK_BYTES`](crate::wire::CHUNK_BYTES) at most.
pub const PLACES_MAX: usize = 32;

/// Which chunk of which state of which file of which export.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Label {
    /// The export.
    pub export: ExportId,
    /// The file's name there.
    pub path: Vec<u8>,
    /// What it had when it was first asked for.
    pub identity: [u8; 32],
    /// Where the chunk begins.
    pub offset: u64,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Shelf {
    places: Mutex<VecDeque<(Label, Arc<Asked>)>>,
}

impl Shelf {
    /// The question for a chunk that somebody has asked already; or the one that `ask` makes, which then is there for others. `None` if no
    /// place is free. `ask` must not wait.
    pub fn find_or<T>(
        &self,
        label: &Label,
        ask: impl FnOnce() -> (Arc<Asked>, T),
    ) -> Option<(Arc<Asked>, Option<T>)> {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(index) = places.iter().position(|(known, _)| known == label) {
            if !places[index].1.has_failed() {
                return Some((places[index].1.clone(), None));
            }
            places.remove(index);
        }
        if places.len() >= PLACES_MAX {
            // Oldest first. Whoever reads it, and the network while it may bring it, hold it too.
            let unused = places
                .iter()
                .position(|(_, asked)| Arc::strong_count(asked) == 1)?;
            places.remove(unused);
        }
        let (asked, more) = ask();
        places.push_back((label.clone(), asked.clone()));
        Some((asked, Some(more)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::id;
    use crate::replicas::Replicas;

    fn label(offset: u64) -> Label {
        Label {
            export: id(1),
            path: b"f".to_vec(),
            identity: [0; 32],
            offset,
        }
    }

    fn ask() -> (Arc<Asked>, crate::asked::Pending) {
        Asked::new(
            id(1),
            crate::asked::Limit::Bytes(10),
            &Arc::<Mutex<Replicas>>::default(),
        )
    }

    #[test]
    fn chunk_is_asked_for_once_until_that_fails() {
        let shelf = Shelf::default();
        let (first, pending) = shelf.find_or(&label(0), ask).unwrap();
        let (second, nothing) = shelf.find_or(&label(0), ask).unwrap();
        assert!(Arc::ptr_eq(&first, &second) && nothing.is_none());
        let other = Label {
            identity: [1; 32],
            ..label(0)
        };
        assert!(shelf.find_or(&other, ask).unwrap().1.is_some());
        pending.unwrap().answered(vec![1].into(), vec![2].into());
        assert!(
            shelf.find_or(&label(0), ask).unwrap().1.is_none(),
            "not looked at yet, but there"
        );
        let (_, pending) = shelf.find_or(&label(5), ask).unwrap();
        drop(pending);
        assert!(shelf.find_or(&label(5), ask).unwrap().1.is_some(), "it failed");
    }

    #[test]
    fn place_is_free_when_nobody_reads_what_stands_there() {
        let shelf = Shelf::default();
        let mut held = Vec::new();
        for offset in 0..PLACES_MAX as u64 {
            let (asked, pending) = shelf.find_or(&label(offset), ask).unwrap();
            pending.unwrap().answered(Vec::new().into(), Vec::new().into());
            held.push(asked);
        }
        assert!(shelf.find_or(&label(1000), ask).is_none());
        assert!(
            shelf.find_or(&label(7), ask).is_some(),
            "what is there needs no place"
        );
        held.remove(3);
        let (_, pending) = shelf.find_or(&label(1000), ask).unwrap();
        assert!(pending.is_some());
        assert!(
            shelf.find_or(&label(3), ask).is_none(),
            "the new one is still under way"
        );
    }
}
