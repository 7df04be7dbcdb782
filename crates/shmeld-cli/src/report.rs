//! The events of a transfer as text, progress bar or JSON, and the exit code that follows from them.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::json;
use shmeld::counters::{Tick, Ticks};
use shmeld::file::{Event, Refusal, Status};
use shmeld::os::name::escape;

use crate::program::{Program, exit};
use crate::values::show_size;

/// Work shorter than this shows no progress bar.
const PROGRESS_AFTER: Duration = Duration::from_millis(500);

/// How a transfer is reported.
#[derive(Debug, Clone, Copy)]
pub struct Style {
    pub json: bool,
    pub quiet: bool,
    /// Whether the transfer is the whole command (then a summary follows), or a part of a demonstration.
    pub summary: bool,
}

/// See the module.
pub struct Report<'p> {
    program: &'p Program,
    verb: &'static str,
    style: Style,
    start: Instant,
    bar: Option<ProgressBar>,
    bar_allowed: bool,
    pub files: u64,
    pub bytes: u64,
    moved: u64,
    announced: u64,
    /// The file that has begun and not ended: its name, its size, and what of it has arrived.
    under_way: Option<(Vec<u8>, u64, u64)>,
    /// Bytes of delivered files, and of the present one, that an earlier transfer had fetched.
    kept: u64,
    present: u64,
    pub refused: u64,
    pub failed: u64,
    /// What the ring cost; null if the session did not end well.
    ring: serde_json::Value,
    code: u8,
}

impl<'p> Report<'p> {
    #[must_use]
    pub fn new(program: &'p Program, verb: &'static str, style: Style) -> Self {
        let bar_allowed = !style.json && !style.quiet && std::io::stderr().is_terminal();
        Self {
            program,
            verb,
            style,
            start: Instant::now(),
            bar: None,
            bar_allowed,
            files: 0,
            bytes: 0,
            moved: 0,
            announced: 0,
            under_way: None,
            kept: 0,
            present: 0,
            refused: 0,
            failed: 0,
            ring: serde_json::Value::Null,
            code: exit::DONE,
        }
    }

    /// Takes one event.
    pub fn take(&mut self, event: &Event) {
        if matches!(
            event,
            Event::Delivered { .. } | Event::Refused { .. } | Event::Failed { .. }
        ) {
            self.under_way = None;
        }
        match event {
            Event::Begun { name, size } => {
                self.under_way = Some((name.clone(), *size, 0));
                self.announced += size;
                self.present = 0;
            }
            Event::Resumed { name, bytes } => self.resumed(name, *bytes),
            Event::Restarted { name, bytes } => self.restarted(name, *bytes),
            Event::Progress { bytes } => self.progress(*bytes),
            Event::Delivered { name, size } => {
                self.files += 1;
                self.bytes += size;
                self.kept += std::mem::take(&mut self.present);
                self.json(|| json!({"event": "delivered", "name": escape(name), "size": size}));
            }
            // No command asks for bytes in memory.
            Event::Entry(_) | Event::Bytes(_) | Event::Zeros { .. } => {}
            Event::Refused { name, refusal } => {
                self.refused += 1;
                self.code = self.code.max(exit::NOT_DELIVERED);
                self.say(
                    &format!("{} {}: {refusal}", self.verb, shown(name)),
                    cure(self.verb, refusal),
                );
                self.json(|| json!({"event": "refused", "name": escape(name), "status": refusal.status.name(), "text": refusal.text}));
            }
            Event::Failed { name, error } => {
                self.failed += 1;
                let code = if matches!(error, shmeld::Error::Digest) {
                    exit::PEER
                } else {
                    exit::NOT_DELIVERED
                };
                self.code = self.code.max(code);
                self.say(
                    &format!("{} {}: {error}", self.verb, shown(name)),
                    error.hint().as_deref(),
                );
                self.json(|| json!({"event": "failed", "name": escape(name), "error": error.to_string()}));
            }
        }
    }

    /// Takes down what the ring cost, for `--json`.
    pub fn take_ticks(&mut self, ticks: &Ticks) {
        self.ring = json!({
            "slots": ticks.get(Tick::Slot),
            "spins": ticks.get(Tick::Spin),
            "sleeps": ticks.get(Tick::Sleep),
            "spurious_wakes": ticks.get(Tick::SpuriousWake),
            "wakes": ticks.get(Tick::Wake),
        });
    }

    fn resumed(&mut self, name: &[u8], bytes: u64) {
        self.present = bytes;
        self.moved(bytes);
        let there = show_size(bytes);
        self.tell(&format!(
            "{} {}: resuming, {there} are there",
            self.verb,
            shown(name)
        ));
        self.json(|| json!({"event": "resumed", "name": escape(name), "bytes": bytes}));
    }

