//! `shmeld ipc attach`.

use std::os::fd::AsFd;

use serde_json::json;
use shmeld::file::Interrupt;
use shmeld::os::event::poll;
use shmeld::segment::How;

use super::ipc::{self, Talk, event};
use crate::args_ipc::AttachArgs;
use crate::program::exit;
use crate::values::{Wait, count_bytes};

pub(super) fn run(talk: &Talk<'_>, args: &AttachArgs) -> u8 {
    let how = How {
        read_only: args.read_only,
        address: args.at,
        round: args.round,
    };
    let interrupt = talk.program.interrupt();
    let outcome = || {
        let segment = ipc::open(&args.address, !args.read_only)?;
        let attachment = segment.attach(how)?;
        let attached = segment.describe()?.attached();
        let (address, bytes) = (attachment.address(), attachment.len());
        let rights = if args.read_only {
            "read-only: a store would end this process"
        } else {
            "for reading and writing"
        };
        let text = format!(
            "{address:#x} {}, {rights}{}",
            count_bytes(bytes as u64),
            in_words(attached)
        );
        let json = || json!({"at": format!("{address:#x}"), "size": bytes, "read_only": args.read_only, "attached": attached});
        let code = talk.data(text, || event("attached", segment.address(), json()));
        if code != exit::DONE {
            return Ok(code);
        }
        let held = hold(talk, args.hold, &interrupt);
        attachment.detach()?;
        // It may have gone with us, if somebody removed it meanwhile.
        let (left, news) = match segment.describe() {
            Ok(description) => (description.attached(), in_words(description.attached())),
            // It was removed meanwhile, and we were the last.
            Err(_) => (Some(0), ", which is gone now".to_owned()),
        };
        let text = format!("detached {}{news}", segment.address());
        let code = talk.news(text, || {
            event("detached", segment.address(), json!({"attached": left}))
        });
        held.map(|()| code)
    };
    talk.code(outcome())
}

/// The kernel counts who has a System V segment attached.
fn in_words(attached: Option<u64>) -> String {
    attached.map_or_else(String::new, |attached| format!(", {attached} attached"))
}

/// Sleeps until the time is up or a signal comes.
fn hold(talk: &Talk<'_>, hold: Wait, interrupt: &Interrupt) -> Result<(), shmeld::Error> {
    let bell = talk.program.signal_bell()?;
    // Before the wait as well: the signal may have come before there was a bell.
    interrupt.check()?;
    poll(&[bell.as_fd()], hold.0)?;
    interrupt.check()
}
