//! Clients that forge the words by which both sides run the ring (rows R7 to R11 of the fault catalogue). It costs them their session, or
//! everybody a moment, and nothing else.

use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use crate::content;
use crate::midway::{MIB, Trickle};
use crate::peers::{EXAMPLES, PEERS, python_or_skip};
use crate::processes::Running;
use crate::raw_region::{
    ATTACHED, Bell, CLOSE, DATA, DONE, FILLED, FREE, GET, MISBEHAVED, ONE_SLOT, PAGE, READ, RawRegion,
    SMALL_SLOTS, STATE, WRITTEN, assert_served, count, meanwhile, records, wake,
};
use crate::world::{World, eventually};

fn served_world(what: &str, file_bytes: usize) -> (World, Vec<u8>, Running) {
    let world = World::new(what);
    let bytes = world.put_random("file", file_bytes);
    let server = world.start_server();
    (world, bytes, server)
}

/// R7: the one word that the server must believe, with every bit flipped at every moment of a ring of one slot and of fifteen.
#[test]
fn read_word_that_cannot_be_ends_the_session() {
    let (world, bytes, _server) = served_world("read-word", MIB as usize);
    let honest = Trickle::start(world.client().arg("file"));
    let mut misbehaved = 0;
    for (region_bytes, slots) in [(PAGE, ONE_SLOT), (16 * PAGE, SMALL_SLOTS)] {
        for bit in 0..32 {
            let region = RawRegion::shaped(&world, region_bytes, slots);
            region.send(GET, "file");
            // So far that one back is a lie too, and that more are free than it says.
            for _ in 0..3 {
                region.take_slot();
            }
            eventually("the ring is full", || region.word(WRITTEN) == 3 + slots.count);
            let forged = 3 ^ (1 << bit);
            if (3..=3 + slots.count).contains(&forged) {
                continue;
            }
            region.set_word(READ, forged);
            region.ring();
            misbehaved += 1;
            region.wait_until_misbehaved();
        }
    }
    eventually("all are counted", || {
        count(&world, "misbehaved_total") == misbehaved
    });
    let client = honest.client.clone();
    content::assert_bytes("the honest client's output", &honest.finish(), &bytes);
    client.finish().expect_code(0);
    world.finish();
}

/// R9: `read` changes between any two looks at it, from what is true to what cannot be.
#[test]
fn read_word_that_flips_all_the_time_hurts_only_its_session() {
    let (world, bytes, _server) = served_world("read-flips", MIB as usize);
    let rounds = 12;
    for round in 0..rounds {
        let region = RawRegion::shaped(&world, 16 * PAGE, SMALL_SLOTS);
        region.send(GET, "file");
        region.wait_for_slot();
        let disturb = || {
            let written = region.word(WRITTEN);
            region.set_word(READ, written.wrapping_sub(round % 15));
            region.set_word(READ, written.wrapping_add(0x4000_0000));
            wake(&region.memory, FREE);
        };
        meanwhile(disturb, || {
            eventually("the session ends", || region.word(STATE) != ATTACHED);
        });
        assert_eq!(region.word(STATE), MISBEHAVED | 2);
    }
    eventually("all are counted", || {
        count(&world, "misbehaved_total") == u64::from(rounds)
    });
    assert_served(&world, "file", &bytes);
    world.finish();
}

/// R8: what the server writes it never reads back.
#[test]
fn words_and_slots_of_the_server_can_be_scribbled_over() {
    let (world, bytes, _server) = served_world("server-words", 200_000);
    let region = RawRegion::new(&world);
    region.send(GET, "file");
    let mut found = Vec::new();
    for number in 1.. {
        eventually("the next slot is full", || region.word(WRITTEN) == number);
        let slot = region.slot();
        // The slot, the line of the server with `written`, and what lies between the words.
        region.put(320, &content::random_bytes(u64::from(number), 3776));
        region.put(WRITTEN, &content::random_bytes(u64::from(!number), 64));
        region.put(READ + 16, &content::random_bytes(7, 48));
        region.release();
        let records = records(&slot);
        records
            .iter()
            .filter(|record| record.0 == DATA)
            .for_each(|record| found.extend(&record.2));
        if records.iter().any(|record| record.0 == DONE) {
            break;
        }
    }
    content::assert_bytes("the answer", &found, &bytes);
    assert_eq!(count(&world, "misbehaved_total"), 0);
    world.finish();
}

/// R10 on the server's side. (libc's `sem_post` would abort the server or hang it.)
#[test]
fn forged_semaphores_cost_the_client_time_and_nothing_else() {
    let (world, bytes, server) = served_world("forged", 150_000);
    let region = RawRegion::new(&world);
    region.send(GET, "file");
    let values = [0, 1, 0x7fff_ffff, 0x8000_0000, u32::MAX];
    let waiters = [0, 1, 0x8000_0000, u32::MAX];
    let shared = [0, 1, 0x40, 0x80, 0xdead_beef];
    let mut turn = 0;
    let found = region.answer(|region| {
        let pick = |from: &[u32], step: usize| from[turn / step % from.len()];
        let words = [pick(&values, 1), pick(&waiters, 5), pick(&shared, 2)];
        for semaphore in [FILLED, FREE] {
            region.put(semaphore, &words.map(u32::to_le_bytes).concat());
            region.put(semaphore + 12, &content::random_bytes(turn as u64, 20));
        }
        turn += 1;
    });
    content::assert_bytes("the answer", &found, &bytes);
    assert!(turn > 20, "{turn}");
    assert!(server.is_running());
    assert_eq!(count(&world, "misbehaved_total"), 0);
    world.finish();
}

