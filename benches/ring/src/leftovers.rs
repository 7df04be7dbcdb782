//! Leaving nothing behind, also when interrupted. Our memory has no names; iceoryx2 has files.

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::channel::Outcome;

/// The exit code of a shell for a process that a signal ended is this and the signal's number.
const SIGNALLED: i32 = 128;

/// From now on SIGINT, SIGTERM and SIGHUP end this process with its files removed.
pub fn watch_signals() -> Outcome<()> {
    #[cfg(feature = "iceoryx2")]
    crate::iceoryx::sweep_the_dead();
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])?;
    std::thread::spawn(move || {
        if let Some(signal) = signals.forever().next() {
            remove();
            std::process::exit(SIGNALLED + signal);
        }
    });
    Ok(())
}

/// Says why, removes what there is, and ends the process: for threads beside the one that measures.
pub fn end(reason: &str) {
    eprintln!("shmeld-ring-bench: {reason}");
    remove();
    std::process::exit(1);
}

/// Removes what this process's measurements have left.
pub fn remove() {
    #[cfg(feature = "iceoryx2")]
    {
        let owner = shmeld_os::process::pid();
        crate::iceoryx::sweep(owner);
        // A peer that was interrupted too may be about to make one more file.
        std::thread::sleep(std::time::Duration::from_millis(200));
        crate::iceoryx::sweep(owner);
    }
}
