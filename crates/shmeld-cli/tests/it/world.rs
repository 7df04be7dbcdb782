//! A world of its own for each test: a directory with `source` and `output`, the name of a server, the
//! processes that the test starts, and the proof at its end that nothing of all that is left.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use shmeld_os::lease::{self, Kind, Range};
use shmeld_os::posix::mqueue::{Access, MessageQueue};
use shmeld_os::posix::shm::SharedMemory;
use shmeld_os::{ErrorKind, ObjectName, listing, process};

use crate::content;
pub use crate::need::{can_unshare_or_skip, eventually, has_or_skip, is_root_or_skip, skip};
use crate::processes::{Group, PATIENCE, Program, Running};

/// The uid and gid of nobody.
pub const NOBODY: u32 = 65534;

/// See the module. End each test with [`World::finish`]; a test that fails before is cleaned up on drop.
pub struct World {
    root: PathBuf,
    name: String,
    group: Group,
}

impl World {
    /// A world with an empty source tree and an empty output directory. `what` makes its files recognisable.
    pub fn new(what: &str) -> Self {
        static COUNTER: AtomicU32 = AtomicU32::new(0);
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let name = format!("shmeld-it-{}-{number}", process::pid());
        let root = std::env::temp_dir().join(format!("{name}-{what}"));
        for directory in ["source", "output"] {
            std::fs::create_dir_all(root.join(directory)).unwrap();
        }
        // Servers of other users must be able to reach what is below, whatever umask the tests run under.
        content::set_mode(&root, 0o755);
        content::set_mode(&root.join("source"), 0o755);
        content::set_mode(&root.join("output"), 0o755);
        World {
            root,
            name: format!("/{name}"),
            group: Group::default(),
        }
    }