/// Clock ticks that a process has used, of a hundredth of a second each.
fn cpu_ticks(process: &Running) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", process.pid())).unwrap();
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap().split(' ').collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

/// R11: libc's loop would take a whole CPU for as long as the storm lasts.
#[test]
fn storm_of_wakes_costs_the_server_next_to_nothing() {
    const STORM: Duration = Duration::from_secs(3);
    let (world, bytes, server) = served_world("storm", 150_000);
    let region = RawRegion::new(&world);
    region.send(GET, "file");
    region.wait_for_slot();
    let before = cpu_ticks(&server);
    let storm = Instant::now();
    let mut wakes = 0_u64;
    let bell = Bell::of(&region.memory, FREE);
    while storm.elapsed() < STORM {
        bell.ring();
        wakes += 1;
    }
    let percent = 10_000 * (cpu_ticks(&server) - before) / storm.elapsed().as_millis() as u64 / 10;
    assert!(wakes > 3000, "{wakes} wakes are no storm");
    assert!(percent < 10, "{percent} per cent of a CPU");
    // The session is none the worse for it.
    content::assert_bytes("the answer", &region.answer(|_| {}), &bytes);
    region.send(CLOSE, "");
    region.wait_for_state(2);
    let woken = count(&world, "spurious_wakes_total");
    assert!(woken > 64, "the server slept through it: {woken}");
    world.finish();
}

/// R11 again: nobody is woken at all. The slice's end is wake enough.
#[test]
fn client_that_never_wakes_the_server_is_served_slice_by_slice() {
    let (world, bytes, _server) = served_world("never-woken", 40_000);
    let region = RawRegion::new(&world);
    region.send(GET, "file");
    let mut found = Vec::new();
    let mut number = 0;
    while found.len() < bytes.len() {
        number += 1;
        eventually("the next slot is full", || region.word(WRITTEN) == number);
        let data = records(&region.slot())
            .into_iter()
            .filter(|record| record.0 == DATA);
        data.for_each(|record| found.extend(record.2));
        region.set_word(READ, number);
    }
    content::assert_bytes("the answer", &found, &bytes);
    world.finish();
}

/// R11 once more: the sleeping server is moved to a word that nobody rings.
#[test]
fn server_moved_to_another_word_goes_on_at_the_end_of_its_slice() {
    let Some(python) = python_or_skip() else { return };
    let (world, bytes, server) = served_world("requeued", MIB as usize);
    let script = std::path::Path::new(PEERS).join("hostile.py");
    let peer = world
        .tool(python.to_str().unwrap())
        .arg("-B")
        .arg(script)
        .arg(EXAMPLES);
    let outcome = peer.args([world.name(), "requeue", "file"]).run().expect_code(0);
    assert_eq!(outcome.stdout_text(), "went on\n");
    assert!(server.is_running());
    eventually("its death is noticed", || count(&world, "died_total") == 1);
    assert_served(&world, "file", &bytes);
    assert_eq!(count(&world, "misbehaved_total"), 0);
    world.finish();
}

/// R14 among honest ones: a third process of the same user writes over a region in which a file arrives. It may spoil the transfer. With
/// `--verify` what arrives is what was read, or nothing.
#[test]
fn third_process_that_scribbles_spoils_a_transfer_but_never_a_file() {
    let world = World::new("third");
    let bytes = world.put_random("file", 4 * MIB as usize);
    let _server = world.start_server();
    let mut spoilt = 0;
    for round in 0..200 {
        if spoilt >= 5 {
            break;
        }
        let client = world
            .client()
            .args(["--verify", "file", "-o"])
            .arg(world.output("file"))
            .start();
        let mut number = 0;
        let disturb = || {
            number += 1;
            scribble(&client, round * 1_000_000 + number);
        };
        let outcome = meanwhile(disturb, || client.finish());
        match outcome.code {
            Some(0) => {
                world.assert_output("file", &bytes);
                std::fs::remove_file(world.output("file")).unwrap();
            }
            Some(1 | 4) => spoilt += 1,
            code => panic!("{code:?}\n{}", outcome.stderr),
        }
        world.assert_no_output();
    }
    assert!(spoilt > 0, "nobody was disturbed");
    assert_served(&world, "file", &bytes);
    world.finish();
}

/// Writes some bytes into the payload of the slot of a client, through its descriptor.
fn scribble(client: &Running, seed: u64) {
    let Ok(descriptors) = std::fs::read_dir(format!("/proc/{}/fd", client.pid())) else {
        return;
    };
    let paths = descriptors.filter_map(|entry| Some(entry.ok()?.path()));
    let is_region = |path: &std::path::PathBuf| {
        let target = std::fs::read_link(path).unwrap_or_default();
        target.to_string_lossy().starts_with("/dev/shm/shmeld.")
    };
    for path in paths.filter(is_region) {
        // It may have ended.
        if let Ok(region) = std::fs::OpenOptions::new().write(true).open(path) {
            for turn in 0..50 {
                let noise = content::random_bytes(seed + turn, 8);
                let _ = region.write_all_at(&noise, 320 + 400 + (seed + turn) % 3000);
            }
        }
    }
}
