//! Clients that play with names, ids and locks of their region, or never do their part (rows R15 to R17 of the fault catalogue), and what
//! else than records gets into a slot (R18).

use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use shmeld_os::lease::{self, Kind, Range};
use shmeld_os::posix::shm::SharedMemory;
use shmeld_os::process;

use crate::content;
use crate::midway::MIB;
use crate::raw_region::{
    ATTACHED, BEGIN, DATA, DONE, END, FREE, GET, MISBEHAVED, ONE_SLOT, PAGE, RawRegion, SMALL_SLOTS, STATE,
    Slots, WRITTEN, assert_served, count, meanwhile, message, name_of, records, send,
};
use crate::world::{World, eventually};

/// R15: one object under two names, and a request that comes again and again.
#[test]
fn one_region_has_one_session_and_one_answer_to_a_request() {
    let world = World::new("twice");
    let bytes = world.put_random("file", 40_000);
    let _server = world.start_server();
    let region = RawRegion::new(&world);
    region.send(GET, "file");
    region.wait_for_slot();
    let path = |id: &[u8; 16]| format!("/dev/shm/{}", name_of(id).as_str());
    let other: [u8; 16] = process::random_bytes().unwrap();
    std::fs::rename(path(&region.id), path(&other)).unwrap();
    // Looks as fresh as on its first day.
    region.set_word(STATE, 0);
    let refused = count(&world, "refused_regions_total");
    send(
        &region.queue,
        &message(GET, 1, &other, &region.nonce, PAGE, "file"),
    );
    eventually("it is refused", || {
        count(&world, "refused_regions_total") == refused + 1
    });
    assert_eq!(
        (region.word(STATE), region.word(WRITTEN)),
        (0, 1),
        "nothing was written into it"
    );
    std::fs::rename(path(&other), path(&region.id)).unwrap();
    region.set_word(STATE, ATTACHED);
    let requests = count(&world, "requests_total");
    let found = region.answer(|region| (0..20).for_each(|_| region.send_as(GET, 1, "file")));
    content::assert_bytes("the answer", &found, &bytes);
    region.send_as(GET, 2, "file");
    content::assert_bytes("the second answer", &region.answer(|_| {}), &bytes);
    // The one that counts here is itself one.
    assert_eq!(
        count(&world, "requests_total"),
        requests + 2,
        "a replayed request was answered"
    );
    assert_eq!(region.word(STATE), ATTACHED);
    world.finish();
}

/// R16: locks on the region that are not as they should be.
#[test]
fn locks_of_a_client_in_the_servers_place_cost_it_its_attach() {
    let world = World::new("locks");
    let bytes = world.put_random("file", 40_000);
    let _server = world.start_server();
    let games: [(&str, Range, Kind, bool); 5] = [
        ("the server's byte", Range::byte(1), Kind::Write, true),
        ("the server's byte, to read", Range::byte(1), Kind::Read, true),
        ("the whole object", Range { start: 1, len: 0 }, Kind::Write, true),
        (
            "every byte but the two",
            Range { start: 2, len: 0 },
            Kind::Write,
            false,
        ),
        (
            "a byte far behind the end",
            Range::byte(1 << 40),
            Kind::Write,
            false,
        ),
    ];
    for (what, range, kind, is_refused) in games {
        let region = RawRegion::new(&world);
        let memory = SharedMemory::open(&region.name(), true).unwrap();
        assert!(lease::try_take(memory.as_file(), range, kind, what).unwrap());
        let misbehaved = count(&world, "misbehaved_total");
        region.send(GET, "file");
        if is_refused {
            region.wait_for_state(MISBEHAVED | 3);
            eventually("it is counted", || {
                count(&world, "misbehaved_total") == misbehaved + 1
            });
        } else {
            content::assert_bytes(what, &region.answer(|_| {}), &bytes);
        }
    }
    // Nor is a read lock a client's lease: it would be life that a mere reader can fake.
    let region = RawRegion::unnamed(&world, PAGE, ONE_SLOT);
    region.memory.reserve(PAGE).unwrap();
    region.initialise();
    assert!(lease::try_take(region.memory.as_file(), Range::byte(0), Kind::Read, "lease").unwrap());
    region.memory.publish(&region.name()).unwrap();
    region.send(GET, "file");
    eventually("it counts as dead and its name is removed", || {
        SharedMemory::stat_name(&region.name()).is_err()
    });
    // Once attached, the server's byte cannot be taken from it.
    let region = RawRegion::new(&world);
    region.send(GET, "file");
    region.wait_for_slot();
    let memory = SharedMemory::open(&region.name(), true).unwrap();
    for range in [Range::byte(1), Range::WHOLE] {
        assert!(!lease::try_take(memory.as_file(), range, Kind::Write, "region").unwrap());
    }
    for byte in 0..1000 {
        assert!(lease::try_take(memory.as_file(), Range::byte(2 * byte + 3), Kind::Write, "region").unwrap());
    }
    content::assert_bytes("the answer", &region.answer(|_| {}), &bytes);
    world.finish();
}

