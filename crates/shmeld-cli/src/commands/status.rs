//! `shmeld status`.

use std::io::Write;
use std::time::Duration;

use shmeld::file::{Client, fetch_status};

use super::client_options;
use crate::args::StatusArgs;
use crate::narrate::{self, Loudness};
use crate::openmetrics;
use crate::program::Program;
use crate::values::{RegionSize, Wait, show_size};

/// Runs the command.
#[must_use]
pub fn run(program: &Program, args: &StatusArgs) -> u8 {
    narrate::install(
        program.name,
        Loudness::from_options(args.client.talk.quiet, args.client.talk.explain),
    );
    let options = client_options(
        program,
        &args.client,
        RegionSize::Bytes(4096),
        Wait(Some(Duration::ZERO)),
    );
    let status = match Client::connect(options).and_then(fetch_status) {
        Ok(status) => status,
        Err(error) => return program.fail(&error),
    };
    let mut out = std::io::stdout().lock();
    let written = if args.openmetrics {
        out.write_all(openmetrics::text(&status).as_bytes())
    } else if args.client.talk.json {
        let line = serde_json::to_string(&status).unwrap_or_default();
        writeln!(out, "{line}")
    } else {
        writeln!(
            out,
            "server    {} (pid {}, version {}), up {}\nsessions  {} now, at most {}, {} since start\nrequests  {}\nfiles     {}, {}\n\
             refused   {} names, {} regions, {} messages that are no request\nended     {} clients died, {} broke the protocol",
            status.name,
            status.pid,
            status.version,
            humantime::format_duration(Duration::from_secs(status.uptime_seconds)),
            status.sessions,
            status.sessions_max,
            status.sessions_total,
            status.requests_total,
            status.files_total,
            show_size(status.bytes_total),
            status.refused_names_total,
            status.refused_regions_total,
            status.junk_messages_total,
            status.died_total,
            status.misbehaved_total,
        )
        .and_then(|()| match (status.audit_lines_total, status.audit_lost_total) {
            (0, 0) => Ok(()),
            (lines, lost) => writeln!(out, "audit     {lines} lines, {lost} lost"),
        })
    };
    program.printed(written.and_then(|()| out.flush()))
}
