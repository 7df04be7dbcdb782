//! Parts that this binary plays itself, as a process of its own on a machine: a router, and zenoh peers that mean harm.

use zenoh::{Config, Session, Wait};

use crate::machine::Machine;
use crate::processes::Running;
use crate::rogue;
use crate::world::World;

/// The part, and behind it what the part is told, line by line.
const ROLE: &str = "SHMELD_BRIDGE_ROLE";

/// Starts a part, and waits until it plays.
pub fn start(world: &World, machine: &Machine, role: &str, told: &[&str]) -> Running {
    start_and_wait(world, machine, role, told, READY)
}

/// The same, until it has said something else.
pub fn start_and_wait(world: &World, machine: &Machine, role: &str, told: &[&str], said: &str) -> Running {
    let lines = [&[role], told].concat().join("\n");
    let itself = std::env::current_exe().unwrap();
    let actor =
        world
            .keeper(itself.to_str().unwrap())
            .args(["--exact", "roles::role", "--ignored", "--nocapture"]);
    let actor = actor.wrapped(&["env", &format!("{ROLE}={lines}")]);
    let actor = machine.with(actor).start();
    actor.wait_for_stderr(said);
    actor
}

/// What it says then.
const READY: &str = "plays its part";

pub fn open(config: &str) -> Session {
    zenoh::open(Config::from_file(config).unwrap()).wait().unwrap()
}

/// Says that it plays, and goes on until it is killed.
pub fn play() -> ! {
    eprintln!("{READY}");
    loop {
        std::thread::park();
    }
}

/// No test, but where [`start`] comes out.
#[test]
#[ignore = "plays a part in other tests"]
fn role() {
    let told = std::env::var(ROLE).unwrap_or_default();
    let told: Vec<&str> = told.lines().collect();
    match told[..] {
        ["router", config] => {
            let _session = open(config);
            play()
        }
        ["export", config, lie] => rogue::export(config, lie),
        ["import", config, id] => rogue::import(config, id),
        ["flood", config] => rogue::flood(config),
        ["find", config] => rogue::find(config),
        _ => {}
    }
}
