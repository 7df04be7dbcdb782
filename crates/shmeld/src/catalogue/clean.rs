//! What can go, and its removal. What a snapshot says was true when it was taken: each removal looks once more, so that nothing can come
//! between the look and the removal where the kernel offers a way, and next to nothing elsewhere.
//!
//! | what | how nobody comes in between |
//! |---|---|
//! | region of a dead client | its name is random: no other object ever gets it |
//! | gate and queue of a dead server | the lock of the gate is held |
//! | board of a dead poster | its token is held: no other poster can come |
//! | channel of images of a dead requester | its leases are held, and those of the next row on all of its objects |
//! | POSIX objects of other programs, queue of a dead doctor | a lease that the kernel gives to the only user of a file is held |
//! | System V segment of another program | `IPC_RMID` takes no memory from anybody who has it attached |
//! | System V set or queue of another program | nothing: the look is a moment old |

use std::time::{Duration, UNIX_EPOCH};

use shmeld_os::fs::Time;
use shmeld_os::users::ROOT;

use super::object::Object;
use super::verdict::State;
use super::{Belonging, Kind, Place, Snapshot, channels, unheld};
use crate::board::remains;
use crate::file::gate;
use crate::{Result, ServerName};

/// What may be removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scope {
    /// The user whose objects may go.
    pub uid: u32,
    /// Whether what other programs of this user left may go, if nobody has it.
    pub any_stale: bool,
    /// How long such an object must not have changed: its maker may be about to use it.
    pub age_min: Duration,
    /// The time by which that is judged.
    pub now: Duration,
}

impl Scope {
    /// The age is judged by the clock.
    #[must_use]
    pub fn new(uid: u32, any_stale: bool, age_min: Duration) -> Self {
        let now = UNIX_EPOCH.elapsed().unwrap_or_default();
        Self {
            uid,
            any_stale,
            age_min,
            now,
        }
    }

    fn admits(&self, object: &Object) -> bool {
        match object.verdict.state {
            // Root cleans up after everybody, but has no way to take another user's board, nor to be the only user of its queue.
            State::Stale if matches!(object.belongs, Some(Belonging::Board(_) | Belonging::Trial)) => {
                self.is_own(object)
            }
            State::Stale => self.uid == ROOT || self.is_own(object),
            State::Unheld => self.any_stale && self.is_own(object) && self.is_old(object),
            State::Live | State::Unknown => false,
        }
    }

    /// Who may give an object away may have done so: both must be this user.
    fn is_own(&self, object: &Object) -> bool {
        let is_it = |ids: super::Ids| ids.uid == self.uid;
        object.owner.is_some_and(is_it) && object.creator.is_none_or(is_it)
    }

    fn is_old(&self, object: &Object) -> bool {
        let age = |time: Time| {
            let since = u64::try_from(time.seconds).unwrap_or_default();
            self.now.saturating_sub(Duration::from_secs(since))
        };
        let last = object.changed.max(object.used);
        last.is_some_and(|last| age(last) >= self.age_min)
    }
}

/// What goes together.
#[derive(Debug, Clone)]
pub struct Unit<'s> {
    what: What,
    /// One object, or gate and queue of a server, or set and segment of a board, or what is left of a channel of images.
    pub objects: Vec<&'s Object>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum What {
    Region(Vec<u8>),
    Server(ServerName),
    Board(shmeld_os::sysv::Key),
    Image(Vec<u8>),
    Trial(Vec<u8>),
    Unheld,
}

/// What became of a unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It is gone, by this removal.
    Removed,
    /// Somebody else removed it meanwhile.
    Gone,
    /// It was left, for this reason.
    Kept(String),
}

impl Snapshot {
    /// What can go, in the order of addresses.
    #[must_use]
    pub fn units(&self, scope: &Scope) -> Vec<Unit<'_>> {
        let mut units: Vec<Unit<'_>> = Vec::new();
        for object in self.objects.iter().filter(|object| scope.admits(object)) {
            let what = what(object);
            let same = units
                .iter_mut()
                .find(|unit| unit.what == what && what != What::Unheld);
            match same {
                Some(unit) => unit.objects.push(object),
                None => units.push(Unit {
                    what,
                    objects: vec![object],
                }),
            }
        }
        units
    }
}

fn what(object: &Object) -> What {
    match (&object.place, &object.belongs, object.verdict.state) {
        (Place::Named(Kind::Segment, name), Some(Belonging::Region(_)), State::Stale) => {
            What::Region(name.clone())
        }
        (_, Some(Belonging::Gate(server) | Belonging::ServerQueue(server)), State::Stale) => {
            What::Server(server.clone())
        }
        (_, Some(Belonging::Board(key)), State::Stale) => What::Board(*key),
        (Place::Named(_, name), Some(Belonging::Trial), State::Stale) => What::Trial(name.clone()),
        (_, Some(Belonging::Image(channel)), State::Stale) => What::Image(channel.clone()),
        _ => What::Unheld,
    }
}

