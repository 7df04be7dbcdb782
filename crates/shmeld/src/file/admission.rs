//! Whether a region that a request names may be attached. Pure: the acceptor collects the facts, this decides.

use shmeld_core::layout::{Header, LayoutError, MAGIC, RawHeader};
use shmeld_os::fs::{FileKind, Stat};

use super::status::Status;
use super::users::Users;
use super::wire::{Op, Request};

/// What a server admits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Policy {
    /// Who is who.
    pub users: Users,
    /// Whether the queue lets others send, and so their regions are attached too.
    pub serves_others: bool,
    /// The largest region.
    pub region_bytes_max: u64,
}

/// What the acceptor does with a request for a region that is not attached yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Attach it.
    Attach(Header),
    /// Write REFUSED and this code into the region: it has been proven that the sender made it.
    Refuse(Status),
    /// Do nothing: whoever sent the request has not proven to own the region, so nothing may be written into it.
    Ignore(&'static str),
}

/// What the kernel says about the object, and a private copy of its first 64 bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Facts<'a> {
    pub stat: &'a Stat,
    /// Whether somebody else than its owner and this server's user may open it.
    pub is_open_to_others: bool,
    pub raw: &'a RawHeader,
}

/// Decides about a region.
#[must_use]
pub(super) fn judge(request: &Request, facts: Facts<'_>, policy: &Policy) -> Verdict {
    let Facts { stat, raw, .. } = facts;
    if let Some(reason) = unproven(request, facts) {
        return Verdict::Ignore(reason);
    }
    if request.op == Op::Close {
        return Verdict::Ignore("CLOSE for a region that is not attached");
    }
    // Only now: whoever knows the nonce made the region, and may be told.
    if !policy.users.are_served(stat.uid, policy.serves_others) {
        return Verdict::Refuse(Status::Denied);
    }
    if stat.bytes > policy.region_bytes_max {
        return Verdict::Refuse(Status::BadRegion);
    }
    if stat.blocks_512.saturating_mul(512) < stat.bytes {
        // Pages that are not there could not be provided later: a full /dev/shm would kill with SIGBUS.
        return Verdict::Refuse(Status::BadRegion);
    }
    match Header::check(raw, stat.bytes) {
        Ok(header) => Verdict::Attach(header),
        Err(LayoutError::Version { .. }) => Verdict::Refuse(Status::Unsupported),
        Err(_) => Verdict::Refuse(Status::BadRegion),
    }
}

