//! A request and a file like any other: with what the tests of several rooms begin.

use shmeld_core::attach::RegionId;
use shmeld_os::fs::{FileKind, Stat, Time};

use super::wire::{Op, Request};

pub(super) fn request(op: Op, path: &[u8]) -> Request {
    Request {
        op,
        request_id: 1,
        region_id: RegionId([0x11; 16]),
        nonce: [0x22; 16],
        region_bytes: 4096,
        offset: 0,
        flags: 0,
        prefix_digest: [0; 32],
        path: path.to_vec(),
    }
}

/// A page of user 1000, and of nobody else.
pub(super) fn stat() -> Stat {
    Stat {
        dev: 1,
        ino: 2,
        mode: 0o600,
        kind: FileKind::File,
        uid: 1000,
        gid: 1000,
        links: 1,
        bytes: 4096,
        blocks_512: 8,
        modified: Time::default(),
        changed: Time::default(),
    }
}
