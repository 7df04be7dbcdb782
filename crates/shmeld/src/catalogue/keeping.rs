//! Whether anybody has an object of any program, from what the kernel says. Pure.

use super::object::Holder;
use super::verdict::{State, Verdict};

/// Of an object of any program.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct UseEvidence<'o> {
    pub(super) holders: &'o [Holder],
    /// How many attachments the kernel counts.
    pub(super) attached: Option<u64>,
    /// Somebody holds a lock on it.
    pub(super) is_locked: bool,
    /// How many wait for it, of semaphores.
    pub(super) waiting: u64,
    /// The kernel gave us a lease that it gives only if nobody else has the object open or mapped.
    pub(super) is_alone: Option<bool>,
    /// All processes could be looked into.
    pub(super) sees_all: bool,
    /// It has no users that the kernel knows, only some that did something last: a set or a queue of System V.
    pub(super) is_uncounted: bool,
    /// Somebody may have done something who is in a namespace that we do not see, or whom nobody asked for.
    pub(super) has_hidden_user: bool,
}

pub(super) fn of_use(evidence: &UseEvidence<'_>) -> Verdict {
    let keepers: Vec<&Holder> = evidence.holders.iter().filter(|holder| holder.keeps()).collect();
    if let Some(attached @ 1..) = evidence.attached {
        let times = if attached == 1 {
            "once".to_owned()
        } else {
            format!("{attached} times")
        };
        return Verdict::new(
            State::Live,
            format!("it is attached {times}{}", by_whom(&keepers)),
        );
    }
    if !keepers.is_empty() {
        let verb = if keepers.len() == 1 { "has" } else { "have" };
        return Verdict::new(
            State::Live,
            format!("{} {verb} it open or mapped", names(&keepers)),
        );
    }
    if evidence.is_locked {
        return Verdict::new(State::Live, "somebody holds a lock on it");
    }
    if evidence.waiting > 0 {
        return Verdict::new(State::Live, format!("{} wait for it", evidence.waiting));
    }
    if evidence.is_uncounted {
        return of_last_users(evidence);
    }
    match (evidence.attached, evidence.is_alone, evidence.sees_all) {
        (Some(_), _, _) => Verdict::new(State::Unheld, "the kernel counts no attachment"),
        (None, Some(true), _) => Verdict::new(
            State::Unheld,
            "nobody has it open or mapped: the kernel gave us a lease that it gives to the only user",
        ),
        (None, Some(false), _) => Verdict::new(
            State::Live,
            "somebody has it open or mapped whom we cannot see: the kernel refuses a lease to the only user",
        ),
        (None, None, true) => Verdict::new(State::Unheld, "no process has it open or mapped"),
        (None, None, false) => {
            Verdict::unknown("no process that we may look into has it open or mapped; others may")
        }
    }
}

/// Semaphores and queues of System V are used by number, without being held: only the last users are known.
fn of_last_users(evidence: &UseEvidence<'_>) -> Verdict {
    let living: Vec<&Holder> = evidence
        .holders
        .iter()
        .filter(|holder| holder.command.is_some())
        .collect();
    if !living.is_empty() {
        let verb = if living.len() == 1 { "lives" } else { "live" };
        return Verdict::unknown(format!(
            "the kernel does not count who uses it; {}, which used it last, {verb}",
            names(&living)
        ));
    }
    if evidence.has_hidden_user {
        return Verdict::unknown(
            "the kernel does not count who uses it, and not all who used it last are known",
        );
    }
    let proof = if evidence.holders.is_empty() {
        "nobody has used it since it was made, and nobody waits for it; the kernel does not count who may"
    } else {
        "those who used it last are gone, and nobody waits for it; the kernel does not count who may"
    };
    Verdict::new(State::Unheld, proof)
}

fn by_whom(keepers: &[&Holder]) -> String {
    if keepers.is_empty() {
        ", by processes that we cannot see".to_owned()
    } else {
        format!(", by {}", names(keepers))
    }
}

