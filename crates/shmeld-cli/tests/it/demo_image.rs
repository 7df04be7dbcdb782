//! `shmeld demo image`: in one terminal, and with a role in each of two.

use crate::world::{World, has_or_skip, skip};

#[test]
fn demonstration_of_images_holds_what_it_claims_and_tells_each_step() {
    let world = World::new("demo-image");
    let told = [
        "1. A requester asks for three pictures",
        "DATA has the name, HEAD its length: ask",
        "DATA has the pixels, HEAD their shape: answer",
        "2. The requester dies",
        "3. The provider dies",
        "4. What is left of all this",
        "8 checks held in",
        "demo image --role provider",
    ];
    world.assert_demo_tells("image", &told);
    world.finish();
}

/// The channel of the roles is a fixed one: in a /dev/shm where nobody else uses it.
#[test]
fn roles_of_the_image_demonstration_meet_in_either_order() {
    let world = World::new("demo-image-roles");
    if !has_or_skip("unshare") {
        return;
    }
    let alone = |script: &str| {
        let script = format!("mount -t tmpfs tmpfs /dev/shm && {script}");
        world.tool("unshare").args(["-m", "sh", "-c", &script]).run()
    };
    if alone("true").code != Some(0) {
        return skip("root, and unshare -m");
    }
    let shmeld = env!("CARGO_BIN_EXE_shmeld");
    for (first, second) in [("requester", "provider"), ("provider", "requester")] {
        let script = format!(
            "{{ '{shmeld}' demo image --role {first} & sleep 0.3; '{shmeld}' demo image --role {second} && wait $! && test -z \"$(ls /dev/shm)\"; }}"
        );
        let both = alone(&script)
            .expect_code(0)
            .expect_said("the requester asks for colours");
        assert!(
            both.stdout_text().contains("colours 192000 320 200 3\n"),
            "{}",
            both.stdout_text()
        );
    }
    let nobody = alone(&format!("'{shmeld}' demo image --role provider --wait 200ms"));
    nobody.expect_code(3).expect_said("no request (waited ");
    for (which, role) in [("image", "a"), ("board", "provider"), ("meld", "requester")] {
        let wrong = world.shmeld("demo").args([which, "--role", role]).run();
        wrong.expect_code(2).expect_said("--role");
    }
    world.finish();
}
