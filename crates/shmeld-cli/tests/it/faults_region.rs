//! Clients that lie about their region, or change it under the server: its size, its pages, its header (rows R1 to R6 and R13 of the fault
//! catalogue, C13). Each hurts its own session only.

use std::time::Duration;

use crate::content;
use crate::midway::{MIB, Trickle, put_large};
use crate::raw_region::{
    ATTACHED, CLOSE, FREE, GET, ONE_SLOT, PAGE, REFUSED_BAD_REGION, RawRegion, SMALL_SLOTS, STATE, Slots,
    WRITTEN, assert_served, count, header, meanwhile, message, send, wake,
};
use crate::world::{World, eventually};

/// The kernel reads straight into these.
const LARGE_SLOTS: Slots = Slots {
    offset: 4096,
    bytes: 245_760,
    count: 4,
};

/// A world with a server, a file of five megabytes and a small one.
fn served_world(what: &str) -> (World, Vec<u8>, Vec<u8>) {
    let world = World::new(what);
    let bytes = world.put_random("file", 5 * MIB as usize);
    let small = world.put_random("small", 10_000);
    world.start_server();
    (world, bytes, small)
}

/// R1, and the half of C13 and R3 that concerns the server: what it writes never makes the object longer again.
#[test]
fn region_that_shrinks_under_the_server_ends_its_session_only() {
    let (world, bytes, small) = served_world("shrunk");
    put_large(&world, "large", 64);
    let honest = Trickle::start(world.client().arg("file"));
    let shapes = [(PAGE, ONE_SLOT), (16 * PAGE, SMALL_SLOTS), (MIB, LARGE_SLOTS)];
    let mut misbehaved = 0;
    for (region_bytes, slots) in shapes {
        for left in [0, PAGE, region_bytes / 2]
            .into_iter()
            .filter(|left| *left < region_bytes / PAGE * PAGE)
        {
            // Before the first slot is taken, and in the middle.
            for slots_taken in [0, 1, 20] {
                let left = left / PAGE * PAGE;
                let region = RawRegion::shaped(&world, region_bytes, slots);
                region.send(GET, "large");
                for _ in 0..slots_taken {
                    region.take_slot();
                }
                region.wait_for_slot();
                region.memory.as_file().set_len(left).unwrap();
                misbehaved += 1;
                eventually("the server notices", || {
                    // The control words live: a client that says it wants more meets the server where no slots are.
                    if left > 0 && region.word(STATE) == ATTACHED {
                        region.release();
                    }
                    wake(&region.memory, FREE);
                    count(&world, "misbehaved_total") == misbehaved
                });
                assert_eq!(
                    region.memory.stat().unwrap().bytes,
                    left,
                    "somebody made it longer"
                );
            }
        }
        assert_served(&world, "small", &small);
    }
    let client = honest.client.clone();
    content::assert_bytes("the honest client's output", &honest.finish(), &bytes);
    client.finish().expect_code(0);
    world.finish();
}

/// R1 in the moments that nobody chooses: between the look at the object and the lease, between two accesses, restored at once.
#[test]
fn region_that_vanishes_and_comes_back_all_the_time_costs_nobody_else_anything() {
    let (world, bytes, small) = served_world("flapping");
    let honest = Trickle::start(world.client().arg("file"));
    for round in 0..24 {
        let (region_bytes, slots) =
            [(PAGE, ONE_SLOT), (16 * PAGE, SMALL_SLOTS), (MIB, LARGE_SLOTS)][round % 3];
        let region = RawRegion::shaped(&world, region_bytes, slots);
        let disturb = || {
            region.memory.as_file().set_len(0).unwrap();
            // Whole again at once: it may be attached like that, and then vanish.
            region.memory.reserve(region.bytes).unwrap();
            region.initialise();
        };
        meanwhile(disturb, || {
            for request_id in 1..6 {
                region.send_as(GET, request_id, "file");
                wake(&region.memory, FREE);
            }
            std::thread::sleep(Duration::from_millis(60));
        });
        if round % 8 == 0 {
            assert_served(&world, "small", &small);
        }
    }
    eventually("nobody but the honest one and who asks is left", || {
        world.status()["sessions"] == 2
    });
    let client = honest.client.clone();
    content::assert_bytes("the honest client's output", &honest.finish(), &bytes);
    client.finish().expect_code(0);
    world.finish();
}

