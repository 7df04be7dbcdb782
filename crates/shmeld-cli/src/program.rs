//! What every command does first and last.

use std::io::{PipeReader, PipeWriter, Read, Write};
use std::os::fd::AsFd;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use shmeld::file::{Audit, Interrupt, Stopper};
use shmeld::os::event::poll;
use shmeld::os::name::escape_controls;
use shmeld::os::{Errno, process, sigbus};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

/// Exit codes of section "Exit codes" of the README.
pub mod exit {
    /// Done.
    pub const DONE: u8 = 0;
    /// Something asked for was not delivered.
    pub const NOT_DELIVERED: u8 = 1;
    /// The command line, or what it names, makes no sense.
    pub const USAGE: u8 = 2;
    /// The system or the server refuses.
    pub const SYSTEM: u8 = 3;
    /// The peer died or broke the protocol.
    pub const PEER: u8 = 4;
    /// Ended by SIGHUP.
    pub const HUNG_UP: u8 = 129;
    /// Ended by SIGINT.
    pub const INTERRUPTED: u8 = 130;
    /// Ended by SIGTERM.
    pub const TERMINATED: u8 = 143;
}

/// How long a signal may go unnoticed while the output is a pipe.
const UNNOTICED_MAX: Duration = Duration::from_secs(1);
/// How long a command may clean up: a demonstration waits so long for a server that it has told to end.
const CLEAN_UP_MAX: Duration = Duration::from_secs(10);

/// What a command knows about the process it runs in.
#[derive(Debug, Clone)]
pub struct Program {
    /// `shm_client`, `shm_server` or `shmeld get`: how messages begin.
    pub name: &'static str,
    /// The umask that the user had.
    pub umask: u32,
    last_signal: Arc<AtomicUsize>,
}

impl Program {
    /// The first call of every binary: nothing this process makes is ever open to others by accident.
    #[must_use]
    pub fn start(name: &'static str) -> Self {
        let umask = process::set_umask(0o077);
        process::ignore_broken_pipe_and_file_size();
        let program = Self {
            name,
            umask,
            last_signal: Arc::default(),
        };
        if let Err(error) = sigbus::install() {
            program.complain(&format!("{error}"), None);
        }
        program
    }

    /// Prints an error and its cure to standard error.
    pub fn complain(&self, message: &str, hint: Option<&str>) {
        // Names in it come from strangers: what drives a terminal is shown and not done.
        let printable = |text: String| escape_controls(text) + "\n";
        let mut text = printable(format!("{}: {message}", self.name));
        if let Some(hint) = hint {
            text += &printable(format!("hint: {hint}"));
        }
        // One write: messages of several processes on one terminal stay whole. A closed standard error has no reader to tell.
        let _ = std::io::stderr().write_all(text.as_bytes());
    }

    /// Prints an error of the library and turns it into an exit code.
    #[must_use]
    pub fn fail(&self, error: &shmeld::Error) -> u8 {
        if matches!(error, shmeld::Error::Interrupted) {
            return self.signal_code();
        }
        self.complain(&error.to_string(), error.hint().as_deref());
        error.exit_code()
    }

    /// The exit code of data for standard output. A reader that had enough (`ls | head`) is no error.
    #[must_use]
    pub fn printed(&self, written: std::io::Result<()>) -> u8 {
        match written {
            Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => self.unprinted(&error),
            _ => exit::DONE,
        }
    }

    /// The same for what somebody has to read: what was not written is told.
    #[must_use]
    pub fn unprinted(&self, error: &std::io::Error) -> u8 {
        let error = refused("write", "standard output", error);
        self.complain(&error.to_string(), error.hint().as_deref());
        exit::NOT_DELIVERED
    }

    /// 128 + the signal that asked us to stop.
    #[must_use]
    pub fn signal_code(&self) -> u8 {
        match self.last_signal() {
            SIGHUP => exit::HUNG_UP,
            SIGTERM => exit::TERMINATED,
            _ => exit::INTERRUPTED,
        }
    }

    fn last_signal(&self) -> i32 {
        self.last_signal.load(Ordering::Relaxed) as i32
    }

