//! The ring on a real region while somebody who may write it does his worst. Nothing may be believed, nothing may hang, and nobody dies.

use std::thread;
use std::time::{Duration, Instant};

use shmeld_core::layout::{SEMAPHORE_OFFSETS, Word};
use shmeld_core::ring::{Consumer, Cursor, Producer};
use shmeld_core::wait::{Waited, Words};
use shmeld_core::{Misbehaviour, Region};
use shmeld_os::Errno;
use shmeld_os::futex::{Faulted, Wake};
use shmeld_os::posix::shm::SharedMemory;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::region_pair::{End, Pair, Random, Transfer};

/// What a peer may find clever: nobody, somebody, glibc's bits, all bits, the sign.
const FORGERIES: [u32; 5] = [0, 1, 0x40, u32::MAX, 1 << 31];
/// Where `shared` lies in a semaphore.
const SHARED_OFFSET: usize = 8;

fn soon() -> Instant {
    Instant::now() + Duration::from_millis(1)
}

/// How far a sequence word may be off: all small distances in both directions, and some large ones.
fn distances() -> impl Iterator<Item = u32> {
    let small = 0..=300u32;
    small
        .clone()
        .chain(small.map(|distance| distance.wrapping_neg()))
        .chain([1 << 16, 1 << 20, 1 << 31, (1 << 31) - 1])
}

#[test]
fn a_forged_written_word_is_misbehaviour_for_the_client() {
    let pair = Pair::new(1 << 20);
    let (region, capacity) = (pair.client.region(), pair.geometry.slot_count());
    for start in [0, 1000, u32::MAX - 1] {
        for distance in distances().filter(|&distance| distance > capacity) {
            let mut consumer = Consumer::with_cursor(Cursor::new(capacity, 0).starting_at(start));
            pair.server
                .region()
                .store(Word::Written, start.wrapping_add(distance), Ordering::Relaxed);
            assert_eq!(
                consumer.filled_slots(region),
                Err(Misbehaviour::Sequence),
                "{start} + {distance}"
            );
            assert_eq!(
                consumer.wait_filled(region, soon(), || false),
                Err(Misbehaviour::Sequence),
                "{start} + {distance}"
            );
        }
    }
}

#[test]
fn a_forged_read_word_is_misbehaviour_for_the_server() {
    let pair = Pair::new(1 << 20);
    let (region, capacity) = (pair.server.region(), pair.geometry.slot_count());
    for start in [0, 1000, u32::MAX - 1] {
        // Nothing is in flight: every other value is ahead of what was published, or too far behind.
        for distance in distances().filter(|&distance| distance != 0) {
            let mut producer = Producer::with_cursor(Cursor::new(capacity, capacity).starting_at(start));
            pair.client
                .region()
                .store(Word::Read, start.wrapping_add(distance), Ordering::Relaxed);
            assert_eq!(
                producer.free_slots(region),
                Err(Misbehaviour::Sequence),
                "{start} + {distance}"
            );
            assert_eq!(
                producer.wait_free(region, soon()),
                Err(Misbehaviour::Sequence),
                "{start} + {distance}"
            );
        }
    }
}

#[test]
fn sequence_words_that_go_backwards_are_misbehaviour_even_within_the_ring() {
    let pair = Pair::new(1 << 20);
    let (client, server, capacity) = (
        pair.client.region(),
        pair.server.region(),
        pair.geometry.slot_count(),
    );
    let mut consumer = Consumer::new(capacity);
    server.store(Word::Written, 3, Ordering::Release);
    assert_eq!(consumer.filled_slots(client), Ok(3));
    server.store(Word::Written, 2, Ordering::Release);
    assert_eq!(consumer.filled_slots(client), Err(Misbehaviour::Sequence));

    let mut producer = Producer::new(capacity);
    for _ in 0..3 {
        assert_eq!(producer.wait_free(server, soon()), Ok(Waited::Ready));
        assert_eq!(producer.publish(server), Ok(()));
    }
    client.store(Word::Read, 2, Ordering::Release);
    assert_eq!(producer.free_slots(server), Ok(capacity - 1));
    client.store(Word::Read, 1, Ordering::Release);
    assert_eq!(producer.free_slots(server), Err(Misbehaviour::Sequence));
}

/// Lets an honest pair move `transfer` while `interfere` runs in a thread of its own until both sides are over.
fn carry_while(
    pair: Pair,
    transfer: &Transfer,
    interfere: impl FnOnce(&SharedMemory, &AtomicBool) + Send,
) -> [Result<(), End>; 2] {
    let (client, server, memory) = (pair.client, pair.server, pair.memory);
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let sender = scope.spawn(move || transfer.send(server.region()));
        let receiver = scope.spawn(move || transfer.receive(client.region()));
        let is_over = &is_over;
        scope.spawn(move || interfere(&memory, is_over));
        let ends = [sender.join(), receiver.join()];
        is_over.store(true, Ordering::Release);
        ends.map(|end| end.expect("neither side panics"))
    })
}

