//! `shmeld ipc top`.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::TryRecvError;
use std::time::Duration;

use crossterm::event::{self, Event, KeyEventKind};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP};

use super::ipc_top_draw::draw;
use super::ipc_top_model::{Model, Step};
use super::ipc_top_sample::Sampler;
use crate::args_ipc_watch::TopArgs;
use crate::program::{Program, exit};
use crate::screen::Screen;

/// How long signals and news may wait for a key.
const PATIENCE: Duration = Duration::from_millis(100);
/// How long the loop has to end by itself once its terminal is gone.
const GONE_PATIENCE: Duration = Duration::from_secs(1);

/// Runs the command.
pub(super) fn run(program: &Program, args: &TopArgs) -> u8 {
    if !Screen::is_possible() {
        let hint =
            "shmeld ipc ls prints the same once, also as --json; shmeld status --openmetrics is for machines";
        program.complain("this is no terminal to show a picture on", Some(hint));
        return exit::USAGE;
    }
    let signals = Signals::listen();
    let outcome = Sampler::start(args.interval).and_then(|sampler| {
        signals.watch_terminal()?;
        let mut screen = Screen::open()?;
        let mut model = Model::new(args.which.clone());
        let mut is_stale = true;
        loop {
            if let Some(code) = signals.end() {
                return Ok(code);
            }
            if signals.stops.swap(false, Ordering::Relaxed) {
                screen.stop_and_return()?;
                is_stale = true;
            }
            is_stale |= hear(&sampler, &mut model)?;
            // Keys that came together are one change.
            if is_stale && !event::poll(Duration::ZERO)? {
                screen.draw(|frame| draw(frame, &mut model))?;
                is_stale = false;
            }
            let Some(step) = next_step(&mut model)? else {
                continue;
            };
            is_stale = true;
            match step {
                Step::Stay => {}
                Step::Renew => {
                    sampler.hurry();
                    screen.clear()?;
                }
                Step::Stop => screen.stop_and_return()?,
                Step::Quit => return Ok(exit::DONE),
                Step::Interrupt => return Ok(exit::INTERRUPTED),
            }
        }
    });
    // From here on the terminal is the shell's again.
    outcome.unwrap_or_else(|error| {
        program.complain(&format!("terminal: {error}"), None);
        exit::SYSTEM
    })
}

/// Takes up all news; whether there were any.
fn hear(sampler: &Sampler, model: &mut Model) -> io::Result<bool> {
    let mut has_heard = false;
    loop {
        match sampler.news.try_recv() {
            Ok(news) => model.put(news),
            Err(TryRecvError::Empty) => return Ok(has_heard),
            Err(TryRecvError::Disconnected) => {
                return Err(io::Error::other("those who look and ask have ended"));
            }
        }
        has_heard = true;
    }
}

/// What the next key means, if one comes soon. A new size of the terminal needs nothing but the next picture.
fn next_step(model: &mut Model) -> io::Result<Option<Step>> {
    if !event::poll(PATIENCE)? {
        return Ok(None);
    }
    Ok(Some(match event::read()? {
        Event::Key(key) if key.kind != KeyEventKind::Release => model.press(key),
        _ => Step::Stay,
    }))
}

/// Signals that would leave the terminal as it is if nobody heard them. A second one is no other wish than the first: the end is near.
struct Signals {
    last: Arc<AtomicUsize>,
    stops: Arc<AtomicBool>,
}

impl Signals {
    fn listen() -> Self {
        let signals = Self {
            last: Arc::default(),
            stops: Arc::default(),
        };
        // These fail only for signals that cannot be caught.
        for signal in [SIGINT, SIGTERM, SIGHUP, SIGQUIT] {
            let _ = signal_hook::flag::register_usize(signal, signals.last.clone(), signal as usize);
        }
        let _ = signal_hook::flag::register(SIGTSTP, signals.stops.clone());
        signals
    }

    /// A terminal that goes is a SIGHUP, also for a process that gets none: one of another session, or one whose shell does not pass it on.
    ///
    /// # Errors
    /// No thread could be started.
    fn watch_terminal(&self) -> io::Result<()> {
        let last = self.last.clone();
        std::thread::Builder::new()
            .name("terminal".to_owned())
            .spawn(move || {
                if shmeld::os::event::wait_for_hangup(io::stdin()).is_err() {
                    return;
                }
                last.store(SIGHUP as usize, Ordering::Relaxed);
                std::thread::sleep(GONE_PATIENCE);
                // crossterm takes the end of its input for no input, and looks for ever: nothing but the end of the process gets it out of there.
                std::process::exit(128 + SIGHUP);
            })
            .map(drop)
    }

    /// The exit code, if one has asked us to end: 128 and its number.
    fn end(&self) -> Option<u8> {
        // Relaxed: the flags publish nothing but themselves.
        let signal = u8::try_from(self.last.load(Ordering::Relaxed)).ok()?;
        (signal > 0).then(|| signal.saturating_add(128))
    }
}
