//! An object of the catalogue as text.

use shmeld::catalogue::{Belonging, Holder, Kind, Object, system_time};
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

/// By how many processes; attachments are counted by the kernel, whoever has them.
pub(super) fn held_count(object: &Object) -> u64 {
    object.attached.unwrap_or(object.keepers().count() as u64)
}

/// The same in a table. Nobody counts who uses sets and queues of System V.
pub(super) fn held(object: &Object) -> String {
    let is_uncounted = matches!(object.kind(), Kind::SysvSet | Kind::SysvQueue);
    // The attachments are known, and not who made them.
    let is_least = object.attached.is_none() && object.hidden.contains(&"holders");
    match held_count(object) {
        _ if is_uncounted => NONE.to_owned(),
        0 if is_least => HIDDEN.to_owned(),
        count if is_least => format!(">={count}"),
        count => count.to_string(),
    }
}

/// Since it changed: for people by its largest unit, for programs in seconds. What hides the mode hides this too.
pub(super) fn age(object: &Object, reader: Reader) -> String {
    let changed = object.changed.map(|changed| {
        let seconds = system_time(changed).elapsed().unwrap_or_default().as_secs();
        match reader {
            Reader::Person => short_age(seconds),
            Reader::Program => seconds.to_string(),
        }
    });
    or_why(object, "mode", changed)
}

fn short_age(seconds: u64) -> String {
    const UNITS: [(u64, char); 4] = [(60, 's'), (60, 'm'), (24, 'h'), (365, 'd')];
    let mut left = seconds;
    for (of_next, unit) in UNITS {
        // 90 minutes are told better than one hour.
        if left < 2 * of_next {
            return format!("{left}{unit}");
        }
        left /= of_next;
    }
    format!("{left}y")
}

/// What it is of ours, which matters most where there is little room; key, former name, and how many messages wait.
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
    let parts: Vec<String> = [belongs, key, former, messages, marked]
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_short_and_say_enough() {
        for (seconds, expected) in [
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (7199, "119m"),
            (7200, "2h"),
            (47 * 3600, "47h"),
            (48 * 3600, "2d"),
            (800 * 86_400, "2y"),
        ] {
            assert_eq!(short_age(seconds), expected);
        }
    }
}
