//! Removals look once more: whoever comes between a snapshot and a removal keeps what is there.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use shmeld::catalogue::{Kind, Look, Object, Outcome, Place, Scope, Snapshot, State, Unit};
use shmeld_os::posix::mqueue::{Access, MessageQueue};
use shmeld_os::posix::semaphore::NamedSemaphore;
use shmeld_os::posix::shm::SharedMemory;
use shmeld_os::sysv::semaphore::{Operation, SemaphoreSet};
use shmeld_os::sysv::shared_memory::Segment;
use shmeld_os::sysv::{How, Key, message_queue};
use shmeld_os::{ObjectName, process};

/// One object of each kind that has a name or a number, of no program any more; removed at the end of the test.
struct Left {
    name: ObjectName,
    segment: Segment,
    set: SemaphoreSet,
    messages: message_queue::MessageQueue,
}

impl Left {
    fn new() -> Self {
        static COUNTER: AtomicU32 = AtomicU32::new(0);
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let name = format!("/shmeld-left-{}-{number}", process::pid());
        let name = ObjectName::new(&name).expect("valid");
        SharedMemory::create_new(&name, 0o600)
            .and_then(|memory| memory.reserve(4096))
            .expect("a segment");
        MessageQueue::create_new(&name, 1, 64, 0o600).expect("a queue");
        NamedSemaphore::create_new(&name, 0o600, 1).expect("a semaphore");
        Left {
            name,
            segment: Segment::create_new(Key::PRIVATE, 4096, 0o600).expect("a segment"),
            set: SemaphoreSet::create_new(Key::PRIVATE, 2, 0o600).expect("a set"),
            messages: message_queue::MessageQueue::create_new(Key::PRIVATE, 0o600).expect("a queue"),
        }
    }

    fn places(&self) -> [Place; 6] {
        let named = |kind| Place::Named(kind, self.name.as_str().as_bytes().to_vec());
        [
            named(Kind::Segment),
            named(Kind::Semaphore),
            named(Kind::Queue),
            Place::Numbered(Kind::SysvSegment, self.segment.id()),
            Place::Numbered(Kind::SysvSet, self.set.id()),
            Place::Numbered(Kind::SysvQueue, self.messages.id()),
        ]
    }

    /// What a snapshot says of them, in that order. Queues are there only for those who can list them.
    fn objects<'s>(&self, snapshot: &'s Snapshot) -> Vec<&'s Object> {
        let places = self.places();
        places.iter().filter_map(|place| snapshot.find(place)).collect()
    }
}

impl Drop for Left {
    fn drop(&mut self) {
        let _ = SharedMemory::unlink(&self.name);
        let _ = NamedSemaphore::unlink(&self.name);
        let _ = MessageQueue::unlink(&self.name);
        let _ = self.segment.remove();
        let _ = self.set.remove();
        let _ = self.messages.remove();
    }
}

pub fn look() -> Snapshot {
    Snapshot::take(Look { prove_alone: true })
}

pub fn remove<'s>(snapshot: &'s Snapshot, place: &Place) -> Outcome {
    let scope = Scope::new(process::effective_uid(), true, Duration::ZERO);
    let is_it = |unit: &Unit<'s>| unit.objects.iter().any(|object| object.place == *place);
    let unit = snapshot.units(&scope).into_iter().find(is_it);
    unit.unwrap_or_else(|| panic!("{place} is not to go"))
        .remove()
        .expect("removable")
}

#[track_caller]
pub fn assert_kept(snapshot: &Snapshot, place: &Place) {
    let outcome = remove(snapshot, place);
    assert!(matches!(outcome, Outcome::Kept(_)), "{place}: {outcome:?}");
}

#[test]
fn what_nobody_has_goes_and_a_second_removal_finds_nothing() {
    let left = Left::new();
    let snapshot = look();
    for object in left.objects(&snapshot) {
        assert_eq!(
            object.verdict.state,
            State::Unheld,
            "{}: {}",
            object.place,
            object.verdict.proof
        );
        assert_eq!(
            remove(&snapshot, &object.place),
            Outcome::Removed,
            "{}",
            object.place
        );
        assert_eq!(
            remove(&snapshot, &object.place),
            Outcome::Gone,
            "{}",
            object.place
        );
    }
    assert!(left.objects(&look()).is_empty());
}

