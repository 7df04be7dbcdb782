//! One loom model: a server that fills slots and a client that empties them, explored in every interleaving up to a number of
//! preemptions, with every value that the memory model lets each load return. The memory is that of `loom_words`.
//!
//! Not here: which models there are and what loom must say of each (`loom_ring`, `loom_glibc`).

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::{Arc, Mutex, Once, PoisonError};
use std::time::{Duration, Instant};

use shmeld_core::ring::{Consumer, Cursor, Producer};
use shmeld_core::wait::{self, Semaphore, Waited};

use crate::loom_semaphore::Width;
use crate::loom_words::{Memory, ModelWords, Mutant};

/// A wait until a condition holds: `wait::sleep`, or a mutant of it.
pub type Sleep = fn(&ModelWords, Semaphore, &mut dyn FnMut() -> bool);

/// What is explored.
#[derive(Clone, Copy)]
pub struct Model {
    pub slots: u32,
    /// What both sequence words begin with.
    pub start: u32,
    /// How many items travel. More than there are slots, so that a slot is used again.
    pub items: u32,
    /// How often loom may switch away from a thread that could have gone on.
    pub preemptions_max: usize,
    pub width: Width,
    pub mutant: Mutant,
    pub sleep: Sleep,
    /// The client: ours, or one that uses glibc.
    pub consume: fn(&Model, &ModelWords),
}

pub const ONE_SLOT: Model = Model {
    slots: 1,
    start: 0,
    items: 2,
    preemptions_max: 4,
    width: Width::Halves,
    mutant: Mutant::None,
    sleep: sleep_as_it_is,
    consume: Model::consume,
};
pub const TWO_SLOTS: Model = Model {
    slots: 2,
    items: 3,
    preemptions_max: 3,
    ..ONE_SLOT
};
pub const THREE_SLOTS: Model = Model {
    slots: 3,
    items: 4,
    preemptions_max: 2,
    ..ONE_SLOT
};

/// How much was explored.
#[derive(Debug, Default, Clone, Copy)]
struct Explored {
    executions: u32,
    /// Executions in which somebody slept.
    with_sleep: u32,
    /// Executions in which nobody slept.
    without_sleep: u32,
}

impl Model {
    pub const fn with_mutant(self, mutant: Mutant) -> Self {
        Self { mutant, ..self }
    }

    pub const fn with_sleep(self, sleep: Sleep) -> Self {
        Self { sleep, ..self }
    }

    /// Explores all executions; the message of loom for the first that is wrong.
    fn explore(self) -> Result<Explored, String> {
        let explored = Arc::new(Mutex::new(Explored::default()));
        let count = Arc::clone(&explored);
        let mut builder = loom::model::Builder::new();
        builder.max_threads = 2;
        builder.max_branches = 10_000;
        builder.preemption_bound = Some(self.preemptions_max);
        let outcome = quietly(|| {
            builder.check(move || {
                let memory = Memory::new(self.slots, self.start, self.width, self.mutant);
                self.execute(&memory);
                let mut count = count.lock().unwrap_or_else(PoisonError::into_inner);
                count.executions += 1;
                *if memory.sleeps() > 0 {
                    &mut count.with_sleep
                } else {
                    &mut count.without_sleep
                } += 1;
            });
        });
        outcome.map(|()| *explored.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// One execution: the server fills, the client checks that it gets every item once and in order.
    fn execute(self, memory: &Rc<Memory>) {
        let clients_words = ModelWords::new(memory);
        let client = loom::thread::spawn(move || (self.consume)(&self, &clients_words));
        self.produce(&ModelWords::new(memory));
        client.join().expect("a panic of a loom thread ends the model");
    }

    fn produce(self, words: &ModelWords) {
        let mut producer = Producer::with_cursor(Cursor::new(self.slots, self.slots).starting_at(self.start));
        for item in 1..=self.items {
            // As Producer::wait_free does, without the look at clock and CPU.
            let mut is_free = || producer.free_slots(words).expect("the client is honest") > 0;
            if !is_free() {
                (self.sleep)(words, Semaphore::Free, &mut is_free);
            }
            words.memory().fill(producer.index(), item);
            producer.publish(words).expect("loom's memory does not vanish");
        }
    }

    fn consume(&self, words: &ModelWords) {
        let mut consumer = Consumer::with_cursor(Cursor::new(self.slots, 0).starting_at(self.start));
        for item in 1..=self.items {
            let mut is_filled = || consumer.filled_slots(words).expect("the server is honest") > 0;
            if !is_filled() {
                (self.sleep)(words, Semaphore::Filled, &mut is_filled);
            }
            assert_eq!(words.memory().take(consumer.index()), item);
            consumer.release(words).expect("loom's memory does not vanish");
        }
    }

    pub fn assert_right(self) {
        let explored = self
            .explore()
            .unwrap_or_else(|message| panic!("loom found: {message}"));
        // An exploration in which nobody ever sleeps, or everybody always, would prove nothing.
        assert!(
            explored.executions > 1000 && explored.with_sleep > 0 && explored.without_sleep > 0,
            "{explored:?}"
        );
    }

    /// Loom must find an execution in which both threads wait for ever.
    pub fn assert_loses_a_wake(self) {
        let message = self
            .explore()
            .expect_err("loom found nothing wrong with this mutant");
        assert!(message.starts_with("deadlock; threads = "), "{message}");
    }

    /// Loom must find an execution in which a slot is accessed by both sides at once.
    pub fn assert_races(self) {
        let message = self
            .explore()
            .expect_err("loom found nothing wrong with this mutant");
        assert!(
            message.starts_with("Causality violation: Concurrent read and write accesses"),
            "{message}"
        );
    }
}

fn sleep_as_it_is(words: &ModelWords, semaphore: Semaphore, ready: &mut dyn FnMut() -> bool) {
    let never = Instant::now() + Duration::from_secs(24 * 60 * 60);
    assert_eq!(wait::sleep(words, semaphore, never, ready), Waited::Ready);
}

/// Runs `model` and turns its panic into the message, without printing it: loom's threads are no threads of the machine, so a flag of
/// this thread tells the hook who panics.
pub fn quietly(model: impl FnOnce()) -> Result<(), String> {
    thread_local!(static IS_QUIET: Cell<bool> = const { Cell::new(false) });
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let loud = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if !IS_QUIET.get() {
                loud(panic);
            }
        }));
    });
    IS_QUIET.set(true);
    let outcome = catch_unwind(AssertUnwindSafe(model));
    IS_QUIET.set(false);
    outcome.map_err(|panic| match panic.downcast::<String>() {
        Ok(message) => *message,
        Err(panic) => panic
            .downcast_ref::<&str>()
            .map_or("a panic without a message", |message| message)
            .to_owned(),
    })
}
