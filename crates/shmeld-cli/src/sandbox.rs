//! What `--print-sandbox` says: what a server process has given up, as the kernel says it now and not as it was asked for.

use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use shmeld::file::Confined;
use shmeld::os::confine::{Landlock, Trial};
use shmeld::os::error::errno_name;
use shmeld::os::name::escape;
use shmeld::os::{limits, process};
use signal_hook::consts::{SIGPIPE, SIGXFSZ};

/// What a process has given up.
#[derive(Debug)]
pub struct Sandbox {
    /// `None` with `--no-sandbox`.
    pub confined: Option<Confined>,
    forbids_new_privileges: bool,
    /// The limit of core dumps, soft.
    core_bytes_max: Option<u64>,
    /// SIGPIPE, SIGXFSZ.
    ignored: [bool; 2],
}

impl Sandbox {
    /// Asks the kernel.
    #[must_use]
    pub fn look(confined: Option<Confined>) -> Self {
        Self {
            confined,
            forbids_new_privileges: process::are_new_privileges_forbidden(),
            core_bytes_max: limits::core_bytes_max().0,
            ignored: [SIGPIPE, SIGXFSZ].map(process::is_ignored),
        }
    }

    /// Prints one line for each thing on standard output. One that cannot be written stops no server.
    pub fn print(&self, directory: &Path) {
        // Looks names up and opens nothing: that works in the confinement, too.
        let directory = directory.canonicalize().unwrap_or_else(|_| directory.to_owned());
        let mut text = self.lines(&directory).join("\n");
        text.push('\n');
        let mut stdout = io::stdout();
        let _ = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
    }

    fn lines(&self, path: &Path) -> Vec<String> {
        let directory = &escape(path.as_os_str().as_bytes());
        let mut lines = match &self.confined {
            None => vec![without_landlock("off (--no-sandbox)", directory)],
            Some(Confined {
                landlock: Landlock::Unavailable(reason),
                ..
            }) => vec![without_landlock(&format!("not available ({reason})"), directory)],
            Some(Confined {
                landlock: Landlock::On { abi, gaps, trials },
                can_make_queue_again,
            }) => {
                let on = format!(
                    "on, version {abi}, reading beneath {directory}: {}",
                    verdict(trials, path)
                );
                with_landlock(&on, *abi, gaps, trials, *can_make_queue_again)
            }
        };
        lines.push(new_privileges(self.forbids_new_privileges).to_owned());
        lines.push(core_dumps(self.core_bytes_max));
        lines.push(ignored_signals(self.ignored));
        lines
    }
}

fn without_landlock(state: &str, directory: &str) -> String {
    format!("landlock: {state}: files outside {directory} are kept out by openat2 alone")
}

/// What the trials mean for a server that offers `directory`. What lies beneath that may be opened, of course.
fn verdict(trials: &[Trial], directory: &Path) -> &'static str {
    let mut outside = trials
        .iter()
        .filter(|trial| !Path::new(trial.path).starts_with(directory))
        .peekable();
    if outside.peek().is_none() {
        "not tried, because nothing outside could be opened before"
    } else if outside.all(|trial| trial.refusal.is_some()) {
        "files outside cannot be opened"
    } else {
        "BUT FILES OUTSIDE COULD BE OPENED"
    }
}

fn with_landlock(
    on: &str,
    abi: u32,
    gaps: &[&str],
    trials: &[Trial],
    can_make_queue_again: bool,
) -> Vec<String> {
    let tried: Vec<String> = trials.iter().map(tell).collect();
    let queue = if can_make_queue_again {
        "made again if it loses its name"
    } else {
        "lost if it loses its name, and the server then ends with 3 (cure: mount -t mqueue none /dev/mqueue before the start, or --no-sandbox)"
    };
    let missing = if gaps.is_empty() {
        "nothing known"
    } else {
        &gaps.join(", ")
    };
    vec![
        format!("landlock: {on}"),
        format!("landlock: tried after that: {}", tried.join(", ")),
        format!("landlock: version {abi} cannot forbid: {missing}"),
        format!("landlock: the queue is {queue}"),
    ]
}

fn tell(trial: &Trial) -> String {
    match trial.refusal {
        Some(errno) => format!("open {} {}", trial.path, errno_name(errno)),
        None => format!("open {} succeeded", trial.path),
    }
}

fn new_privileges(forbidden: bool) -> &'static str {
    if forbidden {
        "new privileges: none (no_new_privs is set)"
    } else {
        "new privileges: possible (no_new_privs could not be set)"
    }
}

