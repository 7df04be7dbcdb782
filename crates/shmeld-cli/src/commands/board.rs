//! `shmeld board`.

use std::ffi::OsString;
use std::io::{IsTerminal, Read, Write};
use std::os::unix::ffi::OsStringExt;

use serde_json::json;
use shmeld::board::{self, Delivery, HEADER_BYTES, MESSAGE_BYTES_MAX, PostOptions, ReadOptions, textbook};
use shmeld::file::Interrupt;
use shmeld::os::name::escape;
use shmeld::os::sysv::Key;
use shmeld::{Error, Result};

use crate::args_board::{BoardArgs, BoardCommand, PostArgs, ReadArgs};
use crate::args_talk::TalkArgs;
use crate::narrate::{self, Loudness};
use crate::program::{Program, exit, refused};
use crate::values::count_bytes;

/// Runs the command.
#[must_use]
pub fn run(program: &Program, args: &BoardArgs) -> u8 {
    let talk = match &args.command {
        BoardCommand::Post(post) => &post.talk,
        BoardCommand::Read(read) => &read.talk,
    };
    narrate::install(
        program.name,
        Loudness::from_options(talk.quiet || talk.json, talk.explain),
    );
    let interrupt = program.interrupt_and_clean_up();
    let outcome = match &args.command {
        BoardCommand::Post(args) => post(program, args, interrupt),
        BoardCommand::Read(args) => read(program, args, interrupt),
    };
    outcome.unwrap_or_else(|error| program.fail(&error))
}

fn post(program: &Program, args: &PostArgs, interrupt: Interrupt) -> Result<u8> {
    let key = args.key.key()?;
    let message = message(args)?;
    interrupt.check()?;
    let options = PostOptions {
        segment_bytes: args.size,
        readers: args.readers,
        timeout: args.timeout.0,
        interrupt,
        ..PostOptions::new(key)
    };
    let say = Say {
        key,
        talk: &args.talk,
    };
    let event = json!({"event": "posted", "key": key.to_string(), "bytes": message.len()});
    let bytes = count_bytes(message.len() as u64);
    if let Some(mark) = args.handshake.ack {
        let posted = textbook::post(&message, mark, options)?;
        say.tell(
            program,
            &format!("posted {bytes}, waiting for {:?}", char::from(mark)),
            || event,
        );
        let is_done = posted.wait()?;
        let words = if is_done {
            "a reader has the message"
        } else {
            "no reader has acknowledged the message"
        };
        return Ok(say.end(program, words, is_done, u64::from(is_done)));
    }
    let posted = board::post(&message, options)?;
    let for_whom = args.readers.map_or_else(
        || "for whoever comes".to_owned(),
        |readers| format!("waiting for {}", readers_of(readers.into())),
    );
    say.tell(program, &format!("posted {bytes}, {for_whom}"), || event);
    let delivery = posted.wait()?;
    Ok(say.end(
        program,
        &result_words(delivery),
        delivery.is_complete(),
        delivery.done,
    ))
}

/// `2 of 3 readers have the message`.
fn result_words(delivery: Delivery) -> String {
    let done = delivery.done;
    let wanted = delivery.readers.map(u64::from);
    let (subject, is_one) = match wanted {
        Some(wanted) if done <= wanted => (
            format!("{done} of {}", readers_of(wanted)),
            done == 1 || wanted == 1,
        ),
        _ => (readers_of(done), done == 1),
    };
    format!("{subject} {} the message", if is_one { "has" } else { "have" })
}

fn readers_of(count: u64) -> String {
    if count == 1 {
        "1 reader".to_owned()
    } else {
        format!("{count} readers")
    }
}

