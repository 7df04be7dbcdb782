//! Servers that lie in their words, their memory and their digests, or go away (rows R1, R3, R7, R10, R14 and R18 of the fault catalogue from
//! the client's side, C2).

use std::time::{Duration, Instant};

use crate::content;
use crate::fake_server::{
    FakeServer, NAME, SIZE, Victim, assert_all_are_noticed, begin, bytes, data, done, end, meet, record, slot,
};
use crate::raw_region::{ATTACHED, FILLED, FREE, ONE_SLOT, STATE, WRITTEN, header, message};
use crate::world::World;

#[test]
fn words_that_cannot_be_are_noticed() {
    assert_all_are_noticed(
        "no-words",
        &[
            (
                "an impossible state",
                |victim| victim.set_word(STATE, 0x55),
                "impossible state",
            ),
            (
                "ATTACHED with a code",
                |victim| victim.set_word(STATE, ATTACHED | 1 << 8),
                "impossible state",
            ),
            (
                "more slots than there are",
                |victim| victim.set_word(WRITTEN, 2),
                "protocol",
            ),
            (
                "slots before the first",
                |victim| victim.set_word(WRITTEN, u32::MAX),
                "protocol",
            ),
            (
                "a slot that is taken back",
                |victim| {
                    slot(victim, &[begin(SIZE)]);
                    victim.wait_for_free(|| false);
                    victim.set_word(WRITTEN, 0);
                },
                "protocol",
            ),
            (
                "on offer again",
                |victim| {
                    slot(victim, &[begin(SIZE)]);
                    victim.wait_for_free(|| false);
                    victim.set_word(STATE, 0);
                },
                "impossible state",
            ),
            (
                "the end, for a reason",
                |victim| victim.set_word(STATE, 2 | 14 << 8),
                "STOPPING",
            ),
            (
                "the end, for no reason",
                |victim| victim.set_word(STATE, 2 | 0x00ff_ffff << 8),
                "a reason that this version does not know",
            ),
            (
                "the end, before anything came",
                |victim| victim.set_word(STATE, 2),
                "ended the session",
            ),
            (
                "death in the middle of a file",
                |victim| {
                    slot(victim, &[begin(SIZE), data(0, &bytes()[..50])]);
                    victim.die();
                },
                "died",
            ),
        ],
    );
}

/// R1 from the other side: a server (of root, say) may write into the region, so it may also cut it.
#[test]
fn region_that_shrinks_under_the_client_is_noticed() {
    fn cut(victim: &Victim, bytes: u64) {
        victim.memory.as_file().set_len(bytes).unwrap();
    }
    assert_all_are_noticed(
        "client-shrunk",
        &[
            ("before the first slot", |victim| cut(victim, 0), "protocol"),
            (
                "behind the first slot",
                |victim| {
                    slot(victim, &[begin(SIZE), data(0, &bytes()[..50])]);
                    victim.wait_for_free(|| false);
                    cut(victim, 0);
                },
                "protocol",
            ),
        ],
    );
}

/// The same in the moment in which the client reads what has come: it gets all of it, or says that it did not.
#[test]
fn region_cut_together_with_its_last_slot_yields_the_file_or_none() {
    let world = World::new("cut-with-slot");
    let server = FakeServer::start(&world);
    for round in 0..20_u64 {
        let outcome = meet(&world, &server, &[], |victim, _| {
            victim.attach();
            slot(victim, &[begin(SIZE), data(0, &bytes()), end(SIZE), done()]);
            std::thread::sleep(Duration::from_micros(20 * round));
            victim.memory.as_file().set_len(0).unwrap();
        });
        match outcome.code {
            // It may also see that the file is whole, and only then that the region has gone.
            Some(0 | 4) if world.output(NAME).exists() => {
                world.assert_output(NAME, &bytes());
                std::fs::remove_file(world.output(NAME)).unwrap();
            }
            code => assert_eq!(code, Some(4), "{}", outcome.stderr),
        }
        world.assert_no_output();
    }
    server.stop();
    world.finish();
}

