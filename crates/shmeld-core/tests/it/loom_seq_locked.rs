//! The sequence lock, explored by loom: the code is the code that runs. The mutants prove that the model has teeth: each takes one thing
//! away, and loom must find the execution in which a reader gets a mixture.

use std::rc::Rc;

use loom::sync::atomic::{AtomicU64, fence};
use shmeld_core::seq_locked::{Unsettled, Words, read_once, write, write_after_death};
use shmeld_core::sync::Ordering;

use crate::loom_model::quietly;

/// The sequence word.
const SEQUENCE: usize = 0;
/// The sequence word of a writer that died inside.
const DEAD: u64 = 1;
/// Words of the value.
const VALUE_WORDS: usize = 2;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mutant {
    None,
    /// The first load of a reader acquires nothing.
    RelaxedFirstLoad,
    /// The reader has no fence between the words and its second load.
    NoFenceOfReader,
    /// The writer has no fence between the odd number and the words.
    NoFenceOfWriter,
    /// The store of the even number releases nothing.
    RelaxedLastStore,
    /// The exchange of a writer acquires nothing.
    RelaxedExchange,
    /// Two writers may be inside at once.
    NoExclusion,
}

struct ModelWords {
    words: [AtomicU64; 1 + VALUE_WORDS],
    mutant: Mutant,
}

impl ModelWords {
    fn new(mutant: Mutant) -> Rc<Self> {
        Rc::new(Self {
            words: std::array::from_fn(|_| AtomicU64::new(0)),
            mutant,
        })
    }

    fn unless(&self, mutant: Mutant, order: Ordering) -> Ordering {
        if self.mutant == mutant {
            Ordering::Relaxed
        } else {
            order
        }
    }
}

impl Words for ModelWords {
    fn load(&self, index: usize, order: Ordering) -> u64 {
        self.words[index].load(self.unless(Mutant::RelaxedFirstLoad, order))
    }
    fn store(&self, index: usize, value: u64, order: Ordering) {
        self.words[index].store(value, self.unless(Mutant::RelaxedLastStore, order));
    }
    fn exchange_if(&self, index: usize, expected: u64, value: u64, order: Ordering) -> bool {
        assert_eq!(index, SEQUENCE);
        if self.mutant == Mutant::NoExclusion {
            self.words[index].store(value, order_of_a_store(order));
            return true;
        }
        let order = self.unless(Mutant::RelaxedExchange, order);
        self.words[index]
            .compare_exchange(expected, value, order, Ordering::Relaxed)
            .is_ok()
    }
    fn fence(&self, order: Ordering) {
        let dropped = match order {
            Ordering::Acquire => Mutant::NoFenceOfReader,
            _ => Mutant::NoFenceOfWriter,
        };
        // Loom knows no relaxed fence, which would be none.
        if self.mutant != dropped {
            fence(order);
        }
    }
}

/// A store cannot acquire.
fn order_of_a_store(_: Ordering) -> Ordering {
    Ordering::Relaxed
}

fn value(number: u64) -> [u8; 8 * VALUE_WORDS] {
    let mut bytes = [0; 8 * VALUE_WORDS];
    for word in bytes.chunks_mut(8) {
        word.copy_from_slice(&number.to_le_bytes());
    }
    bytes
}

/// What a reader gets is what one writer wrote.
fn look(words: &ModelWords, numbers: &[u64]) {
    let mut bytes = value(0);
    if read_once(words, &mut bytes).is_ok() {
        let whole = numbers.iter().any(|&number| bytes == value(number));
        assert!(whole, "torn: {bytes:?}");
    }
}

/// One writer who writes twice, one reader who looks once.
fn explore(mutant: Mutant) -> Result<(), String> {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    quietly(|| {
        builder.check(move || {
            let words = ModelWords::new(mutant);
            let theirs = Rc::clone(&words);
            let writer = loom::thread::spawn(move || {
                for number in [1, 2] {
                    assert_eq!(write(&*theirs, &value(number)), Ok(()));
                }
            });
            look(&words, &[0, 1, 2]);
            writer.join().expect("a panic of a loom thread ends the model");
            look(&words, &[2]);
        });
    })
}

