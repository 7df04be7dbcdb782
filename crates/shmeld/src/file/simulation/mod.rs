//! Acceptor, sessions, clients and hostile clients against each other, in a simulated kernel, under schedules that a seed chooses:
//! interleavings, deaths, stops, restarts, lost queues, spurious wakes, hostile words and messages, jumps of time.
//!
//! What runs is the real code of every decision: ring and semaphores (`shmeld_core::ring`, `wait`), states (`shmeld_core::session`),
//! acceptor, admission, inbox, and what a client remembers. The straight lines between them are written once more, step by step: each
//! load, store, lease, message and wake is one step, and between two steps anything may happen.
//!
//! `SHMELD_SEED=7 cargo test -p shmeld simulation -- --nocapture` replays a seed and prints its steps; `SHMELD_SEEDS=10000` runs so many.

mod baton;
mod client;
mod client_queue;
mod client_watch;
mod director;
mod hostile;
mod kernel;
mod random;
mod server;
mod session;
mod tests;
mod words;
mod world;
mod writer;

use baton::Sim;
use world::{Mutant, World};

fn run(seed: u64, mutant: Mutant, with_trace: bool) -> World {
    Sim::run(World::new(seed, mutant, with_trace), director::live)
}
