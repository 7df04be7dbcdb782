//! What comes from the network is an allegation. A zenoh peer can make a bridge refuse, and nothing worse: no byte outside of what is
//! exported or of where it is to go, no control byte in a log, no memory without bound, no end of the bridge.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::bridge::{self, KEY, resident_kib_max};
use crate::content;
use crate::exact::assert_no_control_bytes;
use crate::machine::{Cable, Machine};
use crate::need::eventually;
use crate::processes::{Outcome, Running};
use crate::rogue::{FOUND, LIES, TOLD};
use crate::roles;
use crate::world::World;

/// Far below what the largest lie would take, a gigabyte.
const RESIDENT_KIB_MAX: u64 = 128 << 10;
/// All that may come of any lie: what the liar says truly.
const EXPECTED: [&str; 2] = ["tree", "tree/honest"];

/// An import that listens, and whoever connects to it: so they meet at once, however often the other one is another one.
struct Trap {
    world: World,
    origin: Machine,
    branch: Machine,
    /// How to connect to the import.
    connect: PathBuf,
    import: Running,
}

impl Trap {
    fn or_skip(what: &str) -> Option<Self> {
        let world = World::or_skip(what)?;
        let (origin, branch) = (world.machine_or_skip("origin")?, world.machine_or_skip("branch")?);
        let endpoint = [bridge::endpoint(
            &Cable::between(&world, &branch, &origin, 1).left(),
        )];
        let listen = bridge::config(&world, "import", &endpoint, &[], "");
        let connect = bridge::config(&world, "export", &[], &endpoint, "");
        let import = bridge::import(&world, &branch, &listen).args(["--timeout", "1s"]);
        Some(Trap {
            import: bridge::start(import),
            world,
            origin,
            branch,
            connect,
        })
    }

    fn connect(&self) -> &str {
        self.connect.to_str().unwrap()
    }

    fn fetch(&self, names: &[&str]) -> Outcome {
        bridge::fetch(&self.world, &self.branch, names)
    }

    /// After all that an honest export is found and served, and nothing has come of the rest.
    fn finish(self) {
        let bytes = self.world.put_random("origin/source/file", 3_000_000);
        bridge::start_server(&self.world, &self.origin, &[]);
        bridge::start(bridge::export(&self.world, &self.origin, &self.connect));
        eventually("the honest export is found", || {
            self.fetch(&["file"]).code == Some(0)
        });
        self.world.assert_file("branch/output/file", &bytes);
        assert_no_control_bytes(&self.import.stderr());
        let peak = resident_kib_max(&self.import);
        assert!(peak < RESIDENT_KIB_MAX, "{peak} KiB");
        self.world.finish();
    }
}

