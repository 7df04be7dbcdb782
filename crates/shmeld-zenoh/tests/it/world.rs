//! A world of its own for each test: a directory, the machines that the test makes, the processes it starts there, and the proof at its
//! end that nothing of all that is left.

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use shmeld_os::process;

use crate::content;
use crate::machine::Machine;
use crate::need::skip;
use crate::processes::{Group, Program};

/// The folder in which `cargo xtask bridge` has built `shm_server`, `shm_client` and `shmeld`.
const PROGRAMS: &str = "SHMELD_PROGRAMS";

/// See the module. End each test with [`World::finish`]; a test that fails before is cleaned up on drop.
pub struct World {
    root: PathBuf,
    programs: PathBuf,
    group: Group,
    /// The processes that keep machines: they go on to the very end.
    keepers: Group,
    machines: Mutex<Vec<Machine>>,
}

impl World {
    /// `what` makes its files recognisable. Says why there is none, where the product's other programs are not.
    pub fn or_skip(what: &str) -> Option<Self> {
        static COUNTER: AtomicU32 = AtomicU32::new(0);
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let programs = PathBuf::from(std::env::var_os(PROGRAMS).unwrap_or_default());
        if !programs.join("shm_client").is_file() {
            skip("shm_server and shm_client in the folder SHMELD_PROGRAMS (cargo xtask bridge)");
            return None;
        }
        let name = format!("shmeld-bridge-{}-{number}-{what}", process::pid());
        let root = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&root).unwrap();
        content::set_mode(&root, 0o755);
        Some(World {
            root,
            programs,
            group: Group::default(),
            keepers: Group::default(),
            machines: Mutex::default(),
        })
    }

    /// A machine that is looked at when the world ends.
    pub fn machine_or_skip(&self, name: &'static str) -> Option<Machine> {
        let machine = Machine::or_skip(self, name)?;
        self.machines.lock().unwrap().push(machine.clone());
        Some(machine)
    }

    /// A path in this world.
    pub fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// A file with the directories above it.
    pub fn put(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, bytes).unwrap();
        path
    }

    /// A file of `len` bytes that only this name and length have; returns them.
    pub fn put_random(&self, name: &str, len: usize) -> Vec<u8> {
        let bytes = content::of(name, len);
        self.put(name, &bytes);
        bytes
    }

    /// Insists that a file has these bytes.
    #[track_caller]
    pub fn assert_file(&self, name: &str, expected: &[u8]) {
        content::assert_file(&self.path(name), expected);
    }

    /// The folder of `shm_server`, `shm_client` and `shmeld`.
    pub fn programs(&self) -> &Path {
        &self.programs
    }

    /// `shm_server`, `shm_client` or `shmeld`.
    pub fn program(&self, name: &str) -> Program {
        Program::new(&self.group, self.programs.join(name), &self.root)
    }

    /// `shmeld-bridge COMMAND`
    pub fn bridge(&self, command: &str) -> Program {
        let executable = env!("CARGO_BIN_EXE_shmeld-bridge");
        Program::new(&self.group, executable, &self.root).arg(command)
    }

    /// Any other program.
    pub fn tool(&self, program: &str) -> Program {
        Program::new(&self.group, program, &self.root)
    }

    /// One that keeps a machine.
    pub fn keeper(&self, program: &str) -> Program {
        Program::new(&self.keepers, program, &self.root)
    }

    /// Stops what still runs (servers and bridges must end well when they are asked to), then insists that nothing is left.
    #[track_caller]
    pub fn finish(self) {
        let machines = std::mem::take(&mut *self.machines.lock().unwrap());
        self.group.stop_all();
        for machine in &machines {
            machine.assert_nothing_left(&self);
        }
        let hidden: Vec<_> = content::names_below(&self.root)
            .into_iter()
            .filter(|name| content::base(name).contains(".shmeld-"))
            .collect();
        assert!(hidden.is_empty(), "unfinished outputs are left: {hidden:?}");
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.group.tell_all();
        }
        self.group.kill_all();
        self.keepers.kill_all();
        content::remove_tree(&self.root);
    }
}
