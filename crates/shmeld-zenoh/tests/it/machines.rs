//! The harness itself: whether machines are as far apart as the other tests take them to be.

use std::time::Duration;

use crate::content;
use crate::machine::{Cable, Machine};
use crate::need::eventually;
use crate::processes::Running;
use crate::weather::{Road, Weather};
use crate::world::World;

/// A program that prints what it is told over the network, and ends.
fn ear(world: &World, machine: &Machine) -> Running {
    let ear = world.tool("socat").args(["-u", "TCP-LISTEN:7000,reuseaddr", "-"]);
    machine.with(ear).start()
}

fn is_heard(world: &World, machine: &Machine, address: &str, what: &[u8]) -> bool {
    let address = format!("TCP:{address}:7000,connect-timeout=1");
    let mouth = world.tool("socat").args(["-u", "-", &address]).input(what);
    machine.with(mouth).run().code == Some(0)
}

/// Shared memory and queues of one machine are not on the other, and what is said on one is heard on the other only while the cable is
/// whole.
#[test]
fn two_machines_have_nothing_in_common_but_their_cable() {
    let Some(world) = World::or_skip("machines") else {
        return;
    };
    let (Some(left), Some(right)) = (world.machine_or_skip("left"), world.machine_or_skip("right")) else {
        return;
    };
    left.shell(&world, "touch /dev/shm/shmeld-left /dev/mqueue/shmeld-left");
    assert_eq!(left.objects(&world), "shmeld-left shmeld-left ");
    assert_eq!(right.objects(&world), "");
    left.shell(&world, "rm /dev/shm/shmeld-left /dev/mqueue/shmeld-left");

    let cable = Cable::between(&world, &left, &right, 1);
    let listener = ear(&world, &left);
    cable.cut(&world);
    assert!(
        !is_heard(&world, &right, &cable.left(), b"hello"),
        "through a cable that is cut"
    );
    cable.heal(&world);
    eventually("it is heard", || {
        is_heard(&world, &right, &cable.left(), b"hello")
    });
    assert_eq!(listener.finish().expect_code(0).stdout, b"hello");
    world.finish();
}

/// Loss, disorder and doubles are what TCP repairs, and a road that is cut carries nothing.
#[test]
fn road_carries_exactly_what_tcp_repairs_and_nothing_while_it_is_cut() {
    let Some(world) = World::or_skip("road") else {
        return;
    };
    let (Some(left), Some(right)) = (world.machine_or_skip("left"), world.machine_or_skip("right")) else {
        return;
    };
    let storm = Weather {
        delay: Duration::from_millis(5),
        jitter: Duration::from_millis(3),
        lost_percent: 2,
        doubled_percent: 2,
        is_cut: false,
    };
    let cut = Weather {
        is_cut: true,
        ..storm
    };
    let Some(road) = Road::or_skip(&world, &left, &right, cut) else {
        return;
    };
    let listener = ear(&world, &left);
    let bytes = content::of("road", 2 << 20);
    assert!(
        !is_heard(&world, &right, Road::LEFT, &bytes),
        "over a road that is cut"
    );
    road.change(storm);
    let lost = road.lost();
    eventually("it is heard", || is_heard(&world, &right, Road::LEFT, &bytes));
    content::assert_bytes("what was heard", &listener.finish().expect_code(0).stdout, &bytes);
    assert!(road.lost() > lost, "nothing was lost");
    drop(road);
    world.finish();
}
