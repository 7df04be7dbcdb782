//! Servers, bridges and clients on machines.

use std::path::{Path, PathBuf};

use crate::machine::Machine;
use crate::processes::{Outcome, Program, Running};
use crate::world::World;

/// What exports and imports of a test agree on.
pub const KEY: &str = "shmeld/test";
/// The server behind an export, and the one that an import makes: queues of different machines.
pub const SERVER: &str = "/shmeld-origin";
pub const IMPORTED: &str = "/shmeld-branch";
/// Where zenoh listens.
pub const PORT: u16 = 7447;

/// A configuration file of zenoh: who listens and who connects is told, and nobody is looked for.
pub fn config(world: &World, name: &str, listen: &[String], connect: &[String], more: &str) -> PathBuf {
    let text = format!(
        r#"{{
  mode: "peer",
  listen: {{ endpoints: {listen:?} }},
  connect: {{ endpoints: {connect:?}, retry: {{ period_init_ms: 100, period_max_ms: 500 }} }},
  scouting: {{ multicast: {{ enabled: false }}, gossip: {{ enabled: false }} }},
{more}}}
"#
    );
    world.put(&format!("{name}.json5"), text.as_bytes())
}

pub fn endpoint(address: &str) -> String {
    format!("tcp/{address}:{PORT}")
}

/// A server of the machine's directory `source`.
pub fn start_server(world: &World, machine: &Machine, options: &[&str]) -> Running {
    let source = machine.path("source");
    std::fs::create_dir_all(&source).unwrap();
    let server = world.program("shm_server").args(["--name", SERVER]);
    let server = machine.with(server.args(options).arg(source)).start();
    server.wait_for_stderr("serving");
    server
}

/// `shmeld-bridge export`, on no machine yet.
pub fn exporter(world: &World, config: &Path) -> Program {
    let export = world.bridge("export").args(["--name", SERVER, "--key", KEY]);
    export.arg("--config").arg(config)
}

/// `shmeld-bridge export`
pub fn export(world: &World, machine: &Machine, config: &Path) -> Program {
    machine.with(exporter(world, config))
}

/// `shmeld-bridge import`
pub fn import(world: &World, machine: &Machine, config: &Path) -> Program {
    let import = world.bridge("import").args(["--name", IMPORTED, "--key", KEY]);
    machine.with(import.arg("--config").arg(config))
}

/// Starts an export or an import, and waits until it can be used.
#[track_caller]
pub fn start(bridge: Program) -> Running {
    let bridge = bridge.start();
    // "exporting NAME as KEY", "importing NAME as KEY"
    bridge.wait_for_stderr(&format!(" as {KEY}"));
    bridge
}

/// The most memory that a process has had at once, program files included.
pub fn resident_kib_max(process: &Running) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.pid())).unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// `shm_client` of the machine's import, which puts what it fetches into the machine's directory `output`.
pub fn client(world: &World, machine: &Machine, arguments: &[&str]) -> Program {
    let output = machine.path("output");
    std::fs::create_dir_all(&output).unwrap();
    let client = world.program("shm_client").args(["--name", IMPORTED, "-o"]);
    machine.with(client.arg(output).args(arguments))
}

#[track_caller]
pub fn fetch(world: &World, machine: &Machine, arguments: &[&str]) -> Outcome {
    client(world, machine, arguments).run()
}
