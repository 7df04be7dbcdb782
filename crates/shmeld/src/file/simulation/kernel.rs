//! The kernel's objects: one queue name with its queues, the gate, regions with their names, words and leases.

use std::collections::{BTreeMap, VecDeque};

use shmeld_core::layout::{Header, RawHeader, Word};
use shmeld_os::fs::Stat;

use super::baton::{ActorId, Pid};
use crate::file::sample;
use crate::file::wire::MESSAGES_MAX;

/// One record of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Item {
    pub request_id: u64,
    /// The byte of the file; `None` is DONE.
    pub value: Option<u64>,
}

#[derive(Debug, Default)]
pub struct Queue {
    pub messages: VecDeque<Vec<u8>>,
    /// All it ever held: what somebody may send once more.
    pub history: Vec<Vec<u8>>,
    pub lease: Option<Pid>,
}

#[derive(Debug)]
pub struct RegionObject {
    pub header: RawHeader,
    words: [u32; 9],
    pub slots: Vec<Vec<Item>>,
    pub owner: Pid,
    pub is_hostile: bool,
    /// Truncated by its owner.
    pub has_vanished: bool,
    pub client_lease: Option<Pid>,
    /// A lease belongs to an open description: the process, and the session in it.
    pub server_lease: Option<(Pid, ActorId)>,
    /// The observer's note: the server that last joined or refused it.
    pub last_server: Option<Pid>,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Kernel {
    pub queue_name: Option<usize>,
    pub queues: Vec<Queue>,
    pub gate: Option<Pid>,
    pub names: BTreeMap<[u8; 16], usize>,
    pub regions: Vec<RegionObject>,
}

pub const SERVERS_UID: u32 = 1000;

impl Queue {
    pub fn is_full(&self) -> bool {
        self.messages.len() >= MESSAGES_MAX
    }
}

impl RegionObject {
    pub fn new(header: &Header, owner: Pid, is_hostile: bool) -> Self {
        let slot_count = header.geometry.slot_count();
        let mut words = [0; 9];
        words[place(Word::FreeValue)] = slot_count;
        Self {
            header: header.to_raw(),
            words,
            slots: vec![Vec::new(); slot_count as usize],
            owner,
            is_hostile,
            has_vanished: false,
            client_lease: Some(owner),
            server_lease: None,
            last_server: None,
        }
    }

    pub fn load(&self, word: Word) -> u32 {
        self.words[place(word)]
    }

    /// Returns what was there.
    pub fn store(&mut self, word: Word, value: u32) -> u32 {
        std::mem::replace(&mut self.words[place(word)], value)
    }

    /// What `pread` of the first 64 bytes gives.
    pub fn raw_header(&self) -> RawHeader {
        RawHeader {
            state: self.load(Word::State).into(),
            ..self.header
        }
    }
}

fn place(word: Word) -> usize {
    match word {
        Word::State => 0,
        Word::Written => 1,
        Word::ServerCpu => 2,
        Word::Read => 3,
        Word::ClientCpu => 4,
        Word::FilledValue => 5,
        Word::FilledWaiters => 6,
        Word::FreeValue => 7,
        Word::FreeWaiters => 8,
    }
}

impl Kernel {
    /// What dies with a process.
    pub fn release_all(&mut self, pid: Pid) {
        for queue in &mut self.queues {
            queue.lease.take_if(|holder| *holder == pid);
        }
        self.gate.take_if(|holder| *holder == pid);
        for region in &mut self.regions {
            region.client_lease.take_if(|holder| *holder == pid);
            region.server_lease.take_if(|(holder, _)| *holder == pid);
        }
    }

    pub fn stat(&self, object: usize) -> Stat {
        let bytes = if self.regions[object].has_vanished {
            0
        } else {
            self.regions[object].header.region_bytes.get()
        };
        Stat {
            ino: object as u64,
            uid: SERVERS_UID,
            gid: SERVERS_UID,
            links: self.names.values().filter(|named| **named == object).count() as u64,
            bytes,
            blocks_512: bytes / 512,
            ..sample::stat()
        }
    }

    /// What `clean` does: regions without a living client lose their names. Returns what is left.
    pub fn sweep(&mut self) -> usize {
        let regions = &self.regions;
        self.names
            .retain(|_, object| regions[*object].client_lease.is_some());
        self.names.len() + usize::from(self.queue_name.is_some()) + usize::from(self.gate.is_some())
    }
}
