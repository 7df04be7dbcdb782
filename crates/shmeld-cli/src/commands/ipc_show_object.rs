//! One object of the catalogue, row by row.

use std::time::Duration;

use serde_json::{Value, json};
use shmeld::catalogue::{Belonging, Holder, Ids, Object, Place, Wanted, rfc3339, system_time};
use shmeld::os::fs::Time;
use shmeld::os::name::escape;
use shmeld::os::{Errno, Error};

use super::ipc_object::{self as object, or_why};
use crate::values::{count_bytes, show_size};

type Rows = Vec<(&'static str, String)>;

/// All that is known of it. What permission hides is there, as hidden.
pub(super) fn rows(one: &Object) -> Rows {
    let ids = |ids: Ids| format!("uid {}, gid {}", ids.uid, ids.gid);
    let mut rows = vec![
        ("address", one.place.to_string()),
        ("kind", one.kind().in_words().to_owned()),
    ];
    let mut add = |name, value: Option<String>| rows.extend(value.map(|value| (name, value)));
    add(
        "name",
        one.former_name.as_ref().map(|name| former_name(one, name)),
    );
    add("key", one.key.map(|key| key.to_string()));
    add("mode", Some(object::mode(one)));
    add("owner", Some(or_why(one, "owner", one.owner.map(ids))));
    add("creator", one.creator.map(ids));
    let least = if one.hidden.contains(&"size") {
        "at least "
    } else {
        ""
    };
    add("size", one.bytes.map(|bytes| format!("{least}{}", size(bytes))));
    if one.semaphores.is_none() {
        add("in use", Some(or_why(one, "used", one.used_bytes.map(size))));
    }
    add("messages", messages(one));
    add("semaphores", one.semaphores.map(|count| count.to_string()));
    if one.semaphores.is_some() {
        let values = one.values.as_ref().map(|values| {
            let values: Vec<String> = values.iter().map(u32::to_string).collect();
            values.join(" ")
        });
        add("values", Some(or_why(one, "values", values)));
    }
    add("attached", one.attached.map(|attached| attached.to_string()));
    add(
        "names",
        one.links
            .filter(|_| !one.kind().is_sysv())
            .map(|links| links.to_string()),
    );
    add("inode", one.identity.map(|(_, ino)| ino.to_string()));
    add("made at", one.made.map(|time| shown(Some(time))));
    add("used at", one.used.map(|time| shown(Some(time))));
    add("changed at", one.changed.map(|time| shown(Some(time))));
    add("namespace", Some(one.namespace.clone()));
    rows.extend(holders(one));
    rows
}

fn former_name(one: &Object, name: &[u8]) -> String {
    match one.place {
        Place::Unnamed(shmeld::catalogue::Kind::Memfd, _) => escape(name),
        _ => format!("{} (unlinked)", escape(name)),
    }
}

fn messages(one: &Object) -> Option<String> {
    let is_queue = one.messages.is_some() || one.hidden.contains(&"messages");
    let value = one.messages.map(|messages| match one.queue_limits {
        Some((most, bytes)) => format!("{messages} of {most}, each of at most {}", count_bytes(bytes)),
        None => messages.to_string(),
    });
    is_queue.then(|| or_why(one, "messages", value))
}

/// Who has it, what it is of ours, and the verdict.
pub(super) fn holders(one: &Object) -> Rows {
    judged_rows(one, one.holders.iter())
}

/// What a segment does not say of itself. Processes that are gone are left out: other rows show their numbers.
pub(super) fn rest_of_segment(one: &Object) -> Rows {
    let mut rows = Rows::from_iter(one.made.map(|made| ("made at", shown(Some(made)))));
    rows.push(("namespace", one.namespace.clone()));
    let living = one.holders.iter().filter(|holder| holder.command.is_some());
    rows.extend(judged_rows(one, living));
    rows
}

fn judged_rows<'o>(one: &'o Object, holders: impl Iterator<Item = &'o Holder>) -> Rows {
    let mut rows: Rows = Vec::new();
    rows.extend(
        one.belongs
            .as_ref()
            .map(|belongs| ("part of", belongs.to_string())),
    );
    let mut holders_shown = 0;
    for holder in holders {
        let name = if holders_shown == 0 { "processes" } else { "" };
        rows.push((name, object::holder(holder)));
        holders_shown += 1;
    }
    if one.hidden.contains(&"holders") {
        let name = if holders_shown == 0 { "processes" } else { "" };
        rows.push((
            name,
            "hidden: others may have it whom we may not look into".to_owned(),
        ));
    }
    let verdict = &one.verdict;
    rows.push(("state", format!("{}: {}", verdict.state.word(), verdict.proof)));
    rows
}

/// The same for programs, beside what a segment says of itself.
pub(super) fn judged(one: &Object) -> Value {
    json!({"holders": one.holders_to_json(), "belongs": one.belongs.as_ref().map(Belonging::to_string),
        "state": one.verdict.state.word(), "proof": one.verdict.proof, "namespace": one.namespace,
        "made_time": one.made.map(rfc3339), "hidden": one.hidden})
}

pub(super) fn absent(wanted: &Wanted) -> shmeld::Error {
    let error = Error::new("show", wanted.to_string(), Errno::NOENT);
    let hint = "shmeld ipc ls lists what is there, and says what cannot be seen";
    error.with_hint(hint.to_owned()).into()
}

pub(super) fn size(bytes: u64) -> String {
    if bytes < 1024 {
        count_bytes(bytes)
    } else {
        format!("{bytes} bytes ({})", show_size(bytes))
    }
}

pub(super) fn shown(time: Option<Time>) -> String {
    let Some(time) = time else {
        return "never".to_owned();
    };
    let age = system_time(time).elapsed().unwrap_or_default();
    let age = humantime::format_duration(Duration::from_secs(age.as_secs()));
    format!("{} ({age} ago)", rfc3339(time))
}