/// The first ones by number and command, and how many more.
fn names(holders: &[&Holder]) -> String {
    const NAMED: usize = 3;
    let one = |holder: &&Holder| match &holder.command {
        Some(command) => format!("{} ({})", holder.pid, shmeld_os::name::escape(command)),
        None => holder.pid.to_string(),
    };
    let named: Vec<String> = holders.iter().take(NAMED).map(one).collect();
    let word = if holders.len() == 1 {
        "process"
    } else {
        "processes"
    };
    let more = match holders.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("{word} {}{more}", named.join(", "))
}

#[cfg(test)]
mod tests {
    use super::super::object::Role;
    use super::*;

    fn holder(pid: u32, is_alive: bool, role: Role) -> Holder {
        Holder {
            pid,
            command: is_alive.then(|| b"cmd".to_vec()),
            uid: Some(0),
            roles: vec![role],
            mapped_bytes: 0,
        }
    }

    fn state(evidence: &UseEvidence<'_>) -> State {
        of_use(evidence).state
    }

    #[test]
    fn whoever_keeps_an_object_is_named() {
        let holders: Vec<Holder> = (1..=5).map(|pid| holder(pid, true, Role::Mapped)).collect();
        let verdict = of_use(&UseEvidence {
            holders: &holders,
            ..UseEvidence::default()
        });
        assert_eq!(verdict.state, State::Live);
        assert_eq!(
            verdict.proof,
            "processes 1 (cmd), 2 (cmd), 3 (cmd) and 2 more have it open or mapped"
        );
        let verdict = of_use(&UseEvidence {
            attached: Some(2),
            ..UseEvidence::default()
        });
        assert_eq!(
            (verdict.state, verdict.proof.as_str()),
            (
                State::Live,
                "it is attached 2 times, by processes that we cannot see"
            )
        );
    }

    #[test]
    fn what_nobody_holds_is_known_only_where_everything_is_seen_or_the_kernel_says_so() {
        let nobody = UseEvidence::default();
        assert_eq!(state(&nobody), State::Unknown);
        assert_eq!(
            state(&UseEvidence {
                sees_all: true,
                ..nobody
            }),
            State::Unheld
        );
        assert_eq!(
            state(&UseEvidence {
                is_alone: Some(true),
                ..nobody
            }),
            State::Unheld
        );
        assert_eq!(
            state(&UseEvidence {
                is_alone: Some(false),
                sees_all: true,
                ..nobody
            }),
            State::Live
        );
        assert_eq!(
            state(&UseEvidence {
                attached: Some(0),
                ..nobody
            }),
            State::Unheld
        );
        assert_eq!(
            state(&UseEvidence {
                is_locked: true,
                sees_all: true,
                ..nobody
            }),
            State::Live
        );
        // A process that has only made it, or used it once, keeps nothing.
        let creator = [holder(7, true, Role::Creator)];
        let made = UseEvidence {
            holders: &creator,
            attached: Some(0),
            ..nobody
        };
        assert_eq!(state(&made), State::Unheld);
    }

    #[test]
    fn a_set_is_unheld_only_if_its_last_users_are_gone_and_nobody_waits() {
        let (alive, dead) = (
            [holder(7, true, Role::LastUser)],
            [holder(7, false, Role::LastUser)],
        );
        let set = UseEvidence {
            is_uncounted: true,
            sees_all: true,
            ..UseEvidence::default()
        };
        assert_eq!(state(&set), State::Unheld);
        assert_eq!(
            state(&UseEvidence {
                holders: &dead,
                ..set
            }),
            State::Unheld
        );
        assert_eq!(
            state(&UseEvidence {
                holders: &alive,
                ..set
            }),
            State::Unknown
        );
        assert_eq!(
            state(&UseEvidence {
                has_hidden_user: true,
                ..set
            }),
            State::Unknown
        );
        assert_eq!(
            state(&UseEvidence {
                holders: &dead,
                waiting: 1,
                ..set
            }),
            State::Live
        );
    }
}
