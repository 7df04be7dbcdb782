//! A machine of one's own: a network namespace without any connection, an IPC namespace, and a mount namespace with an empty `/dev/shm`.
//! What leads from one to another is a [`Cable`]. All of it ends with the process that keeps the namespaces, and that with its test.

use std::path::PathBuf;
use std::sync::Arc;

use crate::need::{has_or_skip, is_root_or_skip, skip};
use crate::processes::{Outcome, Program};
use crate::world::World;

/// See the module.
#[derive(Clone)]
pub struct Machine(Arc<Inner>);

struct Inner {
    name: &'static str,
    /// The process that keeps the namespaces.
    pid: String,
    directory: PathBuf,
}

impl Machine {
    /// Says why there is none, where there is none.
    pub fn or_skip(world: &World, name: &'static str) -> Option<Self> {
        let tools = ["unshare", "nsenter", "setpriv", "ip"];
        if !is_root_or_skip() || !tools.iter().all(|tool| has_or_skip(tool)) {
            return None;
        }
        let namespaces = ["unshare", "--net", "--mount", "--ipc"];
        let trial = "ip link add cable type veth peer name other";
        let trial = world.tool("sh").args(["-c", trial]).wrapped(&namespaces).run();
        if trial.code != Some(0) {
            skip("the right to make network namespaces, and veth");
            return None;
        }
        let directory = world.path(name);
        std::fs::create_dir_all(&directory).unwrap();
        let script = "mount -t tmpfs -o mode=1777 none /dev/shm && mkdir -p /dev/mqueue && \
                      mount -t mqueue none /dev/mqueue && ip link set lo up && echo ready >&2";
        let keeper = world
            .keeper("sleep")
            .arg("1000")
            .after(script)
            .wrapped(&namespaces);
        let keeper = keeper.wrapped(&["setpriv", "--pdeathsig", "KILL"]).start();
        keeper.wait_for_stderr("ready");
        let pid = keeper.pid().to_string();
        Some(Machine(Arc::new(Inner { name, pid, directory })))
    }

    pub fn name(&self) -> &'static str {
        self.0.name
    }

    /// A path below this machine's directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.directory.join(name)
    }

    /// The program there. Its working directory is `/`: paths are to be absolute.
    pub fn with(&self, program: Program) -> Program {
        let pid = self.0.pid.as_str();
        let way = [
            "setpriv",
            "--pdeathsig",
            "KILL",
            "nsenter",
            "-t",
            pid,
            "--mount",
            "--ipc",
            "--net",
            "--",
        ];
        program.wrapped(&way)
    }

    #[track_caller]
    pub fn shell(&self, world: &World, script: &str) -> Outcome {
        self.with(world.tool("sh").args(["-e", "-c", script]))
            .run()
            .expect_code(0)
    }

    /// Queues and shared memory of this machine.
    pub fn objects(&self, world: &World) -> String {
        let listed = self.shell(world, "ls -A /dev/shm /dev/mqueue");
        let names = listed.stdout_text();
        names
            .lines()
            .filter(|line| !line.is_empty() && !line.ends_with(':'))
            .map(|line| format!("{line} "))
            .collect()
    }

    #[track_caller]
    pub fn assert_nothing_left(&self, world: &World) {
        let left = self.objects(world);
        assert_eq!(left, "", "left on {}", self.name());
    }
}

/// A cable between two machines: a pair of virtual Ethernet devices.
pub struct Cable {
    left: Machine,
    number: u8,
}

impl Cable {
    /// Numbers are unique on each machine. The left end is `10.77.NUMBER.1`, the right one `10.77.NUMBER.2`.
    pub fn between(world: &World, left: &Machine, right: &Machine, number: u8) -> Self {
        let peer = &right.0.pid;
        left.shell(
            world,
            &format!("ip link add cable{number} type veth peer name cable{number} netns {peer}"),
        );
        for (machine, end) in [(left, 1), (right, 2)] {
            let script = format!(
                "ip address add 10.77.{number}.{end}/24 dev cable{number}; ip link set cable{number} up"
            );
            machine.shell(world, &script);
        }
        Cable {
            left: left.clone(),
            number,
        }
    }

    /// Where the left end is reached.
    pub fn left(&self) -> String {
        format!("10.77.{}.1", self.number)
    }

    pub fn cut(&self, world: &World) {
        self.left
            .shell(world, &format!("ip link set cable{} down", self.number));
    }

    pub fn heal(&self, world: &World) {
        self.left
            .shell(world, &format!("ip link set cable{} up", self.number));
    }
}