#[test]
fn whoever_opens_an_object_after_the_look_keeps_it() {
    let left = Left::new();
    let snapshot = look();
    let memory = SharedMemory::open(&left.name, false).expect("there");
    let semaphore = NamedSemaphore::open(&left.name).expect("there");
    let queue = MessageQueue::open(&left.name, Access::Send).expect("there");
    let attached = left.segment.attach(How::default()).expect("there");
    left.set.operate(&[Operation::add(0, 1)], None).expect("there");
    left.messages.send(1, b"news", None).expect("there");
    for object in left.objects(&snapshot) {
        assert_kept(&snapshot, &object.place);
    }
    drop((memory, semaphore, queue, attached));
    let places: Vec<Place> = left
        .objects(&look())
        .into_iter()
        .map(|object| object.place.clone())
        .collect();
    assert_eq!(
        places,
        left.objects(&snapshot)
            .iter()
            .map(|object| object.place.clone())
            .collect::<Vec<_>>()
    );
}

/// A question can wait for its answer for long. Who came and went meanwhile may have left what there was not before.
#[test]
fn whoever_used_an_object_after_the_look_and_let_go_of_it_keeps_it() {
    let left = Left::new();
    let snapshot = look();
    let memory = SharedMemory::open(&left.name, true).expect("there");
    memory.reserve(8192).expect("room");
    let queue = MessageQueue::open(&left.name, Access::Send).expect("there");
    queue.send(b"news", 0, None).expect("room");
    let attached = left.segment.attach(How::default()).expect("there");
    drop((memory, queue, attached));
    let [segment, _, queue, of_sysv, ..] = left.places();
    for place in [segment, queue, of_sysv] {
        if snapshot.find(&place).is_some() {
            assert_kept(&snapshot, &place);
        }
    }
}

/// A name that leads to another object by now is somebody's who came later.
#[test]
fn an_object_that_took_the_place_of_another_is_kept() {
    let left = Left::new();
    let snapshot = look();
    SharedMemory::unlink(&left.name).expect("ours");
    NamedSemaphore::unlink(&left.name).expect("ours");
    MessageQueue::unlink(&left.name).expect("ours");
    SharedMemory::create_new(&left.name, 0o600).expect("free");
    NamedSemaphore::create_new(&left.name, 0o600, 1).expect("free");
    MessageQueue::create_new(&left.name, 1, 64, 0o600).expect("free");
    for place in &left.places()[..3] {
        if snapshot.find(place).is_some() {
            assert_kept(&snapshot, place);
        }
    }
}

