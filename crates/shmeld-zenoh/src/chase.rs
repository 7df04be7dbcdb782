//! One question, asked of one export after the other until it is answered or the time is over.

use std::sync::Arc;
use std::time::{Duration, Instant};

use shmeld::file::{Refusal, Status};
use zenoh::bytes::ZBytes;

use crate::asked::{Asked, Outcome};
use crate::key::{ExportId, Service};
use crate::listing::Room;
use crate::remote::Remote;
use crate::replicas::Choice;
use crate::wire::{Head, Request};

/// See the module.
#[derive(Debug)]
pub struct Chase {
    service: Service,
    request: Request,
    /// Who need not be asked, because what it has is something else.
    excluded: Vec<ExportId>,
    /// When the time is over.
    end: Instant,
    asked: Option<Arc<Asked>>,
    reason: Option<String>,
}

/// An answer that looks good, and who gave it. Whoever asked checks it, and tells [`Chase::failed`] or [`Replicas::succeeded`].
///
/// [`Replicas::succeeded`]: crate::replicas::Replicas::succeeded
pub type Caught = (ExportId, Box<Head>, ZBytes);

impl Chase {
    /// Begins it; `since` is when the time began that it may take.
    #[must_use]
    pub fn begin(remote: &Remote, service: Service, request: Request, since: Instant) -> Self {
        Self {
            service,
            request,
            excluded: Vec::new(),
            end: since + remote.timeout(),
            asked: None,
            reason: None,
        }
    }

    /// Does not ask these.
    #[must_use]
    pub fn without(mut self, excluded: &[ExportId]) -> Self {
        self.excluded = excluded.to_vec();
        self
    }

    /// What is asked for.
    #[must_use]
    pub fn request(&self) -> Request {
        self.request
    }

    /// Goes on until `until` at most; `None` if it is not answered by then.
    ///
    /// # Errors
    /// The name is refused, or the time is over.
    pub fn poll(&mut self, remote: &Remote, name: &[u8], until: Instant) -> Result<Option<Caught>, Refusal> {
        loop {
            if remote.is_stopping() {
                return Err(Status::Stopping.into());
            }
            let now = Instant::now();
            if now >= self.end && self.asked.as_ref().is_none_or(|asked| !asked.wait(now)) {
                let silent = self.asked.as_ref().map(|_| "it did not answer");
                return Err(remote.unreachable(self.reason.as_deref().or(silent)));
            }
            if let Some(asked) = &self.asked {
                let export = asked.export;
                if !asked.wait(until.min(self.end)) {
                    if remote.replicas().has(export) {
                        return Ok(None);
                    }
                    self.failed(remote, export, "it is gone".to_owned());
                    continue;
                }
                match asked.outcome() {
                    Outcome::Good(head, body) => return Ok(Some((export, head, body))),
                    Outcome::Refused(refusal) => return Err(refusal),
                    Outcome::Failed(reason) => self.failed(remote, export, reason),
                }
                continue;
            }
            let choice = remote.replicas().choose(&self.excluded, now);
            match choice {
                Choice::Ask(export) => {
                    self.asked = Some(remote.ask(export, self.service, name, self.request))
                }
                Choice::NotBefore(_) | Choice::Nobody if now >= until => return Ok(None),
                Choice::NotBefore(at) => nap(now, until.min(at)),
                Choice::Nobody => nap(now, until),
            }
        }
    }

    /// The room that the list takes which has been caught.
    #[must_use]
    pub fn room(&self) -> Option<Arc<Room>> {
        self.asked.as_ref()?.room()
    }

    /// An export could not answer, or not with what can be used.
    pub fn failed(&mut self, remote: &Remote, export: ExportId, reason: String) {
        tracing::debug!(target: "shmeld::bridge", "export {export}: {reason}");
        remote.replicas().failed(export, Instant::now());
        (self.asked, self.reason) = (None, Some(reason));
    }
}

fn nap(now: Instant, until: Instant) {
    // At least a little: `until` may be a moment away for ever.
    let rest = until.saturating_duration_since(now);
    std::thread::sleep(rest.max(Duration::from_millis(1)));
}
