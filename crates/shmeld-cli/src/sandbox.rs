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
    /// Attempts to open what could be opened before.
    trials: Vec<Trial>,
    forbids_new_privileges: bool,
    /// The limit of core dumps, soft.
    core_bytes_max: Option<u64>,
    /// SIGPIPE, SIGXFSZ.
    ignored: [bool; 2],
}

impl Sandbox {
    /// Asks the kernel.
    #[must_use]
    pub fn look(confined: Option<Confined>, trials: Vec<Trial>) -> Self {
        Self {
            confined,
            trials,
            forbids_new_privileges: process::are_new_privileges_forbidden(),
            core_bytes_max: limits::core_bytes_max().0,
            ignored: [SIGPIPE, SIGXFSZ].map(process::is_ignored),
        }
    }

    /// Prints one line for each thing on standard output, for a server of `directory` that may have an audit log. One that cannot be written
    /// stops no server.
    pub fn print(&self, directory: &Path, log: Option<&Path>) {
        // Looks names up and opens nothing: that works in the confinement, too.
        let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let log_directory = log.map(|path| match path.parent() {
            Some(parent) if parent != Path::new("") => real(parent),
            _ => real(Path::new(".")),
        });
        let mut text = self.lines(&real(directory), log_directory.as_deref()).join("\n");
        text.push('\n');
        let mut stdout = io::stdout();
        let _ = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
    }

    fn lines(&self, path: &Path, log_directory: Option<&Path>) -> Vec<String> {
        let directory = &shown(path);
        let mut lines = match &self.confined {
            None => vec![without_landlock("off (--no-sandbox)", directory)],
            Some(Confined {
                landlock: Landlock::Unavailable(reason),
                ..
            }) => vec![without_landlock(&format!("not available ({reason})"), directory)],
            Some(Confined {
                landlock: Landlock::On { abi, gaps },
                can_make_queue_again,
            }) => {
                let mut lines = vec![format!(
                    "landlock: on, version {abi}: {}",
                    verdict(&self.trials, path)
                )];
                lines.extend(allowances(path, *can_make_queue_again, log_directory));
                lines.extend(with_landlock(*abi, gaps, &self.trials, *can_make_queue_again));
                lines
            }
        };
        lines.push(new_privileges(self.forbids_new_privileges).to_owned());
        lines.push(core_dumps(self.core_bytes_max));
        lines.push(ignored_signals(self.ignored));
        lines
    }
}

fn shown(path: &Path) -> String {
    escape(path.as_os_str().as_bytes())
}

/// What can still be opened, line by line.
fn allowances(directory: &Path, can_make_queue_again: bool, log_directory: Option<&Path>) -> Vec<String> {
    let mut lines = vec![
        format!("landlock: allowed: reading beneath {}", shown(directory)),
        "landlock: allowed: in /dev/shm reading, writing and removing objects of this user".to_owned(),
    ];
    if can_make_queue_again {
        lines.push("landlock: allowed: reading, writing and making queues of this user".to_owned());
    }
    if let Some(log_directory) = log_directory {
        let logs = shown(log_directory);
        lines.push(format!(
            "landlock: allowed: writing and making files beneath {logs} (--audit)"
        ));
        if directory.starts_with(log_directory) {
            lines.push(format!(
                "landlock: WARNING: {logs} holds what is served (cure: give the audit log a directory of its own)"
            ));
        }
    }
    lines
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

fn with_landlock(abi: u32, gaps: &[&str], trials: &[Trial], can_make_queue_again: bool) -> [String; 3] {
    let tried: Vec<String> = trials.iter().map(tell).collect();
    let queue = if can_make_queue_again {
        "made again if it loses its name"
    } else {
        "lost if it loses its name, and the server then ends with 3 (cure: mount -t mqueue none /dev/mqueue before the start, or --no-sandbox)"
    };
    [
        format!("landlock: tried after that: {}", tried.join(", ")),
        format!("landlock: version {abi} cannot forbid: {}", gaps.join(", ")),
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

    fn sandbox(confined: Option<Confined>, refusal: Option<Errno>) -> Sandbox {
        let trials = ["/", "/proc/self/status"].map(|path| Trial { path, refusal });
        Sandbox {
            confined,
            trials: trials.to_vec(),
            forbids_new_privileges: true,
            core_bytes_max: Some(1),
            ignored: [true, true],
        }
    }

    fn on(refusal: Option<Errno>, can_make_queue_again: bool) -> Sandbox {
        let landlock = Landlock::On {
            abi: 3,
            gaps: vec!["TCP", "more"],
        };
        let confined = Confined {
            landlock,
            can_make_queue_again,
        };
        sandbox(Some(confined), refusal)
    }

    fn lines(sandbox: &Sandbox, directory: &str, log_directory: Option<&str>) -> Vec<String> {
        sandbox.lines(directory.as_ref(), log_directory.map(Path::new))
    }

    #[test]
    fn all_that_was_reached_is_told_line_by_line() {
        assert_eq!(
            lines(
                &on(Some(Errno::ACCESS), true),
                "/srv",
                Some("/var/log/shm_server")
            ),
            [
                "landlock: on, version 3: files outside cannot be opened",
                "landlock: allowed: reading beneath /srv",
                "landlock: allowed: in /dev/shm reading, writing and removing objects of this user",
                "landlock: allowed: reading, writing and making queues of this user",
                "landlock: allowed: writing and making files beneath /var/log/shm_server (--audit)",
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
        let told = lines(&on(None, false), "/srv", None);
        assert!(
            told[0].ends_with(": BUT FILES OUTSIDE COULD BE OPENED"),
            "{told:?}"
        );
        assert!(told[3].ends_with("open / succeeded, open /proc/self/status succeeded"));
        assert!(told[5].contains("ends with 3") && told[5].contains("mount -t mqueue"));
        assert!(
            !told
                .iter()
                .any(|line| line.contains("queues of this user") || line.contains("--audit"))
        );
        // There is nothing outside of the whole.
        let told = lines(&on(None, false), "/", None);
        assert!(told[0].ends_with(": not tried, because nothing outside could be opened before"));
        // The second lies inside, the first does not.
        let told = lines(&on(None, false), "/proc", None);
        assert!(
            told[0].ends_with(": BUT FILES OUTSIDE COULD BE OPENED"),
            "{told:?}"
        );
    }

    #[test]
    fn log_beside_or_above_what_is_served_is_warned_of() {
        let warns = |log_directory| {
            let told = lines(&on(Some(Errno::ACCESS), true), "/srv/files", Some(log_directory));
            told.iter().any(|line| line.contains("WARNING"))
        };
        assert!(["/", "/srv", "/srv/files"].into_iter().all(warns));
        assert!(
            !["/srv/files/logs", "/srv/logs", "/srv/file"]
                .into_iter()
                .any(warns)
        );
    }

    #[test]
    fn what_was_not_reached_is_told_too() {
        let none = Sandbox {
            confined: None,
            trials: Vec::new(),
            forbids_new_privileges: false,
            core_bytes_max: None,
            ignored: [false, false],
        };
        assert_eq!(
            lines(&none, "d", None),
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
            lines(&sandbox(Some(unavailable), None), "d", None)[0],
            "landlock: not available (ENOSYS: why): files outside d are kept out by openat2 alone"
        );
    }
}
