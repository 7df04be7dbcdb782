//! What is wrong with POSIX message queues. Pure.

use shmeld_os::{Errno, limits};

use super::facts::{Facts, Queues};
use super::finding::{Cure, Finding, Severity};
use super::host::{nobody_here, prlimit};
use crate::file::wire::{MESSAGE_BYTES_MAX, MESSAGES_MAX};

const MESSAGES: u64 = MESSAGES_MAX as u64;
const MESSAGE_BYTES: u64 = MESSAGE_BYTES_MAX as u64;
/// The kernel's default: enough for 73 servers.
const USUAL_BYTES: u64 = 819_200;

pub(super) fn examine(facts: &Facts) -> Vec<Finding> {
    let queues = &facts.queues;
    let exceeds = facts
        .privileges
        .is_some_and(|privileges| privileges.exceeds_limits);
    let mut findings = vec![
        bytes(facts),
        at_least(queues.messages_max, MESSAGES, exceeds, &MESSAGES_SETTING),
        at_least(queues.message_bytes_max, MESSAGE_BYTES, exceeds, &BYTES_SETTING),
        number(queues, exceeds),
        listing(queues),
    ];
    // What a finding above explains is not told twice.
    let is_explained = findings
        .iter()
        .any(|finding| finding.severity == Severity::Failure);
    findings.push(trial(queues, is_explained));
    findings
}

/// `RLIMIT_MSGQUEUE`.
fn bytes(facts: &Facts) -> Finding {
    const SUBJECT: &str = "RLIMIT_MSGQUEUE";
    const LASTING: &str = "LimitMSGQUEUE= of the service; msgqueue in /etc/security/limits.conf; in a container --ulimit msgqueue=819200";
    let needed = limits::queue_bytes_charged(MESSAGES, MESSAGE_BYTES);
    let (uid, queues) = (facts.uid, &facts.queues);
    let (soft, hard) = queues.bytes;
    let Some(soft) = soft else {
        return Finding::fine(SUBJECT, "unlimited");
    };
    let is_short = soft < needed;
    let is_used_up = !is_short && queues.refusal == Some(Errno::MFILE);
    if !is_short && !is_used_up {
        let servers = soft / needed;
        return Finding::fine(SUBJECT, format!("{soft} bytes, enough for {servers} servers"));
    }
    let why = if is_short {
        format!(
            "{soft} bytes for all message queues of user {uid} together: a server's queue counts {needed}, so none can start (EMFILE)"
        )
    } else {
        format!(
            "{soft} bytes, and queues of user {uid} have used them up: shmeld ipc ls --kind mq --mine shows them (EMFILE)"
        )
    };
    let wanted = if is_short {
        USUAL_BYTES
    } else {
        soft.saturating_mul(2)
    };
    let (cure, hindrance) = match hard {
        None => (Cure::of_anybody(prlimit("msgqueue", wanted, None), LASTING), ""),
        Some(hard) if hard >= needed && hard > soft => {
            let cure = prlimit("msgqueue", hard.min(wanted), Some(hard));
            (Cure::of_anybody(cure, LASTING), "")
        }
        Some(_) => {
            let cure = prlimit("msgqueue", wanted, Some(wanted));
            (Cure::of_root(cure, LASTING), nobody_here(facts))
        }
    };
    Finding::new(SUBJECT, Severity::Failure, why + hindrance).with(cure)
}

/// A setting of the kernel that has to be at least so much.
struct Setting {
    name: &'static str,
    what: &'static str,
    usual: &'static str,
}

const MESSAGES_SETTING: Setting = Setting {
    name: "fs.mqueue.msg_max",
    what: "messages a queue",
    usual: "10",
};

const BYTES_SETTING: Setting = Setting {
    name: "fs.mqueue.msgsize_max",
    what: "bytes a message",
    usual: "8192",
};

fn at_least(value: Option<u64>, needed: u64, exceeds: bool, setting: &Setting) -> Finding {
    let Setting { name, what, usual } = setting;
    match value {
        // Without queues the trial says so, without /proc nobody knows.
        None => Finding::new(name, Severity::Note, "not known: /proc does not show it"),
        Some(value) if value >= needed => Finding::fine(name, format!("{value} {what}")),
        Some(value) => {
            let text = format!("{value} {what}, and a server's queue has {needed}");
            let (severity, who) = if exceeds {
                (
                    Severity::Warning,
                    "it does not count for this user (CAP_SYS_RESOURCE); no server of another user can start",
                )
            } else {
                (Severity::Failure, "no server can start (EINVAL)")
            };
            Finding::new(name, severity, format!("{text}: {who}")).with(Cure::sysctl(name, usual))
        }
    }
}

fn number(queues: &Queues, exceeds: bool) -> Finding {
    const SUBJECT: &str = "fs.mqueue.queues_max";
    let (Some(most), Some(present)) = (queues.queues_max, queues.queues) else {
        return match (queues.queues_max, queues.refusal) {
            (Some(most), Some(Errno::NOSPC)) => too_many(SUBJECT, most, most, false),
            (Some(most), _) => Finding::fine(
                SUBJECT,
                format!("{most} queues; how many there are cannot be seen"),
            ),
            (None, _) => Finding::new(SUBJECT, Severity::Note, "not known: /proc does not show it"),
        };
    };
    if present >= most {
        return too_many(SUBJECT, most, present, exceeds);
    }
    Finding::fine(SUBJECT, format!("{most} queues, {present} are there"))
}

