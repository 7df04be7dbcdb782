//! What `shmeld ipc top` shows, fetched by threads of their own: a large /proc or a server that is stopped must not hold up the keys.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use shmeld::ServerName;
use shmeld::catalogue::{Belonging, Look, Place, Snapshot};
use shmeld::file::{Client, ClientOptions, Interrupt, ServerStatus, fetch_status, running_servers};
use shmeld::os::process;

/// How long a live server may be silent. A stopped one is shown as silent, and asked again the next time.
const SILENCE_MAX: Duration = Duration::from_secs(1);

/// Something new.
#[derive(Debug)]
pub(super) enum News {
    Objects(Snapshot),
    Servers(Vec<Server>),
}

/// A running server.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Server {
    pub(super) name: String,
    /// What it says of itself; `None` if it does not answer.
    pub(super) status: Option<ServerStatus>,
    /// How fast it has been since it was asked last; `None` the first time, or if it was started anew.
    pub(super) rates: Option<Rates>,
}

/// How much a second.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Rates {
    pub(super) bytes: f64,
    pub(super) files: f64,
    pub(super) requests: f64,
}

/// The difference of two answers of one server.
pub(super) fn rates(before: &ServerStatus, after: &ServerStatus, elapsed: Duration) -> Option<Rates> {
    let seconds = elapsed.as_secs_f64();
    let is_same = before.pid == after.pid && before.uptime_seconds <= after.uptime_seconds;
    if !is_same || seconds <= 0.0 {
        return None;
    }
    let rate = |before: u64, after: u64| Some(after.checked_sub(before)? as f64 / seconds);
    Some(Rates {
        bytes: rate(before.bytes_total, after.bytes_total)?,
        files: rate(before.files_total, after.files_total)?,
        // The question for the status is a request as well.
        requests: (rate(before.requests_total, after.requests_total)? - 1.0 / seconds).max(0.0),
    })
}

/// The threads; they end with this value.
pub(super) struct Sampler {
    pub(super) news: Receiver<News>,
    stop: Arc<AtomicBool>,
    wakers: Vec<Sender<()>>,
    threads: Vec<JoinHandle<()>>,
}

impl Sampler {
    /// # Errors
    /// No thread can be started.
    pub(super) fn start(interval: Duration) -> std::io::Result<Self> {
        let (sender, news) = mpsc::channel();
        let stop = Arc::new(AtomicBool::new(false));
        let mut sampler = Self {
            news,
            stop: stop.clone(),
            wakers: Vec::new(),
            threads: Vec::new(),
        };
        let own_pid = process::pid();
        sampler.spawn("look", interval, sender.clone(), move || {
            News::Objects(without(Snapshot::take(Look::default()), own_pid))
        })?;
        let mut known = HashMap::new();
        let interrupt = Interrupt::from_flag(stop);
        sampler.spawn("ask", interval, sender, move || {
            News::Servers(ask(&mut known, &interrupt))
        })?;
        Ok(sampler)
    }

    fn spawn(
        &mut self,
        name: &str,
        interval: Duration,
        news: Sender<News>,
        mut fetch: impl FnMut() -> News + Send + 'static,
    ) -> std::io::Result<()> {
        let (waker, wake) = mpsc::channel();
        let work = move || {
            // Whoever waits for news is gone, or the sampler is: the end.
            while news.send(fetch()).is_ok() {
                match wake.recv_timeout(interval) {
                    Err(RecvTimeoutError::Disconnected) => return,
                    Ok(()) | Err(RecvTimeoutError::Timeout) => {}
                }
            }
        };
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(work)?;
        self.wakers.push(waker);
        self.threads.push(thread);
        Ok(())
    }

    /// Fetches now.
    pub(super) fn hurry(&self) {
        for waker in &self.wakers {
            // A thread that is gone is noticed by its silence.
            let _ = waker.send(());
        }
    }
}

impl Drop for Sampler {
    /// A client that is cut off in the middle would leave its region.
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.wakers.clear();
        for thread in self.threads.drain(..) {
            // What it panicked with has been printed.
            let _ = thread.join();
        }
    }
}

/// What the machine would look like without a process: the sessions in which we ask servers how they are doing are nobody's work.
fn without(mut snapshot: Snapshot, pid: u32) -> Snapshot {
    snapshot.objects.retain_mut(|object| {
        if !object.keepers().any(|holder| holder.pid == pid) {
            return true;
        }
        object.holders.retain(|holder| holder.pid != pid);
        // What has no name lives by those who hold it.
        let is_its_own = matches!(object.place, Place::Unnamed(..)) && object.keepers().next().is_none();
        !is_its_own && !matches!(object.belongs, Some(Belonging::Region(_)))
    });
    snapshot
}

