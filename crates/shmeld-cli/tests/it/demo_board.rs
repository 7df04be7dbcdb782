//! `shmeld demo board`: in one terminal, and with a role in each of two.

use shmeld_os::sysv::Key;
use shmeld_os::sysv::semaphore::SemaphoreSet;

use crate::world::{World, has_or_skip, skip};

#[test]
fn demonstration_of_the_board_holds_what_it_claims_and_tells_each_step() {
    let world = World::new("demo-board");
    let told = [
        "1. A poster and three readers",
        "POSTER from 0 to 1",
        "2. A reader dies inside",
        "3. The poster dies",
        "4. What is left of all this",
        "Nothing: ipcs -m -s shows no key 0x",
        "checks held in",
        "demo board --role b",
    ];
    world.assert_demo_tells("board", &told);
    world.finish();
}

/// The key of the roles is a fixed one: in a namespace where nobody else uses it.
#[test]
fn roles_of_the_board_meet_in_either_order() {
    let world = World::new("demo-roles");
    if !has_or_skip("unshare") {
        return;
    }
    if world.tool("unshare").args(["--ipc", "true"]).run().code != Some(0) {
        return skip("root, and unshare --ipc");
    }
    let shmeld = env!("CARGO_BIN_EXE_shmeld");
    for (first, second) in [("a", "b"), ("b", "a")] {
        let script = format!(
            "'{shmeld}' demo board --role {first} & sleep 0.3; '{shmeld}' demo board --role {second} && wait $!"
        );
        let both = world.tool("unshare").args(["--ipc", "sh", "-c", &script]).run();
        let both = both.expect_code(0).expect_said("1 of 1 reader has the message");
        assert_eq!(both.stdout_text(), "The bridge is yours, number one.");
    }
    // Nobody there.
    let alone = world
        .tool("unshare")
        .args(["--ipc", shmeld, "demo", "board", "--role", "b", "--wait", "200ms"]);
    alone.run().expect_code(3).expect_said("no message (waited ");
    let wrong = world.shmeld("demo").args(["transfer", "--role", "a"]).run();
    wrong.expect_code(2).expect_said("--role");
    assert!(SemaphoreSet::open(Key::new(0x5368_6d65), 0).is_err());
    world.finish();
}