fn core_dumps(bytes_max: Option<u64>) -> String {
    match bytes_max {
        Some(1) => "core dumps: none, neither to a file nor to a handler (RLIMIT_CORE is 1)".to_owned(),
        Some(0) => {
            "core dumps: none to a file; a handler that core_pattern names gets them (RLIMIT_CORE is 0)"
                .to_owned()
        }
        Some(bytes) => format!("core dumps: possible (RLIMIT_CORE is {bytes})"),
        None => "core dumps: possible (RLIMIT_CORE is unlimited)".to_owned(),
    }
}

fn ignored_signals(ignored: [bool; 2]) -> String {
    let names = ["SIGPIPE", "SIGXFSZ"].into_iter().zip(ignored);
    let names: Vec<&str> = names
        .filter(|(_, ignored)| *ignored)
        .map(|(name, _)| name)
        .collect();
    format!(
        "ignored signals: {}",
        if names.is_empty() {
            "none".to_owned()
        } else {
            names.join(", ")
        }
    )
}

#[cfg(test)]
mod tests {
    use shmeld::os::Errno;

    use super::*;

    fn sandbox(confined: Option<Confined>) -> Sandbox {
        Sandbox {
            confined,
            forbids_new_privileges: true,
            core_bytes_max: Some(1),
            ignored: [true, true],
        }
    }

    fn on(refusal: Option<Errno>, can_make_queue_again: bool) -> Option<Confined> {
        let trials = ["/", "/proc/self/status"].map(|path| Trial { path, refusal });
        let landlock = Landlock::On {
            abi: 3,
            gaps: vec!["TCP", "more"],
            trials: trials.to_vec(),
        };
        Some(Confined {
            landlock,
            can_make_queue_again,
        })
    }

    #[test]
    fn all_that_was_reached_is_told_line_by_line() {
        assert_eq!(
            sandbox(on(Some(Errno::ACCESS), true)).lines("/srv".as_ref()),
            [
                "landlock: on, version 3, reading beneath /srv: files outside cannot be opened",
                "landlock: tried after that: open / EACCES, open /proc/self/status EACCES",
                "landlock: version 3 cannot forbid: TCP, more",
                "landlock: the queue is made again if it loses its name",
                "new privileges: none (no_new_privs is set)",
                "core dumps: none, neither to a file nor to a handler (RLIMIT_CORE is 1)",
                "ignored signals: SIGPIPE, SIGXFSZ",
            ]
        );
    }

    #[test]
    fn a_trial_that_succeeds_is_told_as_it_is() {
        let lines = sandbox(on(None, false)).lines("/srv".as_ref());
        assert!(
            lines[0].ends_with(": BUT FILES OUTSIDE COULD BE OPENED"),
            "{lines:?}"
        );
        assert!(lines[1].ends_with("open / succeeded, open /proc/self/status succeeded"));
        assert!(lines[3].contains("ends with 3") && lines[3].contains("mount -t mqueue"));
        // There is nothing outside of the whole.
        let lines = sandbox(on(None, false)).lines("/".as_ref());
        assert!(lines[0].ends_with(": not tried, because nothing outside could be opened before"));
        // The second lies inside, the first does not.
        let lines = sandbox(on(None, false)).lines("/proc".as_ref());
        assert!(
            lines[0].ends_with(": BUT FILES OUTSIDE COULD BE OPENED"),
            "{lines:?}"
        );
    }

    #[test]
    fn what_was_not_reached_is_told_too() {
        let none = Sandbox {
            confined: None,
            forbids_new_privileges: false,
            core_bytes_max: None,
            ignored: [false, false],
        };
        assert_eq!(
            none.lines("d".as_ref()),
            [
                "landlock: off (--no-sandbox): files outside d are kept out by openat2 alone",
                "new privileges: possible (no_new_privs could not be set)",
                "core dumps: possible (RLIMIT_CORE is unlimited)",
                "ignored signals: none",
            ]
        );
        assert!(core_dumps(Some(0)).contains("handler"));
        let unavailable = Confined {
            landlock: Landlock::Unavailable("ENOSYS: why"),
            can_make_queue_again: true,
        };
        assert_eq!(
            sandbox(Some(unavailable)).lines("d".as_ref())[0],
            "landlock: not available (ENOSYS: why): files outside d are kept out by openat2 alone"
        );
    }
}
