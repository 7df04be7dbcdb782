//! What a server says about ends of sessions in its log: a few lines a second about each user and reason, and then how many more there were.

use std::time::Instant;

use super::account::Totals;
use super::limiter::{LeftOut, Limiter, Sums, Topic, Who};
use super::session::End;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct SessionLog {
    limiter: Limiter,
}

impl SessionLog {
    pub(super) fn session_ended(&mut self, uid: u32, end: &End) {
        if matches!(end, End::Closed) {
            tracing::debug!(target: "shmeld::server", "session closed");
            return;
        }
        let topic = Topic {
            who: Who::Uid(uid),
            event: "session",
            status: end.status().name(),
        };
        let noted = self
            .limiter
            .note(topic, Sums::of(Totals::default()), Instant::now());
        tell_left_out(noted.before.as_slice());
        if !noted.is_written {
            return;
        }
        let reason = end.reason();
        match end {
            End::Misbehaved(_) | End::Os(_) | End::Panicked => {
                tracing::warn!(target: "shmeld::server", "ended a session of uid {uid}: {reason}");
            }
            _ => tracing::info!(target: "shmeld::server", "ended a session of uid {uid}: {reason}"),
        }
    }

    /// From time to time: how many lines were left out in seconds that are over.
    pub(super) fn tick(&mut self) {
        tell_left_out(&self.limiter.take_over(Instant::now()));
    }

    /// At the end: how many lines were left out.
    pub(super) fn finish(&mut self) {
        tell_left_out(&self.limiter.take_all());
    }
}

fn tell_left_out(left_out: &[LeftOut]) {
    for (topic, sums) in left_out {
        let whose = match topic.who {
            Who::Uid(uid) => format!("of uid {uid}"),
            Who::Stranger | Who::Others => "of other users".to_owned(),
        };
        let (count, status) = (sums.count, topic.status);
        tracing::warn!(target: "shmeld::server", "{count} more like this suppressed: ends of sessions {whose} ({status})");
    }
}
