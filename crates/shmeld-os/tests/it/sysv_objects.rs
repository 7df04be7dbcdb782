//! System V objects of a test: a key that no other test uses, and guards that remove what was made.

use std::ops::Deref;
use std::sync::atomic::{AtomicU32, Ordering};

use shmeld_os::process;
use shmeld_os::sysv::Key;
use shmeld_os::sysv::message_queue::MessageQueue;
use shmeld_os::sysv::semaphore::SemaphoreSet;
use shmeld_os::sysv::shared_memory::Segment;

/// A key of this process: 22 bits of its number and a counter.
pub fn new_key() -> Key {
    static COUNTER: AtomicU32 = AtomicU32::new(1);
    Key::new(process::pid() << 10 | COUNTER.fetch_add(1, Ordering::Relaxed) & 0x3ff)
}

/// What has a removal.
pub trait Removable {
    fn remove_it(&self);
}

macro_rules! removable {
    ($($kind:ty)*) => {
        $(impl Removable for $kind {
            fn remove_it(&self) {
                // A test may have removed it already.
                let _ = self.remove();
            }
        })*
    };
}

removable! { Segment SemaphoreSet MessageQueue }

/// Removed with the guard.
pub struct Own<T: Removable>(pub T);

impl<T: Removable> Deref for Own<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: Removable> Drop for Own<T> {
    fn drop(&mut self) {
        self.0.remove_it();
    }
}

pub fn segment(key: Key, bytes: usize, mode: u32) -> Own<Segment> {
    Own(Segment::create_new(key, bytes, mode).expect("a new segment"))
}

pub fn set(key: Key, semaphores: u16, mode: u32) -> Own<SemaphoreSet> {
    Own(SemaphoreSet::create_new(key, semaphores, mode).expect("a new set"))
}

pub fn queue(key: Key, mode: u32) -> Own<MessageQueue> {
    Own(MessageQueue::create_new(key, mode).expect("a new queue"))
}