    /// A wish to stop that SIGINT, SIGTERM and SIGHUP set. A second SIGINT or SIGTERM ends the process at once: for commands that never
    /// have anything half made under a name. For all others there is [`Program::interrupt_and_clean_up`].
    #[must_use]
    pub fn interrupt(&self) -> Interrupt {
        let flag = Arc::new(AtomicBool::new(false));
        for signal in endings() {
            // A terminal that goes away may say so twice: that is no second wish.
            if signal != SIGHUP {
                // Order matters: the default action is taken only if an earlier signal has set the flag. All registrations fail only for
                // signals that cannot be caught.
                let _ = signal_hook::flag::register_conditional_default(signal, flag.clone());
            }
            self.hear(signal, &flag);
        }
        Interrupt::from_flag(flag)
    }

    /// A wish to stop that SIGINT, SIGTERM and SIGHUP set, for commands that remove what they have made before they end: a second signal
    /// does not keep them from it. A command that is blocked on its standard input or output loses these: a second after a signal that nobody
    /// notices, a second after one that comes again, ten seconds after one that was noticed. If it has not ended another ten seconds later,
    /// it is ended where it stands.
    #[must_use]
    pub fn interrupt_and_clean_up(&self) -> Interrupt {
        let Ok((signals, _writer)) = signals_as_pipe(&endings()) else {
            return self.interrupt();
        };
        let flag = Arc::new(AtomicBool::new(false));
        endings().iter().for_each(|&signal| self.hear(signal, &flag));
        let interrupt = Interrupt::from_flag(flag);
        let (program, wish) = (self.clone(), interrupt.clone());
        let watch = move || program.insist(signals, &wish);
        if std::thread::Builder::new()
            .name("watch".to_owned())
            .spawn(watch)
            .is_err()
        {
            // Nobody frees a command that is blocked: what it has made is left rather than that it cannot be ended.
            end_at_second_signal();
        }
        interrupt
    }

    fn hear(&self, signal: i32, flag: &Arc<AtomicBool>) {
        let _ = signal_hook::flag::register_usize(signal, self.last_signal.clone(), signal as usize);
        let _ = signal_hook::flag::register(signal, flag.clone());
    }

    /// Sees to it that the process ends after a signal, but not before it has cleaned up.
    fn insist(&self, mut signals: PipeReader, interrupt: &Interrupt) {
        if signals.read_exact(&mut [0]).is_err() {
            return;
        }
        std::thread::sleep(UNNOTICED_MAX);
        // Whoever has noticed cleans up by now, and may be blocked in what it says of that.
        if !interrupt.is_unnoticed()
            && poll(&[signals.as_fd()], Some(CLEAN_UP_MAX)).is_ok_and(|again| again[0])
        {
            std::thread::sleep(UNNOTICED_MAX);
        }
        // A blocked call is begun anew after the signal, and then does not wait any more.
        let _ = process::silence_standard_streams();
        let _ = process::signal_main_thread(self.last_signal());
        std::thread::sleep(CLEAN_UP_MAX);
        std::process::exit(i32::from(self.signal_code()));
    }

    /// Something to poll that can be read once SIGINT, SIGTERM or SIGHUP has come. To be asked for after [`Program::interrupt`], whose flag
    /// is set by then.
    ///
    /// # Errors
    /// No descriptors for it.
    pub fn signal_bell(&self) -> Result<PipeReader, shmeld::os::Error> {
        let (reader, _) = signals_as_pipe(&endings())?;
        Ok(reader)
    }

    /// Ends the process after a signal that nobody noticed for a second, because the client is blocked in a write or open of a
    /// pipe. Such an output has no name that could be left half made.
    pub fn end_when_blocked(&self, interrupt: Interrupt) {
        let program = self.clone();
        // The handler writes a byte: the thread sleeps until there is something to watch. Without it a second signal is needed, no more.
        let Ok((mut signals, _writer)) = signals_as_pipe(&endings()) else {
            return;
        };
        let watch = move || {
            let came = signals.read_exact(&mut [0]).is_ok();
            std::thread::sleep(UNNOTICED_MAX);
            if came && interrupt.is_unnoticed() {
                std::process::exit(i32::from(program.signal_code()));
            }
        };
        let _ = std::thread::Builder::new().name("watch".to_owned()).spawn(watch);
    }

