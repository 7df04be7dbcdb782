//! `shmeld ipc ls --tree`: processes, and below each what it has. Pure.

use std::collections::BTreeMap;

use shmeld::catalogue::{Holder, Object};

use super::ipc_object::{self, Reader};

/// The lines: processes by number, then what nobody has who can be seen.
pub(super) fn lines(objects: &[&Object]) -> Vec<String> {
    let mut processes: BTreeMap<u32, Vec<(&Holder, &Object)>> = BTreeMap::new();
    let mut held_by_nobody = Vec::new();
    for object in objects {
        if object.keepers().next().is_none() {
            held_by_nobody.push(*object);
        }
        for holder in object.keepers() {
            processes.entry(holder.pid).or_default().push((holder, object));
        }
    }
    let mut lines = Vec::new();
    for (pid, held) in processes {
        let who = held
            .first()
            .map(|(holder, _)| ipc_object::process(pid, holder.command.as_deref(), holder.uid));
        lines.extend(who);
        let count = held.len();
        for (index, (holder, object)) in held.into_iter().enumerate() {
            let roles: Vec<&str> = holder.roles.iter().map(|role| role.in_words()).collect();
            lines.push(format!(
                "{}{}: {}",
                branch(index, count),
                leaf(object),
                roles.join(", ")
            ));
        }
    }
    if !held_by_nobody.is_empty() {
        lines.push("nobody who can be seen".to_owned());
        let count = held_by_nobody.len();
        for (index, object) in held_by_nobody.into_iter().enumerate() {
            let state = object.verdict.state.word();
            lines.push(format!("{}{}: {state}", branch(index, count), leaf(object)));
        }
    }
    lines
}

fn branch(index: usize, count: usize) -> &'static str {
    if index + 1 == count { "└─ " } else { "├─ " }
}

fn leaf(object: &Object) -> String {
    let size = ipc_object::size(object, Reader::Person);
    let remark = ipc_object::remark(object);
    match (size.as_str(), remark.as_str()) {
        ("-", "-") => object.place.to_string(),
        ("-", _) => format!("{} ({remark})", object.place),
        (_, "-") => format!("{} {size}", object.place),
        _ => format!("{} {size} ({remark})", object.place),
    }
}
