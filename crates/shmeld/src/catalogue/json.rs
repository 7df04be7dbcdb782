//! What is known of objects, for programs: each field is always there. `shmeld ipc ls --json` and Python's `shmeld.ipc.list` have it from here.

use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use shmeld_os::fs::Time;
use shmeld_os::name::escape;

use super::{Belonging, Holder, Object, Sight};

impl Object {
    /// All of it; names of strangers are escaped, times are as in RFC 3339.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let text = |name: &Vec<u8>| escape(name);
        let (owner, creator) = (self.owner, self.creator);
        let (messages_max, message_bytes_max) = self.queue_limits.unzip();
        json!({
            "event": "object", "address": self.place.to_string(), "kind": self.kind().word(),
            "former_name": self.former_name.as_ref().map(text), "key": self.key.map(|key| key.to_string()),
            "uid": owner.map(|ids| ids.uid), "gid": owner.map(|ids| ids.gid),
            "creator_uid": creator.map(|ids| ids.uid), "creator_gid": creator.map(|ids| ids.gid),
            "mode": self.mode.map(|mode| format!("{mode:04o}")), "size": self.bytes, "used": self.used_bytes,
            "messages": self.messages, "messages_max": messages_max, "message_bytes_max": message_bytes_max,
            "notified_pid": self.notified_pid, "semaphores": self.semaphores, "values": self.values,
            "made_time": self.made.map(rfc3339), "change_time": self.changed.map(rfc3339), "use_time": self.used.map(rfc3339),
            "attached": self.attached, "marked": self.is_marked, "inode": self.identity.map(|(_, ino)| ino),
            "names": self.links, "namespace": self.namespace, "belongs": self.belongs.as_ref().map(Belonging::to_string),
            "state": self.verdict.state.word(), "proof": self.verdict.proof, "hidden": self.hidden,
            "holders": self.holders_to_json(),
        })
    }

    /// Who has to do with it.
    #[must_use]
    pub fn holders_to_json(&self) -> Value {
        let one = |holder: &Holder| {
            let roles: Vec<&str> = holder.roles.iter().map(|role| role.in_words()).collect();
            json!({"pid": holder.pid, "command": holder.command.as_deref().map(escape), "uid": holder.uid, "roles": roles,
                "mapped": holder.mapped_bytes, "keeps": holder.keeps()})
        };
        self.holders.iter().map(one).collect()
    }
}

impl Sight {
    /// All of it.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({"event": "sight", "hidden_processes": self.hidden_processes.len(), "sees_all_processes": self.sees_all_processes,
            "lists_queues": self.lists_queues, "failures": self.failures})
    }
}

/// `2026-01-31T12:00:00Z`
#[must_use]
pub fn rfc3339(time: Time) -> String {
    humantime::format_rfc3339_seconds(system_time(time)).to_string()
}

/// The time as std knows it; what its formatter cannot show becomes 1970.
#[must_use]
pub fn system_time(time: Time) -> SystemTime {
    let seconds = u64::try_from(time.seconds).unwrap_or_default();
    // The formatter ends with the year 9999.
    let seconds = if seconds < 253_402_300_800 { seconds } else { 0 };
    SystemTime::UNIX_EPOCH + Duration::new(seconds, time.nanoseconds)
}
