//! `shmeld ipc resize`, `chmod`, `chown` and `rm`.

use serde_json::json;
use shmeld::segment::{Address, Removal, Segment};

use super::ipc::{self, Talk, event};
use crate::args_ipc::{ChmodArgs, ChownArgs, ResizeArgs, RmArgs};
use crate::program::exit;
use crate::values::{Owner, count_bytes};

pub(super) fn resize(talk: &Talk<'_>, args: &ResizeArgs) -> u8 {
    // Stopped half-way it gives back what it has reserved.
    let interrupt = talk.program.interrupt();
    talk.code(ipc::open(&args.address, true).and_then(|segment| {
        segment.resize(args.size, &interrupt)?;
        let text = format!("{} has {} now", args.address, count_bytes(args.size));
        Ok(talk.news(text, || {
            event("resized", &args.address, json!({"size": args.size}))
        }))
    }))
}

pub(super) fn chmod(talk: &Talk<'_>, args: &ChmodArgs) -> u8 {
    talk.code(ipc::find(&args.address).and_then(|segment| {
        segment.set_mode(args.mode)?;
        let mode = format!("{:04o}", args.mode);
        let text = format!(
            "{} has mode {mode} now; who has it attached keeps what it may do",
            args.address
        );
        Ok(talk.news(text, || event("mode", &args.address, json!({"mode": mode}))))
    }))
}

pub(super) fn chown(talk: &Talk<'_>, args: &ChownArgs) -> u8 {
    let Owner { uid, gid } = args.owner;
    talk.code(ipc::find(&args.address).and_then(|segment| {
        segment.set_owner(uid, gid)?;
        let words = [
            uid.map(|uid| format!("uid {uid}")),
            gid.map(|gid| format!("gid {gid}")),
        ];
        let words: Vec<String> = words.into_iter().flatten().collect();
        let text = format!("{} belongs to {} now", args.address, words.join(", "));
        Ok(talk.news(text, || {
            event("owner", &args.address, json!({"uid": uid, "gid": gid}))
        }))
    }))
}

/// Removes all that can be removed, whatever happens to the others.
pub(super) fn rm(talk: &Talk<'_>, args: &RmArgs) -> u8 {
    let codes = args.addresses.iter().map(|address| {
        talk.code(Segment::remove(address).map(|removal| {
            let attached = match removal {
                Removal::Marked { attached } => Some(attached),
                Removal::Gone => Some(0),
                _ => None,
            };
            let json = || {
                event(
                    "removed",
                    address,
                    json!({"attached": attached, "gone": removal == Removal::Gone}),
                )
            };
            talk.news(what_is_left(address, removal), json)
        }))
    });
    codes.max().unwrap_or(exit::DONE)
}

fn what_is_left(address: &Address, removal: Removal) -> String {
    match removal {
        Removal::Gone => format!("removed {address}"),
        Removal::Marked { attached: 1 } => {
            format!("marked {address} for removal: 1 attached, and it goes when that one detaches or ends")
        }
        Removal::Marked { attached } => {
            format!(
                "marked {address} for removal: {attached} attached, and it goes when the last detaches or ends"
            )
        }
        Removal::Unseen => {
            format!("marked {address} for removal; its mode hides whether it is attached")
        }
        _ => format!("removed {address}: who has it open or mapped keeps it until the last lets go"),
    }
}