fn ask(known: &mut HashMap<String, (Instant, ServerStatus)>, interrupt: &Interrupt) -> Vec<Server> {
    let mut servers = Vec::new();
    for name in running_servers(&[]) {
        let status = status(&name, interrupt);
        let name = name.to_string();
        let now = Instant::now();
        let before = known.remove(&name);
        let rates = before
            .zip(status.as_ref())
            .and_then(|((then, before), after)| rates(&before, after, now - then));
        if let Some(status) = &status {
            known.insert(name.clone(), (now, status.clone()));
        }
        servers.push(Server { name, status, rates });
    }
    known.retain(|name, _| servers.iter().any(|server| server.name == *name));
    servers
}

/// What it says of itself, without us.
fn status(name: &ServerName, interrupt: &Interrupt) -> Option<ServerStatus> {
    let options = ClientOptions {
        name: name.clone(),
        wait: Some(Duration::ZERO),
        silence_max: SILENCE_MAX,
        interrupt: interrupt.clone(),
        ..ClientOptions::default()
    };
    let mut status = Client::connect(options).and_then(fetch_status).ok()?;
    status.sessions = status.sessions.saturating_sub(1);
    Some(status)
}

#[cfg(test)]
pub(super) mod tests {
    use shmeld::catalogue::{Kind, Object};
    use shmeld::os::ObjectName;
    use shmeld::os::lease::{self, Range};
    use shmeld::os::posix::shm::SharedMemory;

    use super::*;

    pub(in super::super) fn a_status(bytes: u64, files: u64, uptime_seconds: u64) -> ServerStatus {
        let text = format!(
            r#"{{"version":"0","name":"/frames","pid":7,"uptime_seconds":{uptime_seconds},"sessions":2,"sessions_max":9,"sessions_total":5,
            "requests_total":{files},"files_total":{files},"bytes_total":{bytes},"refused_names_total":1,"refused_regions_total":0,
            "junk_messages_total":0,"misbehaved_total":0,"died_total":0}}"#
        );
        serde_json::from_str(&text).expect("a status")
    }

    #[test]
    fn rates_are_differences_by_time() {
        let (before, after) = (a_status(1000, 10, 5), a_status(5000, 14, 7));
        let rates = rates(&before, &after, Duration::from_secs(2)).expect("the same server");
        assert!((rates.bytes - 2000.0).abs() < 1e-9 && (rates.files - 2.0).abs() < 1e-9);
        // One of the four requests was ours.
        assert!((rates.requests - 1.5).abs() < 1e-9);
    }

    #[test]
    fn a_server_that_was_started_anew_has_no_rates_yet() {
        let (before, after) = (a_status(5000, 14, 7), a_status(10, 1, 1));
        assert_eq!(rates(&before, &after, Duration::from_secs(2)), None);
        let mut other = a_status(9000, 20, 9);
        other.pid = 8;
        assert_eq!(rates(&before, &other, Duration::from_secs(2)), None);
        assert_eq!(rates(&before, &before, Duration::ZERO), None);
    }

    /// Regions of our questions came and went in the list, and the queue of each server was held by one more than it is.
    #[test]
    fn what_the_asking_process_has_is_not_shown() {
        let pid = process::pid();
        let named = |name: String| ObjectName::new(&name).expect("valid");
        let (region, other) = (
            named(format!("/shmeld.{pid:032x}")),
            named(format!("/shmeld-top-{pid}")),
        );
        let make = |name: &ObjectName| SharedMemory::create_new(name, 0o600).expect("free");
        let held = [make(&region), make(&other)];
        // What has no lease is swept by servers that start meanwhile.
        lease::try_take(&held[0], Range::byte(0), lease::Kind::Write, "region").expect("ours");
        let snapshot = Snapshot::take(Look::default());
        for name in [&region, &other] {
            SharedMemory::unlink(name).expect("ours");
        }
        let place = |name: &ObjectName| Place::Named(Kind::Segment, name.as_str().into());
        let has = |object: &Object| object.keepers().any(|holder| holder.pid == pid);
        assert!(
            [&region, &other]
                .iter()
                .all(|name| snapshot.find(&place(name)).is_some_and(has))
        );
        let seen = without(snapshot, pid);
        assert!(seen.find(&place(&region)).is_none());
        assert!(seen.find(&place(&other)).is_some_and(|object| !has(object)));
    }
}
