//! What a test waits for, and what it needs of the machine.

use std::process::Command;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use shmeld_os::process;

use crate::processes::PATIENCE;

/// Waits until something is true; panics when it never becomes so.
#[track_caller]
pub fn eventually(what: &str, mut is_true: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !is_true() {
        assert!(Instant::now() < end, "never happened: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Says that a test cannot run here; panics where everything must.
#[allow(clippy::print_stdout)] // the test harness shows it
pub fn skip(needs: &str) {
    assert!(
        std::env::var("SHMELD_REQUIRE").as_deref() != Ok("all"),
        "needs {needs}"
    );
    println!("skipped: needs {needs}");
}

/// Whether this process is root; else says so.
pub fn is_root_or_skip() -> bool {
    let is_root = process::effective_uid() == 0;
    if !is_root {
        skip("root");
    }
    is_root
}

/// Whether processes can be given mounts and System V objects of their own; else says so. Where the root directory is no mount, as `chroot`
/// alone makes it, they cannot: what is mounted for one of them would be seen by others.
pub fn can_unshare_or_skip() -> bool {
    static CAN: OnceLock<bool> = OnceLock::new();
    let can = *CAN.get_or_init(|| {
        let tried = Command::new("unshare")
            .args(["--mount", "--ipc", "true"])
            .output();
        tried.is_ok_and(|output| output.status.success())
    });
    if !can {
        skip("unshare, and a root directory that is a mount");
    }
    can
}

/// Whether a tool is there; else says so.
pub fn has_or_skip(tool: &str) -> bool {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&paths).any(|path| path.join(tool).is_file());
    if !found {
        skip(tool);
    }
    found
}
