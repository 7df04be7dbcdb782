//! `shmeld ipc create` and `shmeld ipc open`.

use serde_json::Value;
use shmeld::os::{ErrorKind, process};
use shmeld::segment::{Creation, Description, Made, Segment};

use super::ipc::{Talk, event};
use super::ipc_show::as_json;
use crate::args_ipc::{CreateArgs, OpenArgs};
use crate::values::count_bytes;

pub(super) fn create(talk: &Talk<'_>, args: &CreateArgs) -> u8 {
    let creation = Creation {
        bytes: args.size.unwrap_or(0),
        mode: args.mode,
        exclusive: args.exclusive,
    };
    let interrupt = talk.program.interrupt_and_clean_up();
    let created = Segment::create(&args.address, creation);
    talk.code(created.and_then(|(segment, made)| match made {
        Made::New => told_as_new(talk, &segment).and_then(|code| match interrupt.check() {
            // Nobody waits for it any more, and nobody may have heard where it is.
            Err(stopped) => Segment::remove(&segment.lasting_address()).and(Err(stopped)),
            Ok(()) => Ok(code),
        }),
        Made::Found => tell(talk, &segment, "opened").and_then(|code| interrupt.check().map(|()| code)),
    }))
}

pub(super) fn open(talk: &Talk<'_>, args: &OpenArgs) -> u8 {
    let opened = Segment::open(&args.address, args.size.unwrap_or(0), false);
    talk.code(opened.and_then(|segment| tell(talk, &segment, "opened")))
}

/// A mode that hides it from its maker does not unmake it.
fn told_as_new(talk: &Talk<'_>, segment: &Segment) -> Result<u8, shmeld::Error> {
    match tell(talk, segment, "created") {
        Err(shmeld::Error::Os(error)) if error.kind() == ErrorKind::PermissionDenied => {
            let lasting = segment.lasting_address();
            Ok(talk.data(&lasting, || event("created", &lasting, Value::Null)))
        }
        outcome => outcome,
    }
}

/// Its address alone on standard output, for scripts; the rest on standard error, for people.
fn tell(talk: &Talk<'_>, segment: &Segment, verb: &str) -> Result<u8, shmeld::Error> {
    let description = segment.describe()?;
    let lasting = segment.lasting_address();
    if !talk.args.json && !talk.args.quiet {
        let summary = format!("{verb} {}: {}", segment.address(), in_brief(&description));
        talk.program.complain(&summary, None);
    }
    Ok(talk.data(&lasting, || event(verb, &lasting, as_json(&description))))
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
    // Whoever made it could have put anything there, and can remove it.
    if description.creator_uid() != process::effective_uid() {
        text += &format!(", made by uid {}", description.creator_uid());
    }
    text
}