impl Unit<'_> {
    /// Whether it is another program's, of which is known only that nobody has it.
    #[must_use]
    pub fn is_foreign(&self) -> bool {
        self.what == What::Unheld
    }

    /// Looks once more, and removes it if the proof still holds.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn remove(&self) -> Result<Outcome> {
        let swept = match &self.what {
            What::Unheld | What::Trial(_) => {
                let first = self.objects.first();
                return first.map_or(Ok(Outcome::Gone), |object| unheld::remove(object));
            }
            What::Board(key) => {
                let needed = "somebody came to the board meanwhile";
                return Ok(removed_or(remains::remove(*key)?, needed));
            }
            What::Image(channel) => return channels::remove(channel),
            What::Region(name) => gate::remove_if_dead(name),
            What::Server(server) => gate::remove_if_dead(server.gate().as_str().as_bytes()),
        };
        Ok(removed_or(
            !swept.is_empty(),
            "its lease is not free any more, somebody has its queue open, or it is gone",
        ))
    }
}

fn removed_or(is_removed: bool, kept: &str) -> Outcome {
    if is_removed {
        Outcome::Removed
    } else {
        Outcome::Kept(kept.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use shmeld_os::sysv::Key;

    use super::super::verdict::Verdict;
    use super::super::{Ids, Sight};
    use super::*;

    const SCOPE: Scope = Scope {
        uid: 5,
        any_stale: false,
        age_min: Duration::from_secs(60),
        now: Duration::from_secs(1_000),
    };
    const ANY: Scope = Scope {
        any_stale: true,
        ..SCOPE
    };

    fn object(place: Place, uid: u32, state: State, belongs: Option<Belonging>) -> Object {
        let mut object = Object::new(place, String::new());
        object.owner = Some(Ids { uid, gid: 0 });
        object.changed = Some(Time {
            seconds: 900,
            nanoseconds: 0,
        });
        object.belongs = belongs;
        object.verdict = Verdict {
            state,
            proof: "a proof".to_owned(),
        };
        object
    }

    fn named(name: &str, uid: u32, state: State, belongs: Option<Belonging>) -> Object {
        object(
            Place::Named(Kind::Segment, name.as_bytes().to_vec()),
            uid,
            state,
            belongs,
        )
    }

    fn units(objects: Vec<Object>, scope: &Scope) -> Vec<Vec<String>> {
        let snapshot = Snapshot {
            objects,
            sight: Sight::default(),
        };
        let places = |unit: &Unit<'_>| {
            unit.objects
                .iter()
                .map(|object| object.place.to_string())
                .collect()
        };
        snapshot.units(scope).iter().map(places).collect()
    }

    #[test]
    fn only_what_is_stale_goes_and_of_others_what_is_unheld_old_and_this_users_if_that_is_wanted() {
        let region = || Some(Belonging::Region(None));
        let all = || {
            vec![
                named("live", 5, State::Live, region()),
                named("stale", 5, State::Stale, region()),
                named("stale of another", 6, State::Stale, region()),
                named("unknown", 5, State::Unknown, region()),
                named("unheld", 5, State::Unheld, None),
                named("unheld of another", 6, State::Unheld, None),
            ]
        };
        assert_eq!(units(all(), &SCOPE), [["posix:/stale"]]);
        assert_eq!(units(all(), &ANY), [["posix:/stale"], ["posix:/unheld"]]);
        let root = Scope { uid: 0, ..ANY };
        assert_eq!(
            units(all(), &root),
            [["posix:/stale"], ["posix:/stale of another"]]
        );
    }

    #[test]
    fn what_is_young_or_was_made_by_another_user_stays() {
        let mut young = named("young", 5, State::Unheld, None);
        young.used = Some(Time {
            seconds: 990,
            nanoseconds: 0,
        });
        let mut timeless = named("timeless", 5, State::Unheld, None);
        timeless.changed = None;
        let mut given = named("given", 5, State::Unheld, None);
        given.creator = Some(Ids { uid: 6, gid: 0 });
        let mut later = named("later", 5, State::Unheld, None);
        later.changed = Some(Time {
            seconds: 2_000,
            nanoseconds: 0,
        });
        assert_eq!(units(vec![young, timeless, given, later], &ANY), [[""; 0]; 0]);
    }

    #[test]
    fn a_server_is_one_unit_and_so_is_a_board() {
        let server = ServerName::new("/a").expect("valid");
        let board = || Some(Belonging::Board(Key::new(7)));
        let objects = vec![
            named(
                "shmeld.a.gate",
                5,
                State::Stale,
                Some(Belonging::Gate(server.clone())),
            ),
            named("other", 5, State::Unheld, None),
            object(
                Place::Named(Kind::Queue, b"a".to_vec()),
                5,
                State::Stale,
                Some(Belonging::ServerQueue(server)),
            ),
            object(Place::Numbered(Kind::SysvSegment, 1), 5, State::Stale, board()),
            object(Place::Numbered(Kind::SysvSet, 2), 5, State::Stale, board()),
        ];
        assert_eq!(
            units(objects.clone(), &ANY),
            [
                vec!["posix:/shmeld.a.gate", "mq:/a"],
                vec!["posix:/other"],
                vec!["sysv:#1", "sysv-sem:#2"],
            ]
        );
        // Root has no way to take a board that is not its own.
        let root = Scope { uid: 0, ..SCOPE };
        assert_eq!(units(objects, &root), [["posix:/shmeld.a.gate", "mq:/a"]]);
    }
}
