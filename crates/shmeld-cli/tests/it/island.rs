//! A machine of one's own, as far as objects go: a mount namespace with an empty /dev/shm and an IPC namespace. Whatever other tests do, what
//! is there was made by the test.

use crate::processes::{Program, Running};
use crate::world::{World, can_unshare_or_skip, has_or_skip, is_root_or_skip};

/// See the module. It lives until [`Island::leave`], or the end of the test.
pub struct Island {
    keeper: Running,
    pid: String,
}

impl Island {
    /// Says why there is none, where there is none.
    pub fn or_skip(world: &World) -> Option<Self> {
        if !is_root_or_skip() || !can_unshare_or_skip() || !has_or_skip("nsenter") {
            return None;
        }
        // A mounted file system of queues would show those of the namespace that it was mounted in.
        let script =
            "umount --all --types mqueue; mount -t tmpfs -o mode=1777 none /dev/shm && echo ready >&2";
        let keeper = world.tool("sleep").arg("1000").after(script);
        let keeper = keeper.wrapped(&["unshare", "--mount", "--ipc"]).start();
        keeper.wait_for_stderr("ready");
        let pid = keeper.pid().to_string();
        Some(Island { keeper, pid })
    }

    /// The program there. Its working directory is `/`: paths are to be absolute.
    pub fn with(&self, program: Program) -> Program {
        program.wrapped(&["nsenter", "-t", &self.pid, "--mount", "--ipc", "--"])
    }

    /// What leads there, in front of a command of a shell.
    pub fn way(&self) -> String {
        format!("nsenter -t {} --mount --ipc --", self.pid)
    }

    pub fn leave(self) {
        self.keeper.kill();
    }
}