    /// The server's name, with its slash: also the name of the queue.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn queue_name(&self) -> ObjectName {
        ObjectName::new(&self.name).unwrap()
    }

    pub fn gate_name(&self) -> ObjectName {
        ObjectName::new(&format!("/shmeld.{}.gate", &self.name[1..])).unwrap()
    }

    /// The directory that holds everything of this world.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// A path in the source tree.
    pub fn source(&self, name: &str) -> PathBuf {
        self.root.join("source").join(name)
    }

    /// A path in the output directory.
    pub fn output(&self, name: &str) -> PathBuf {
        self.root.join("output").join(name)
    }

    /// A file in the source tree, with the directories above it.
    pub fn put(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.source(name);
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

    /// Insists that an output file has these bytes.
    #[track_caller]
    pub fn assert_output(&self, name: &str, expected: &[u8]) {
        content::assert_file(&self.output(name), expected);
    }

    /// Insists that the output directory is empty: nothing arrived, nothing half made lies about.
    #[track_caller]
    pub fn assert_no_output(&self) {
        let found = content::names_below(&self.output(""));
        assert!(found.is_empty(), "in the output directory: {found:?}");
    }

    /// `shm_server --name NAME SOURCE`
    pub fn server(&self) -> Program {
        let program = Program::new(&self.group, env!("CARGO_BIN_EXE_shm_server"), &self.root);
        program.args(["--name", &self.name]).arg(self.source(""))
    }

    /// `shm_client --name NAME`, in the world's directory.
    pub fn client(&self) -> Program {
        let program = Program::new(&self.group, env!("CARGO_BIN_EXE_shm_client"), &self.root);
        program.args(["--name", &self.name])
    }

    /// `shmeld COMMAND`, in the world's directory; `--name` is the caller's.
    pub fn shmeld(&self, command: &str) -> Program {
        let program = Program::new(&self.group, env!("CARGO_BIN_EXE_shmeld"), &self.root);
        program.arg(command)
    }

    /// Any other program, in the world's directory.
    pub fn tool(&self, program: &str) -> Program {
        Program::new(&self.group, program, &self.root)
    }

    /// A running server that clients can reach.
    pub fn start_server(&self) -> Running {
        let server = self.server().start();
        server.wait_for_stderr("serving");
        server
    }

    /// `shm_client -o OUTPUT ARGUMENTS`, run to its end.
    #[track_caller]
    pub fn fetch(&self, arguments: &[&str]) -> crate::processes::Outcome {
        self.client().arg("-o").arg(self.output("")).args(arguments).run()
    }

    /// `shm_client -o OUTPUT/NAME NAME`, at work.
    #[track_caller]
    pub fn fetching(&self, name: &str) -> Running {
        self.client().arg("-o").arg(self.output(name)).arg(name).start()
    }

    /// What the server says about itself.
    #[track_caller]
    pub fn status(&self) -> serde_json::Value {
        let outcome = self.shmeld("status").args(["--json", "--name", &self.name]).run();
        outcome.expect_code(0).json_lines().remove(0)
    }

    /// Insists that `shmeld demo WHICH` ends well, claims nothing that does not hold, and tells all this in lines of 80 columns.
    #[track_caller]
    pub fn assert_demo_tells(&self, which: &str, words: &[&str]) {
        let demo = self.shmeld("demo").arg(which).run();
        let story = demo.expect_code(0).expect_silence().stdout_text();
        for told in words {
            assert!(story.contains(told), "{told} in\n{story}");
        }
        assert!(!story.contains("FAILED"), "{story}");
        for line in story.lines() {
            assert!(line.chars().count() <= 80, "{line}");
        }
    }

    /// Stops what still runs (a server must end well when it is asked to), then insists that nothing is left.
    #[track_caller]
    pub fn finish(self) {
        self.group.stop_all();
        let queue = MessageQueue::open(&self.queue_name(), Access::Send).map(drop);
        let gone =
            |what: shmeld_os::Result<()>| matches!(what, Err(error) if error.kind() == ErrorKind::NotFound);
        assert!(gone(queue), "the queue {} is left", self.name);
        let gate = SharedMemory::stat_name(&self.gate_name()).map(drop);
        assert!(gone(gate), "the gate {} is left", self.gate_name());
        assert_no_dead_regions();
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
        // Whatever cannot be removed was never made, or is what the failed test complains about.
        let _ = MessageQueue::unlink(&self.queue_name());
        let _ = SharedMemory::unlink(&self.gate_name());
        content::remove_tree(&self.root);
    }
}

/// Regions of our user whose client is dead. Those of other tests that run at this moment are alive, or are
/// about to be swept by a server of theirs.
pub fn dead_regions() -> Vec<String> {
    let names = listing::shared_memory_names("shmeld.").unwrap();
    let names = names.iter().filter_map(|name| std::str::from_utf8(name).ok());
    names
        .filter(|name| is_dead_region(name))
        .map(str::to_owned)
        .collect()
}

fn is_dead_region(name: &str) -> bool {
    let digits = name.strip_prefix("shmeld.").unwrap_or_default();
    // Small letters only: what no sweep takes for a region counts for none here.
    if digits.len() != 32
        || !digits
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    {
        return false;
    }
    // A region may vanish at any moment between these calls.
    let Ok(memory) = SharedMemory::open(&ObjectName::new(name).unwrap(), false) else {
        return false;
    };
    let is_ours = |stat: shmeld_os::fs::Stat| stat.uid == process::effective_uid() && stat.links > 0;
    memory.stat().is_ok_and(is_ours)
        && lease::probe(&memory, Range::byte(0), Kind::Read, "region").is_ok_and(|held| held.is_none())
}

#[track_caller]
fn assert_no_dead_regions() {
    let first = dead_regions();
    let end = Instant::now() + PATIENCE;
    let mut left = first.clone();
    // Only those seen first count: a crash test next door may leave others every second.
    while !left.is_empty() {
        assert!(Instant::now() < end, "regions are left: {left:?}");
        std::thread::sleep(Duration::from_millis(50));
        let now = dead_regions();
        left.retain(|name| now.contains(name));
    }
}