/// R3: the size was fixed when the region was admitted.
#[test]
fn region_that_grows_under_the_server_changes_nothing() {
    let (world, bytes, _) = served_world("grown");
    for (region_bytes, slots) in [(PAGE, ONE_SLOT), (MIB, LARGE_SLOTS)] {
        let region = RawRegion::shaped(&world, region_bytes, slots);
        region.send(GET, "file");
        region.wait_for_slot();
        let mut size = region_bytes;
        let found = region.answer(|region| {
            size = if size == region_bytes {
                4 * region_bytes
            } else {
                size + 100
            };
            region.memory.as_file().set_len(size).unwrap();
        });
        content::assert_bytes("the answer", &found, &bytes);
        assert_eq!(region.memory.stat().unwrap().bytes, size);
    }
    assert_eq!(count(&world, "misbehaved_total"), 0);
    world.finish();
}

/// R6: the geometry was copied when the region was admitted, and nothing of the header is read again.
#[test]
fn header_scribbled_over_after_the_attach_changes_nothing() {
    let (world, bytes, _) = served_world("header");
    for (region_bytes, slots) in [(PAGE, ONE_SLOT), (16 * PAGE, SMALL_SLOTS)] {
        let region = RawRegion::shaped(&world, region_bytes, slots);
        region.send(GET, "file");
        region.wait_for_slot();
        let mut seed = 0;
        let found = region.answer(|region| {
            seed += 1;
            let noise = content::random_bytes(seed, 64);
            region.put(0, &noise[..12]);
            region.put(16, &noise[16..]);
        });
        content::assert_bytes("the answer", &found, &bytes);
        region.send(CLOSE, "");
        region.wait_for_state(2);
    }
    assert_eq!(count(&world, "misbehaved_total"), 0);
    world.finish();
}

