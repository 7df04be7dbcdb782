//! The sequence lock between real processes, and what is said when a writer dies inside.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use shmeld_core::SeqLocked;
use shmeld_core::memory::Memory;
use shmeld_core::seq_locked::{Unsettled, Words};
use shmeld_core::sync::Ordering;
use shmeld_os::ObjectName;
use shmeld_os::mapping::Mapping;
use shmeld_os::posix::shm::SharedMemory;

/// More than a cache line, and no multiple of a word.
type Value = [u8; 101];
/// Long enough for a loaded machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// Tells a copy of this test binary that it is the writer, and of which object.
const WRITER: &str = "SHMELD_CORE_TEST_WRITER";

fn object() -> SharedMemory {
    let object = SharedMemory::create_unnamed().expect("there is a tmpfs");
    object
        .reserve(SeqLocked::<Value>::BYTES as u64)
        .expect("there is room");
    object
}

fn pair() -> (SeqLocked<Value>, SeqLocked<Value>) {
    let object = object();
    let map = || SeqLocked::map(&object).expect("it can be mapped");
    (map(), map())
}

/// What a writer that dies inside leaves: an odd sequence word.
fn die_inside(value: &SeqLocked<Value>) {
    let before = Words::load(value.memory(), 0, Ordering::Relaxed);
    Words::store(value.memory(), 0, before + 1, Ordering::Relaxed);
}

#[test]
fn what_was_written_is_read_and_new_memory_is_zeros() {
    let (mine, yours) = pair();
    assert_eq!(yours.read(PATIENCE), Ok([0; 101]));
    let value = std::array::from_fn(|index| index as u8);
    assert_eq!(mine.write(&value), Ok(()));
    assert_eq!(yours.read(PATIENCE), Ok(value));
}

#[test]
fn a_read_only_mapping_is_enough_for_a_reader() {
    let object = object();
    let bytes = SeqLocked::<Value>::BYTES;
    let reader = SeqLocked::<Value>::new(Memory::from(
        Mapping::read_only(&object, bytes, "r").expect("mapped"),
    ))
    .expect("it is long enough");
    let writer = SeqLocked::<Value>::map(&object).expect("mapped");
    writer.write(&[5; 101]).expect("nobody else writes");
    assert_eq!(reader.read(PATIENCE), Ok([5; 101]));
}

/// A reader used to spin for as long as the sequence word was odd: for ever, if its writer was dead.
#[test]
fn writer_that_dies_inside_is_reported_in_bounded_time_and_can_be_succeeded() {
    let (mine, yours) = pair();
    mine.write(&[1; 101]).expect("nobody else writes");
    die_inside(&mine);
    let start = Instant::now();
    assert_eq!(yours.read(Duration::from_millis(20)), Err(Unsettled::Inside));
    assert!(start.elapsed() >= Duration::from_millis(20), "it was not patient");
    assert!(start.elapsed() < PATIENCE, "it spun");
    assert_eq!(
        yours.write(&[2; 101]),
        Err(Unsettled::Inside),
        "writers exclude each other"
    );
    let seen = yours.writer_inside().expect("it died inside");
    assert_eq!(yours.write_after_death(&[3; 101], seen), Ok(()));
    assert_eq!(yours.writer_inside(), None);
    assert_eq!(mine.read(PATIENCE), Ok([3; 101]));
    assert_eq!(mine.write(&[4; 101]), Ok(()));
}

/// Two that knew of a death both went inside and wrote over each other: what was there then was a mixture that read as whole.
#[test]
fn of_two_rescuers_of_a_dead_writer_one_writes() {
    let (mine, yours) = pair();
    die_inside(&mine);
    let seen = mine.writer_inside().expect("it died inside");
    assert_eq!(yours.writer_inside(), Some(seen));
    assert_eq!(mine.write_after_death(&[1; 101], seen), Ok(()));
    assert_eq!(yours.write_after_death(&[2; 101], seen), Err(Unsettled::Inside));
    assert_eq!(yours.read(Duration::ZERO), Ok([1; 101]));
    // A rescuer that dies inside is not the one that died before.
    Words::store(mine.memory(), 0, seen + 2, Ordering::Relaxed);
    assert_eq!(yours.write_after_death(&[3; 101], seen), Err(Unsettled::Inside));
    assert_eq!(yours.write_after_death(&[3; 101], seen + 2), Ok(()));
    assert_eq!(yours.read(Duration::ZERO), Ok([3; 101]));
    // Whoever has the number from elsewhere cannot open a value that nobody writes.
    assert_eq!(
        yours.write_after_death(&[4; 101], seen + 3),
        Err(Unsettled::Inside)
    );
    assert_eq!(yours.write_after_death(&[4; 101], 0), Err(Unsettled::Inside));
    assert_eq!(mine.read(Duration::ZERO), Ok([3; 101]));
}