    fn restarted(&mut self, name: &[u8], bytes: u64) {
        let there = show_size(bytes);
        let why = "the source has changed, or what was kept: starting anew";
        self.tell(&format!(
            "{} {}: {there} were there, but {why}",
            self.verb,
            shown(name)
        ));
        self.json(|| json!({"event": "restarted", "name": escape(name), "bytes": bytes}));
    }

    /// News, which `-q` and `--json` leave out.
    fn tell(&self, message: &str) {
        if !self.style.quiet && !self.style.json {
            self.say(message, None);
        }
    }

    fn moved(&mut self, bytes: u64) {
        self.moved += bytes;
        if let Some((_, _, arrived)) = &mut self.under_way {
            *arrived += bytes;
        }
    }

    fn progress(&mut self, bytes: u64) {
        self.moved(bytes);
        if !self.bar_allowed || (self.bar.is_none() && self.start.elapsed() < PROGRESS_AFTER) {
            return;
        }
        let bar = self.bar.get_or_insert_with(|| {
            let style = "{bar:30} {bytes}/{total_bytes} {binary_bytes_per_sec} {eta} {msg}";
            let style = ProgressStyle::with_template(style).unwrap_or_else(|_| ProgressStyle::default_bar());
            let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr());
            bar.with_style(style).with_elapsed(self.start.elapsed())
        });
        bar.set_length(self.announced);
        bar.set_position(self.moved);
        bar.set_message(format!("{} files", self.files));
    }

    /// A line on standard error that does not tear the progress bar.
    fn say(&self, message: &str, hint: Option<&str>) {
        let say = || self.program.complain(message, hint);
        match &self.bar {
            Some(bar) => bar.suspend(say),
            None => say(),
        }
    }

    fn json(&self, object: impl FnOnce() -> serde_json::Value) {
        if self.style.json {
            // A reader that went away is noticed by the exit code of whoever wrote the pipeline.
            let _ = writeln!(std::io::stdout(), "{}", object());
        }
    }

    /// An error that ends the session is about the server; which file it cost is told besides. Whoever has interrupted it knows.
    fn tell_what_broke_off(&self, error: &shmeld::Error) {
        if let (Some((name, size, arrived)), false) =
            (&self.under_way, matches!(error, shmeld::Error::Interrupted))
        {
            let (arrived, size) = (show_size(*arrived), show_size(*size));
            self.say(
                &format!(
                    "{} {}: broke off after {arrived} of {size}",
                    self.verb,
                    shown(name)
                ),
                None,
            );
        }
    }

    /// Says how it went, and returns the exit code.
    pub fn finish(mut self, error: Option<&shmeld::Error>) -> u8 {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
        if let Some(error) = error {
            self.tell_what_broke_off(error);
            self.code = self.code.max(self.program.fail(error));
        }
        let seconds = self.start.elapsed().as_secs_f64();
        let nothing_to_tell = error.is_some() && self.files == 0;
        if self.style.summary && !nothing_to_tell && !self.style.quiet && !self.style.json {
            let fetched = self.bytes.saturating_sub(self.kept);
            let rate = show_size((fetched as f64 / seconds.max(1e-6)) as u64);
            let files = if self.files == 1 { "file" } else { "files" };
            let mut line = format!(
                "{} {files}, {} in {seconds:.2} s ({rate}/s)",
                self.files,
                show_size(self.bytes)
            );
            if self.kept > 0 {
                line += &format!(", {} of it were there", show_size(self.kept));
            }
            let missing = self.refused + self.failed;
            if missing > 0 {
                line += &format!(", {missing} not delivered");
            }
            self.program.complain(&line, None);
        }
        let (code, ring) = (self.code, self.ring.take());
        self.json(|| {
            json!({"event": "summary", "files": self.files, "bytes": self.bytes, "bytes_resumed": self.kept,
                   "refused": self.refused, "failed": self.failed, "seconds": seconds, "ring": ring, "exit_code": code})
        });
        code
    }
}

/// What can be done about a refusal, where the command has a way.
fn cure(verb: &str, refusal: &Refusal) -> Option<&'static str> {
    let is_directory = refusal.status == Status::NotAFile && refusal.text.starts_with("a directory");
    (verb == "get" && is_directory).then_some("-r fetches a directory with everything below it")
}

/// A name in a message: control bytes escaped, and the empty name visible.
pub(crate) fn shown(name: &[u8]) -> String {
    if name.is_empty() {
        "\"\"".to_owned()
    } else {
        escape(name)
    }
}