#[test]
fn semaphores_forged_before_the_start_cost_nothing_but_time() {
    for value in FORGERIES {
        for waiters in FORGERIES {
            let pair = Pair::new(4096);
            let region = pair.third_mapping();
            for (offset, shared) in SEMAPHORE_OFFSETS.into_iter().zip([value, waiters]) {
                let shared_offset = (offset + SHARED_OFFSET) as u64;
                pair.memory
                    .write_at(&shared.to_le_bytes(), shared_offset)
                    .expect("a peer may write");
            }
            forge(&region, value, waiters);
            let ends = carry_while(pair, &Transfer::new(u64::from(value ^ waiters), 50), |_, _| {});
            assert_eq!(ends, [Ok(()), Ok(())], "value {value:#x}, waiters {waiters:#x}");
        }
    }
}

fn forge(region: &Region, value: u32, waiters: u32) {
    for word in [Word::FilledValue, Word::FreeValue] {
        region.store(word, value, Ordering::Relaxed);
    }
    for word in [Word::FilledWaiters, Word::FreeWaiters] {
        region.store(word, waiters, Ordering::Relaxed);
    }
}

/// Writes forgeries over every word that is only a hint, as fast as it goes, until the transfer is over.
fn scribble(region: &Region, memory: &SharedMemory, is_over: &AtomicBool) {
    let mut random = Random::new(7);
    while !is_over.load(Ordering::Acquire) {
        for _ in 0..100 {
            let any = |random: &mut Random| FORGERIES[random.below(FORGERIES.len())];
            forge(region, any(&mut random), any(&mut random));
            for word in [Word::ServerCpu, Word::ClientCpu] {
                region.store(word, any(&mut random), Ordering::Relaxed);
            }
        }
        for offset in SEMAPHORE_OFFSETS {
            let shared = random.next().to_le_bytes();
            memory
                .write_at(&shared, (offset + SHARED_OFFSET) as u64)
                .expect("a peer may write");
        }
    }
}

#[test]
fn semaphores_scribbled_all_the_time_cost_nothing_but_time() {
    for (region_bytes, records) in [(4096, 300), (65_536, 300), (1 << 20, 60)] {
        let pair = Pair::new(region_bytes);
        let region = pair.third_mapping();
        let transfer = Transfer::new(region_bytes, records).in_slices_of(Duration::from_millis(5));
        let ends = carry_while(pair, &transfer, move |memory, is_over| {
            scribble(&region, memory, is_over)
        });
        assert_eq!(ends, [Ok(()), Ok(())], "a region of {region_bytes} bytes");
    }
}

/// A peer that wakes without end, and one that says that there are units without end, must not keep us busy: after some fruitless wakes
/// each costs a nap, and the slice ends when it should.
#[test]
fn a_storm_of_wakes_ends_with_the_slice() {
    let pair = Pair::new(4096);
    let storm = pair.third_mapping();
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let is_over = &is_over;
        scope.spawn(move || {
            while !is_over.load(Ordering::Acquire) {
                storm.fetch_add(Word::FilledValue, 1, Ordering::Relaxed);
                storm.futex_wake(Word::FilledValue).expect("the memory is there");
            }
        });
        let mut consumer = Consumer::new(pair.geometry.slot_count());
        let start = Instant::now();
        let slice = Duration::from_millis(100);
        let waited = consumer.wait_filled(pair.client.region(), start + slice, || false);
        is_over.store(true, Ordering::Release);
        assert_eq!(waited, Ok(Waited::SliceOver));
        assert!(
            start.elapsed() >= slice && start.elapsed() < 20 * slice,
            "{:?}",
            start.elapsed()
        );
    });
}

fn truncate(memory: &SharedMemory, bytes: u64) {
    memory
        .as_file()
        .set_len(bytes)
        .expect("whoever may write a region may truncate it");
}