/// Two writers; what is there when both have ended is what one of them wrote.
fn explore_two_writers(mutant: Mutant) -> Result<(), String> {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    quietly(|| {
        builder.check(move || {
            let words = ModelWords::new(mutant);
            let theirs = Rc::clone(&words);
            let other = loom::thread::spawn(move || write(&*theirs, &value(1)));
            let mine = write(&*words, &value(2));
            let others = other.join().expect("a panic of a loom thread ends the model");
            let numbers: &[u64] = match (mine, others) {
                (Ok(()), Ok(())) => &[1, 2],
                (Ok(()), Err(Unsettled::Inside)) => &[2],
                (Err(Unsettled::Inside), Ok(())) => &[1],
                outcomes => panic!("{outcomes:?}"),
            };
            let mut bytes = value(0);
            assert_eq!(read_once(&*words, &mut bytes), Ok(()));
            let whole = numbers.iter().any(|&number| bytes == value(number));
            assert!(whole, "torn: {bytes:?}");
        });
    })
}

/// What a writer left that died inside after its first word.
fn die_inside(words: &ModelWords) {
    words.words[SEQUENCE].store(DEAD, Ordering::Relaxed);
    words.words[1].store(9, Ordering::Relaxed);
}

/// Two that know of a writer's death, and a reader afterwards: one of them has written, and all of it.
fn explore_two_rescuers(mutant: Mutant) -> Result<(), String> {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    quietly(|| {
        builder.check(move || {
            let words = ModelWords::new(mutant);
            die_inside(&words);
            let theirs = Rc::clone(&words);
            let other = loom::thread::spawn(move || write_after_death(&*theirs, DEAD, &value(1)));
            let mine = write_after_death(&*words, DEAD, &value(2));
            // While the other may be inside: what can be read is whole, and not the dead one's.
            look(&words, &[1, 2]);
            let others = other.join().expect("a panic of a loom thread ends the model");
            let mut bytes = value(0);
            assert_eq!(read_once(&*words, &mut bytes), Ok(()));
            let numbers: &[u64] = match (mine, others) {
                (Ok(()), Err(Unsettled::Inside)) => &[2],
                (Err(Unsettled::Inside), Ok(())) => &[1],
                // Only mutants let both in.
                _ => &[1, 2],
            };
            let whole = numbers.iter().any(|&number| bytes == value(number));
            assert!(whole, "torn: {bytes:?}");
            assert!(mutant != Mutant::None || mine != others, "both: {mine:?}");
        });
    })
}

fn assert_tears(outcome: Result<(), String>) {
    let message = outcome.expect_err("loom found nothing wrong with this mutant");
    assert!(message.starts_with("torn: "), "{message}");
}

#[test]
fn a_reader_gets_a_whole_value_or_none() {
    assert_eq!(explore(Mutant::None), Ok(()));
}

#[test]
fn of_two_writers_one_is_inside() {
    assert_eq!(explore_two_writers(Mutant::None), Ok(()));
}

#[test]
fn of_two_rescuers_of_a_dead_writer_one_is_inside() {
    assert_eq!(explore_two_rescuers(Mutant::None), Ok(()));
}

#[test]
fn a_relaxed_first_load_tears() {
    assert_tears(explore(Mutant::RelaxedFirstLoad));
}

#[test]
fn a_relaxed_last_store_tears() {
    assert_tears(explore(Mutant::RelaxedLastStore));
}

#[test]
fn a_reader_without_its_fence_tears() {
    assert_tears(explore(Mutant::NoFenceOfReader));
}

#[test]
fn a_writer_without_its_fence_tears() {
    assert_tears(explore(Mutant::NoFenceOfWriter));
}

#[test]
fn an_exchange_that_acquires_nothing_tears() {
    assert_tears(explore_two_writers(Mutant::RelaxedExchange));
}

#[test]
fn two_writers_inside_at_once_tear() {
    assert_tears(explore_two_writers(Mutant::NoExclusion));
}

/// This is how it was: whoever knew of the death went inside.
#[test]
fn two_rescuers_inside_at_once_tear() {
    assert_tears(explore_two_rescuers(Mutant::NoExclusion));
}
