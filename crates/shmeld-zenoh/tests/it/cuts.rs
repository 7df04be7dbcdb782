//! Cables that are cut, machines that fall silent, exports and imports that are killed.

use std::io::Read;
use std::time::{Duration, Instant};

use crate::bridge;
use crate::content;
use crate::machine::Cable;
use crate::need::eventually;
use crate::pair::Pair;
use crate::processes::Running;
use crate::weather::Weather;
use crate::world::World;

const MIB: usize = 1 << 20;

/// A client whose output is read here: it waits in the middle of its file as long as the test likes.
struct Midway {
    client: Running,
    reader: std::io::PipeReader,
    got: Vec<u8>,
}

impl Midway {
    /// Starts it and takes the first `len` bytes.
    fn start(pair: &Pair, name: &str, len: usize) -> Self {
        let (reader, writer) = std::io::pipe().unwrap();
        let client = pair
            .world
            .program("shm_client")
            .args(["--name", bridge::IMPORTED, "--verify"]);
        let client = client.args(["-o", "-", name]).stdout(writer);
        let client = pair.branch.with(client).start();
        let mut midway = Midway {
            client,
            reader,
            got: Vec::new(),
        };
        midway.take(len);
        midway
    }

    fn take(&mut self, len: usize) {
        let from = self.got.len();
        self.got.resize(from + len, 0);
        self.reader.read_exact(&mut self.got[from..]).unwrap();
    }

    /// Takes what is left, and the client's end.
    fn finish(mut self) -> (crate::processes::Outcome, Vec<u8>) {
        self.reader.read_to_end(&mut self.got).unwrap();
        (self.client.finish(), self.got)
    }
}

/// The cable is out for five seconds in the middle of a file.
#[test]
fn transfer_completes_when_a_cut_cable_heals() {
    let Some((pair, cable)) = Pair::or_skip("cut") else {
        return;
    };
    let bytes = pair.put("file", 96 * MIB);
    pair.start();
    let midway = Midway::start(&pair, "file", 8 * MIB);
    cable.cut(&pair.world);
    let (sent, healed) = std::sync::mpsc::channel();
    // The client goes on and finds nothing.
    let reading = std::thread::spawn(move || {
        let finished = midway.finish();
        sent.send(()).unwrap();
        finished
    });
    // The length of the cut is what is tested.
    std::thread::sleep(Duration::from_secs(5));
    assert!(healed.try_recv().is_err(), "it ended while the cable was cut");
    cable.heal(&pair.world);
    let (outcome, got) = reading.join().unwrap();
    outcome.expect_code(0);
    content::assert_bytes("output", &got, &bytes);
    pair.world.finish();
}

/// On a road packets vanish and nobody is told: longer than zenoh waits for a sign of life, so that both sides give each other up and meet
/// again.
#[test]
fn transfer_completes_after_a_silence_in_which_both_sides_gave_up() {
    let calm = Weather::default();
    let Some((pair, road)) = Pair::on_a_road_or_skip("silence", calm) else {
        return;
    };
    let bytes = pair.put("file", 32 * MIB);
    pair.start_with(&[], &["--timeout", "60s"], &["--timeout", "60s"]);
    let midway = Midway::start(&pair, "file", 4 * MIB);
    road.change(Weather { is_cut: true, ..calm });
    let reading = std::thread::spawn(move || midway.finish());
    // Zenoh's lease is ten seconds.
    std::thread::sleep(Duration::from_secs(13));
    road.change(calm);
    let (outcome, got) = reading.join().unwrap();
    outcome.expect_code(0);
    content::assert_bytes("output", &got, &bytes);
    drop(road);
    pair.world.finish();
}

