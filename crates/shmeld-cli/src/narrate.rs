//! What the library tells through `tracing`, put into words on standard error: warnings, news, and the lesson of `--explain`.

use std::fmt::{self, Write as _};
use std::io::Write as _;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use shmeld::os::event::is_writable;
use shmeld::os::name::escape_controls;

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

/// The target of the steps that `--explain` narrates.
const EXPLAIN: &str = "shmeld::explain";

/// How much is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Loudness {
    /// Errors only.
    Quiet,
    /// News as well: waiting for a server, leftovers removed.
    Normal,
    /// Every step.
    Explain,
}

impl Loudness {
    /// What the options `-q` and `--explain` mean together.
    #[must_use]
    pub fn from_options(quiet: bool, explain: bool) -> Self {
        match (quiet, explain) {
            (_, true) => Self::Explain,
            (true, false) => Self::Quiet,
            (false, false) => Self::Normal,
        }
    }
}

/// Installs the narrator for this process.
pub fn install(program: &'static str, loudness: Loudness) {
    // A second installation (in one process, by a test) changes nothing.
    let _ = tracing::subscriber::set_global_default(Narrator {
        throttle: Throttle::default(),
        program,
        loudness,
        start: Instant::now(),
    });
}

/// One write a line: two processes that share a terminal do not tear each other's lines apart.
/// Whatever drives a terminal is shown and not done, whoever forgot to escape it before.
fn write(line: &str) {
    let line = escape_controls(line.to_owned()) + "\n";
    // A closed standard error has no reader to tell.
    let _ = std::io::stderr().write_all(line.as_bytes());
}

/// How many messages a second are told in all: clients that misbehave by the hundred must not fill the disk behind a log. Of one user
/// and reason the server says ten at most (`session_log.rs`); this is for everything else, and for many users at once.
const MESSAGES_A_SECOND_MAX: u32 = 100;

/// Holds messages back: too many, or a standard error that nobody reads (a server must not wait for that).
#[derive(Default)]
struct Throttle(Mutex<Told>);

#[derive(Default)]
struct Told {
    second: Option<Instant>,
    count: u32,
    left_out: u64,
}

impl Throttle {
    /// Whether a message may be told, and how many were not before it.
    fn admit(&self) -> Option<u64> {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if told
            .second
            .is_none_or(|start| start.elapsed() >= Duration::from_secs(1))
        {
            (told.second, told.count) = (Some(Instant::now()), 0);
        }
        if told.count >= MESSAGES_A_SECOND_MAX || !is_writable(std::io::stderr()) {
            told.left_out += 1;
            return None;
        }
        told.count += 1;
        Some(std::mem::take(&mut told.left_out))
    }
}

struct Narrator {
    throttle: Throttle,
    program: &'static str,
    loudness: Loudness,
    start: Instant,
}

impl Subscriber for Narrator {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        if metadata.target() == EXPLAIN {
            return self.loudness == Loudness::Explain;
        }
        let worth = match self.loudness {
            Loudness::Quiet => Level::ERROR,
            Loudness::Normal => Level::INFO,
            Loudness::Explain => Level::DEBUG,
        };
        metadata.target().starts_with("shmeld") && metadata.level() <= &worth
    }

    fn event(&self, event: &Event<'_>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        if event.metadata().target() == EXPLAIN {
            let elapsed = self.start.elapsed().as_secs_f64() * 1000.0;
            let step = format!("{} {}", fields.call, fields.object);
            write(&format!(
                "{:>10} {elapsed:9.2} ms  {step:<62} {}",
                self.program, fields.why
            ));
        } else if let Some(left_out) = self.throttle.admit() {
            let left_out = if left_out > 0 {
                format!(" ({left_out} messages left out)")
            } else {
                String::new()
            };
            write(&format!("{}: {}{left_out}", self.program, fields.message));
        }
    }

    // The library opens no spans.
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

#[derive(Default)]
struct Fields {
    message: String,
    call: String,
    object: String,
    why: String,
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let target = match field.name() {
            "message" => &mut self.message,
            "call" => &mut self.call,
            "object" => &mut self.object,
            "why" => &mut self.why,
            _ => return,
        };
        // Writing into a string does not fail.
        let _ = write!(target, "{value:?}");
    }
}
