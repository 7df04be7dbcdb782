//! The exports of a key as the importing side sees them: who is there, and one question after the other to one of them.
//!
//! Not here: what is asked again, and whom (`chase`, `remote_file`), and zenoh (`network`).

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use shmeld::file::{Refusal, Status};

use crate::asked::{Asked, Limit, Pending};
use crate::key::{ExportId, Prefix, Service};
use crate::listing::ListBudget;
use crate::replicas::Replicas;
use crate::shelf::{Label, Shelf};
use crate::wire::{CHUNK_BYTES, Request};

/// How long one look for bytes waits: the server sees to its client between two looks.
pub const LOOK: Duration = Duration::from_millis(20);

/// What carries questions: zenoh, or a test.
pub trait Network: Send + Sync + std::fmt::Debug + 'static {
    /// Sends a question. Its answer goes to `pending`, before `timeout` is over; it does not wait for that.
    fn send(&self, key: String, payload: Vec<u8>, timeout: Duration, pending: Pending);
}

/// See the module.
#[derive(Debug)]
pub struct Remote {
    network: Box<dyn Network>,
    key: Prefix,
    timeout: Duration,
    replicas: Arc<Mutex<Replicas>>,
    shelf: Shelf,
    lists: ListBudget,
    is_stopping: AtomicBool,
}

impl Remote {
    /// The exports of `key`, as somebody else finds them out and enters them into `replicas`. Nothing takes longer than `timeout`, however
    /// often and whoever is asked.
    #[must_use]
    pub fn new(
        network: Box<dyn Network>,
        key: Prefix,
        timeout: Duration,
        replicas: Arc<Mutex<Replicas>>,
    ) -> Self {
        Self {
            network,
            key,
            timeout,
            replicas,
            shelf: Shelf::default(),
            lists: ListBudget::default(),
            is_stopping: AtomicBool::new(false),
        }
    }

    /// See [`Remote::new`].
    #[must_use]
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// From now on nothing is waited for.
    pub fn stop(&self) {
        // Relaxed: the flag publishes nothing but itself.
        self.is_stopping.store(true, Ordering::Relaxed);
    }

    /// Whether nothing is to be waited for any more.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.is_stopping.load(Ordering::Relaxed)
    }

    /// Who is there.
    pub fn replicas(&self) -> MutexGuard<'_, Replicas> {
        self.replicas.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks one export, and does not wait for its answer.
    #[must_use]
    pub fn ask(&self, export: ExportId, service: Service, name: &[u8], request: Request) -> Arc<Asked> {
        let limit = match service {
            Service::Get if request.digest_only => Limit::Bytes(0),
            Service::Get => Limit::Bytes(CHUNK_BYTES as usize),
            Service::List | Service::Status => Limit::List(self.lists.clone()),
        };
        let (asked, pending) = Asked::new(export, limit, &self.replicas);
        let key = self.key.of(export, service, name);
        // Half of the whole: time is left to ask again, whoever swallowed the first question.
        self.network
            .send(key, request.encode(), self.timeout / 2, pending);
        asked
    }

    /// Asks one export for a chunk of a file ahead, unless it is there or under way already. `None` if too much is being read ahead.
    #[must_use]
    pub fn ask_ahead(&self, label: &Label) -> Option<Arc<Asked>> {
        let limit = Limit::Bytes(CHUNK_BYTES as usize);
        let ask = || Asked::new(label.export, limit, &self.replicas);
        let (asked, pending) = self.shelf.find_or(label, ask)?;
        if let Some(pending) = pending {
            let key = self.key.of(label.export, Service::Get, &label.path);
            let request = Request {
                offset: label.offset,
                digest_only: false,
            };
            self.network
                .send(key, request.encode(), self.timeout / 2, pending);
        }
        Some(asked)
    }

    /// What a client reads when nobody has answered for so long; `reason` is why the last one did not.
    #[must_use]
    pub fn unreachable(&self, reason: Option<&str>) -> Refusal {
        let last = match reason {
            Some(reason) => format!("; the last one asked: {reason}"),
            None => "; none is there".to_owned(),
        };
        let seconds = self.timeout.as_secs_f64();
        let text = format!(
            "no export of {} could deliver it within {seconds} s{last} (does `shmeld-bridge export` run there, and the network between?)",
            self.key
        );
        Refusal::new(Status::Io, text)
    }
}
