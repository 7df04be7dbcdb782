//! `shmeld image provide`.

use shmeld::file::Interrupt;
use shmeld::image::{Folder, ImageError, Provider, ProviderOptions, Served};
use shmeld::{Error, Result};

use super::image::Say;
use crate::args_image::ProvideArgs;
use crate::program::{Program, exit};

pub(super) fn run(program: &Program, args: &ProvideArgs, interrupt: &Interrupt) -> Result<u8> {
    let say = Say {
        program,
        talk: &args.talk,
    };
    let mut folder = Folder::open(&args.directory)?;
    let mut tally = Tally::default();
    let outcome = serve(args, interrupt, &mut folder, &say, &mut tally);
    let code = match &outcome {
        Ok(()) => exit::DONE,
        // Without a number to reach, time that is up is the end that was asked for; but not if nobody ever came.
        Err(Error::Image(ImageError::NoRequest { .. }))
            if args.count.is_none() && tally.images + tally.failed > 0 =>
        {
            exit::DONE
        }
        Err(error) => program.fail(error),
    };
    say.summary(tally.images, tally.failed, code);
    Ok(code)
}

/// What came of the requests so far.
#[derive(Debug, Default)]
struct Tally {
    images: u64,
    failed: u64,
}

fn serve(
    args: &ProvideArgs,
    interrupt: &Interrupt,
    folder: &mut Folder,
    say: &Say<'_>,
    tally: &mut Tally,
) -> Result<()> {
    if args.count == Some(0) {
        return Ok(());
    }
    say.note(&format!(
        "channel {}: providing images of {}",
        args.channel,
        args.directory.display()
    ));
    let options = ProviderOptions {
        requester_uids: args.requester_uid.clone(),
    };
    let mut provider = Provider::open(&args.channel, options, args.timeout.0, interrupt)?;
    while args.count.is_none_or(|count| tally.images + tally.failed < count) {
        let Served { name, outcome } = provider.serve_next(folder, args.timeout.0, interrupt)?;
        match outcome {
            Ok(geometry) => {
                tally.images += 1;
                say.image("provided", name, geometry, None);
            }
            Err(reason) => {
                tally.failed += 1;
                say.failure(name, &reason, None, false);
            }
        }
        if let Some(note) = folder.take_note() {
            say.note(&note);
        }
    }
    Ok(())
}
