//! What all sessions of a server share.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use serde::{Deserialize, Serialize};
use shmeld_core::counters::Counters;

use super::audit::Audit;
use super::source::Source;
use super::staging::StagingPool;
use super::wire::DecodeError;
use crate::ServerName;

/// See the module.
pub(super) struct Context {
    pub(super) name: ServerName,
    pub(super) source: Arc<dyn Source>,
    pub(super) counters: Counters,
    pub(super) staging: StagingPool,
    pub(super) started: Instant,
    pub(super) sessions_now: AtomicUsize,
    pub(super) sessions_max: usize,
    pub(super) audit: Option<Arc<Audit>>,
}

/// What a server says about itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerStatus {
    /// Version of the program.
    pub version: String,
    /// Name of the server.
    pub name: String,
    /// Process id, as the server sees itself: not meaningful in another PID namespace.
    pub pid: u32,
    /// Seconds since it started.
    pub uptime_seconds: u64,
    /// Sessions at this moment, the asking one included.
    pub sessions: u64,
    /// The most sessions it admits.
    pub sessions_max: u64,
    /// Sessions since the start.
    pub sessions_total: u64,
    /// Requests taken up.
    pub requests_total: u64,
    /// Files delivered to their end.
    pub files_total: u64,
    /// Bytes of file content published.
    pub bytes_total: u64,
    /// Slots of regions published.
    #[serde(default)]
    pub slots_total: u64,
    /// Waits for a free slot that spun.
    #[serde(default)]
    pub spins_total: u64,
    /// Waits for a free slot that slept.
    #[serde(default)]
    pub sleeps_total: u64,
    /// Sleeps that ended for nothing.
    #[serde(default)]
    pub spurious_wakes_total: u64,
    /// System calls that woke a client.
    #[serde(default)]
    pub wakes_total: u64,
    /// Names answered with a status other than OK.
    pub refused_names_total: u64,
    /// Regions refused.
    pub refused_regions_total: u64,
    /// Queue messages that are no request.
    pub junk_messages_total: u64,
    /// The same by reason.
    #[serde(default)]
    pub junk_messages: BTreeMap<String, u64>,
    /// Sessions ended because the client broke the protocol.
    pub misbehaved_total: u64,
    /// Sessions ended because the client died.
    pub died_total: u64,
    /// Sessions ended because a thread of the server panicked: a bug of its own, or of its source of files.
    #[serde(default)]
    pub panics_total: u64,
    /// Lines written to the audit log; 0 without one.
    #[serde(default)]
    pub audit_lines_total: u64,
    /// Lines of the audit log that could not be written.
    #[serde(default)]
    pub audit_lost_total: u64,
}

impl ServerStatus {
    /// As one line of JSON.
    #[must_use]
    pub fn to_json(&self) -> String {
        // Numbers and texts can always be written.
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// What the places of [`Counters::junk_by_reason`] mean.
const JUNK_REASONS: [&str; 6] = ["short", "magic", "version", "id", "path_length", "nul"];

impl Context {
    /// Counts a message that is no request.
    pub(super) fn count_junk(&self, error: DecodeError) {
        let place = match error {
            DecodeError::Short => 0,
            DecodeError::Magic => 1,
            DecodeError::Version(_) => 2,
            DecodeError::Id => 3,
            DecodeError::PathLength => 4,
            DecodeError::Nul => 5,
        };
        self.counters.junk_messages.add(1);
        self.counters.junk_by_reason[place].add(1);
    }

    pub(super) fn status(&self) -> ServerStatus {
        let counters = &self.counters;
        let (audit_lines_total, audit_lost_total) =
            self.audit.as_ref().map_or((0, 0), |audit| audit.lines_and_lost());
        ServerStatus {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            name: self.name.to_string(),
            pid: shmeld_os::process::pid(),
            uptime_seconds: self.started.elapsed().as_secs(),
            sessions: self.sessions_now.load(Ordering::Relaxed) as u64,
            sessions_max: self.sessions_max as u64,
            sessions_total: counters.sessions.get(),
            requests_total: counters.requests.get(),
            files_total: counters.files.get(),
            bytes_total: counters.bytes.get(),
            slots_total: counters.slots.get(),
            spins_total: counters.spins.get(),
            sleeps_total: counters.sleeps.get(),
            spurious_wakes_total: counters.spurious_wakes.get(),
            wakes_total: counters.wakes.get(),
            refused_names_total: counters.refused_names.get(),
            refused_regions_total: counters.refused_regions.get(),
            junk_messages_total: counters.junk_messages.get(),
            junk_messages: JUNK_REASONS
                .iter()
                .zip(&counters.junk_by_reason)
                .map(|(reason, counter)| ((*reason).to_owned(), counter.get()))
                .collect(),
            misbehaved_total: counters.misbehaved.get(),
            died_total: counters.died.get(),
            panics_total: counters.panics.get(),
            audit_lines_total,
            audit_lost_total,
        }
    }
}