/// Loss, disorder and doubles on the way.
#[test]
fn files_arrive_exactly_through_a_storm() {
    let storm = Weather {
        delay: Duration::from_millis(10),
        jitter: Duration::from_millis(2),
        lost_percent: 1,
        doubled_percent: 1,
        is_cut: false,
    };
    let Some((pair, road)) = Pair::on_a_road_or_skip("storm", storm) else {
        return;
    };
    let bytes = pair.put("file", 3 * MIB + 17);
    for number in 0..20 {
        pair.put(&format!("tree/{number}"), number * 1000);
    }
    pair.start();
    pair.fetch(&["-r", "--verify", "file", "tree"]).expect_code(0);
    pair.assert_output("file", &bytes);
    let expected = content::tree(&pair.source("tree"), false);
    content::assert_trees(&content::tree(&pair.output("tree"), false), &expected);
    assert!(road.lost() > 0);
    drop(road);
    pair.world.finish();
}

/// Nobody is left to answer: the client hears it, within the time it was promised, and the import lives on and serves when there is an
/// export again.
#[test]
fn killed_export_is_an_error_in_time_and_a_new_one_is_found() {
    const TIMEOUT: Duration = Duration::from_secs(3);
    let Some((pair, _)) = Pair::or_skip("killed") else {
        return;
    };
    let bytes = pair.put("file", 64 * MIB);
    let bridges = pair.start_with(&[], &[], &["--timeout", "3s"]);
    let midway = Midway::start(&pair, "file", 4 * MIB);
    bridges.export.kill();
    let start = Instant::now();
    let (outcome, _) = midway.finish();
    assert_eq!(outcome.code, Some(1), "{}", outcome.story);
    assert!(start.elapsed() < 3 * TIMEOUT, "{:?}", start.elapsed());
    let start = Instant::now();
    let refused = pair.fetch(&["file"]);
    assert_eq!(refused.code, Some(1), "{}", refused.story);
    assert!(start.elapsed() < 3 * TIMEOUT, "{:?}", start.elapsed());
    bridge::start(pair.export());
    eventually("the new export is found", || {
        pair.fetch(&["file"]).code == Some(0)
    });
    pair.assert_output("file", &bytes);
    pair.world.finish();
}

/// Before there is any export an import says so, and clients do not wait for ever.
#[test]
fn import_without_any_export_refuses_in_time_and_says_why() {
    let Some((pair, _)) = Pair::or_skip("alone") else {
        return;
    };
    pair.put("file", 1000);
    bridge::start(pair.import().args(["--timeout", "1s"]));
    let start = Instant::now();
    let outcome = pair.fetch(&["file"]);
    assert_eq!(outcome.code, Some(1), "{}", outcome.story);
    assert!(outcome.stderr.contains(bridge::KEY), "{}", outcome.stderr);
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    pair.world.finish();
}

/// A router that is not there is waited for as long as it takes, but not longer than the user wants.
#[test]
fn bridge_that_waits_for_its_router_ends_at_the_first_signal() {
    let Some((pair, _)) = Pair::or_skip("waits") else {
        return;
    };
    let connect = [bridge::endpoint("127.0.0.1")];
    let peer = std::fs::read_to_string(bridge::config(&pair.world, "client", &[], &connect, "")).unwrap();
    let client = peer
        .replace("\"peer\"", "\"client\"")
        .replace("connect: {", "connect: { timeout_ms: -1,");
    let config = pair.world.put("client.json5", client.as_bytes());
    for bridge in [
        bridge::export(&pair.world, &pair.branch, &config),
        bridge::import(&pair.world, &pair.branch, &config),
    ] {
        let waits = bridge.start();
        // Zenoh has threads of its own as soon as it looks for the router.
        let threads = format!("/proc/{}/task", waits.pid());
        eventually("zenoh begins", || {
            std::fs::read_dir(&threads).is_ok_and(|threads| threads.count() > 2)
        });
        assert!(
            waits.is_running() && !waits.stderr().contains(" as "),
            "{}",
            waits.stderr()
        );
        waits.signal("TERM");
        assert_ne!(waits.finish().code, Some(0));
    }
    pair.world.finish();
}

