//! Message boards among the System V objects: five semaphores and a segment under one key, made by one user; or the semaphores alone.

use std::collections::HashMap;

use shmeld_os::listing::{SysvSegmentRow, SysvSetRow};
use shmeld_os::sysv::Key;

use super::sysv::SetDetails;
use super::verdict::BoardEvidence;
use crate::board::remains;

/// What is known of each board, and which objects it has.
#[derive(Debug, Default)]
pub(super) struct Boards {
    evidence: HashMap<Key, BoardEvidence>,
    sets: HashMap<i32, Key>,
    segments: HashMap<i32, Key>,
}

impl Boards {
    /// `has_message` looks into a segment; it is asked only if nobody can need it.
    pub(super) fn find(
        sets: &[(SysvSetRow, SetDetails)],
        segments: &[SysvSegmentRow],
        has_message: impl Fn(i32) -> bool,
    ) -> Self {
        let mut boards = Self::default();
        for (set, details) in sets {
            let key = set.permissions.key;
            let values = details.values.as_deref().unwrap_or_default();
            let standing = remains::Standing::from_values(values);
            let Some(values) = standing.filter(|_| !key.is_private()) else {
                continue;
            };
            let is_its = |segment: &&SysvSegmentRow| {
                segment.permissions.key == key
                    && segment.permissions.creator_uid == set.permissions.creator_uid
            };
            let segment = segments.iter().find(is_its);
            if segment.is_none() && !values.is_bare {
                continue;
            }
            let mut evidence = BoardEvidence {
                has_poster: values.has_poster,
                inside: values.inside,
                waiting: details.waiting,
                attached: segment.map_or(0, |segment| segment.attached),
                is_as_left: false,
            };
            if !evidence.has_poster && evidence.inside + evidence.waiting + evidence.attached == 0 {
                evidence.is_as_left = segment.is_none_or(|segment| {
                    values.is_bare && segment.resident_bytes + segment.swapped_bytes == 0
                        || has_message(segment.id)
                });
            }
            boards.evidence.insert(key, evidence);
            boards.sets.insert(set.id, key);
            boards.segments.extend(segment.map(|segment| (segment.id, key)));
        }
        boards
    }

    pub(super) fn of_set(&self, id: i32) -> Option<(Key, BoardEvidence)> {
        self.of(self.sets.get(&id))
    }

    pub(super) fn of_segment(&self, id: i32) -> Option<(Key, BoardEvidence)> {
        self.of(self.segments.get(&id))
    }

    fn of(&self, key: Option<&Key>) -> Option<(Key, BoardEvidence)> {
        Some((*key?, *self.evidence.get(key?)?))
    }
}

#[cfg(test)]
mod tests {
    use shmeld_os::fs::Time;
    use shmeld_os::sysv::Permissions;

    use super::*;

    fn permissions(key: u32, creator_uid: u32) -> Permissions {
        Permissions {
            key: Key::new(key),
            uid: 1,
            gid: 1,
            creator_uid,
            creator_gid: 1,
            mode: 0o600,
        }
    }

    fn set(id: i32, key: u32, creator_uid: u32, values: &[u32]) -> (SysvSetRow, SetDetails) {
        let time = Some(Time {
            seconds: 1,
            nanoseconds: 0,
        });
        let row = SysvSetRow {
            id,
            permissions: permissions(key, creator_uid),
            semaphores: values.len() as u64,
            operate_time: time,
            change_time: time,
        };
        let details = SetDetails {
            values: Some(values.to_vec()),
            ..SetDetails::default()
        };
        (row, details)
    }

    fn segment(id: i32, key: u32, creator_uid: u32) -> SysvSegmentRow {
        SysvSegmentRow {
            id,
            permissions: permissions(key, creator_uid),
            is_marked: false,
            is_locked: false,
            bytes: 4096,
            resident_bytes: 0,
            swapped_bytes: 0,
            attached: 0,
            creator_pid: 0,
            last_pid: 0,
            attach_time: None,
            detach_time: None,
            change_time: None,
        }
    }

    #[test]
    fn a_board_is_five_semaphores_and_a_segment_of_one_user_under_one_key() {
        let sets = [
            set(1, 0x10, 5, &[0, 0, 0, 3, 0x5345]),
            set(2, 0x11, 5, &[0; 4]),
            set(3, 0x12, 5, &[0, 0, 0, 1, 0x5342]),
            set(4, 0, 5, &[0, 0, 0, 0, 0x5342]),
            set(5, 0x13, 5, &[1, 1, 0, 0, 0x5342]),
        ];
        let segments = [
            segment(7, 0x10, 5),
            segment(8, 0x11, 5),
            segment(9, 0x12, 6),
            segment(10, 0, 5),
            segment(11, 0x13, 5),
        ];
        let boards = Boards::find(&sets, &segments, |id| {
            assert_eq!(id, 7, "only what nobody needs is looked into");
            true
        });
        let found: Vec<i32> = (1..=5).filter(|id| boards.of_set(*id).is_some()).collect();
        assert_eq!(found, [1, 5]);
        let found: Vec<i32> = (7..=11).filter(|id| boards.of_segment(*id).is_some()).collect();
        assert_eq!(found, [7, 11]);
        let (key, evidence) = boards.of_set(1).expect("a board");
        assert!(key == Key::new(0x10) && evidence.is_as_left && !evidence.has_poster);
        let (_, evidence) = boards.of_segment(11).expect("a board");
        assert!(evidence.has_poster && !evidence.is_as_left);
    }

    #[test]
    fn a_marked_set_is_a_board_without_a_message_only_if_there_is_nothing_but_the_mark() {
        let of = |values: &[u32], segments: &[SysvSegmentRow]| {
            let boards = Boards::find(&[set(1, 0x10, 5, values)], segments, |_| false);
            boards.of_set(1).map(|(_, evidence)| evidence.is_as_left)
        };
        let untouched = &[segment(7, 0x10, 5)];
        let mut touched = segment(7, 0x10, 5);
        touched.resident_bytes = 4096;
        let (bare, counted) = ([0, 0, 0, 0, 0x5342], [0, 0, 0, 1, 0x5342]);
        assert_eq!((of(&bare, &[]), of(&counted, &[])), (Some(true), None));
        assert_eq!(
            (of(&bare, untouched), of(&counted, untouched)),
            (Some(true), Some(false))
        );
        assert_eq!(of(&bare, &[touched]), Some(false));
    }
}
