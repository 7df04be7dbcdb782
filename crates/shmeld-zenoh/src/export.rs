//! The exporting side: queries from the network, answered by a few threads, each with a session of its own on the local server.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use shmeld::file::{Interrupt, Refusal, Status};
use shmeld::os::name::escape;
use zenoh::bytes::ZBytes;
use zenoh::liveliness::LivelinessToken;
use zenoh::query::{Query, Queryable};
use zenoh::{Session, Wait};

use crate::Error;
use crate::config::Options;
use crate::key::{ExportId, Prefix, Service};
use crate::local::{Answer, Local, LocalOptions};
use crate::wire::{Head, Malformed, REQUEST_BYTES, Request};

/// How many queries are answered at once; each takes a session of the local server, and a chunk of memory.
pub const WORKERS: usize = 4;
/// How many queries may wait for that. Who asks more is not answered, and asks again later.
pub const QUERIES_MAX: usize = 1024;
/// The longest query that may wait, with all that zenoh lets a peer put into it: the longest key, and much more than a request.
const QUERY_BYTES_MAX: usize = 8192;
/// How long a session that nobody needs is kept.
const IDLE_MAX: Duration = Duration::from_secs(10);

/// A running export. Dropping it leaves the network.
#[derive(Debug)]
pub struct Export {
    id: ExportId,
    queue: Arc<Queue>,
    workers: Vec<JoinHandle<()>>,
    stop: Arc<std::sync::atomic::AtomicBool>,
    // In this order: nobody asks an export that is going.
    token: Option<LivelinessToken>,
    queryable: Option<Queryable<()>>,
}

/// A query that has been understood.
struct Job {
    query: Query,
    /// The same as that of the query, unless that has wildcards.
    key: String,
    service: Service,
    name: Vec<u8>,
    /// What is wrong with it is said by a worker: here nobody may wait.
    request: Result<Request, Malformed>,
}

#[derive(Debug, Default)]
struct Queue {
    state: Mutex<QueueState>,
    ready: Condvar,
}

#[derive(Default)]
struct QueueState {
    jobs: VecDeque<Box<Job>>,
    closed: bool,
}

impl std::fmt::Debug for QueueState {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} queries", self.jobs.len())
    }
}

/// What a worker does next.
enum Next {
    Answer(Box<Job>),
    Rest,
    End,
}

impl Queue {
    fn state(&self) -> MutexGuard<'_, QueueState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `false` if too many wait already.
    fn push(&self, job: Box<Job>) -> bool {
        let mut state = self.state();
        if state.closed || state.jobs.len() >= QUERIES_MAX {
            return false;
        }
        state.jobs.push_back(job);
        drop(state);
        self.ready.notify_one();
        true
    }

    /// The next query; without one for a while a worker that `is_attached` lets go of its session.
    fn next(&self, is_attached: bool) -> Next {
        let mut state = self.state();
        loop {
            if let Some(job) = state.jobs.pop_front() {
                return Next::Answer(job);
            }
            if state.closed {
                return Next::End;
            }
            if is_attached {
                let waited = self.ready.wait_timeout(state, IDLE_MAX);
                let (again, waited) = waited.unwrap_or_else(PoisonError::into_inner);
                state = again;
                if waited.timed_out() && state.jobs.is_empty() && !state.closed {
                    return Next::Rest;
                }
            } else {
                state = self.ready.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
        }
    }

    fn close(&self) {
        self.state().closed = true;
        self.ready.notify_all();
    }
}

impl Export {
    /// Offers the local server to the network. It need not run yet.
    ///
    /// # Errors
    /// Zenoh refuses, or there are no threads.
    pub fn start(session: &Session, options: &Options) -> Result<Self, Error> {
        let id = ExportId::random()?;
        let queue = Arc::<Queue>::default();
        let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let local = LocalOptions {
            name: options.name.clone(),
            timeout: options.timeout,
            interrupt: Interrupt::from_flag(stop.clone()),
        };
        let workers = (0..WORKERS).map(|_| start_worker(queue.clone(), local.clone()));
        let workers = workers.collect::<Result<_, _>>()?;
        let key = options.key.answered_by(id);
        let (prefix, queries) = (options.key.clone(), queue.clone());
        let queryable = session
            .declare_queryable(&key)
            .complete(true)
            .callback(move |query| take(query, &prefix, id, &queries))
            .wait()
            .map_err(|error| Error::zenoh("declare_queryable", &key, &error))?;
        let key = options.key.alive(id);
        let token = session
            .liveliness()
            .declare_token(&key)
            .wait()
            .map_err(|error| Error::zenoh("declare_token", &key, &error))?;
        Ok(Self {
            id,
            queue,
            workers,
            stop,
            token: Some(token),
            queryable: Some(queryable),
        })
    }

