//! `shmeld image`, and what its two sides tell alike.

use std::io::Write;

use serde_json::json;
use shmeld::image::{Geometry, Shape};
use shmeld::os::name::escape;

use super::{image_provide, image_request};
use crate::args_image::{ImageArgs, ImageCommand};
use crate::args_talk::TalkArgs;
use crate::narrate::{self, Loudness};
use crate::program::Program;
use crate::report::shown;

/// Runs the command.
#[must_use]
pub fn run(program: &Program, args: &ImageArgs) -> u8 {
    let talk = match &args.command {
        ImageCommand::Request(request) => &request.talk,
        ImageCommand::Provide(provide) => &provide.talk,
    };
    let loudness = Loudness::from_options(talk.quiet || talk.json, talk.explain);
    narrate::install(program.name, loudness);
    let interrupt = program.interrupt_and_clean_up();
    let outcome = match &args.command {
        ImageCommand::Request(args) => image_request::run(program, args, &interrupt),
        ImageCommand::Provide(args) => image_provide::run(program, args, &interrupt),
    };
    outcome.unwrap_or_else(|error| program.fail(&error))
}

/// What becomes of images, one line each.
pub(super) struct Say<'a> {
    pub(super) program: &'a Program,
    pub(super) talk: &'a TalkArgs,
}

impl Say<'_> {
    /// An image that went from one side to the other; `further` joins the line, and the object with its name.
    pub(super) fn image(&self, event: &str, name: &[u8], geometry: Geometry, further: Option<(&str, &str)>) {
        let shape = Shape::from(geometry);
        if self.talk.json {
            let mut object = json!({"event": event, "name": escape(name), "bytes": shape.bytes, "width": shape.width, "height": shape.height,
                "channels": shape.channels});
            if let Some((key, value)) = further {
                object[key] = value.into();
            }
            self.print(&object);
        } else if !self.talk.quiet {
            let further = further.map_or_else(String::new, |(_, value)| format!(": {value}"));
            let text = format!("image {} ({shape}){further}", escape(name));
            self.program.complain(&text, None);
        }
    }

    /// One that did not. To the requester that is an error; the provider has done what it could.
    pub(super) fn failure(&self, name: &[u8], reason: &str, hint: Option<&str>, is_error: bool) {
        if self.talk.json {
            self.print(&json!({"event": "failed", "name": escape(name), "error": reason}));
        }
        if is_error || !(self.talk.quiet || self.talk.json) {
            let text = format!("image {}: {reason}", shown(name));
            self.program.complain(&text, hint);
        }
    }

    /// What the user should know besides.
    pub(super) fn note(&self, text: &str) {
        if !self.talk.quiet {
            self.program.complain(text, None);
        }
    }

    /// The last line.
    pub(super) fn summary(&self, images: u64, failed: u64, code: u8) {
        if self.talk.json {
            self.print(&json!({"event": "summary", "images": images, "failed": failed, "exit_code": code}));
        }
    }

    fn print(&self, object: &serde_json::Value) {
        // A reader that went away is noticed by whoever wrote the pipeline.
        let _ = writeln!(std::io::stdout(), "{object}");
    }
}
