//! System V objects: the kernel's tables show them to everybody; values of semaphores only to those whom their modes admit.

use shmeld_os::listing::{SysvQueueRow, SysvSegmentRow, SysvSetRow};
use shmeld_os::sysv::Permissions;
use shmeld_os::sysv::semaphore::SemaphoreSet;

use super::board::Boards;
use super::holders::Holders;
use super::keeping::{self, UseEvidence};
use super::object::{Ids, Object, Role};
use super::snapshot::View;
use super::verdict;
use super::{Belonging, Kind, Place};

/// Of how many semaphores of a set it is asked who used them last and who waits: three calls each.
const ASKED_MAX: u16 = 64;

/// What the table does not say about a set.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct SetDetails {
    /// `None` if its mode hides them, or it is gone.
    pub(super) values: Option<Vec<u32>>,
    /// Of those that somebody used whom we see.
    pub(super) last_pids: Vec<u32>,
    /// Of how many it is not said: nobody used them, or a process of a namespace that we do not see did.
    pub(super) without_pid: u64,
    /// How many were not asked.
    pub(super) unasked: u64,
    /// How many processes wait, for more or for zero.
    pub(super) waiting: u64,
}

/// Asks for it.
pub(super) fn details_of(row: &SysvSetRow) -> SetDetails {
    let set = SemaphoreSet::from_id(row.id);
    let Ok(values) = set.values() else {
        return SetDetails::default();
    };
    let semaphores = u16::try_from(values.len()).unwrap_or(u16::MAX);
    let asked = semaphores.min(ASKED_MAX);
    let mut last_pids = Vec::new();
    let mut without_pid = 0;
    for index in 0..asked {
        match set.last_pid(index).unwrap_or_default() {
            0 => without_pid += 1,
            pid if !last_pids.contains(&pid) => last_pids.push(pid),
            _ => {}
        }
    }
    SetDetails {
        values: Some(values.into_iter().map(u32::from).collect()),
        last_pids,
        without_pid,
        unasked: u64::from(semaphores - asked),
        waiting: waiting(&set, asked),
    }
}

impl SetDetails {
    /// Whether somebody may have used the set who is not known. Where all processes are seen, a semaphore without a last user has none.
    fn has_hidden_user(&self, was_used: bool, sees_all_processes: bool) -> bool {
        let is_hidden = self.last_pids.is_empty() || !sees_all_processes && self.without_pid > 0;
        self.values.is_none() || was_used && (is_hidden || self.unasked > 0)
    }
}

/// How many processes wait for the first ones of a set.
pub(super) fn waiting(set: &SemaphoreSet, semaphores: u16) -> u64 {
    let one = |index| {
        let (for_more, for_zero) = set.waiting(index).unwrap_or_default();
        u64::from(for_more) + u64::from(for_zero)
    };
    (0..semaphores).map(one).sum()
}

fn new(kind: Kind, id: i32, permissions: &Permissions, view: &View) -> Object {
    let mut object = Object::new(Place::Numbered(kind, id), view.ipc());
    object.key = Some(permissions.key);
    object.owner = Some(Ids {
        uid: permissions.uid,
        gid: permissions.gid,
    });
    object.creator = Some(Ids {
        uid: permissions.creator_uid,
        gid: permissions.creator_gid,
    });
    object.mode = Some(permissions.mode);
    object
}

pub(super) fn of_segment(
    row: &SysvSegmentRow,
    boards: &Boards,
    holders: &mut Holders,
    view: &View,
) -> Object {
    let mut object = new(Kind::SysvSegment, row.id, &row.permissions, view);
    object.bytes = Some(row.bytes);
    object.used_bytes = Some(row.resident_bytes.saturating_add(row.swapped_bytes));
    object.attached = Some(row.attached);
    object.is_marked = row.is_marked;
    object.changed = row.change_time;
    object.used = row.attach_time.max(row.detach_time);
    object.holders = holders.of_segment(row.id);
    holders.add(&mut object.holders, row.creator_pid, Role::Creator);
    holders.add(&mut object.holders, row.last_pid, Role::LastUser);
    object.verdict = match boards.of_segment(row.id) {
        Some((key, evidence)) => {
            object.belongs = Some(Belonging::Board(key));
            verdict::of_board(evidence)
        }
        None => keeping::of_use(&UseEvidence {
            attached: Some(row.attached),
            ..view.evidence(&object.holders)
        }),
    };
    object
}

pub(super) fn of_set(
    row: &SysvSetRow,
    details: &SetDetails,
    boards: &Boards,
    holders: &mut Holders,
    view: &View,
) -> Object {
    let mut object = new(Kind::SysvSet, row.id, &row.permissions, view);
    object.semaphores = Some(row.semaphores);
    object.values.clone_from(&details.values);
    object.changed = row.change_time;
    object.used = row.operate_time;
    if details.values.is_none() {
        object.hidden.push("values");
    }
    for pid in &details.last_pids {
        holders.add(&mut object.holders, *pid, Role::LastUser);
    }
    let was_used = row.operate_time.is_some();
    object.verdict = match boards.of_set(row.id) {
        Some((key, evidence)) => {
            object.belongs = Some(Belonging::Board(key));
            verdict::of_board(evidence)
        }
        None => keeping::of_use(&UseEvidence {
            is_uncounted: true,
            waiting: details.waiting,
            has_hidden_user: details.has_hidden_user(was_used, view.sees_all_processes),
            ..view.evidence(&object.holders)
        }),
    };
    object
}

pub(super) fn of_queue(row: &SysvQueueRow, holders: &mut Holders, view: &View) -> Object {
    let mut object = new(Kind::SysvQueue, row.id, &row.permissions, view);
    object.used_bytes = Some(row.bytes);
    object.messages = Some(row.messages);
    object.changed = row.change_time;
    object.used = row.send_time.max(row.receive_time);
    for pid in [row.last_sender_pid, row.last_receiver_pid] {
        holders.add(&mut object.holders, pid, Role::LastUser);
    }
    let has_hidden = |time: Option<_>, pid| time.is_some() && pid == 0;
    object.verdict = keeping::of_use(&UseEvidence {
        is_uncounted: true,
        has_hidden_user: has_hidden(row.send_time, row.last_sender_pid)
            || has_hidden(row.receive_time, row.last_receiver_pid),
        ..view.evidence(&object.holders)
    });
    object
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_of_a_set_are_known_only_if_each_semaphore_says_who_used_it() {
        let details = SetDetails {
            values: Some(vec![0; 2]),
            last_pids: vec![7],
            without_pid: 1,
            unasked: 0,
            waiting: 0,
        };
        assert!(!details.has_hidden_user(true, true));
        assert!(details.has_hidden_user(true, false), "one in another container");
        assert!(!details.has_hidden_user(false, false), "nobody used any");
        let many = SetDetails {
            unasked: 1,
            ..details.clone()
        };
        assert!(many.has_hidden_user(true, true) && !many.has_hidden_user(false, true));
        let without_users = SetDetails {
            last_pids: Vec::new(),
            ..details
        };
        assert!(without_users.has_hidden_user(true, true));
        assert!(
            SetDetails::default().has_hidden_user(false, true),
            "its mode hides all"
        );
    }
}
