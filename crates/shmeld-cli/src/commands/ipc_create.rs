//! `shmeld ipc create` and `shmeld ipc open`.

use serde_json::Value;
use shmeld::os::{ErrorKind, limits, process};
use shmeld::segment::{Address, Creation, Description, Made, Segment, SysvAddress};

use super::ipc::{Talk, event};
use super::ipc_show::as_json;
use crate::args_ipc::{CreateArgs, OpenArgs};
use crate::program::exit;
use crate::values::count_bytes;

pub(super) fn create(talk: &Talk<'_>, args: &CreateArgs) -> u8 {
    let creation = Creation {
        bytes: args.size.unwrap_or(0),
        mode: args.mode,
        exclusive: args.exclusive,
    };
    let interrupt = talk.program.interrupt_and_clean_up();
    let created = Segment::create(&args.address, creation, &interrupt);
    talk.code(created.and_then(|(segment, made)| match made {
        Made::New => told_as_new(talk, &segment).and_then(|code| match interrupt.check() {
            // Nobody waits for it any more, and nobody may have heard where it is.
            Err(stopped) => Segment::remove(&segment.lasting_address()).and(Err(stopped)),
            Ok(()) => Ok(code.max(kept(talk, segment.address()))),
        }),
        Made::Found => tell(talk, &segment, "opened").and_then(|code| interrupt.check().map(|()| code)),
    }))
}

pub(super) fn open(talk: &Talk<'_>, args: &OpenArgs) -> u8 {
    let opened = Segment::open(&args.address, args.size.unwrap_or(0), false);
    talk.code(opened.and_then(|segment| tell(talk, &segment, "opened")))
}

/// A mode that hides it from its maker does not unmake it; but one of which nobody has heard is of no use to anybody.
fn told_as_new(talk: &Talk<'_>, segment: &Segment) -> Result<u8, shmeld::Error> {
    let lasting = segment.lasting_address();
    let told = match tell(talk, segment, "created") {
        Err(shmeld::Error::Os(error)) if error.kind() == ErrorKind::PermissionDenied => {
            Ok(talk.data(&lasting, || event("created", &lasting, Value::Null)))
        }
        outcome => outcome,
    };
    if !matches!(told, Ok(exit::DONE)) && has_no_key(segment.address()) {
        Segment::remove(&lasting)?;
        let text = format!("removed {lasting}: only its number leads to it, and that could not be told");
        talk.program.complain(&text, None);
    }
    told
}

/// Some machines keep no segment that nobody has attached beyond the end of its maker, which is this command.
fn kept(talk: &Talk<'_>, address: &Address) -> u8 {
    if matches!(address, Address::Posix(_)) || !limits::segments_end_with_their_makers() {
        return exit::DONE;
    }
    talk.program.complain(
        &format!("{address} goes at the end of this command, unless somebody has it attached"),
        Some(
            "this machine keeps no such segments (kernel.shm_rmid_forced is 1): let the program make it that attaches it, take a POSIX \
             segment, or: sysctl -w kernel.shm_rmid_forced=0",
        ),
    );
    exit::NOT_DELIVERED
}

fn has_no_key(address: &Address) -> bool {
    matches!(address, Address::Sysv(SysvAddress::Key(key)) if key.is_private())
}

/// Its address alone on standard output, for scripts; the rest on standard error, for people.
fn tell(talk: &Talk<'_>, segment: &Segment, verb: &str) -> Result<u8, shmeld::Error> {
    let description = segment.describe()?;
    let lasting = segment.lasting_address();
    let code = talk.data(&lasting, || event(verb, &lasting, as_json(&description)));
    if code == exit::DONE && !talk.args.json && !talk.args.quiet {
        let summary = format!("{verb} {}: {}", segment.address(), in_brief(&description));
        talk.program.complain(&summary, None);
    }
    Ok(code)
}

/// Size, mode, and what a user should know before relying on it.
fn in_brief(description: &Description) -> String {
    let mut text = format!(
        "{}, mode {:04o}",
        count_bytes(description.bytes()),
        description.mode()
    );
    if let Some(attached) = description.attached() {
        text += &format!(", {attached} attached");
    }
    if matches!(description, Description::Sysv { stat, .. } if stat.is_marked) {
        text += ", marked for removal";
    }
    // Whoever made it could have put anything there, and can remove it.
    if description.creator_uid() != process::effective_uid() {
        text += &format!(", made by uid {}", description.creator_uid());
    }
    text
}