fn too_many(subject: &'static str, most: u64, present: u64, exceeds: bool) -> Finding {
    let wanted = 1024.max(present.saturating_mul(2)).to_string();
    let (severity, who) = if exceeds {
        (
            Severity::Warning,
            "users without CAP_SYS_RESOURCE can start no server",
        )
    } else {
        (Severity::Failure, "no server can start (ENOSPC)")
    };
    let text = format!("{most} queues, and {present} are there: {who}");
    Finding::new(subject, severity, text).with(Cure::sysctl(subject, &wanted))
}

fn listing(queues: &Queues) -> Finding {
    const SUBJECT: &str = "mqueue file system";
    if queues.is_mounted {
        return Finding::fine(SUBJECT, "mounted");
    }
    let text = "mounted nowhere: servers do not need it, but only root can list queues";
    Finding::new(SUBJECT, Severity::Note, text).with(Cure::of_root(
        "mkdir -p /dev/mqueue && mount -t mqueue none /dev/mqueue",
        "systemctl enable dev-mqueue.mount, or a line in /etc/fstab",
    ))
}

/// What became of a queue that was made for a moment.
fn trial(queues: &Queues, is_explained: bool) -> Finding {
    const SUBJECT: &str = "a message queue";
    let Some(errno) = queues.refusal else {
        return Finding::fine(SUBJECT, "made and removed");
    };
    if is_explained {
        // A consequence is cured by what cures its cause.
        return Finding::new(SUBJECT, Severity::Note, "cannot be made: see above");
    }
    let error = shmeld_os::Error::new("mq_open", "/shmeld.trial", errno);
    let hint = error.hint().unwrap_or_else(|| "no cure is known".to_owned());
    Finding::new(
        SUBJECT,
        Severity::Failure,
        format!("cannot be made: {error}; {hint}"),
    )
}

#[cfg(test)]
mod tests {
    use super::super::examine::tests::{about, healthy};
    use super::*;

    #[test]
    fn a_limit_of_nothing_is_cured_by_whoever_may() {
        let mut facts = healthy();
        facts.queues.refusal = Some(Errno::MFILE);
        facts.queues.bytes = (Some(0), Some(0));
        let finding = about(&facts, "RLIMIT_MSGQUEUE");
        assert_eq!(finding.severity, Severity::Failure);
        assert!(
            finding.text.starts_with("0 bytes") && finding.text.contains("11200"),
            "{finding:?}"
        );
        assert_eq!(
            finding.cures[0].command,
            "prlimit --pid $$ --msgqueue=819200:819200"
        );
        assert!(finding.cures[0].needs_root);
        // A hard limit that is enough is everybody's to use.
        facts.queues.bytes = (Some(0), Some(20_000));
        let finding = about(&facts, "RLIMIT_MSGQUEUE");
        assert_eq!(
            finding.cures[0].command,
            "prlimit --pid $$ --msgqueue=20000:20000"
        );
        assert!(!finding.cures[0].needs_root);
        facts.queues.bytes = (Some(0), None);
        let command = &about(&facts, "RLIMIT_MSGQUEUE").cures[0].command;
        assert_eq!(command, "prlimit --pid $$ --msgqueue=819200:unlimited");
        // Most containers take from root what it takes.
        facts.uid = 0;
        assert!(!about(&facts, "RLIMIT_MSGQUEUE").text.contains("CAP_SYS_RESOURCE"));
        facts.queues.bytes = (Some(0), Some(0));
        assert!(
            about(&facts, "RLIMIT_MSGQUEUE")
                .text
                .contains("no CAP_SYS_RESOURCE")
        );
        // The trial is one finding more, and no second complaint.
        assert_eq!(about(&facts, "a message queue").severity, Severity::Note);
    }

    #[test]
    fn a_limit_that_others_have_used_up_is_found_by_the_trial() {
        let mut facts = healthy();
        facts.queues.refusal = Some(Errno::MFILE);
        let finding = about(&facts, "RLIMIT_MSGQUEUE");
        assert_eq!(finding.severity, Severity::Failure);
        assert_eq!(
            finding.cures[0].command,
            "prlimit --pid $$ --msgqueue=1638400:1638400"
        );
    }

    #[test]
    fn limits_of_the_kernel_fail_for_those_for_whom_they_count() {
        let mut facts = healthy();
        facts.queues.messages_max = Some(1);
        facts.queues.message_bytes_max = Some(512);
        facts.queues.queues = Some(256);
        facts.queues.refusal = Some(Errno::INVAL);
        let cures = [
            ("fs.mqueue.msg_max", "sysctl -w fs.mqueue.msg_max=10"),
            ("fs.mqueue.msgsize_max", "sysctl -w fs.mqueue.msgsize_max=8192"),
            ("fs.mqueue.queues_max", "sysctl -w fs.mqueue.queues_max=1024"),
        ];
        for (subject, command) in cures {
            let finding = about(&facts, subject);
            assert_eq!(
                (finding.severity, finding.cures[0].command.as_str()),
                (Severity::Failure, command)
            );
        }
        facts.queues.refusal = None;
        facts.privileges.as_mut().expect("there").exceeds_limits = true;
        for (subject, _) in cures {
            assert_eq!(about(&facts, subject).severity, Severity::Warning);
        }
    }

    #[test]
    fn a_refusal_that_no_limit_explains_is_told_with_its_hint() {
        let mut facts = healthy();
        facts.queues.refusal = Some(Errno::NOSYS);
        let finding = about(&facts, "a message queue");
        assert_eq!(finding.severity, Severity::Failure);
        assert!(
            finding.text.contains("ENOSYS") && finding.text.contains("CONFIG_POSIX_MQUEUE"),
            "{finding:?}"
        );
    }
}
