//! The list of a directory as bytes: one entry after the other. docs/BRIDGE.md section "Bytes" draws them. Pure.

use shmeld::file::Status;
use shmeld::file::record::Entry;

use crate::wire::Malformed;

/// The longest list of a directory that travels: some 150,000 names.
pub const LIST_BYTES_MAX: usize = 16 << 20;

/// Adds an entry to a list. `false` if the list has become too long for it.
#[must_use]
pub fn push_listed(list: &mut Vec<u8>, status: Status, entry: &Entry) -> bool {
    let start = list.len();
    list.extend_from_slice(&[0; 4]);
    entry.encode_to(list);
    let bytes = (list.len() - start - 4) as u16;
    list[start..start + 2].copy_from_slice(&bytes.to_le_bytes());
    list[start + 2..start + 4].copy_from_slice(&status.code().to_le_bytes());
    if list.len() > LIST_BYTES_MAX {
        list.truncate(start);
        return false;
    }
    true
}

/// Takes the first entry off a list; `None` at its end.
///
/// # Errors
/// The first thing found wrong.
pub fn take_listed(list: &mut &[u8]) -> Result<Option<(Status, Entry)>, Malformed> {
    const BAD: Malformed = Malformed::Impossible("a list that is none");
    if list.is_empty() {
        return Ok(None);
    }
    let (head, rest) = list.split_first_chunk::<4>().ok_or(BAD)?;
    let bytes = usize::from(u16::from_le_bytes([head[0], head[1]]));
    let status = Status::from_code(u16::from_le_bytes([head[2], head[3]])).ok_or(BAD)?;
    let (entry, rest) = rest.split_at_checked(bytes).ok_or(BAD)?;
    *list = rest;
    let entry = Entry::decode(entry).map_err(|_| BAD)?;
    Ok(Some((status, entry)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::{entry, random_bytes};
    use shmeld::file::record::EntryKind;

    #[test]
    fn a_list_is_read_as_it_was_written_and_ends_at_its_limit() {
        let mut list = Vec::new();
        assert!(
            push_listed(&mut list, Status::Ok, &entry(EntryKind::File, b"a", 1))
                && push_listed(&mut list, Status::Denied, &entry(EntryKind::File, b"b", 2))
        );
        let mut rest = list.as_slice();
        assert_eq!(
            take_listed(&mut rest),
            Ok(Some((Status::Ok, entry(EntryKind::File, b"a", 1))))
        );
        assert_eq!(
            take_listed(&mut rest),
            Ok(Some((Status::Denied, entry(EntryKind::File, b"b", 2))))
        );
        assert_eq!(take_listed(&mut rest), Ok(None));
        let mut full = vec![0; LIST_BYTES_MAX - 10];
        assert!(
            !push_listed(&mut full, Status::Ok, &entry(EntryKind::File, b"a", 1))
                && full.len() == LIST_BYTES_MAX - 10
        );
    }

    #[test]
    fn any_bytes_are_a_list_or_none() {
        for seed in 0..5000 {
            let bytes = random_bytes(seed, 400);
            let mut list = bytes.as_slice();
            while let Ok(Some(_)) = take_listed(&mut list) {}
        }
    }
}
