//! A message board of its own for each test: a key that nobody else has, and the proof that nothing is left under it.

use std::sync::atomic::{AtomicU32, Ordering};

use shmeld_os::sysv::Key;
use shmeld_os::sysv::semaphore::SemaphoreSet;
use shmeld_os::sysv::shared_memory::Segment;
use shmeld_os::{ErrorKind, process};

use crate::processes::{Outcome, Program, Running};
use crate::world::World;

/// More than a pipe holds: a reader whose output nobody takes stays inside.
pub const LONG_BYTES: usize = 300_000;

/// What a poster leaves in DONE for good.
pub const MARK: u16 = 0x5342;

/// See the module. End each test with [`Desk::finish`].
pub struct Desk {
    world: Option<World>,
    pub key: Key,
}

impl Desk {
    pub fn new(what: &str) -> Self {
        static COUNTER: AtomicU32 = AtomicU32::new(0);
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let key = 0x4000_0000 | (process::pid() & 0x3f_ffff) << 8 | number & 0xff;
        Desk {
            world: Some(World::new(what)),
            key: Key::new(key),
        }
    }

    /// `shmeld board COMMAND --key KEY`
    pub fn board(&self, command: &str) -> Program {
        let board = self.world().shmeld("board").args([command, "--key"]);
        board.arg(self.key.to_string())
    }

    pub fn read(&self) -> Program {
        self.board("read")
    }

    /// A poster for so many readers.
    pub fn post(&self, readers: u32) -> Program {
        self.board("post").args(["--readers", &readers.to_string()])
    }

    /// A poster whose message can be read.
    #[track_caller]
    pub fn start_post(&self, message: &[u8], readers: u32) -> Running {
        let poster = self.post(readers).input(message).start();
        poster.wait_for_stderr("posted");
        poster
    }

    /// A reader that stays inside until the other end of its output is read or closed.
    #[track_caller]
    pub fn start_held_reader(&self) -> (Running, std::io::PipeReader) {
        let (reader, writer) = std::io::pipe().unwrap();
        let running = self.read().stdout(writer).start();
        (running, reader)
    }

    /// Waits until so many readers are inside.
    #[track_caller]
    pub fn await_inside(&self, readers: u16) {
        crate::world::eventually("readers are inside", || self.values()[2] == readers);
    }

    /// POSTER, OPEN, INSIDE, ARRIVED, DONE without its mark; all zero if there is no set.
    pub fn values(&self) -> Vec<u16> {
        let values = SemaphoreSet::open(self.key, 5).and_then(|set| set.values());
        let mut values = values.unwrap_or_else(|_| vec![0; 5]);
        values[4] = values[4].saturating_sub(MARK);
        values
    }

    /// A message to one reader: whatever was left under the key, this works.
    #[track_caller]
    pub fn assert_works(&self, message: &[u8]) {
        let reader = self.read().start();
        let poster = self.start_post(message, 1);
        // One that waited at a dead poster's board says so; then another one comes.
        let mut outcome = reader.finish();
        if outcome.code == Some(4) {
            outcome = self.read().run();
        }
        assert!(outcome.expect_code(0).stdout == message, "another message");
        poster.finish().expect_code(0).expect_said("1 of 1 reader");
        self.assert_nothing_left();
    }

    #[track_caller]
    pub fn assert_nothing_left(&self) {
        let set = SemaphoreSet::open(self.key, 0).map(drop);
        let segment = Segment::open(self.key, 0).map(drop);
        for (what, found) in [("set", set), ("segment", segment)] {
            let is_gone = matches!(&found, Err(error) if error.kind() == ErrorKind::NotFound);
            assert!(is_gone, "a {what} is left under {}: {found:?}", self.key);
        }
    }

    #[track_caller]
    pub fn finish(mut self) {
        self.assert_nothing_left();
        if let Some(world) = self.world.take() {
            world.finish();
        }
    }

    /// The world that its programs live in.
    pub fn world(&self) -> &World {
        self.world.as_ref().unwrap()
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        // What a failed test leaves.
        let _ = Segment::open(self.key, 0).map(|segment| segment.remove());
        let _ = SemaphoreSet::open(self.key, 0).map(|set| set.remove());
    }
}

/// How a reader may end that is in nobody's way: with the message, or too late in one of two ways.
#[track_caller]
pub fn assert_whole_or_late(outcome: &Outcome, message: &[u8]) {
    match outcome.code {
        Some(0) => assert!(outcome.stdout == message, "{}: another message", outcome.label),
        Some(1) => assert!(outcome.stderr.contains("closed before"), "{}", outcome.story),
        Some(3) => assert!(outcome.stderr.contains("no message"), "{}", outcome.story),
        _ => panic!("{}\n{}", outcome.label, outcome.story),
    }
}
