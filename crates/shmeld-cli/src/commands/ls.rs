//! `shmeld ls`.

use std::io::{IsTerminal, Write};
use std::os::unix::ffi::OsStringExt;
use std::time::{Duration, SystemTime};

use serde_json::json;
use shmeld::file::record::{Entry, EntryKind};
use shmeld::file::wire::{FLAG_RECURSIVE, Op};
use shmeld::file::{Client, ClientOptions, Event, Job, OutputOptions, Query, Target, Transfer};
use shmeld::os::name::escape;

use super::client_options;
use crate::args::LsArgs;
use crate::narrate::{self, Loudness};
use crate::program::Program;
use crate::report::{Report, Style};
use crate::values::{RegionSize, Wait};

/// The region of a listing: many entries fit one slot.
const REGION_BYTES: u64 = 64 * 1024;

/// Runs the command.
#[must_use]
pub fn run(program: &Program, args: &LsArgs) -> u8 {
    narrate::install(
        program.name,
        Loudness::from_options(args.client.talk.quiet, args.client.talk.explain),
    );
    let wait = Wait(Some(Duration::ZERO));
    let options = ClientOptions {
        region_bytes: REGION_BYTES,
        ..client_options(program, &args.client, RegionSize::Auto, wait)
    };
    let client = match Client::connect(options) {
        Ok(client) => client,
        Err(error) => return program.fail(&error),
    };
    let path = args
        .pattern
        .clone()
        .map(OsStringExt::into_vec)
        .unwrap_or_default();
    let flags = if args.recursive { FLAG_RECURSIVE } else { 0 };
    let job = Job {
        query: Query {
            op: Op::List,
            path,
            flags,
            resume: None,
        },
        target: Target::Discard,
    };
    let mut transfer = Transfer::new(client, std::iter::once(job), OutputOptions::default());
    let mut report = Report::new(
        program,
        "ls",
        Style {
            json: false,
            quiet: true,
            summary: false,
        },
    );
    let mut entries = Vec::new();
    let error = loop {
        match transfer.next_event() {
            Ok(Some(Event::Entry(entry))) => entries.push(entry),
            Ok(Some(event)) => report.take(&event),
            Ok(None) => break None,
            Err(error) => break Some(error),
        }
    };
    if error.is_none() {
        transfer.close();
    }
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    let printed = print(&entries, args);
    let code = report.finish(error.as_ref());
    code.max(program.printed(printed))
}

fn print(entries: &[Entry], args: &LsArgs) -> std::io::Result<()> {
    let terminal = std::io::stdout().is_terminal();
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    for entry in entries {
        if args.client.talk.json {
            writeln!(out, "{}", as_json(entry))?;
            continue;
        }
        if args.long {
            let time = humantime::format_rfc3339_seconds(modified(entry));
            write!(
                out,
                "{}{} {:>12} {time} ",
                letter(entry.kind),
                permissions(entry.mode),
                entry.size
            )?;
        }
        if terminal {
            out.write_all(escape(&entry.name).as_bytes())?;
        } else {
            out.write_all(&entry.name)?;
        }
        match entry.kind {
            EntryKind::Symlink if args.long => writeln!(out, " -> {}", escape(&entry.text))?,
            EntryKind::Directory => writeln!(out, "/")?,
            _ => writeln!(out)?,
        }
    }
    out.flush()
}

fn as_json(entry: &Entry) -> serde_json::Value {
    let kind = match entry.kind {
        EntryKind::File => "file",
        EntryKind::Directory => "directory",
        EntryKind::Symlink => "symlink",
        EntryKind::Other | EntryKind::Unknown => "other",
    };
    let mut object = json!({"name": escape(&entry.name), "kind": kind, "size": entry.size, "mode": format!("{:04o}", entry.mode),
        "modified": humantime::format_rfc3339_nanos(modified(entry)).to_string(), "uid": entry.uid, "gid": entry.gid});
    if entry.kind == EntryKind::Symlink {
        object["target"] = escape(&entry.text).into();
    }
    object
}

/// The time as std knows it; what std's formatter cannot show becomes 1970.
fn modified(entry: &Entry) -> SystemTime {
    let seconds = u64::try_from(entry.modified.seconds).unwrap_or_default();
    // The formatter ends with the year 9999.
    let seconds = if seconds < 253_402_300_800 { seconds } else { 0 };
    SystemTime::UNIX_EPOCH + Duration::new(seconds, entry.modified.nanoseconds)
}

fn letter(kind: EntryKind) -> char {
    match kind {
        EntryKind::Directory => 'd',
        EntryKind::Symlink => 'l',
        EntryKind::File => '-',
        EntryKind::Other | EntryKind::Unknown => '?',
    }
}

fn permissions(mode: u32) -> String {
    (0..9)
        .rev()
        .map(|bit| {
            if mode >> bit & 1 == 1 {
                ['x', 'w', 'r'][bit % 3]
            } else {
                '-'
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permissions_read_like_those_of_ls() {
        assert_eq!(permissions(0o754), "rwxr-xr--");
        assert_eq!(permissions(0o007), "------rwx");
    }
}