/// Why the sender is not known to have made the region.
fn unproven(request: &Request, facts: Facts<'_>) -> Option<&'static str> {
    let Facts { stat, raw, .. } = facts;
    if stat.kind != FileKind::File {
        return Some("not a regular file");
    }
    if stat.links != 1 {
        return Some("it has more than one name, or none");
    }
    if facts.is_open_to_others {
        // They could have put another nonce and state there, and spend what is its owner's: the places, the lines of the log.
        return Some("others than its owner and this server's user may write it");
    }
    if stat.bytes != request.region_bytes {
        return Some("its size is not the one in the request");
    }
    if raw.magic != MAGIC {
        return Some("it does not begin with the magic");
    }
    if raw.state.get() != 0 {
        return Some("it is no longer on offer");
    }
    if raw.nonce != request.nonce {
        return Some("its nonce is not the one in the request");
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::file::sample;
    use shmeld_core::layout::Geometry;

    const POLICY: Policy = Policy {
        users: Users {
            own: 1000,
            unmapped: None,
        },
        serves_others: false,
        region_bytes_max: 1 << 20,
    };

    fn sound() -> (Request, Stat, RawHeader) {
        let request = sample::request(Op::Get, b"a");
        let header = Header {
            nonce: request.nonce,
            geometry: Geometry::for_region(4096).unwrap(),
        };
        (request, sample::stat(), header.to_raw())
    }

    fn decide(request: &Request, stat: &Stat, raw: &RawHeader, policy: &Policy) -> Verdict {
        let facts = Facts {
            stat,
            is_open_to_others: false,
            raw,
        };
        judge(request, facts, policy)
    }

    #[test]
    fn a_sound_region_is_attached() {
        let (request, stat, raw) = sound();
        assert!(matches!(
            decide(&request, &stat, &raw, &POLICY),
            Verdict::Attach(_)
        ));
    }

    #[test]
    fn whoever_has_not_proven_to_own_a_region_changes_nothing_in_it() {
        let (request, stat, raw) = sound();
        let stats = [
            Stat {
                kind: FileKind::Directory,
                ..stat
            },
            Stat { links: 2, ..stat },
            Stat { links: 0, ..stat },
            Stat { bytes: 8192, ..stat },
        ];
        for stat in stats {
            assert!(
                matches!(decide(&request, &stat, &raw, &POLICY), Verdict::Ignore(_)),
                "{stat:?}"
            );
        }
        let open = Facts {
            stat: &stat,
            is_open_to_others: true,
            raw: &raw,
        };
        assert!(matches!(judge(&request, open, &POLICY), Verdict::Ignore(_)));
        let other_nonce = Request {
            nonce: [4; 16],
            ..request.clone()
        };
        assert!(matches!(
            decide(&other_nonce, &stat, &raw, &POLICY),
            Verdict::Ignore(_)
        ));
        // A request that is replayed, or was sent before its client saw a refusal, must not attach the region again.
        let ended = RawHeader {
            state: 2.into(),
            ..raw
        };
        assert!(matches!(
            decide(&request, &stat, &ended, &POLICY),
            Verdict::Ignore(_)
        ));
        let other_magic = RawHeader {
            magic: *b"NOTHING!",
            ..raw
        };
        assert!(matches!(
            decide(&request, &stat, &other_magic, &POLICY),
            Verdict::Ignore(_)
        ));
    }

    /// It was ignored, and its client waited for half a minute.
    #[test]
    fn a_user_who_is_not_served_is_told_so_once_the_nonce_is_right() {
        let (request, stat, raw) = sound();
        let stranger = Stat { uid: 1001, ..stat };
        let refused = Verdict::Refuse(Status::Denied);
        assert_eq!(decide(&request, &stranger, &raw, &POLICY), refused);
        let public = Policy {
            serves_others: true,
            ..POLICY
        };
        assert!(matches!(
            decide(&request, &stranger, &raw, &public),
            Verdict::Attach(_)
        ));
        let unmapped = Policy {
            users: Users {
                unmapped: Some(1001),
                ..POLICY.users
            },
            ..public
        };
        assert_eq!(decide(&request, &stranger, &raw, &unmapped), refused);
        let forged = Request {
            nonce: [4; 16],
            ..request
        };
        assert!(matches!(
            decide(&forged, &stranger, &raw, &POLICY),
            Verdict::Ignore(_)
        ));
    }

    #[test]
    fn an_owner_is_told_what_is_wrong_with_its_region() {
        let (request, stat, raw) = sound();
        let sparse = Stat {
            blocks_512: 7,
            ..stat
        };
        assert_eq!(
            decide(&request, &sparse, &raw, &POLICY),
            Verdict::Refuse(Status::BadRegion)
        );
        let other_version = RawHeader {
            version: 2.into(),
            ..raw
        };
        assert_eq!(
            decide(&request, &stat, &other_version, &POLICY),
            Verdict::Refuse(Status::Unsupported)
        );
        let no_slots = RawHeader {
            slot_count: 0.into(),
            ..raw
        };
        assert_eq!(
            decide(&request, &stat, &no_slots, &POLICY),
            Verdict::Refuse(Status::BadRegion)
        );
        let small_policy = Policy {
            region_bytes_max: 0,
            ..POLICY
        };
        assert_eq!(
            decide(&request, &stat, &raw, &small_policy),
            Verdict::Refuse(Status::BadRegion)
        );
    }
}
