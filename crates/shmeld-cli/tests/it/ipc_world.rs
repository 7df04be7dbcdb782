//! Segments of a test of `shmeld ipc`: a key and a name that no other test uses, removed with the guard.

use std::sync::atomic::{AtomicU32, Ordering};

use shmeld_os::posix::shm::SharedMemory;
use shmeld_os::sysv::Key;
use shmeld_os::sysv::shared_memory::Segment;
use shmeld_os::{ObjectName, process};

use crate::outcome::Outcome;
use crate::processes::Program;
use crate::world::World;

/// A System V key and a POSIX name.
pub struct Places {
    pub key: Key,
    pub name: ObjectName,
}

impl Places {
    pub fn new() -> Self {
        static COUNTER: AtomicU32 = AtomicU32::new(1);
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let name = format!("/shmeld-ipc-{}-{number}", process::pid());
        Places {
            // 22 bits of the process's number, and the counter.
            key: Key::new(process::pid() << 10 | number & 0x3ff),
            name: ObjectName::new(&name).unwrap(),
        }
    }

    pub fn sysv(&self) -> String {
        format!("sysv:{}", self.key)
    }

    pub fn posix(&self) -> String {
        format!("posix:{}", self.name)
    }

    /// One of either family.
    pub fn both(&self) -> [String; 2] {
        [self.sysv(), self.posix()]
    }

    /// Insists that nothing is left under the key and the name.
    #[track_caller]
    pub fn assert_empty(&self) {
        assert!(Segment::open(self.key, 0).is_err(), "{} is left", self.sysv());
        assert!(
            SharedMemory::stat_name(&self.name).is_err(),
            "{} is left",
            self.posix()
        );
    }
}

impl Drop for Places {
    fn drop(&mut self) {
        let _ = Segment::open(self.key, 0).and_then(|segment| segment.remove());
        let _ = SharedMemory::unlink(&self.name);
    }
}

impl World {
    /// `shmeld ipc WORDS`, to be run.
    pub fn ipc(&self, words: &[&str]) -> Program {
        self.shmeld("ipc").args(words)
    }

    /// `shmeld ipc WORDS`, run to its end, which must be good; what it printed, without the line's end.
    #[track_caller]
    pub fn ipc_done(&self, words: &[&str]) -> String {
        let outcome = self.ipc(words).run().expect_code(0);
        outcome.stdout_text().trim_end().to_owned()
    }

    /// Bytes for the beginning of a segment.
    #[track_caller]
    pub fn ipc_written(&self, address: &str, bytes: &[u8]) {
        self.ipc(&["write", address]).input(bytes).run().expect_code(0);
    }

    /// `shmeld ipc WORDS`, which must fail with this code.
    #[track_caller]
    pub fn ipc_refused(&self, code: i32, words: &[&str]) -> Outcome {
        self.ipc(words).run().expect_code(code)
    }

    /// What `show --json` says.
    #[track_caller]
    pub fn ipc_shown(&self, address: &str) -> serde_json::Value {
        serde_json::from_str(&self.ipc_done(&["show", "--json", address])).unwrap()
    }
}
