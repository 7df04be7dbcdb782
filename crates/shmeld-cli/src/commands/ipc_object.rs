//! An object of the catalogue as text and as JSON.

use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use shmeld::catalogue::{Belonging, Holder, Object};
use shmeld::os::fs::Time;
use shmeld::os::name::escape;

use crate::values::show_size;

/// What stands in the place of a value that permission hides.
const HIDDEN: &str = "hidden";
/// What stands in the place of a value that there is not.
const NONE: &str = "-";

/// Whether sizes are for people or for programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reader {
    Person,
    Program,
}

/// A value of an object, or why there is none.
pub(super) fn or_why(object: &Object, name: &str, value: Option<String>) -> String {
    let why = if object.hidden.contains(&name) {
        HIDDEN
    } else {
        NONE
    };
    value.unwrap_or_else(|| why.to_owned())
}

pub(super) fn size(object: &Object, reader: Reader) -> String {
    let size = object.bytes.map(|bytes| amount(bytes, reader));
    let is_least = object.hidden.contains(&"size");
    match size {
        Some(size) if is_least => format!(">={size}"),
        size => or_why(object, "size", size),
    }
}

/// Bytes in use; of semaphores their values.
pub(super) fn used(object: &Object, reader: Reader) -> String {
    if object.semaphores.is_some() {
        return or_why(object, "values", object.values.as_deref().map(values));
    }
    or_why(
        object,
        "used",
        object.used_bytes.map(|bytes| amount(bytes, reader)),
    )
}

/// The first ones, and how many there are.
fn values(values: &[u32]) -> String {
    const SHOWN: usize = 5;
    let shown: Vec<String> = values.iter().take(SHOWN).map(u32::to_string).collect();
    let more = if values.len() > SHOWN {
        format!(",.. of {}", values.len())
    } else {
        String::new()
    };
    format!("={}{more}", shown.join(","))
}

fn amount(bytes: u64, reader: Reader) -> String {
    match reader {
        // Short, for a table: `25.1K`.
        Reader::Person => show_size(bytes).replace(' ', "").replace("iB", ""),
        Reader::Program => bytes.to_string(),
    }
}

pub(super) fn owner(object: &Object) -> String {
    or_why(object, "owner", object.owner.map(|owner| owner.uid.to_string()))
}

pub(super) fn mode(object: &Object) -> String {
    or_why(object, "mode", object.mode.map(|mode| format!("{mode:04o}")))
}

/// Key, former name, what it is of ours, and how many messages wait.
pub(super) fn remark(object: &Object) -> String {
    let key = object
        .key
        .filter(|key| !key.is_private())
        .map(|key| key.to_string());
    let former = object
        .former_name
        .as_ref()
        .map(|name| format!("\"{}\"", escape(name)));
    let belongs = object.belongs.as_ref().map(Belonging::to_string);
    let messages = object.messages.map(|messages| match object.queue_limits {
        Some((most, _)) => format!("{messages} of {most} messages"),
        None if messages == 1 => "1 message".to_owned(),
        None => format!("{messages} messages"),
    });
    let marked = object.is_marked.then(|| "marked for removal".to_owned());
    let parts: Vec<String> = [key, former, belongs, messages, marked]
        .into_iter()
        .flatten()
        .collect();
    if parts.is_empty() {
        NONE.to_owned()
    } else {
        parts.join(", ")
    }
}

/// `4711 (python3), uid 1000: mapped, open; 4.0 KiB`
pub(super) fn holder(holder: &Holder) -> String {
    let roles: Vec<&str> = holder.roles.iter().map(|role| role.in_words()).collect();
    let who = process(holder.pid, holder.command.as_deref(), holder.uid);
    let mapped = match holder.mapped_bytes {
        0 => String::new(),
        bytes => format!("; {}", show_size(bytes)),
    };
    format!("{who}: {}{mapped}", roles.join(", "))
}

pub(super) fn process(pid: u32, command: Option<&[u8]>, uid: Option<u32>) -> String {
    let uid = uid.map_or_else(String::new, |uid| format!(", uid {uid}"));
    match command {
        Some(command) => format!("{pid} ({}){uid}", escape(command)),
        None => format!("{pid} (gone)"),
    }
}

/// All of it, for programs: each field is always there.
pub(super) fn as_json(object: &Object) -> Value {
    let text = |name: &Vec<u8>| escape(name);
    let owner = object.owner;
    let creator = object.creator;
    let (messages_max, message_bytes_max) = object.queue_limits.unzip();
    json!({
        "event": "object", "address": object.place.to_string(), "kind": object.kind().word(),
        "former_name": object.former_name.as_ref().map(text), "key": object.key.map(|key| key.to_string()),
        "uid": owner.map(|ids| ids.uid), "gid": owner.map(|ids| ids.gid),
        "creator_uid": creator.map(|ids| ids.uid), "creator_gid": creator.map(|ids| ids.gid),
        "mode": object.mode.map(|mode| format!("{mode:04o}")), "size": object.bytes, "used": object.used_bytes,
        "messages": object.messages, "messages_max": messages_max, "message_bytes_max": message_bytes_max,
        "notified_pid": object.notified_pid, "semaphores": object.semaphores, "values": object.values,
        "made_time": object.made.map(rfc3339), "change_time": object.changed.map(rfc3339), "use_time": object.used.map(rfc3339),
        "attached": object.attached, "marked": object.is_marked, "inode": object.identity.map(|(_, ino)| ino),
        "names": object.links, "namespace": object.namespace, "belongs": object.belongs.as_ref().map(Belonging::to_string),
        "state": object.verdict.state.word(), "proof": object.verdict.proof, "hidden": object.hidden,
        "holders": holders_as_json(object),
    })
}

pub(super) fn holders_as_json(object: &Object) -> Value {
    let one = |holder: &Holder| {
        let roles: Vec<&str> = holder.roles.iter().map(|role| role.in_words()).collect();
        json!({"pid": holder.pid, "command": holder.command.as_deref().map(escape), "uid": holder.uid, "roles": roles,
            "mapped": holder.mapped_bytes, "keeps": holder.keeps()})
    };
    object.holders.iter().map(one).collect()
}

pub(super) fn rfc3339(time: Time) -> String {
    humantime::format_rfc3339_seconds(system_time(time)).to_string()
}

/// The time as std knows it; what its formatter cannot show becomes 1970.
pub(super) fn system_time(time: Time) -> SystemTime {
    let seconds = u64::try_from(time.seconds).unwrap_or_default();
    // The formatter ends with the year 9999.
    let seconds = if seconds < 253_402_300_800 { seconds } else { 0 };
    SystemTime::UNIX_EPOCH + Duration::new(seconds, time.nanoseconds)
}