#[test]
fn a_truncated_region_is_an_answer_of_the_kernel_and_a_fault_of_ours() {
    let pair = Pair::new(65_536);
    let file = SharedMemory::create_unnamed().expect("a file without a name can be made");
    file.write_at(&[1; 4096], 0).expect("it can be written");
    truncate(&pair.memory, 0);

    let region = pair.server.region();
    let slot = region.slot(0);
    assert_eq!(slot.fill_from(0, 4096, file.as_file(), 0), Err(Errno::FAULT));
    assert_eq!(slot.drain_to(0, 4096, file.as_file(), Some(0)), Err(Errno::FAULT));
    assert_eq!(
        region.futex_wait(Word::FreeValue, 0, Duration::from_secs(20)),
        Wake::Fault
    );
    assert_eq!(region.futex_wake(Word::FilledValue), Err(Faulted));
    assert!(
        !region.faulted(),
        "the kernel answered: the guard had nothing to do"
    );
    assert!(pair.client.server_leased().expect("leases can be probed"));

    let mut byte = [1];
    slot.read(0, &mut byte);
    assert!(
        region.faulted() && byte == [0],
        "the guard put zeros in the place of the region"
    );
    assert!(
        !pair.client.server_leased().expect("leases can be probed"),
        "the lease went with the memory"
    );

    let mut consumer = Consumer::new(pair.geometry.slot_count());
    let waited = consumer.wait_filled(pair.client.region(), soon(), || false);
    assert_eq!(waited, Ok(Waited::Faulted), "the other side notices by itself");
}

#[test]
fn a_side_that_sleeps_while_its_region_is_truncated_wakes_up_faulted() {
    let pair = Pair::new(4096);
    let (client, memory) = (pair.client, pair.memory);
    let mut consumer = Consumer::new(pair.geometry.slot_count());
    thread::scope(|scope| {
        let slice_end = Instant::now() + Duration::from_millis(200);
        let sleeper = scope.spawn(move || consumer.wait_filled(client.region(), slice_end, || false));
        thread::sleep(Duration::from_millis(50));
        truncate(&memory, 0);
        assert_eq!(sleeper.join().expect("nobody dies"), Ok(Waited::Faulted));
    });
}

#[test]
fn a_region_truncated_at_any_moment_ends_the_transfer_and_nothing_else() {
    let mut random = Random::new(11);
    let mut ended_by_truncation = 0;
    for round in 0..120u32 {
        let region_bytes = [4096, 65_536, 1 << 20][round as usize % 3];
        // Nothing left, or the control words without slots, or some slots.
        let bytes_left =
            [0, 4096, region_bytes / 2 / 4096 * 4096][round as usize / 3 % 3].min(region_bytes - 4096);
        let delay = Duration::from_micros(random.below(3000) as u64);
        // The sequence words may have wrapped by then, or be so far that zeros in their place are impossible.
        let start = [0, 1 << 31, u32::MAX - 20][round as usize / 9 % 3];
        let transfer = Transfer::new(u64::from(round), u32::MAX)
            .starting_at(start)
            .in_slices_of(Duration::from_millis(20));
        let pair = Pair::new(region_bytes);
        transfer.set_start(pair.server.region());
        let ends = carry_while(pair, &transfer, |memory, _| {
            thread::sleep(delay);
            truncate(memory, bytes_left);
        });
        for end in ends {
            match end {
                Err(End::Faulted | End::Efault) => ended_by_truncation += 1,
                // A sequence word that reads as zero after the guard came, or a side that only saw the other one give up.
                Err(End::Misbehaved(Misbehaviour::Sequence) | End::PeerEnded) => {}
                other => panic!("{other:?} after truncating {region_bytes} to {bytes_left}"),
            }
        }
    }
    assert!(
        ended_by_truncation >= 120,
        "only {ended_by_truncation} sides noticed the truncation as such"
    );
}

/// The zeros that the guard puts in the place of a region are impossible for some sequence words and look like progress for others.
#[test]
fn a_vanished_region_is_not_taken_for_a_forged_or_a_ready_one() {
    for start in [0, u32::MAX, 1 << 31] {
        let pair = Pair::new(1 << 20);
        let (client, server, capacity) = (
            pair.client.region(),
            pair.server.region(),
            pair.geometry.slot_count(),
        );
        Transfer::new(0, 0).starting_at(start).set_start(server);
        let mut producer = Producer::with_cursor(Cursor::new(capacity, capacity).starting_at(start));
        let mut consumer = Consumer::with_cursor(Cursor::new(capacity, 0).starting_at(start));
        assert_eq!(producer.publish(server), Ok(()));
        assert_eq!(consumer.wait_filled(client, soon(), || false), Ok(Waited::Ready));
        assert_eq!(consumer.release(client), Ok(()));
        truncate(&pair.memory, 0);
        assert_eq!(
            producer.wait_free(server, soon()),
            Ok(Waited::Faulted),
            "start {start}"
        );
        assert_eq!(
            consumer.wait_filled(client, soon(), || false),
            Ok(Waited::Faulted),
            "start {start}"
        );
    }
}
