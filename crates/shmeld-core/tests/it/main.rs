//! What the parts of this crate promise together: loom explores the ring, and two mappings of one real region exercise it.

#[path = "../../../shmeld-os/tests/it/example.rs"]
mod example;
mod examples;
mod hostile_peer;
mod loom_glibc;
mod loom_model;
mod loom_ring;
mod loom_semaphore;
mod loom_seq_locked;
mod loom_words;
mod region_pair;
mod ring_on_region;
mod seq_locked;
mod shared;
