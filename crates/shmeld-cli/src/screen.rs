//! A whole terminal for a program, given back as it was: at the end, on a panic, and before a stop.

use std::io::{self, IsTerminal, Stdout};
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};

use crossterm::cursor::{Hide, Show};
use crossterm::execute;
use crossterm::terminal::{EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode};
use ratatui::backend::CrosstermBackend;
use ratatui::{Frame, Terminal};
use shmeld::os::process;

/// Whether the terminal is ours at this moment. The hook for panics has no other way to know.
static IS_OURS: AtomicBool = AtomicBool::new(false);

/// See the module. There is one terminal, so one of these at a time.
pub struct Screen {
    terminal: Terminal<CrosstermBackend<Stdout>>,
}

impl Screen {
    /// Whether there is a terminal to take: for the picture, and for keys.
    #[must_use]
    pub fn is_possible() -> bool {
        io::stdout().is_terminal() && io::stdin().is_terminal()
    }

    /// Takes the terminal: keys come one by one and unseen, and what was on it is kept aside.
    ///
    /// # Errors
    /// It is none, or is gone.
    pub fn open() -> io::Result<Self> {
        restore_on_panic();
        let terminal = Terminal::new(CrosstermBackend::new(io::stdout()))?;
        let screen = Self { terminal };
        take()?;
        Ok(screen)
    }

    /// Draws a picture; what did not change since the last one is not sent.
    ///
    /// # Errors
    /// The terminal is gone.
    pub fn draw(&mut self, picture: impl FnOnce(&mut Frame<'_>)) -> io::Result<()> {
        self.terminal.draw(picture).map(drop)
    }

    /// Forgets what is on the terminal: the next picture is sent whole.
    ///
    /// # Errors
    /// The terminal is gone.
    pub fn clear(&mut self) -> io::Result<()> {
        self.terminal.clear()
    }

    /// Gives the terminal back, stops as after Ctrl-Z, and takes it again when the process is continued. Where no shell would continue it,
    /// it goes on at once.
    ///
    /// # Errors
    /// The terminal is gone.
    pub fn stop_and_return(&mut self) -> io::Result<()> {
        give_back();
        let stopped = process::stop_group();
        take()?;
        self.clear()?;
        stopped.map_err(|error| io::Error::other(error.to_string()))
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        give_back();
    }
}

fn take() -> io::Result<()> {
    enable_raw_mode()?;
    // Relaxed: the flag publishes nothing but itself.
    IS_OURS.store(true, Ordering::Relaxed);
    let taken = execute!(io::stdout(), EnterAlternateScreen, Hide);
    if taken.is_err() {
        give_back();
    }
    taken
}

/// At most once for each time it was taken, whoever comes first.
fn give_back() {
    if IS_OURS.swap(false, Ordering::Relaxed) {
        // A terminal that is gone needs nothing.
        let _ = execute!(io::stdout(), LeaveAlternateScreen, Show);
        let _ = disable_raw_mode();
    }
}

/// The message of a panic is printed before anything is dropped: it would go with the picture.
fn restore_on_panic() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let print = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            give_back();
            print(panic);
        }));
    });
}
