//! `shmeld ipc show`.

use serde_json::{Value, json};
use shmeld::catalogue::{Look, Snapshot, Wanted, rfc3339};
use shmeld::os::ErrorKind;
use shmeld::os::sysv::shared_memory::SegmentStat;
use shmeld::segment::{Address, Description, Occupied};

use super::ipc::{self, Talk, event};
use super::ipc_show_object::{self, shown, size};
use crate::args_ipc::ShowArgs;
use crate::program::exit;

/// Runs the command: all that can be shown is shown, whatever happens to the others.
pub(super) fn run(talk: &Talk<'_>, args: &ShowArgs) -> u8 {
    let snapshot = Snapshot::take(Look::default());
    let codes = args.addresses.iter().enumerate().map(|(index, wanted)| {
        let gap = if index > 0 { "\n" } else { "" };
        talk.code(show(talk, wanted, &snapshot, gap))
    });
    codes.max().unwrap_or(exit::DONE)
}

fn show(talk: &Talk<'_>, wanted: &Wanted, snapshot: &Snapshot, gap: &str) -> Result<u8, shmeld::Error> {
    let mut found = Vec::new();
    for object in &snapshot.objects {
        if wanted.is(object)? {
            found.push(object);
        }
    }
    let refused = match wanted {
        Wanted::Segment(address) => match segment(address) {
            Ok((lasting, description)) => {
                let mut lines = rows(&lasting, &description);
                let mut json = as_json(&description);
                if let Some(object) = found.first() {
                    lines.extend(ipc_show_object::rest_of_segment(object));
                    merge(&mut json, ipc_show_object::judged(object));
                }
                let text = format!("{gap}{}", as_text(&lines));
                return Ok(talk.answer(text, || event("segment", &lasting, json)));
            }
            Err(error) => error,
        },
        _ => ipc_show_object::absent(wanted),
    };
    let kind = match &refused {
        shmeld::Error::Os(error) => error.kind(),
        _ => ErrorKind::Other,
    };
    let is_shown = match wanted {
        // A name that is printed with escapes; a mode that hides it from calls, and not from the tables of the kernel.
        Wanted::Segment(Address::Posix(_)) => {
            matches!(kind, ErrorKind::NotFound | ErrorKind::PermissionDenied)
        }
        Wanted::Segment(_) => kind == ErrorKind::PermissionDenied,
        _ => true,
    };
    if found.is_empty() || !is_shown {
        return Err(refused);
    }
    let mut code = exit::DONE;
    for (index, object) in found.into_iter().enumerate() {
        let gap = if index > 0 { "\n" } else { gap };
        let text = format!("{gap}{}", as_text(&ipc_show_object::rows(object)));
        code = code.max(talk.answer(text, || object.to_json()));
    }
    Ok(code)
}

fn segment(address: &Address) -> Result<(Address, Description), shmeld::Error> {
    let segment = ipc::find(address)?;
    let description = segment.describe()?;
    Ok((segment.lasting_address(), description))
}

fn merge(json: &mut Value, more: Value) {
    if let (Some(object), Value::Object(more)) = (json.as_object_mut(), more) {
        object.extend(more);
    }
}

fn as_text(rows: &[(&'static str, String)]) -> String {
    let lines: Vec<String> = rows
        .iter()
        .map(|(name, value)| format!("{name:<12}{value}"))
        .collect();
    lines.join("\n")
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

type Rows = Vec<(&'static str, String)>;

fn rows(address: &Address, description: &Description) -> Rows {
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