/// Two exports on machines of their own, with the same file: the one that is asked is killed, and the other goes on where it was.
#[test]
fn second_replica_takes_over_in_the_middle_of_a_file() {
    let Some(replicas) = Replicas::or_skip("replica") else {
        return;
    };
    let bytes = replicas.put_on_both("file", 64 * MIB);
    let [first, second] = replicas.start();
    let pair = &replicas.pair;
    bridge::start(replicas.import());
    let midway = Midway::start(pair, "file", 4 * MIB);
    // Whichever it is that is asked: both are killed in turn, and the first of them comes back in between.
    first.kill();
    let again = {
        let mut midway = midway;
        midway.take(16 * MIB);
        let again = bridge::start(pair.export());
        second.kill();
        let (outcome, got) = midway.finish();
        outcome.expect_code(0);
        content::assert_bytes("output", &got, &bytes);
        again
    };
    drop(again);
    replicas.pair.world.finish();
}

/// A replica whose file has the same size and another content is not mixed in.
#[test]
fn replica_with_another_content_is_not_mixed_in() {
    let Some(replicas) = Replicas::or_skip("other") else {
        return;
    };
    let one = replicas.put_on_both("file", 64 * MIB);
    let mut other = one.clone();
    // The first chunks are the same.
    other[40 * MIB..].reverse();
    let pair = &replicas.pair;
    pair.world.put("second/source/file", &other);
    let [first, second] = replicas.start();
    bridge::start(replicas.import());
    let midway = Midway::start(pair, "file", 48 * MIB);
    let is_one = midway.got == one[..48 * MIB];
    assert!(is_one || midway.got == other[..48 * MIB], "a mixture");
    let (asked, whole) = if is_one { (first, &one) } else { (second, &other) };
    asked.kill();
    let (outcome, got) = midway.finish();
    // What was read ahead may have been the rest of it.
    if outcome.code == Some(0) {
        content::assert_bytes("output", &got, whole);
    } else {
        assert_eq!(outcome.code, Some(1), "{}", outcome.story);
        content::assert_bytes("what had come", &got, &whole[..got.len()]);
    }
    replicas.pair.world.finish();
}

/// A [`Pair`] with a second origin beside the first one.
struct Replicas {
    pair: Pair,
    second: crate::machine::Machine,
    cables: [Cable; 2],
}

impl Replicas {
    fn or_skip(what: &str) -> Option<Self> {
        let (pair, cable) = Pair::or_skip(what)?;
        let second = pair.world.machine_or_skip("second")?;
        let other = Cable::between(&pair.world, &second, &pair.branch, 2);
        Some(Replicas {
            pair,
            second,
            cables: [cable, other],
        })
    }

    fn put_on_both(&self, name: &str, len: usize) -> Vec<u8> {
        let bytes = self.pair.put(name, len);
        let copy = self.pair.world.put(&format!("second/source/{name}"), &bytes);
        // As whoever copies files with their times has it.
        let modified = std::fs::metadata(self.pair.source(name))
            .unwrap()
            .modified()
            .unwrap();
        let copy = std::fs::File::options().write(true).open(copy).unwrap();
        copy.set_modified(modified).unwrap();
        bytes
    }

    fn world(&self) -> &World {
        &self.pair.world
    }

    /// Both servers; returns both exports.
    fn start(&self) -> [Running; 2] {
        bridge::start_server(self.world(), &self.pair.origin, &[]);
        bridge::start_server(self.world(), &self.second, &[]);
        let listen = [bridge::endpoint(&self.cables[1].left())];
        let config = bridge::config(self.world(), "second", &listen, &[], "");
        let second = bridge::export(self.world(), &self.second, &config);
        [bridge::start(self.pair.export()), bridge::start(second)]
    }

    fn import(&self) -> crate::processes::Program {
        let connect = [0, 1].map(|number: usize| bridge::endpoint(&self.cables[number].left()));
        let config = bridge::config(self.world(), "both", &[], &connect, "");
        bridge::import(self.world(), &self.pair.branch, &config)
    }
}
