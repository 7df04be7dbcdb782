//! Two exports of one key, four imports, twenty clients, and a router between all of them.

use std::time::Instant;

use crate::bridge;
use crate::content;
use crate::machine::{Cable, Machine};
use crate::processes::Running;
use crate::roles;
use crate::world::World;

const EXPORTS: [&str; 2] = ["export-1", "export-2"];
const IMPORTS: [&str; 4] = ["import-1", "import-2", "import-3", "import-4"];
const CLIENTS_OF_EACH: usize = 5;
const FILES: usize = 6;

struct Crowd {
    world: World,
    exports: Vec<Running>,
    imports: Vec<Machine>,
}

impl Crowd {
    fn or_skip(what: &str) -> Option<Self> {
        let world = World::or_skip(what)?;
        let hub = world.machine_or_skip("hub")?;
        let everywhere = ["tcp/0.0.0.0:7447".to_owned()];
        let router = bridge::config(&world, "router", &everywhere, &[], "");
        let text = std::fs::read_to_string(&router)
            .unwrap()
            .replace("\"peer\"", "\"router\"");
        std::fs::write(&router, text).unwrap();
        roles::start(&world, &hub, "router", &[router.to_str().unwrap()]);
        let mut exports = Vec::new();
        let mut imports = Vec::new();
        for (number, name) in (1..).zip(EXPORTS.into_iter().chain(IMPORTS)) {
            let machine = world.machine_or_skip(name)?;
            let cable = Cable::between(&world, &hub, &machine, number);
            let config = bridge::config(&world, name, &[], &[bridge::endpoint(&cable.left())], "");
            let text = std::fs::read_to_string(&config)
                .unwrap()
                .replace("\"peer\"", "\"client\"");
            std::fs::write(&config, text).unwrap();
            if EXPORTS.contains(&name) {
                for file in 0..FILES {
                    // The same on both.
                    let bytes = content::of(&format!("crowd {file}"), file * 777_777);
                    world.put(&format!("{name}/source/file-{file}"), &bytes);
                }
                bridge::start_server(&world, &machine, &[]);
                exports.push(bridge::start(bridge::export(&world, &machine, &config)));
            } else {
                bridge::start(bridge::import(&world, &machine, &config));
                imports.push(machine);
            }
        }
        Some(Crowd {
            world,
            exports,
            imports,
        })
    }

    /// All clients at once, each into a directory of its own; returns them with the directories.
    fn start_clients(&self) -> Vec<(Running, String)> {
        let mut clients = Vec::new();
        for number in 0..CLIENTS_OF_EACH {
            for machine in &self.imports {
                let output = format!("{}/output-{number}", machine.name());
                let client =
                    self.world
                        .program("shm_client")
                        .args(["--name", bridge::IMPORTED, "--verify", "-r"]);
                let client = client
                    .args(["--region", "1MiB", "-o"])
                    .arg(self.world.path(&output))
                    .arg(".");
                clients.push((machine.with(client).start(), output));
            }
        }
        clients
    }

    #[track_caller]
    fn assert_exact(&self, output: &str) {
        let expected = content::tree(&self.world.path("export-1/source"), false);
        content::assert_trees(&content::tree(&self.world.path(output), false), &expected);
    }
}

/// Everybody gets everything, in about the same time; both exports have part in it.
#[test]
fn crowd_of_clients_is_served_exactly_and_fairly() {
    let Some(crowd) = Crowd::or_skip("crowd") else {
        return;
    };
    let start = Instant::now();
    let clients = crowd.start_clients();
    let mut seconds: Vec<f64> = std::thread::scope(|scope| {
        let waits: Vec<_> = clients
            .iter()
            .map(|(client, _)| {
                scope.spawn(move || {
                    client.finish().expect_code(0);
                    start.elapsed().as_secs_f64()
                })
            })
            .collect();
        waits.into_iter().map(|wait| wait.join().unwrap()).collect()
    });
    for (_, output) in &clients {
        crowd.assert_exact(output);
    }
    seconds.sort_by(f64::total_cmp);
    let (fastest, slowest) = (seconds[0], seconds[seconds.len() - 1]);
    // One that were served after all others would take twenty times as long as the first.
    assert!(slowest < 6.0 * fastest, "from {fastest} s to {slowest} s");
    let work = crowd.exports.iter().map(processor_ticks);
    let work: Vec<u64> = work.collect();
    assert!(
        work.iter().all(|ticks| 8 * ticks > work.iter().sum()),
        "one export did next to nothing: {work:?}"
    );
    crowd.world.finish();
}

/// One export is killed while all are at it.
#[test]
fn crowd_loses_nothing_when_one_export_is_killed() {
    let Some(crowd) = Crowd::or_skip("crowd-killed") else {
        return;
    };
    let clients = crowd.start_clients();
    // Some have something, and none has everything.
    let has_begun = |output: &String| crowd.world.path(output).join("file-1").exists();
    crate::need::eventually("files arrive", || {
        clients.iter().any(|(_, output)| has_begun(output))
    });
    crowd.exports[0].kill();
    for (client, output) in &clients {
        client.finish().expect_code(0);
        crowd.assert_exact(output);
    }
    crowd.world.finish();
}

/// Time on processors, of all threads.
fn processor_ticks(process: &Running) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", process.pid())).unwrap();
    let (_, rest) = stat.rsplit_once(')').unwrap();
    let numbers: Vec<&str> = rest.split_whitespace().collect();
    numbers[11..13]
        .iter()
        .map(|number| number.parse::<u64>().unwrap())
        .sum()
}