/// What a client does to its region before it asks, and the state word that it finds then.
type Lie = (&'static str, u64, fn(&RawRegion), u32);

/// R4, R5: sizes, storage and headers that are not what they are said to be.
const LIES: [Lie; 11] = [
    (
        "one page of sixteen is there",
        16 * PAGE,
        |_| {},
        REFUSED_BAD_REGION,
    ),
    (
        "a byte more than a page",
        PAGE + 1,
        |region| region.memory.reserve(PAGE + 1).unwrap(),
        0,
    ),
    ("less than a page", 1024, |_| {}, 0),
    ("beyond any region", 1 << 40, |_| {}, 0),
    ("beyond the server's maximum", 1 << 28, |_| {}, REFUSED_BAD_REGION),
    (
        "a header that says more",
        PAGE,
        |region| region.put(16, &[0xff; 8]),
        REFUSED_BAD_REGION,
    ),
    (
        "a header that says nothing",
        PAGE,
        |region| region.put(16, &[0; 8]),
        REFUSED_BAD_REGION,
    ),
    (
        "a reserved byte",
        PAGE,
        |region| region.put(63, &[1]),
        REFUSED_BAD_REGION,
    ),
    (
        "a later version",
        PAGE,
        |region| region.set_word(8, 2),
        10 << 8 | 3,
    ),
    ("another magic", PAGE, |region| region.put(7, &[2]), 0),
    ("used already", PAGE, |region| region.set_word(STATE, 2), 2),
];

/// Offers a region with a lie in it, and insists that it is not attached and not changed but for the state word.
#[track_caller]
fn assert_not_attached(world: &World, (what, bytes, lie, expected): &Lie, slots: Slots) {
    let region = RawRegion::unnamed(world, *bytes, slots);
    region.memory.as_file().set_len(*bytes).unwrap();
    region.memory.reserve((*bytes).min(PAGE)).unwrap();
    region.initialise();
    lie(&region);
    region.publish();
    let refused = count(world, "refused_regions_total");
    region.send(GET, "small");
    eventually(what, || count(world, "refused_regions_total") == refused + 1);
    assert_eq!(region.word(STATE), *expected, "{what}");
    assert_eq!(region.word(WRITTEN), 0, "{what}");
    assert_eq!(region.memory.stat().unwrap().bytes, *bytes, "{what}");
}

#[test]
fn regions_that_are_not_what_they_are_said_to_be_are_not_attached() {
    let (world, _, small) = served_world("lies");
    for lie in &LIES {
        assert_not_attached(&world, lie, ONE_SLOT);
    }
    assert_served(&world, "small", &small);
    assert_eq!(count(&world, "misbehaved_total"), 0);
    world.finish();
}

/// R13: slots outside of the region, over its words, too small, or so many that their sum wraps. All numbers are offsets, and all are checked.
#[test]
fn slots_that_do_not_lie_in_the_region_are_not_attached() {
    let (world, _, small) = served_world("wild-slots");
    let wild = [
        [0, 3776, 1],
        [64, 3776, 1],
        [319, 3776, 1],
        [321, 3712, 1],
        [384, 3776, 1],
        [4096, 3776, 1],
        [!4095, 4096, 1],
        [u32::MAX, 3776, 1],
        [320, 3776, 0],
        [320, 0, 1],
        [320, 64, 1],
        [320, 3775, 1],
        [320, 3776, 2],
        [320, 3776, u32::MAX],
        [320, u32::MAX, 1],
        // 0 in 32 bits.
        [320, 1 << 16, 1 << 16],
        [320, 1 << 31, 2],
    ];
    for [offset, bytes, count] in wild {
        let what = "wild slots";
        let lie = (what, PAGE, (|_| {}) as fn(&RawRegion), REFUSED_BAD_REGION);
        assert_not_attached(&world, &lie, Slots { offset, bytes, count });
    }
    assert_served(&world, "small", &small);
    assert_eq!(count(&world, "misbehaved_total"), 0);
    world.finish();
}

/// R5: the size in the request is another one than the object has.
#[test]
fn request_with_another_size_than_the_object_has_is_ignored() {
    let (world, _, small) = served_world("sizes-differ");
    let region = RawRegion::new(&world);
    for bytes in [0, 1, PAGE - 1, PAGE + 1, 2 * PAGE, 1 << 32, 1 << 63, u64::MAX] {
        let refused = count(&world, "refused_regions_total");
        send(
            &region.queue,
            &message(GET, 1, &region.id, &region.nonce, bytes, "small"),
        );
        eventually("it is ignored", || {
            count(&world, "refused_regions_total") == refused + 1
        });
        assert_eq!(region.word(STATE), 0, "{bytes}");
    }
    // The right one is attached after all that, and only then.
    region.send(GET, "small");
    assert_eq!(region.answer(|_| {}), small);
    world.finish();
}

/// R9: the header changes between any two looks at it. What was checked is what is used, so that no slot ever lies elsewhere.
#[test]
fn header_that_changes_while_it_is_looked_at_is_one_or_the_other() {
    let (world, bytes, small) = served_world("two-headers");
    let honest = Trickle::start(world.client().arg("file"));
    let (mut attached, mut refused) = (0, 0);
    let wild = Slots {
        offset: 1 << 30,
        bytes: 1 << 30,
        count: 3,
    };
    for round in 0..2000 {
        // Both are seen soon; how soon is the machine's affair.
        if round >= 100 && attached > 0 && refused > 0 {
            break;
        }
        let region = RawRegion::new(&world);
        let headers = [wild, ONE_SLOT].map(|slots| header(PAGE, &region.nonce, slots));
        let disturb = || {
            headers.iter().for_each(|header| region.put(40, &header[40..52]));
        };
        meanwhile(disturb, || {
            region.send(GET, "small");
            eventually("the server decides", || region.word(STATE) != 0);
        });
        match region.word(STATE) {
            REFUSED_BAD_REGION => refused += 1,
            state => {
                assert_eq!(state, ATTACHED, "round {round}");
                attached += 1;
                assert_eq!(region.answer(|_| {}), small);
            }
        }
    }
    assert!(
        attached > 0 && refused > 0,
        "{attached} attached, {refused} refused: no race"
    );
    let client = honest.client.clone();
    content::assert_bytes("the honest client's output", &honest.finish(), &bytes);
    client.finish().expect_code(0);
    world.finish();
}