    /// Lets SIGINT and SIGTERM stop a server; the second one ends the process at once. SIGHUP opens the audit log anew, and stops a server
    /// that has none; if it was ignored when this process was started, as by `nohup`, a server without audit log goes on ignoring it.
    /// A server that `has_starter`, whose end is its own, cleans up after a second signal too: the terminal told both, and that one waits.
    ///
    /// # Errors
    /// No descriptors or no thread for it.
    pub fn stop_on_signals(
        &self,
        stopper: Stopper,
        audit: Option<Arc<Audit>>,
        has_starter: bool,
    ) -> Result<(), shmeld::os::Error> {
        let stops = signals_as_pipe(&[SIGINT, SIGTERM])?;
        let hears_hangups = audit.is_some() || !process::is_ignored(SIGHUP);
        let hangups = signals_as_pipe(if hears_hangups { &[SIGHUP] } else { &[] })?;
        std::thread::Builder::new()
            .name("signals".to_owned())
            .spawn(move || {
                watch_signals([stops, hangups], &stopper, audit.as_deref(), has_starter);
                // A server that hears no signals could never be asked to end.
                stopper.stop();
            })
            .map_err(|error| refused("pthread_create", "signals", &error))?;
        Ok(())
    }
}

/// The second SIGINT or SIGTERM from now on ends the process at once.
fn end_at_second_signal() {
    let told = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        // Order matters, as in `Program::interrupt`.
        let _ = signal_hook::flag::register_conditional_default(signal, told.clone());
        let _ = signal_hook::flag::register(signal, told.clone());
    }
}

/// The signals that mean the end; SIGHUP only if it was not ignored when this process was started, as by `nohup`.
fn endings() -> Vec<i32> {
    let hears_hangups = !process::is_ignored(SIGHUP);
    let hangup = hears_hangups.then_some(SIGHUP);
    [SIGINT, SIGTERM].into_iter().chain(hangup).collect()
}

/// A pipe that gets a byte for each of these signals, and a writing end that keeps it open. A pipe of our own: signal-hook's iterator would
/// make a pair of sockets, and the rule book knows no sockets.
fn signals_as_pipe(signals: &[i32]) -> Result<(PipeReader, PipeWriter), shmeld::os::Error> {
    let (reader, writer) = std::io::pipe().map_err(|error| refused("pipe", "signals", &error))?;
    for signal in signals {
        let writer = writer
            .try_clone()
            .map_err(|error| refused("fcntl(F_DUPFD_CLOEXEC)", "signals", &error))?;
        signal_hook::low_level::pipe::register(*signal, writer)
            .map_err(|error| refused("sigaction", "signals", &error))?;
    }
    Ok((reader, writer))
}

/// Does what signals mean to a server, until that cannot be heard any more.
fn watch_signals(
    pipes: [(PipeReader, PipeWriter); 2],
    stopper: &Stopper,
    audit: Option<&Audit>,
    has_starter: bool,
) {
    let [(mut stops, _stops), (mut hangups, _hangups)] = pipes;
    let mut stopping = false;
    while let Ok(ready) = poll(&[stops.as_fd(), hangups.as_fd()], None) {
        if ready[1] {
            if hangups.read_exact(&mut [0]).is_err() {
                return;
            }
            match audit {
                Some(audit) => audit.reopen(),
                // A terminal that goes away may say so twice: that is no second wish.
                None => stopper.stop(),
            }
        }
        if ready[0] {
            if stops.read_exact(&mut [0]).is_err() {
                return;
            }
            if stopping && !has_starter {
                std::process::exit(i32::from(exit::INTERRUPTED));
            }
            stopping = true;
            stopper.stop();
        }
    }
}

/// What the standard library says of an operation, with what can be done about it.
pub fn refused(operation: &'static str, object: &str, error: &std::io::Error) -> shmeld::os::Error {
    let errno = error
        .raw_os_error()
        .map_or(Errno::INVAL, Errno::from_raw_os_error);
    shmeld::os::Error::new(operation, object, errno)
}

/// Runs a command and turns its code into the process's.
#[must_use]
pub fn finish(code: u8) -> ExitCode {
    ExitCode::from(code)
}