/// The message from the command line or from standard input, no longer than can be posted.
fn message(args: &PostArgs) -> Result<Vec<u8>> {
    match &args.message {
        Some(message) if message != "-" => return Ok(OsString::into_vec(message.clone())),
        _ => {}
    }
    let overhead = if args.handshake.ack.is_some() {
        1
    } else {
        HEADER_BYTES as u64
    };
    let room = args
        .size
        .map_or(u64::MAX, |size| size.saturating_sub(overhead))
        .min(MESSAGE_BYTES_MAX as u64);
    let mut message = Vec::new();
    let read = std::io::stdin().lock().take(room + 1).read_to_end(&mut message);
    read.map_err(|error| refused("read", "standard input", &error))?;
    if message.len() as u64 > room {
        let cure = if room < MESSAGE_BYTES_MAX as u64 {
            " (--size)"
        } else {
            ""
        };
        return Err(Error::Usage(format!(
            "the message on standard input has more than {room} bytes{cure}"
        )));
    }
    Ok(message)
}

fn read(program: &Program, args: &ReadArgs, interrupt: Interrupt) -> Result<u8> {
    let key = args.key.key()?;
    let options = ReadOptions {
        timeout: args.timeout.0,
        interrupt: interrupt.clone(),
        ..ReadOptions::new(key)
    };
    if let Some(mark) = args.handshake.ack {
        let reading = textbook::read(mark, options)?;
        if !is_printed(program, key, reading.message(), args.talk.json) {
            return Ok(exit::NOT_DELIVERED);
        }
        interrupt.check()?;
        reading.finish()?;
    } else {
        let reading = board::read(options)?;
        if !is_printed(program, key, reading.message(), args.talk.json) {
            return Ok(exit::NOT_DELIVERED);
        }
        interrupt.check()?;
        reading.finish()?;
    }
    Ok(exit::DONE)
}

/// Whoever cannot write the message has not got it: then the poster is not told that it has.
fn is_printed(program: &Program, key: Key, message: &[u8], json: bool) -> bool {
    let written = print(key, message, json);
    if let Err(error) = &written {
        let _ = program.unprinted(error);
    }
    written.is_ok()
}

fn print(key: Key, message: &[u8], json: bool) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    if json {
        let mut event = json!({"event": "read", "key": key.to_string(), "bytes": message.len()});
        match std::str::from_utf8(message) {
            Ok(text) => event["message"] = text.into(),
            Err(_) => event["message_escaped"] = escape(message).into(),
        }
        writeln!(out, "{event}")?;
    } else {
        out.write_all(message)?;
        // The prompt of a shell begins a line of its own.
        if out.is_terminal() && !message.is_empty() && !message.ends_with(b"\n") {
            out.write_all(b"\n")?;
        }
    }
    out.flush()
}

/// What a poster tells.
struct Say<'a> {
    key: Key,
    talk: &'a TalkArgs,
}

impl Say<'_> {
    fn tell(&self, program: &Program, words: &str, event: impl FnOnce() -> serde_json::Value) {
        if self.talk.json {
            // A reader that went away is noticed by whoever wrote the pipeline.
            let _ = writeln!(std::io::stdout(), "{}", event());
        } else if !self.talk.quiet {
            program.complain(&format!("board {}: {words}", self.key), None);
        }
    }

    /// The last words; what was not delivered is an error and told in any case.
    fn end(&self, program: &Program, words: &str, is_complete: bool, done: u64) -> u8 {
        let code = if is_complete {
            exit::DONE
        } else {
            exit::NOT_DELIVERED
        };
        if is_complete || self.talk.json {
            let key = self.key.to_string();
            self.tell(
                program,
                words,
                || json!({"event": "summary", "key": key, "done": done, "exit_code": code}),
            );
        }
        if !is_complete {
            program.complain(&format!("board {}: {words}", self.key), None);
        }
        code
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn result_says_how_many_of_how_many() {
        let words = |readers, done| {
            result_words(Delivery {
                readers,
                arrived: done,
                done,
            })
        };
        assert_eq!(words(Some(3), 2), "2 of 3 readers have the message");
        assert_eq!(words(Some(3), 4), "4 readers have the message");
        assert_eq!(words(Some(1), 0), "0 of 1 reader has the message");
        assert_eq!(words(Some(1), 5), "5 readers have the message");
        assert_eq!(words(Some(3), 1), "1 of 3 readers has the message");
        assert_eq!(words(None, 1), "1 reader has the message");
        assert_eq!(words(None, 0), "0 readers have the message");
    }
}