/// R17: a client that never takes a slot is ended when its time is up; one that takes one a second is not.
#[test]
fn client_that_takes_nothing_is_ended_and_one_that_takes_little_is_not() {
    let world = World::new("stall");
    let bytes = world.put_random("file", MIB as usize);
    let server = world.server().args(["--stall", "3s"]).start();
    server.wait_for_stderr("serving");
    let [idle, slow] = [RawRegion::new(&world), RawRegion::new(&world)];
    for region in [&idle, &slow] {
        region.send(GET, "file");
        region.wait_for_slot();
    }
    let takes_little = || {
        slow.take_slot();
        std::thread::sleep(Duration::from_millis(300));
    };
    meanwhile(takes_little, || {
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(5) || idle.word(STATE) == ATTACHED {
            assert_served(&world, "file", &bytes);
        }
    });
    assert_eq!(idle.word(STATE), 13 << 8 | 2, "STALLED");
    assert_eq!(slow.word(STATE), ATTACHED);
    assert_eq!(count(&world, "misbehaved_total"), 0);
    world.finish();
}

/// R18: a slot holds its records, and else what it held before. Nothing of the server's memory gets there with the padding.
#[test]
fn nothing_but_records_is_ever_written_into_a_slot() {
    let world = World::new("padding");
    let server = world.start_server();
    for (region_bytes, slots) in [
        (PAGE, ONE_SLOT),
        (16 * PAGE, SMALL_SLOTS),
        (
            MIB,
            Slots {
                offset: 4096,
                bytes: 245_760,
                count: 4,
            },
        ),
    ] {
        let region = RawRegion::shaped(&world, region_bytes, slots);
        let mut before = vec![vec![0_u8; slots.bytes as usize]; slots.count as usize];
        let mut turn = 0;
        for len in [0, 1, 7, 3743, 3745, 4097, 70_001, 400_003] {
            let name = format!("a-file-of-{len}");
            let bytes = world.put_random(&name, len);
            region.send(GET, &name);
            let mut found = Vec::new();
            let mut done = false;
            while !done {
                region.wait_for_slot();
                let index = turn % slots.count as usize;
                let slot = region.slot();
                let expected = overlaid(&before[index], &slot);
                content::assert_bytes(&format!("slot {turn} of {name}"), &slot, &expected);
                for (kind, at, payload) in records(&slot) {
                    check_record(&slot[at..at + 32], kind, &payload, name.as_bytes());
                    if kind == DATA {
                        found.extend(payload);
                    }
                    done |= kind == DONE;
                }
                before[index] = slot;
                region.release();
                turn += 1;
            }
            content::assert_bytes(&name, &found, &bytes);
        }
        let mut rest = vec![0; 320 - FREE as usize - 32];
        region
            .memory
            .as_file()
            .read_exact_at(&mut rest, FREE + 32)
            .unwrap();
        assert!(rest.iter().all(|byte| *byte == 0), "between the words: {rest:?}");
    }
    assert!(server.is_running());
    world.finish();
}

/// What a slot held before, with its new records and the STOP behind them.
fn overlaid(before: &[u8], slot: &[u8]) -> Vec<u8> {
    let mut expected = before.to_vec();
    let mut end = 0;
    for (_, at, payload) in records(slot) {
        let record_end = at + 32 + payload.len();
        expected[at..record_end].copy_from_slice(&slot[at..record_end]);
        end = record_end.next_multiple_of(8);
    }
    if end + 32 <= slot.len() {
        expected[end..end + 32].fill(0);
    }
    expected
}

/// Every field of a record is one that the protocol names, or zero.
fn check_record(record: &[u8], kind: u16, payload: &[u8], name: &[u8]) {
    let word = |at: usize| u64::from_le_bytes(std::array::from_fn(|index| record[at + index]));
    assert!(
        record[2..4] == [0, 0] && word(8) > 0,
        "status or id of {record:?}"
    );
    match kind {
        BEGIN => {
            assert_eq!(payload.len(), 48 + name.len());
            assert_eq!(&payload[48..], name);
            assert_eq!(payload[40..48], [0; 8], "no text, nothing in what is reserved");
        }
        DATA => assert_eq!(word(24), 0),
        END => assert!(payload.is_empty() && word(24) == 0),
        DONE => assert!(payload.is_empty() && word(16) == 1 && word(24) == 0),
        kind => panic!("kind {kind}"),
    }
}
