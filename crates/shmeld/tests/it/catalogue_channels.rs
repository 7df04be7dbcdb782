//! A dead channel of images is removed as a whole, and only while nobody has come to it since the look.

use shmeld::catalogue::{Kind, Outcome, Place, State};
use shmeld_os::lease::{self, Kind as Lock, Range};
use shmeld_os::mapping::Mapping;
use shmeld_os::posix::kernel_semaphore::KernelSemaphore;
use shmeld_os::posix::shm::SharedMemory;
use shmeld_os::{ObjectName, process};

use crate::catalogue::{assert_kept, look, remove};

/// What a requester of images leaves that is killed: `docs/PROTOCOL.md`, section 9. Removed at the end of the test.
struct DeadChannel(String);

impl DeadChannel {
    fn new(what: &str) -> Self {
        let channel = Self(format!("shmeld-{what}-{}", process::pid()));
        let made = |kind| SharedMemory::create_new(&channel.file("SEG_", kind), 0o600).expect("free");
        let numbers = ["_HEAD", "_DATA"].map(|kind| made(kind).stat().expect("open").ino);
        let mut note = [0; 16];
        note[8..12].copy_from_slice(&numbers[0].to_le_bytes()[..4]);
        note[12..].copy_from_slice(&numbers[1].to_le_bytes()[..4]);
        for kind in ["_RES", "_REQ"] {
            KernelSemaphore::create_noted(&channel.file("sem.SEM_", kind), 0o600, 0, note).expect("free");
        }
        channel
    }

    fn file(&self, prefix: &str, suffix: &str) -> ObjectName {
        ObjectName::new(&format!("{prefix}{}{suffix}", self.0)).expect("valid")
    }

    fn files(&self) -> [ObjectName; 4] {
        let head_and_data = ["_HEAD", "_DATA"].map(|kind| self.file("SEG_", kind));
        let [head, data] = head_and_data;
        let [answer, request] = ["_RES", "_REQ"].map(|kind| self.file("sem.SEM_", kind));
        [head, data, answer, request]
    }

    fn head(&self) -> Place {
        Place::Named(Kind::Segment, self.file("SEG_", "_HEAD").as_str().into())
    }
}

impl Drop for DeadChannel {
    fn drop(&mut self) {
        for file in self.files() {
            let _ = SharedMemory::unlink(&file);
        }
    }
}

/// Whichever of the four somebody opens, leases or replaces: all four are kept.
#[test]
fn a_channel_that_somebody_comes_to_after_the_look_is_kept() {
    let channel = DeadChannel::new("came");
    let (head, files) = (channel.head(), channel.files());
    let snapshot = look();
    let object = snapshot.find(&head).expect("there");
    assert_eq!(object.verdict.state, State::Stale, "{}", object.verdict.proof);
    for file in &files {
        let opened = SharedMemory::open(file, true).expect("there");
        assert_kept(&snapshot, &head);
        assert!(lease::try_take(&opened, Range::byte(0), Lock::Write, "object").expect("open"));
        let mapping = Mapping::read_only(&opened, 8, "object").expect("open");
        drop(opened);
        assert_kept(&snapshot, &head);
        drop(mapping);
    }
    let there = |file: &ObjectName| SharedMemory::stat_name(file).is_ok();
    assert!(files.iter().all(there));
    assert_eq!(remove(&snapshot, &head), Outcome::Removed);
    assert!(!files.iter().any(there));
}

/// The names lead to something that is not proven to be ours.
#[test]
fn a_channel_of_which_something_was_replaced_after_the_look_is_kept() {
    for replaced in 0..4 {
        let channel = DeadChannel::new("anew");
        let (head, files) = (channel.head(), channel.files());
        let snapshot = look();
        // The number of what is removed first may be given to what is made next.
        let other = SharedMemory::create_unnamed().expect("room");
        other.write_at(&[0; 32], 0).expect("room");
        SharedMemory::unlink(&files[replaced]).expect("ours");
        other.publish(&files[replaced]).expect("free");
        drop(other);
        assert_kept(&snapshot, &head);
        let state = look().find(&head).expect("there").verdict.state;
        assert_eq!(state, State::Unheld, "{}", files[replaced]);
        assert!(files.iter().all(|file| SharedMemory::stat_name(file).is_ok()));
    }
}