/// An export tells every lie, one after the other, to one and the same import; then comes an honest one. Each lie costs its time until the
/// client hears that nobody answers usefully.
#[test]
fn lying_exports_are_refused_and_an_honest_one_is_served_afterwards() {
    let Some(trap) = Trap::or_skip("lies") else {
        return;
    };
    for (lie, heard) in LIES {
        let rogue = roles::start(&trap.world, &trap.origin, "export", &[trap.connect(), lie]);
        let said = rogue.stderr();
        let id = said.lines().find_map(|line| line.strip_prefix(FOUND)).unwrap();
        trap.import
            .wait_for_stderr(&format!("export {id} of {KEY} is there"));
        let names: &[&str] = if lie.ends_with("list") {
            &["-r", "tree"]
        } else {
            &["file"]
        };
        let mut outcome = None;
        // Until it was heard, and not only missed: a loaded machine may be too late for its client.
        eventually("the lie is heard", || {
            let begun = Instant::now();
            let one = trap.fetch(names);
            assert!(
                begun.elapsed() < Duration::from_secs(20),
                "{lie} took {:?}",
                begun.elapsed()
            );
            assert_no_control_bytes(&one.stderr);
            let is_heard = one.stderr.contains(heard);
            outcome = Some(one);
            is_heard
        });
        let outcome = outcome.unwrap();
        // What is longer than its client's patience comes all the same.
        if matches!(lie, "giant" | "endless") {
            rogue.wait_for_stderr(TOLD);
        }
        let arrived = content::names_below(&trap.branch.path("output"));
        assert_eq!(outcome.code, Some(1), "{lie}: {}", outcome.story);
        assert!(
            lie.ends_with("list") || arrived.is_empty(),
            "{lie} was believed: {arrived:?}"
        );
        // Directories in directories are what it says there is, as far as paths are long.
        let deep = "d".repeat(255);
        let is_strange =
            |name: &&PathBuf| !EXPECTED.contains(&name.to_str().unwrap()) && !name.ends_with(&deep);
        assert_eq!(arrived.iter().filter(is_strange).count(), 0, "{lie}: {arrived:?}");
        let outside = ["outside", "branch/outside", "../shmeld-outside"];
        assert_eq!(
            outside.map(|name| trap.world.path(name).exists()),
            [false; 3],
            "{lie}"
        );
        content::remove_tree(&trap.branch.path("output"));
        rogue.kill();
        assert!(trap.import.is_running(), "{lie} ended the import");
        let peak = resident_kib_max(&trap.import);
        assert!(peak < RESIDENT_KIB_MAX, "{lie}: {peak} KiB");
    }
    trap.finish();
}

/// Far more exports are announced than are there. What is kept and logged of them is bounded, and one that comes while they are there
/// is found when they are gone.
#[test]
fn flood_of_announced_exports_is_bounded_and_an_honest_one_is_found_after_it() {
    /// All of the five thousand would be 400 KiB.
    const LOG_BYTES_MAX: usize = 64 << 10;
    let Some(trap) = Trap::or_skip("flood") else {
        return;
    };
    let rogue = roles::start(&trap.world, &trap.origin, "flood", &[trap.connect()]);
    trap.import.wait_for_stderr("one too many");
    assert_eq!(trap.fetch(&["file"]).code, Some(1));
    rogue.kill();
    let logged = trap.import.stderr().len();
    trap.finish();
    assert!(logged < LOG_BYTES_MAX, "{logged} bytes of log");
}

/// Keys that no bridge writes, requests that are none, and more questions than an export takes: nothing from outside the exported directory
/// is answered, and honest imports are served all the same.
#[test]
fn hostile_questions_get_nothing_and_hinder_nobody() {
    let Some((pair, _)) = crate::pair::Pair::or_skip("questions") else {
        return;
    };
    pair.world.put("origin/outside", b"secret");
    let bytes = pair.put("file", 3_000_000);
    let bridges = pair.start();
    let config = bridge::config(&pair.world, "rogue", &[], &[bridge::endpoint("10.77.1.1")], "");
    let id = export_id(&pair);
    let rogue = roles::start_and_wait(
        &pair.world,
        &pair.branch,
        "import",
        &[config.to_str().unwrap(), &id],
        "asked ",
    );
    assert!(!rogue.stderr().contains("panicked"), "{}", rogue.stderr());
    pair.fetch(&["file"]).expect_code(0);
    pair.assert_output("file", &bytes);
    rogue.kill();
    assert_no_control_bytes(&bridges.export.stderr());
    let peak = resident_kib_max(&bridges.export);
    assert!(peak < RESIDENT_KIB_MAX, "{peak} KiB");
    assert!(bridges.export.is_running());
    pair.world.finish();
}

/// What an import calls the export when it comes.
fn export_id(pair: &crate::pair::Pair) -> String {
    let finder = bridge::config(&pair.world, "finder", &[], &[bridge::endpoint("10.77.1.1")], "");
    let finder = roles::start_and_wait(
        &pair.world,
        &pair.branch,
        "find",
        &[finder.to_str().unwrap()],
        FOUND,
    );
    let said = finder.stderr();
    let id = said
        .lines()
        .find_map(|line| line.strip_prefix(FOUND))
        .unwrap()
        .to_owned();
    finder.kill();
    id
}