/// R10 from the other side, and R3: the client is as indifferent to semaphores and growth as the server.
#[test]
fn forged_semaphores_and_growth_cost_the_client_time_and_nothing_else() {
    let world = World::new("client-forged");
    let server = FakeServer::start(&world);
    let file = content::of(NAME, 20_000);
    let outcome = meet(&world, &server, &["--verify"], |victim, client| {
        victim.attach();
        let is_gone = || !client.is_running();
        let mut records = vec![begin(20_000)];
        let pieces = file.chunks(1000).enumerate();
        records.extend(pieces.map(|(number, piece)| data(1000 * number as u64, piece)));
        records.push([record(5, 0, 20_000, 0, blake3::hash(&file).as_bytes()), done()].concat());
        for (turn, record) in records.iter().enumerate() {
            assert!(victim.wait_for_free(is_gone));
            for semaphore in [FILLED, FREE] {
                victim.put(semaphore, &content::random_bytes(turn as u64 + semaphore, 32));
            }
            victim.memory.as_file().set_len(4096 * (turn as u64 + 1)).unwrap();
            victim.publish(record);
        }
    });
    outcome.expect_code(0);
    world.assert_output(NAME, &file);
    server.stop();
    world.finish();
}

/// R14: bytes that change between the reading and the writing. With `--verify` they are hashed where nobody else can reach them.
#[test]
fn bytes_that_are_not_those_that_were_hashed_are_not_delivered() {
    let world = World::new("digest");
    let server = FakeServer::start(&world);
    let differs = "BLAKE3 differs";
    let digests: [(&dyn Fn() -> Vec<u8>, &str); 4] = [
        (&|| blake3::hash(b"other bytes").as_bytes().to_vec(), differs),
        (&|| vec![0; 32], differs),
        (&Vec::new, differs),
        (
            &|| blake3::hash(&bytes()).as_bytes()[..31].to_vec(),
            "broke the protocol",
        ),
    ];
    for (digest, said) in digests {
        std::fs::write(world.output(NAME), "what was there").unwrap();
        let outcome = meet(&world, &server, &["--verify"], |victim, _| {
            victim.attach();
            slot(
                victim,
                &[
                    begin(SIZE),
                    data(0, &bytes()),
                    record(5, 0, SIZE, 0, &digest()),
                    done(),
                ],
            );
        });
        assert_eq!(outcome.code, Some(4), "{}", outcome.stderr);
        outcome.expect_said(said);
        world.assert_output(NAME, b"what was there");
    }
    std::fs::remove_file(world.output(NAME)).unwrap();
    server.stop();
    world.finish();
}

/// Slots of a server that never attached are no answer, and one that refuses is believed, whatever its reason.
#[test]
fn answer_without_attach_is_none() {
    let world = World::new("no-attach");
    let server = FakeServer::start(&world);
    let outcome = meet(&world, &server, &[], |victim, _| {
        slot(victim, &[begin(SIZE), data(0, &bytes()), end(SIZE), done()]);
    });
    outcome.expect_code(4).expect_said("slots without ATTACHED");
    let outcome = meet(&world, &server, &[], |victim, _| {
        victim.set_word(STATE, 3 | 777 << 8)
    });
    outcome.expect_code(3).expect_said("refused this client");
    let outcome = meet(&world, &server, &[], |victim, _| victim.set_word(STATE, 0xff));
    outcome.expect_code(4).expect_said("impossible state");
    world.assert_no_output();
    server.stop();
    world.finish();
}

/// R18 from the other side: a request is what the protocol says and zeros.
#[test]
fn request_holds_nothing_but_what_was_asked_for() {
    let world = World::new("request-bytes");
    let server = FakeServer::start(&world);
    let outcome = meet(&world, &server, &["--wait", "1s"], |victim, _| {
        let expected = message(
            1,
            1,
            &victim.request.region_id.0,
            &victim.request.nonce,
            4096,
            NAME,
        );
        assert_eq!(victim.message, expected);
        let mut page = vec![0; 4096];
        victim.memory.read_at(&mut page, 0).unwrap();
        let header = header(4096, &victim.request.nonce, ONE_SLOT);
        assert_eq!(page[..64], header);
        // The client's CPU, and both semaphores; nothing else has been written.
        for used in [132..136, 192..208, 256..272] {
            page[used].fill(0);
        }
        assert!(page[64..].iter().all(|byte| *byte == 0));
        victim.set_word(STATE, 3 | 15 << 8);
    });
    outcome.expect_code(3);
    server.stop();
    world.finish();
}

/// C2 and C5 before the attach: a server that takes the request and then is silent, or is gone.
#[test]
fn server_that_takes_a_request_and_goes_is_waited_for_as_long_as_it_was_said() {
    let world = World::new("took-and-went");
    let server = FakeServer::start(&world);
    let start = Instant::now();
    let client = world
        .client()
        .args(["--wait", "2s", "-o"])
        .arg(world.output(NAME))
        .arg(NAME)
        .start();
    let victim = server.accept();
    server.stop();
    let outcome = client.finish().expect_code(3).expect_said("not running");
    assert!(start.elapsed() > Duration::from_secs(2), "{}", outcome.stderr);
    drop(victim);
    world.assert_no_output();
    world.finish();
}
