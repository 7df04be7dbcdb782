//! Disks that are full: an error that names the path, and nothing under a name.

use crate::processes::{Outcome, Program};
use crate::world::{World, is_root_or_skip, skip};

/// Runs a program with a file system of 1 MiB mounted on the output directory; what lies there at the end is
/// told on standard error. `None` if this machine cannot do that.
fn on_a_small_disk(world: &World, program: Program) -> Option<Outcome> {
    let output = world.output("");
    let mount = format!("mount -t tmpfs -o size=1m tmpfs '{}'", output.display());
    let can_mount = world.tool("unshare").args(["-m", "sh", "-c", &mount]).run().code == Some(0);
    if !can_mount {
        skip("unshare -m and mount");
        return None;
    }
    let script = format!(
        "{mount} && {{ \"$0\" \"$@\"; code=$?; cd '{}' && find . -mindepth 1 | sed 's/^/left: /' >&2; exit $code; }}",
        output.display()
    );
    Some(program.wrapped(&["unshare", "-m", "sh", "-c", &script]).run())
}

#[test]
fn full_disk_is_an_error_that_names_the_path_and_leaves_nothing_under_the_name() {
    if !is_root_or_skip() {
        return;
    }
    let world = World::new("disk-full");
    world.put_random("small", 10_000);
    world.put_random("big", 3 << 20);
    world.start_server();
    for region in ["4096", "1M"] {
        let client = world
            .client()
            .args(["--region", region, "small", "big", "-o"])
            .arg(world.output(""));
        let Some(outcome) = on_a_small_disk(&world, client) else {
            return;
        };
        let outcome = outcome.expect_code(1);
        let path = world.output("big").display().to_string();
        let said = outcome
            .stderr
            .lines()
            .find(|line| line.contains("ENOSPC"))
            .unwrap_or_default();
        assert!(
            said.starts_with("shm_client: get big: ") && said.contains(&path),
            "{}",
            outcome.stderr
        );
        let left: Vec<_> = outcome
            .stderr
            .lines()
            .filter_map(|line| line.strip_prefix("left: ./"))
            .collect();
        assert_eq!(left, ["small"], "{}", outcome.stderr);
    }
    world.finish();
}

#[test]
fn full_disk_in_a_tree_leaves_no_tree_and_cp_says_why() {
    if !is_root_or_skip() {
        return;
    }
    let world = World::new("disk-full-tree");
    for number in 0..30 {
        world.put_random(&format!("tree/{number}"), 100_000);
    }
    let cp = world
        .shmeld("cp")
        .arg("-r")
        .arg(world.source("tree"))
        .arg(world.output("new"));
    let Some(outcome) = on_a_small_disk(&world, cp) else {
        return;
    };
    let outcome = outcome.expect_code(1).expect_said("ENOSPC");
    let hidden = outcome
        .stderr
        .lines()
        .filter(|line| line.starts_with("left: ") && line.contains(".shmeld-"));
    assert_eq!(hidden.count(), 0, "{}", outcome.stderr);
    world.finish();
}