/// A peer that writes any number into the sequence word costs time and nothing else.
#[test]
fn forged_sequence_words_neither_hang_nor_panic() {
    let (mine, yours) = pair();
    for forged in [1, 3, u64::MAX, u64::MAX - 1, 1 << 63] {
        Words::store(mine.memory(), 0, forged, Ordering::Relaxed);
        assert_eq!(yours.read(Duration::ZERO).is_ok(), forged % 2 == 0, "{forged}");
        assert_eq!(yours.write(&[1; 101]).is_ok(), forged % 2 == 0, "{forged}");
        let written = match yours.writer_inside() {
            Some(seen) => yours.write_after_death(&[9; 101], seen),
            None => yours.write(&[9; 101]),
        };
        assert_eq!(written, Ok(()), "{forged}");
        assert_eq!(yours.read(Duration::ZERO), Ok([9; 101]), "{forged}");
    }
}

/// A copy of this test binary that writes until it is killed.
struct Writer(Child);

impl Writer {
    fn start(name: &ObjectName) -> Self {
        let program = std::env::current_exe().expect("the test binary");
        let child = Command::new(program)
            .args(["--exact", "seq_locked::write_until_killed", "--ignored"])
            .env(WRITER, name.to_string())
            .stdout(Stdio::null())
            .spawn();
        Self(child.expect("it starts"))
    }

    fn kill(mut self) {
        // As the guard does.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Removes the name with the test.
struct Named(ObjectName, SharedMemory);

impl Drop for Named {
    fn drop(&mut self) {
        SharedMemory::unlink(&self.0).expect("it is ours");
    }
}

#[test]
#[ignore = "played by a process of another test"]
fn write_until_killed() {
    let Ok(name) = std::env::var(WRITER) else { return };
    let name = ObjectName::new(&name).expect("the test's own name");
    let object = SharedMemory::open(&name, true).expect("the test made it");
    let value = SeqLocked::<Value>::map(&object).expect("it can be mapped");
    let end = Instant::now() + PATIENCE;
    for number in 0.. {
        value.write(&[number as u8; 101]).expect("nobody else writes");
        if Instant::now() > end {
            return;
        }
    }
}

/// Another process writes as fast as it can: no copy has bytes of two values. Then it is killed, wherever it stands.
#[test]
fn readers_of_another_processs_values_never_get_a_mixture() {
    let name =
        ObjectName::new(&format!("/shmeld-seq-locked-{}", std::process::id())).expect("letters and digits");
    let named = Named(name.clone(), SharedMemory::create_new(&name, 0o600).expect("new"));
    named
        .1
        .reserve(SeqLocked::<Value>::BYTES as u64)
        .expect("there is room");
    let value = SeqLocked::<Value>::map(&named.1).expect("it can be mapped");
    let writer = Writer::start(&name);
    let mut seen = [false; 256];
    let start = Instant::now();
    while seen.iter().filter(|&&seen| seen).count() < 40 {
        assert!(start.elapsed() < PATIENCE, "the writer does not write");
        // It writes without a pause: on a machine with one CPU for both there may be no whole value for long.
        let Ok(found) = value.read(Duration::from_millis(100)) else {
            continue;
        };
        assert_eq!(found, [found[0]; 101], "torn");
        seen[usize::from(found[0])] = true;
    }
    writer.kill();
    match value.read(Duration::from_millis(10)) {
        Ok(found) => assert_eq!(found, [found[0]; 101], "torn"),
        Err(unsettled) => assert_eq!(unsettled, Unsettled::Inside),
    }
    let written = match value.writer_inside() {
        Some(seen) => value.write_after_death(&[7; 101], seen),
        None => value.write(&[7; 101]),
    };
    assert_eq!(written, Ok(()));
    assert_eq!(value.read(PATIENCE), Ok([7; 101]));
}
