//! The example clients in Python and C with servers that forge words and semaphores, take memory away, and fall silent.

use std::time::{Duration, Instant};

use crate::content;
use crate::examples::{example_c, examples, sanitized_or_skip};
use crate::fake_server::{FakeServer, NAME, SIZE, Victim, begin, bytes, data, done, end, slot};
use crate::processes::Running;
use crate::raw_region::{ATTACHED, FILLED, FREE, STATE, WRITTEN};
use crate::world::{World, eventually};

/// Words of the region that cannot be; what is said of them; and whether the server attaches before.
type Lie = (&'static str, bool, fn(&Victim, &Running), i32, &'static str);

const LIES: [Lie; 11] = [
    (
        "an impossible state",
        true,
        |victim, _| victim.set_word(STATE, 0x55),
        4,
        "protocol",
    ),
    (
        "ATTACHED with a code",
        true,
        |victim, _| victim.set_word(STATE, ATTACHED | 1 << 8),
        4,
        "protocol",
    ),
    ("on offer again", true, offer_again, 4, "protocol"),
    (
        "a slot without ATTACHED",
        false,
        |victim, _| slot(victim, &[begin(SIZE), data(0, &bytes()), end(SIZE), done()]),
        4,
        "protocol",
    ),
    (
        "more slots than there are",
        true,
        |victim, _| victim.set_word(WRITTEN, 2),
        4,
        "protocol",
    ),
    (
        "slots before the first",
        true,
        |victim, _| victim.set_word(WRITTEN, u32::MAX),
        4,
        "protocol",
    ),
    (
        "the end, for a reason",
        true,
        |victim, _| victim.set_word(STATE, 2 | 14 << 8),
        4,
        "STOPPING",
    ),
    (
        "the end, for no reason",
        true,
        |victim, _| victim.set_word(STATE, 2 | 0x00ff_ffff << 8),
        4,
        "",
    ),
    (
        "no, for a reason",
        false,
        |victim, _| victim.set_word(STATE, 3 | 8 << 8),
        3,
        "BUSY",
    ),
    (
        "no, for no reason",
        false,
        |victim, _| victim.set_word(STATE, 3 | 777 << 8),
        3,
        "",
    ),
    (
        "death within a file",
        true,
        |victim, _| {
            slot(victim, &[begin(SIZE), data(0, &bytes()[..50])]);
            victim.die();
        },
        4,
        "died",
    ),
];

fn offer_again(victim: &Victim, client: &Running) {
    slot(victim, &[begin(SIZE)]);
    victim.wait_for_free(|| !client.is_running());
    victim.set_word(STATE, 0);
}

#[test]
fn examples_notice_words_that_cannot_be() {
    let world = World::new("examples-words");
    for example in examples(&world) {
        let server = FakeServer::start(&world);
        for (what, attaches, lie, code, said) in LIES {
            let client = example().arg(NAME).start();
            let victim = server.accept();
            if attaches {
                victim.attach();
            }
            lie(&victim, &client);
            let outcome = client.finish();
            let is_told = outcome.code == Some(code) && outcome.stderr.contains(said);
            assert!(is_told, "{what}: {:?}\n{}", outcome.code, outcome.stderr);
            world.assert_no_output();
            server.drain();
        }
        server.stop();
    }
    world.finish();
}

/// The C example says so; Python has nothing to catch SIGBUS with, and leaves nothing.
#[test]
fn examples_survive_a_region_that_shrinks_or_leave_nothing() {
    let world = World::new("examples-cut");
    for example in examples(&world) {
        let server = FakeServer::start(&world);
        for page_too in [false, true] {
            let region = if page_too { "4096" } else { "8192" };
            let client = example();
            let is_c = !client.words().iter().any(|word| word.ends_with(".py"));
            let option = if is_c { "-r" } else { "--region" };
            let client = client.args([option, region, NAME]).start();
            let victim = server.accept();
            victim.attach();
            let has_name = || victim.memory.stat().unwrap().links > 0;
            eventually("the region has no name any more", || is_c || !has_name());
            let bytes = if page_too { 0 } else { 4096 };
            victim.memory.as_file().set_len(bytes).unwrap();
            if !page_too {
                victim.set_word(WRITTEN, 1);
                victim.ring();
            }
            let outcome = client.finish();
            assert_eq!(outcome.code, is_c.then_some(4), "{}", outcome.stderr);
            world.assert_no_output();
            server.drain();
        }
        server.stop();
    }
    world.finish();
}

#[test]
fn examples_do_not_rely_on_semaphores() {
    let world = World::new("examples-forged");
    let file = content::of(NAME, 20_000);
    for example in examples(&world) {
        let server = FakeServer::start(&world);
        let client = example().arg(NAME).start();
        let victim = server.accept();
        victim.attach();
        let mut records = vec![begin(20_000)];
        let pieces = file.chunks(1000).enumerate();
        records.extend(pieces.map(|(number, piece)| data(1000 * number as u64, piece)));
        records.push([end(20_000), done()].concat());
        for (turn, record) in records.iter().enumerate() {
            assert!(
                victim.wait_for_free(|| !client.is_running()),
                "{}",
                client.stderr()
            );
            for semaphore in [FILLED, FREE] {
                victim.put(semaphore, &content::random_bytes(turn as u64 + semaphore, 32));
            }
            victim.publish(record);
        }
        client.finish().expect_code(0);
        world.assert_output(NAME, &file);
        std::fs::remove_file(world.output(NAME)).unwrap();
        server.stop();
    }
    world.finish();
}

/// A server that lives and says nothing more is waited for as long as it was said.
#[test]
fn c_example_gives_up_a_silent_server() {
    let world = World::new("c-silent");
    let Some(binary) = sanitized_or_skip(&world) else {
        return;
    };
    let server = FakeServer::start(&world);
    // The second one must be attached before its time is up.
    for (attaches, seconds, code) in [(false, 1, 3), (true, 3, 4)] {
        let start = Instant::now();
        let client = example_c(&world, &binary)
            .args(["-w", &seconds.to_string(), NAME])
            .start();
        let victim = server.accept();
        if attaches {
            victim.attach();
        }
        client.finish().expect_code(code).expect_said("said nothing");
        assert!(start.elapsed() >= Duration::from_secs(seconds));
        server.drain();
    }
    server.stop();
    world.finish();
}