/// Whoever waits for a semaphore uses it, although the kernel keeps no list of users.
#[test]
fn a_set_that_somebody_waits_for_is_live() {
    let left = Left::new();
    let before = look();
    let place = Place::Numbered(Kind::SysvSet, left.set.id());
    let waiter = { left.set.clone() };
    let thread = std::thread::spawn(move || waiter.operate(&[Operation::take(0, 1)], None));
    while left.set.waiting(0).expect("there").0 == 0 {
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_kept(&before, &place);
    let snapshot = look();
    let object = snapshot.find(&place).expect("there");
    assert_eq!(
        (object.verdict.state, object.verdict.proof.as_str()),
        (State::Live, "1 wait for it")
    );
    left.set.operate(&[Operation::add(0, 1)], None).expect("there");
    thread.join().expect("thread").expect("taken");
}

/// A poster's mark: "SB".
const MARK: u16 = 0x5342;

/// What a poster leaves that is killed: `docs/PROTOCOL.md`, section 8. Removed at the end of the test.
struct DeadBoard {
    set: SemaphoreSet,
    segment: Segment,
}

impl Drop for DeadBoard {
    fn drop(&mut self) {
        let _ = self.set.remove();
        let _ = self.segment.remove();
    }
}

fn dead_board(key: Key) -> DeadBoard {
    let set = SemaphoreSet::create_new(key, 5, 0o600).expect("a set");
    set.operate(&[Operation::add(3, 1), Operation::add(4, MARK)], None)
        .expect("a reader had arrived");
    let segment = Segment::create_new(key, 4096, 0o600).expect("a segment");
    let address = format!("sysv:#{}", segment.id()).parse().expect("an address");
    let opened = shmeld::segment::Segment::open(&address, 0, true).expect("there");
    let attachment = opened.attach(How::default()).expect("attached");
    attachment
        .write(0, b"SHMBORD1\x05\0\0\0\0\0\0\0hello")
        .expect("room");
    DeadBoard { set, segment }
}

/// A poster that takes a dead one's board over finds it as it was, whatever a cleaner had seen before.
#[test]
fn a_board_that_a_poster_takes_over_after_the_look_is_kept() {
    let key = Key::new(0x2000_0000 | process::pid());
    let board = dead_board(key);
    let DeadBoard { set, segment } = &board;
    let place = Place::Numbered(Kind::SysvSet, set.id());
    let snapshot = look();
    let object = snapshot.find(&place).expect("there");
    assert_eq!(object.verdict.state, State::Stale, "{}", object.verdict.proof);
    set.operate(&[Operation::add(0, 1).undone()], None)
        .expect("the next poster comes");
    assert_kept(&snapshot, &place);
    set.operate(&[Operation::take(0, 1).undone()], None)
        .expect("and goes");
    set.operate(&[Operation::add(2, 1).undone()], None)
        .expect("a reader is inside");
    assert_kept(&snapshot, &place);
    assert_eq!(
        set.value(0).expect("there"),
        0,
        "the cleaner gives back what it took"
    );
    set.operate(&[Operation::take(2, 1).undone()], None)
        .expect("and goes");
    let attached = segment.attach(How::default()).expect("there");
    assert_kept(&snapshot, &place);
    drop(attached);
    assert_eq!(remove(&snapshot, &place), Outcome::Removed);
    assert!(set.stat().is_err() && segment.stat().is_err());
}

/// Five semaphores and a segment under one key are many a program's.
#[test]
fn objects_that_only_look_like_a_board_are_not_taken_for_one() {
    let key = Key::new(0x2100_0000 | process::pid());
    let board = dead_board(key);
    let DeadBoard { set, segment } = &board;
    let address = format!("sysv:#{}", segment.id()).parse().expect("an address");
    let opened = shmeld::segment::Segment::open(&address, 0, true).expect("there");
    opened
        .attach(How::default())
        .and_then(|memory| memory.write(0, b"X"))
        .expect("room");
    let snapshot = look();
    for place in [
        Place::Numbered(Kind::SysvSet, set.id()),
        Place::Numbered(Kind::SysvSegment, segment.id()),
    ] {
        let object = snapshot.find(&place).expect("there");
        assert_ne!(object.verdict.state, State::Stale, "{}", object.verdict.proof);
    }
}

/// A library's user sees what it has itself; the directories that a look opens are no objects.
#[test]
fn what_this_process_has_is_held_and_directories_are_nobodys_objects() {
    let left = Left::new();
    let _memory = SharedMemory::open(&left.name, true).expect("there");
    let directory = std::fs::File::open("/dev/shm").expect("there");
    let snapshot = Snapshot::take(Look::default());
    let object = snapshot.find(&left.places()[0]).expect("there");
    let holders: Vec<u32> = object.keepers().map(|holder| holder.pid).collect();
    assert_eq!(
        (object.verdict.state, holders),
        (State::Live, vec![process::pid()])
    );
    let stat = shmeld_os::fs::stat(&directory).expect("open");
    let is_it = |object: &&Object| object.identity == Some((stat.dev, stat.ino));
    assert_eq!(snapshot.objects.iter().find(is_it), None);
}

/// `doctor` has it open as long as it has its name.
#[test]
fn the_queue_of_a_dead_doctor_is_stale_and_goes() {
    let name = format!("/shmeld.trial.{:032x}", process::pid());
    let place = Place::Named(Kind::Queue, name[1..].into());
    let name = ObjectName::new(&name).expect("valid");
    let queue = MessageQueue::create_new(&name, 1, 64, 0o600).expect("a queue");
    let state = |snapshot: &Snapshot| snapshot.find(&place).map(|object| object.verdict.state);
    let before = look();
    drop(queue);
    let after = look();
    // Queues are there only for those who can list them.
    if let (Some(before), Some(after_state)) = (state(&before), state(&after)) {
        assert_eq!((before, after_state), (State::Live, State::Stale));
        let opened = MessageQueue::open(&name, Access::Send).expect("there");
        assert_kept(&after, &place);
        drop(opened);
        // Every look reads what the kernel tells of a queue, and the kernel notes that.
        std::thread::sleep(Duration::from_millis(1100));
        let later = look();
        assert_eq!(state(&later), Some(State::Stale));
        let outcome = remove(&after, &place);
        let _ = MessageQueue::unlink(&name);
        assert_eq!(outcome, Outcome::Removed);
    } else {
        MessageQueue::unlink(&name).expect("there");
    }
}

/// A poster that is killed before it has written its message, or after it has removed it, leaves less than a board.
#[test]
fn set_of_a_dead_poster_is_stale_without_a_message_too() {
    let key = Key::new(0x2200_0000 | process::pid());
    let marked = || {
        let set = SemaphoreSet::create_new(key, 5, 0o600).expect("a set");
        set.operate(&[Operation::add(4, MARK)], None).expect("marked");
        set
    };
    let set = marked();
    let place = Place::Numbered(Kind::SysvSet, set.id());
    let snapshot = look();
    let object = snapshot.find(&place).expect("there");
    assert_eq!(object.verdict.state, State::Stale, "{}", object.verdict.proof);
    set.operate(&[Operation::add(0, 1).undone()], None)
        .expect("the next poster comes");
    assert_kept(&snapshot, &place);
    set.operate(&[Operation::take(0, 1).undone()], None)
        .expect("and goes");
    assert_eq!(remove(&snapshot, &place), Outcome::Removed);
    assert!(set.stat().is_err());

    // Its segment has got no message.
    let board = DeadBoard {
        set: marked(),
        segment: Segment::create_new(key, 4096, 0o600).expect("a segment"),
    };
    let place = Place::Numbered(Kind::SysvSet, board.set.id());
    let snapshot = look();
    let attached = board.segment.attach(How::default()).expect("there");
    assert_kept(&snapshot, &place);
    drop(attached);
    assert_eq!(remove(&snapshot, &place), Outcome::Removed);
    assert!(board.set.stat().is_err() && board.segment.stat().is_err());
}

/// Without a message nothing but a poster's mark alone says that a set is one's.
#[test]
fn set_that_counts_as_high_as_the_mark_is_no_board_without_a_message() {
    let key = Key::new(0x2300_0000 | process::pid());
    let board = DeadBoard {
        set: SemaphoreSet::create_new(key, 5, 0o600).expect("a set"),
        segment: Segment::create_new(key, 4096, 0o600).expect("a segment"),
    };
    let state = || {
        let snapshot = look();
        let places = [
            Place::Numbered(Kind::SysvSet, board.set.id()),
            Place::Numbered(Kind::SysvSegment, board.segment.id()),
        ];
        places.map(|place| snapshot.find(&place).map(|object| object.verdict.state))
    };
    // Nobody has operated on it: many a program begins so.
    assert_eq!(state(), [Some(State::Unheld); 2]);
    board
        .set
        .operate(&[Operation::add(4, MARK + 1)], None)
        .expect("there");
    assert_eq!(state()[1], Some(State::Unknown));
    board.segment.remove().expect("there");
    assert_eq!(state(), [Some(State::Unknown), None]);
}
