//! How large a region is, who decides that, and what a transfer through it costs.

use crate::midway::MIB;
use crate::world::{World, can_unshare_or_skip, is_root_or_skip};

/// The slots that a transfer took, from the summary of `--json`.
#[track_caller]
fn ring_of(outcome: &crate::outcome::Outcome) -> serde_json::Value {
    let lines = outcome.json_lines();
    let summary = lines.iter().find(|line| line["event"] == "summary").unwrap();
    summary["ring"].clone()
}

#[test]
fn json_summary_counts_slots_and_what_waiting_for_them_cost() {
    let world = World::new("ticks");
    world.put_random("file", 100_000);
    let _server = world.start_server();
    let client = world
        .client()
        .args(["--json", "-o"])
        .arg(world.output("file"))
        .arg("file");
    let ring = ring_of(&client.run().expect_code(0));
    // 3744 bytes of the file a slot.
    let slots = ring["slots"].as_u64().unwrap();
    assert!((27..=30).contains(&slots), "{ring}");
    for tick in ["spins", "sleeps", "spurious_wakes", "wakes"] {
        assert!(ring[tick].is_u64(), "{ring}");
    }
    let status = world.status();
    assert!(status["slots_total"].as_u64().unwrap() >= slots, "{status}");
    world.finish();
}

#[test]
fn region_is_a_page_for_shm_client_and_larger_for_the_others() {
    let world = World::new("auto");
    world.put_random("file", MIB as usize);
    let _server = world.start_server();
    let slots = |program: crate::processes::Program| {
        let outcome = program
            .args(["--json", "-o"])
            .arg(world.output("file"))
            .arg("file")
            .run();
        ring_of(&outcome.expect_code(0))["slots"].as_u64().unwrap()
    };
    let get = |region: &[&str]| slots(world.shmeld("get").args(["--name", world.name()]).args(region));
    assert!(slots(world.client()) > 270);
    assert!(slots(world.client().args(["--region", "auto"])) < 10);
    assert!(get(&[]) < 10);
    assert!(get(&["--region", "auto"]) < 10);
    assert!(get(&["--region", "4096"]) > 270);
    world.finish();
}

#[test]
fn automatic_region_becomes_a_page_where_the_server_admits_no_larger_one() {
    let world = World::new("auto-max");
    let bytes = world.put_random("file", 100_000);
    let server = world.server().args(["--region-max", "8K"]).start();
    server.wait_for_stderr("serving");
    let get = world.shmeld("get").args(["--name", world.name(), "-o"]);
    let outcome = get.arg(world.output("file")).arg("file").run();
    outcome
        .expect_code(0)
        .expect_said("admits no region of 1048576 bytes");
    world.assert_output("file", &bytes);
    world.finish();
}

#[test]
fn automatic_region_becomes_a_page_where_shared_memory_is_nearly_full() {
    let world = World::new("auto-full");
    if !is_root_or_skip() || !can_unshare_or_skip() {
        return;
    }
    let bytes = world.put_random("file", MIB as usize);
    let cp = || {
        world
            .shmeld("cp")
            .arg(world.source("file"))
            .arg(world.output("file"))
    };
    let with_own_shared_memory = |program: crate::processes::Program| {
        let script = "mount -t tmpfs -o size=512k none /dev/shm";
        program.after(script).wrapped(&["unshare", "--mount"]).run()
    };
    let outcome = with_own_shared_memory(cp()).expect_code(0);
    outcome.expect_said("using a region of one page instead");
    world.assert_output("file", &bytes);
    // A size that was asked for is not replaced by another.
    std::fs::remove_file(world.output("file")).unwrap();
    let outcome = with_own_shared_memory(cp().args(["--region", "1M"]));
    outcome.expect_code(3).expect_said("1048576 bytes needed");
    world.assert_no_output();
    world.finish();
}
