//! `shmeld ipc show`.

use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use shmeld::os::fs::Time;
use shmeld::os::sysv::shared_memory::SegmentStat;
use shmeld::segment::{Address, Description, Occupied};

use super::ipc::{self, Talk, event};
use crate::args_ipc::ShowArgs;
use crate::program::exit;
use crate::values::{count_bytes, show_size};

/// Runs the command: all that can be shown is shown, whatever happens to the others.
pub(super) fn run(talk: &Talk<'_>, args: &ShowArgs) -> u8 {
    let codes = args.addresses.iter().enumerate().map(|(index, address)| {
        talk.code(ipc::find(address).and_then(|segment| {
            let description = segment.describe()?;
            let lasting = segment.lasting_address();
            let gap = if index > 0 { "\n" } else { "" };
            let text = format!("{gap}{}", as_text(&lasting, &description));
            Ok(talk.data(text, || event("segment", &lasting, as_json(&description))))
        }))
    });
    codes.max().unwrap_or(exit::DONE)
}

fn as_text(address: &Address, description: &Description) -> String {
    let lines: Vec<String> = rows(address, description)
        .into_iter()
        .map(|(name, value)| format!("{name:<12}{value}"))
        .collect();
    lines.join("\n")
}

fn size(bytes: u64) -> String {
    if bytes < 1024 {
        count_bytes(bytes)
    } else {
        format!("{bytes} bytes ({})", show_size(bytes))
    }
}

/// What nobody has touched takes nothing: it is a hole.
fn allocated(occupied: Option<Occupied>) -> String {
    match occupied {
        None => "not told by the kernel".to_owned(),
        Some(occupied) if occupied.swapped_bytes == 0 => size(occupied.resident_bytes),
        Some(occupied) => format!(
            "{}, of these {} swapped out",
            size(occupied.resident_bytes + occupied.swapped_bytes),
            size(occupied.swapped_bytes)
        ),
    }
}

fn rows(address: &Address, description: &Description) -> Vec<(&'static str, String)> {
    let mut rows = vec![("address", address.to_string())];
    match description {
        Description::Sysv { id, stat, occupied } => {
            let permissions = stat.permissions;
            let state = match (stat.is_marked, stat.attached) {
                (false, attached) => attached.to_string(),
                (true, attached) => format!("{attached}; marked for removal, it goes with the last"),
            };
            rows.extend([
                ("kind", "System V segment".to_owned()),
                ("key", permissions.key.to_string()),
                ("number", id.to_string()),
                ("size", size(stat.bytes)),
                ("allocated", allocated(*occupied)),
                ("mode", format!("{:04o}", permissions.mode)),
                (
                    "owner",
                    format!("uid {}, gid {}", permissions.uid, permissions.gid),
                ),
                (
                    "creator",
                    format!(
                        "uid {}, gid {}, {}",
                        permissions.creator_uid,
                        permissions.creator_gid,
                        creator(stat.creator_pid)
                    ),
                ),
                ("attached", state),
                ("last pid", last_user(stat)),
                ("attached at", shown(stat.attach_time)),
                ("detached at", shown(stat.detach_time)),
                ("changed at", shown(Some(stat.change_time))),
            ]);
        }
        Description::Posix { stat } => rows.extend([
            ("kind", "POSIX segment".to_owned()),
            ("size", size(stat.bytes)),
            ("allocated", size(stat.blocks_512 * 512)),
            ("mode", format!("{:04o}", stat.mode & 0o777)),
            ("owner", format!("uid {}, gid {}", stat.uid, stat.gid)),
            ("names", stat.links.to_string()),
            ("inode", stat.ino.to_string()),
            ("written at", shown(Some(stat.modified))),
            ("changed at", shown(Some(stat.changed))),
        ]),
        _ => {}
    }
    rows
}

/// The same for programs.
pub(super) fn as_json(description: &Description) -> Value {
    match description {
        Description::Sysv { id, stat, occupied } => {
            let permissions = stat.permissions;
            json!({"family": "sysv", "id": id, "key": permissions.key.to_string(), "size": stat.bytes,
                "allocated": occupied.map(|it| it.resident_bytes + it.swapped_bytes), "swapped": occupied.map(|it| it.swapped_bytes),
                "mode": format!("{:04o}", permissions.mode), "uid": permissions.uid, "gid": permissions.gid,
                "creator_uid": permissions.creator_uid, "creator_gid": permissions.creator_gid, "creator_pid": stat.creator_pid,
                "last_pid": stat.last_pid, "attached": stat.attached, "marked": stat.is_marked,
                "attach_time": stat.attach_time.map(rfc3339), "detach_time": stat.detach_time.map(rfc3339),
                "change_time": rfc3339(stat.change_time)})
        }
        Description::Posix { stat } => {
            json!({"family": "posix", "size": stat.bytes, "allocated": stat.blocks_512 * 512,
                "mode": format!("{:04o}", stat.mode & 0o777), "uid": stat.uid, "gid": stat.gid, "names": stat.links, "inode": stat.ino,
                "write_time": rfc3339(stat.modified), "change_time": rfc3339(stat.changed)})
        }
        _ => Value::Null,
    }
}

/// The kernel says 0 for a process that has no number in this PID namespace.
fn creator(pid: u32) -> String {
    if pid == 0 {
        "in another PID namespace".to_owned()
    } else {
        format!("pid {pid}")
    }
}

/// And for nobody.
fn last_user(stat: &SegmentStat) -> String {
    match stat.last_pid {
        0 if stat.attach_time.is_none() => "never attached".to_owned(),
        0 => "in another PID namespace".to_owned(),
        pid => pid.to_string(),
    }
}

fn shown(time: Option<Time>) -> String {
    let Some(time) = time else {
        return "never".to_owned();
    };
    let age = system_time(time).elapsed().unwrap_or_default();
    let age = humantime::format_duration(Duration::from_secs(age.as_secs()));
    format!("{} ({age} ago)", rfc3339(time))
}

fn rfc3339(time: Time) -> String {
    humantime::format_rfc3339_seconds(system_time(time)).to_string()
}

/// The time as std knows it; what its formatter cannot show becomes 1970.
fn system_time(time: Time) -> SystemTime {
    let seconds = u64::try_from(time.seconds).unwrap_or_default();
    // The formatter ends with the year 9999.
    let seconds = if seconds < 253_402_300_800 { seconds } else { 0 };
    SystemTime::UNIX_EPOCH + Duration::new(seconds, time.nanoseconds)
}
