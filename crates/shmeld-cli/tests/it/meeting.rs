//! Where the processes of `demo meld` meet in a test: an object that no other test uses, and the proof that nothing is left of it.

use shmeld_os::posix::shm::SharedMemory;
use shmeld_os::{ErrorKind, ObjectName};

use crate::processes::{Program, Running};
use crate::world::{World, eventually};

/// A world with an object of its own.
pub struct Meeting {
    pub world: World,
    pub name: ObjectName,
    _remover: Remover,
}

/// Removes what a test that failed has left.
struct Remover(ObjectName);

impl Drop for Remover {
    fn drop(&mut self) {
        // Nothing is there after a test that passed.
        let _ = SharedMemory::unlink(&self.0);
    }
}

impl Meeting {
    pub fn new(what: &str) -> Self {
        let world = World::new(what);
        let name = ObjectName::new(&format!("{}-meld", world.name())).unwrap();
        let _remover = Remover(name.clone());
        Self {
            world,
            name,
            _remover,
        }
    }

    pub fn demo(&self) -> Program {
        let demo = self.world.shmeld("demo").arg("meld");
        demo.args(["--object", &self.name.to_string()])
    }

    pub fn role(&self, role: &str) -> Program {
        self.demo().args(["--role", role])
    }

    /// A, waiting for B.
    pub fn start_a(&self) -> Running {
        let a = self.role("a").start();
        a.wait_for_stderr(" wait ");
        a
    }

    /// A, stopped while it waits for B, and B, waiting for A to read its answer.
    pub fn start_both_and_stop_a(&self) -> (Running, Running) {
        let a = self.start_a();
        stop(&a);
        let b = self.role("b").start();
        b.wait_for_stderr("turn = 2");
        (a, b)
    }

    pub fn exists(&self) -> bool {
        let stat = SharedMemory::stat_name(&self.name);
        !stat.is_err_and(|error| error.kind() == ErrorKind::NotFound)
    }

    /// Nothing is left, whatever the processes said.
    #[track_caller]
    pub fn finish(self) {
        assert!(!self.exists(), "{} is left", self.name);
        self.world.finish();
    }

    /// The next run is not disturbed by what this one left.
    #[track_caller]
    pub fn run_again_and_finish(self) {
        self.demo().run().expect_code(0);
        self.finish();
    }
}

pub fn stop(process: &Running) {
    process.signal("STOP");
    let stat = format!("/proc/{}/stat", process.pid());
    eventually("the process is stopped", || {
        std::fs::read_to_string(&stat).unwrap().contains(") T ")
    });
}
