//! Which exports are there: zenoh's tokens say so, and the list of replicas hears it.
//!
//! Whoever may declare tokens under the key can declare as many as it likes. What is kept of them is bounded by the list, and what is said of
//! them here: an export for which the list has no place is looked for again when it has.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use zenoh::pubsub::Subscriber;
use zenoh::query::Reply;
use zenoh::sample::{Sample, SampleKind};
use zenoh::{Session, Wait};

use crate::Error;
use crate::key::{ExportId, Prefix};
use crate::replicas::Replicas;

/// The most lines about exports in a [`WINDOW`].
const LINES_MAX: u32 = 100;
const WINDOW: Duration = Duration::from_secs(60);
/// How long tokens that are looked for again may take to come.
const PATIENCE: Duration = Duration::from_secs(10);

/// Enters the exports of `key` into `replicas` as they come and go, as long as the subscriber is kept.
///
/// # Errors
/// Zenoh refuses.
pub fn watch(
    session: &Session,
    key: &Prefix,
    replicas: &Arc<Mutex<Replicas>>,
) -> Result<Subscriber<()>, Error> {
    let watch = Watch {
        session: session.clone(),
        prefix: key.clone(),
        replicas: replicas.clone(),
        ration: Arc::default(),
    };
    let tokens = key.all_alive();
    session
        .liveliness()
        .declare_subscriber(&tokens)
        .history(true)
        .callback(move |sample: Sample| watch.heard(&sample))
        .wait()
        .map_err(|error| Error::zenoh("declare_subscriber", &tokens, &error))
}

#[derive(Clone)]
struct Watch {
    session: Session,
    prefix: Prefix,
    replicas: Arc<Mutex<Replicas>>,
    ration: Arc<Mutex<Ration>>,
}

impl Watch {
    fn replicas(&self) -> MutexGuard<'_, Replicas> {
        self.replicas.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn heard(&self, sample: &Sample) {
        let Some(id) = self.prefix.export_alive(sample.key_expr().as_str()) else {
            return;
        };
        match sample.kind() {
            SampleKind::Put => self.appeared(id),
            SampleKind::Delete => self.vanished(id),
        }
    }

    fn appeared(&self, id: ExportId) {
        let mut replicas = self.replicas();
        let is_known = replicas.has(id);
        let has_place = replicas.appeared(id);
        drop(replicas);
        match (is_known, has_place) {
            (true, _) => {}
            (false, true) => self.tell(id, "is there"),
            (false, false) => self.tell(id, "is one too many, and has to wait"),
        }
    }

    fn vanished(&self, id: ExportId) {
        let mut replicas = self.replicas();
        let was_known = replicas.has(id);
        replicas.vanished(id);
        let has_room = replicas.has_room_for_others();
        drop(replicas);
        if was_known {
            self.tell(id, "is gone");
        }
        if has_room {
            self.look_again();
        }
    }

    /// Without a lock: answers of this very session come before this returns.
    fn look_again(&self) {
        let watch = self.clone();
        let tokens = self.prefix.all_alive();
        let asked = self.session.liveliness().get(&tokens).timeout(PATIENCE);
        let heard = move |reply: Reply| {
            if let Ok(sample) = reply.into_result() {
                watch.heard(&sample);
            }
        };
        if let Err(error) = asked.callback(heard).wait() {
            tracing::debug!(target: "shmeld::bridge", "liveliness get {tokens}: {error}");
        }
    }

    fn tell(&self, id: ExportId, what: &str) {
        let mut ration = self.ration.lock().unwrap_or_else(PoisonError::into_inner);
        let prefix = &self.prefix;
        match ration.take(Instant::now()) {
            Share::Line => tracing::info!(target: "shmeld::bridge", "export {id} of {prefix} {what}"),
            Share::Last => tracing::warn!(
                target: "shmeld::bridge",
                "more exports of {prefix} come and go than are told within {} s",
                WINDOW.as_secs()
            ),
            Share::Nothing => {}
        }
    }
}

/// How many lines may still be written. Pure: time is given.
#[derive(Debug, Default)]
struct Ration {
    begun: Option<Instant>,
    lines: u32,
}

/// What may be written now.
#[derive(Debug, PartialEq, Eq)]
enum Share {
    Line,
    /// That there is more.
    Last,
    Nothing,
}

impl Ration {
    fn take(&mut self, now: Instant) -> Share {
        if self
            .begun
            .is_none_or(|begun| now.saturating_duration_since(begun) >= WINDOW)
        {
            (self.begun, self.lines) = (Some(now), 0);
        }
        self.lines = self.lines.saturating_add(1);
        match self.lines {
            ..LINES_MAX => Share::Line,
            LINES_MAX => Share::Last,
            _ => Share::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_told_in_so_many_lines_a_window_and_the_next_window_begins_anew() {
        let (mut ration, start) = (Ration::default(), Instant::now());
        let mut count = |now| {
            let shares: Vec<Share> = (0..5000).map(|_| ration.take(now)).collect();
            let of = |wanted| shares.iter().filter(|share| **share == wanted).count();
            (of(Share::Line), of(Share::Last))
        };
        assert_eq!(count(start), (LINES_MAX as usize - 1, 1));
        assert_eq!(count(start + WINDOW / 2), (0, 0));
        assert_eq!(count(start + WINDOW), (LINES_MAX as usize - 1, 1));
    }
}
