//! The ring where it lives: two threads, each with a mapping of its own of one real region, and an honest peer on the other side.

use std::thread;

use shmeld_core::Region;
use shmeld_core::layout::{Geometry, PAGE_BYTES, SLOT_BYTES_MIN, SLOTS_OFFSET_IN_PAGE, Word};
use shmeld_core::sync::Ordering;
use shmeld_core::wait::Words;
use shmeld_os::posix::shm::SharedMemory;

use crate::region_pair::{Pair, Transfer, install_guard};

/// Moves all records of `transfer` from the server of a fresh pair to its client.
fn carry(region_bytes: u64, transfer: &Transfer) {
    let pair = Pair::new(region_bytes);
    transfer.set_start(pair.server.region());
    let (client, server) = (pair.client, pair.server);
    thread::scope(|scope| {
        let sender = scope.spawn(move || transfer.send(server.region()));
        let receiver = scope.spawn(move || transfer.receive(client.region()));
        assert_eq!(receiver.join().expect("the receiver does not panic"), Ok(()));
        assert_eq!(sender.join().expect("the sender does not panic"), Ok(()));
    });
}

#[test]
fn a_region_of_one_page_carries_random_records_bit_exact() {
    carry(4096, &Transfer::new(1, 5000));
}

#[test]
fn a_region_of_sixteen_pages_carries_random_records_bit_exact() {
    carry(65_536, &Transfer::new(2, 2000));
}

#[test]
fn a_region_of_a_mebibyte_carries_random_records_bit_exact() {
    carry(1 << 20, &Transfer::new(3, 200));
}

/// At multiples of 2^20, and 0 is one, both sides also take the units out of their semaphores.
#[test]
fn sequence_words_that_wrap_in_mid_transfer_lose_nothing() {
    for region_bytes in [4096, 65_536, 1 << 20] {
        for start in [u32::MAX - 5, u32::MAX, (1 << 20) - 2] {
            carry(
                region_bytes,
                &Transfer::new(u64::from(start), 20).starting_at(start),
            );
        }
    }
}

/// Two mappings of an object without a name, divided as `geometry` says.
fn two_mappings(geometry: Geometry) -> (Region, Region) {
    install_guard();
    let memory = SharedMemory::create_unnamed().expect("an object without a name can be made");
    memory
        .reserve(geometry.region_bytes())
        .expect("there is room in /dev/shm");
    let map = || Region::map(memory.as_file(), geometry, "region").expect("it can be mapped");
    (map(), map())
}

/// Sound geometries of every kind: both places where slots may begin, the smallest and odd sizes of slots, few slots and many.
fn geometries() -> Vec<Geometry> {
    let mut geometries = Vec::new();
    for offset in [SLOTS_OFFSET_IN_PAGE, 4096, 3 * 4096] {
        for slot_bytes in [SLOT_BYTES_MIN, SLOT_BYTES_MIN + 64, 4096, 10_048, 65_536] {
            for count in [1, 2, 3, 5, 64] {
                let end = u64::from(offset) + u64::from(slot_bytes) * u64::from(count);
                let geometry = Geometry::new(end.next_multiple_of(PAGE_BYTES), offset, slot_bytes, count);
                geometries.push(geometry.expect("it is sound"));
            }
        }
    }
    geometries
}

#[test]
fn slots_of_every_geometry_lie_apart_from_each_other_and_from_the_control_words() {
    for geometry in geometries() {
        let (mine, theirs) = two_mappings(geometry);
        for index in 0..geometry.slot_count() {
            let pattern = vec![index as u8 + 1; geometry.slot_bytes()];
            mine.slot(index).write(0, &pattern);
        }
        for index in 0..geometry.slot_count() {
            let mut found = vec![0; geometry.slot_bytes()];
            theirs.slot(index).read(0, &mut found);
            assert!(
                found.iter().all(|&byte| byte == index as u8 + 1),
                "slot {index} of {geometry:?}"
            );
        }
        for word in [
            Word::State,
            Word::Written,
            Word::Read,
            Word::FilledValue,
            Word::FilledWaiters,
            Word::FreeValue,
            Word::FreeWaiters,
        ] {
            assert_eq!(
                theirs.load(word, Ordering::Relaxed),
                0,
                "{word:?} of {geometry:?}"
            );
        }
        assert_eq!(theirs.cancel_up_to(), 0, "{geometry:?}");
    }
}

#[test]
fn slots_of_every_geometry_carry_records_bit_exact() {
    for (seed, geometry) in (100..).zip(geometries()) {
        let (client, server) = two_mappings(geometry);
        let transfer = Transfer::new(seed, 2 * geometry.slot_count().min(10) + 3).starting_at(u32::MAX - 3);
        transfer.set_start(&client);
        thread::scope(|scope| {
            let sender = scope.spawn(|| transfer.send(&{ server }));
            let receiver = scope.spawn(|| transfer.receive(&{ client }));
            assert_eq!(
                receiver.join().expect("the receiver does not panic"),
                Ok(()),
                "{geometry:?}"
            );
            assert_eq!(
                sender.join().expect("the sender does not panic"),
                Ok(()),
                "{geometry:?}"
            );
        });
    }
}