    /// The id of this run.
    #[must_use]
    pub fn id(&self) -> ExportId {
        self.id
    }

    /// Leaves the network. Whoever still waits for an answer hears that there is none, and asks another export.
    pub fn end(mut self) {
        self.leave();
    }

    fn leave(&mut self) {
        // What cannot be said any more is found out by the others through zenoh's lease.
        if let Some(token) = self.token.take() {
            let _ = token.undeclare().wait();
        }
        if let Some(queryable) = self.queryable.take() {
            let _ = queryable.undeclare().wait();
        }
        // Relaxed: the flag publishes nothing but itself.
        self.stop.store(true, std::sync::atomic::Ordering::Relaxed);
        self.queue.close();
        for worker in self.workers.drain(..) {
            // A worker that panicked has said so.
            let _ = worker.join();
        }
    }
}

impl Drop for Export {
    fn drop(&mut self) {
        self.leave();
    }
}

fn start_worker(queue: Arc<Queue>, options: LocalOptions) -> Result<JoinHandle<()>, Error> {
    std::thread::Builder::new()
        .name("export".to_owned())
        .spawn(move || {
            let mut local = Local::new(options);
            loop {
                match queue.next(local.is_attached()) {
                    Next::Answer(job) => answer(&mut local, *job),
                    Next::Rest => local.rest(),
                    Next::End => return local.rest(),
                }
            }
        })
        .map_err(|error| shmeld_cli::program::refused("pthread_create", "worker", &error).into())
}

/// How much memory a query takes that waits.
fn len_of(query: &Query) -> usize {
    let of_bytes = |bytes: Option<&ZBytes>| bytes.map_or(0, ZBytes::len);
    let encoding = query.encoding().map_or(0, |encoding| encoding.to_string().len());
    let texts = query.key_expr().as_str().len() + query.parameters().as_str().len() + encoding;
    texts + of_bytes(query.payload()) + of_bytes(query.attachment())
}

/// On a thread of zenoh, which must not wait: what is no request of a bridge, or one too many, is let go unanswered.
fn take(query: Query, prefix: &Prefix, id: ExportId, queue: &Queue) {
    let bytes = len_of(&query);
    if bytes > QUERY_BYTES_MAX {
        tracing::debug!(target: "shmeld::bridge", "a query of {bytes} bytes was left unanswered");
        return;
    }
    let (service, name) = match prefix.asked_of(id, query.key_expr().as_str()) {
        Some(asked) => asked,
        None if prefix.asks_for_status(id, query.key_expr()) => (Service::Status, Vec::new()),
        None => {
            let key = escape(query.key_expr().as_bytes());
            tracing::debug!(target: "shmeld::bridge", "not a key of this export: {key}");
            return;
        }
    };
    let request = match query.payload() {
        Some(payload) if payload.len() <= REQUEST_BYTES => Request::decode(&payload.to_bytes()),
        _ => Err(Malformed::Foreign),
    };
    let job = Box::new(Job {
        key: prefix.of(id, service, &name),
        query,
        service,
        name,
        request,
    });
    if !queue.push(job) {
        tracing::debug!(target: "shmeld::bridge", "more than {QUERIES_MAX} queries wait: one was left unanswered");
    }
}

fn answer(local: &mut Local, job: Job) {
    let Job {
        query,
        key,
        service,
        name,
        request,
    } = job;
    let refuse = |refusal: Refusal| (Head::refusal(&refusal, false), Vec::new());
    let (head, body): Answer = match (service, request) {
        // The local library would take these for a mistake of its caller.
        _ if name.contains(&0) => refuse(Status::BadName.into()),
        // For everybody who looks.
        (Service::Status, _) => local.status(),
        (Service::Get, Ok(request)) => local.get(&name, request),
        (Service::List, Ok(_)) => local.list(&name),
        (_, Err(error)) => refuse(Refusal::new(Status::Unsupported, error.to_string())),
    };
    if head.unable {
        tracing::debug!(target: "shmeld::bridge", "{}", escape(&head.entry.text));
    }
    if let Err(error) = query.reply(&key, body).attachment(head.encode()).wait() {
        // Whoever asked is gone, or asks again.
        tracing::debug!(target: "shmeld::bridge", "answer: {error}");
    }
}
