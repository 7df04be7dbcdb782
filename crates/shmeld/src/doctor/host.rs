//! What is wrong with the limits of this process, and around it: kernel, container, session manager. Pure.

use shmeld_os::users::ROOT;

use super::facts::{Facts, PAGE_BYTES, REGION_BYTES};
use super::finding::{Cure, Finding, Severity};

/// A server without sessions, and one client.
const FILES_NEEDED: u64 = 32;
/// `--max-sessions` of a server, and what each of them takes.
const SESSIONS: u64 = 1024;
const FILES_A_SESSION: u64 = 3;
/// The first user number of people; logind leaves the objects of others alone.
const FIRST_PERSON: u32 = 1000;

/// `prlimit --pid $$ --NAME=SOFT:HARD`: the shell that the command is given to, and whatever it starts then. All shells have that `$$`,
/// and not all of them have `ulimit -q`.
pub(super) fn prlimit(name: &str, soft: u64, hard: Option<u64>) -> String {
    let hard = hard.map_or_else(|| "unlimited".to_owned(), |hard| hard.to_string());
    format!("prlimit --pid $$ --{name}={soft}:{hard}")
}

/// What to add where root itself may not raise a hard limit, as in most containers.
pub(super) fn nobody_here(facts: &Facts) -> &'static str {
    let is_powerless = facts.uid == ROOT
        && facts
            .privileges
            .is_some_and(|privileges| !privileges.exceeds_limits);
    if is_powerless {
        "; root may not raise it here (no CAP_SYS_RESOURCE): whoever starts this container or service sets it, or a new login does"
    } else {
        ""
    }
}

pub(super) fn resources(facts: &Facts) -> Vec<Finding> {
    vec![files(facts), file_bytes(facts)]
}

fn files(facts: &Facts) -> Finding {
    const SUBJECT: &str = "RLIMIT_NOFILE";
    const LASTING: &str = "LimitNOFILE= of the service; nofile in /etc/security/limits.conf; in a container --ulimit nofile=4096";
    const WANTED: u64 = 4096;
    let (soft, hard) = facts.open_files;
    // A server raises the one to the other.
    let Some(most) = hard else {
        return Finding::fine(SUBJECT, "unlimited");
    };
    let is_soft_short = soft.is_some_and(|soft| soft < FILES_NEEDED);
    let sessions = most.saturating_sub(FILES_NEEDED) / FILES_A_SESSION;
    let has = format!("{most} descriptors, which a server raises itself to");
    if most < FILES_NEEDED {
        let text = format!(
            "{most} descriptors at most, and a server has {FILES_NEEDED} before it serves anybody (EMFILE){}",
            nobody_here(facts)
        );
        let cure = Cure::of_root(prlimit("nofile", WANTED, Some(WANTED)), LASTING);
        return Finding::new(SUBJECT, Severity::Failure, text).with(cure);
    }
    if is_soft_short {
        let text = format!("{} descriptors for a client (EMFILE)", soft.unwrap_or_default());
        let cure = Cure::of_anybody(prlimit("nofile", most.min(1024), Some(most)), LASTING);
        return Finding::new(SUBJECT, Severity::Failure, text).with(cure);
    }
    if sessions < SESSIONS {
        let text = format!(
            "{has}: enough for about {sessions} clients at once, others hear BUSY{}",
            nobody_here(facts)
        );
        let cure = Cure::of_root(prlimit("nofile", WANTED, Some(WANTED)), LASTING);
        return Finding::new(SUBJECT, Severity::Warning, text).with(cure);
    }
    Finding::fine(SUBJECT, format!("{has}, enough for {SESSIONS} clients and more"))
}

fn file_bytes(facts: &Facts) -> Finding {
    const SUBJECT: &str = "RLIMIT_FSIZE";
    const LASTING: &str = "LimitFSIZE=infinity of the service; fsize in /etc/security/limits.conf";
    let (Some(bytes), hard) = facts.file_bytes else {
        return Finding::fine(SUBJECT, "unlimited");
    };
    let (severity, why) = if bytes < PAGE_BYTES {
        (Severity::Failure, "no region can be made")
    } else if bytes < REGION_BYTES {
        (
            Severity::Failure,
            "images and regions of the usual size cannot be made, nor longer files",
        )
    } else {
        (
            Severity::Warning,
            "longer files cannot arrive, nor larger regions be made",
        )
    };
    const UNLIMITED: &str = "prlimit --pid $$ --fsize=unlimited:unlimited";
    // Up to the hard limit it is everybody's to raise.
    let (cure, hindrance) = match hard {
        None => (Cure::of_anybody(UNLIMITED, LASTING), ""),
        Some(hard) if hard > bytes && hard >= REGION_BYTES => {
            (Cure::of_anybody(prlimit("fsize", hard, Some(hard)), LASTING), "")
        }
        Some(_) => (Cure::of_root(UNLIMITED, LASTING), nobody_here(facts)),
    };
    Finding::new(
        SUBJECT,
        severity,
        format!("{bytes} bytes a file: {why} (EFBIG){hindrance}"),
    )
    .with(cure)
}

pub(super) fn surroundings(facts: &Facts) -> Vec<Finding> {
    let mut findings = vec![openat2(facts), landlock(facts), processes(facts), removal(facts)];
    findings.extend(container(facts));
    findings
}

fn openat2(facts: &Facts) -> Finding {
    const SUBJECT: &str = "openat2";
    if facts.has_openat2 {
        return Finding::fine(
            SUBJECT,
            "allowed: files are kept beneath the served directory in one call",
        );
    }
    let text = "missing (Linux before 5.6), or forbidden by a container's filter: files are opened step by step, which is slower";
    Finding::new(SUBJECT, Severity::Note, text)
}

fn landlock(facts: &Facts) -> Finding {
    const SUBJECT: &str = "landlock";
    match facts.landlock {
        Some(version) => Finding::fine(SUBJECT, format!("version {version}: a server confines itself")),
        None => Finding::new(
            SUBJECT,
            Severity::Note,
            "not in this kernel, not enabled at boot (lsm=landlock,... on the kernel's command line), or forbidden by a filter: a server \
             serves without confining itself",
        ),
    }
}

fn processes(facts: &Facts) -> Finding {
    const SUBJECT: &str = "/proc";
    if facts.sees_all_processes {
        return Finding::fine(SUBJECT, "shows processes of all users");
    }
    let text = "shows only processes of this container, or of this user: shmeld ipc cannot say who else holds an object";
    Finding::new(SUBJECT, Severity::Note, text)
}

/// See <https://man7.org/linux/man-pages/man5/logind.conf.5.html>: objects of system users and root stay.
fn removal(facts: &Facts) -> Finding {
    const SUBJECT: &str = "RemoveIPC";
    match facts.logind_removes_objects {
        None => Finding::fine(SUBJECT, "logind does not run here"),
        Some(false) => Finding::fine(SUBJECT, "off: logind leaves the objects of users alone"),
        Some(true) if facts.uid < FIRST_PERSON => {
            Finding::fine(SUBJECT, "on, for users of 1000 and above, which this one is not")
        }
        Some(true) if facts.lingers => Finding::fine(
            SUBJECT,
            format!(
                "on, and user {} lingers: logind takes this user for one who never leaves",
                facts.uid
            ),
        ),
        Some(true) => {
            let text = format!(
                "on: when the last session of user {} ends, logind removes its queues, segments and semaphores under the programs that use \
                 them",
                facts.uid
            );
            let off = "mkdir -p /etc/systemd/logind.conf.d && printf '[Login]\\nRemoveIPC=no\\n' >/etc/systemd/logind.conf.d/50-shmeld.conf \
                       && systemctl restart systemd-logind";
            Finding::new(SUBJECT, Severity::Warning, text)
                .with(Cure {
                    lasting: None,
                    ..Cure::of_root(off, "")
                })
                .with(Cure {
                    lasting: None,
                    ..Cure::of_anybody(format!("loginctl enable-linger {}", facts.uid), "")
                })
        }
    }
}

fn container(facts: &Facts) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Some(container) = &facts.container {
        let text = format!(
            "{container}: to share objects with the host or another container, both need one IPC namespace (--ipc=host, --ipc=container:ID) \
             and one /dev/shm (--ipc=host brings it, else -v /dev/shm:/dev/shm)"
        );
        findings.push(Finding::new("container", Severity::Note, text));
    }
    let Some(privileges) = facts.privileges else {
        return findings;
    };
    if privileges.is_filtered {
        let text =
            "system calls are filtered (seccomp): what the findings above do not complain about is allowed";
        findings.push(Finding::new("seccomp", Severity::Note, text));
    }
    if privileges.is_in_user_namespace {
        let text = "users outside it have no number here, and its root is limited like anybody else: servers need --allow-unmapped for \
                    clients without a number";
        findings.push(Finding::new("user namespace", Severity::Note, text));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::super::examine::tests::{about, healthy};
    use super::*;

    #[test]
    fn few_descriptors_are_told_by_how_many_clients_they_are_for() {
        let mut facts = healthy();
        facts.open_files = (Some(20), Some(20));
        assert_eq!(about(&facts, "RLIMIT_NOFILE").severity, Severity::Failure);
        facts.open_files = (Some(20), Some(4096));
        let finding = about(&facts, "RLIMIT_NOFILE");
        assert_eq!(finding.cures[0].command, "prlimit --pid $$ --nofile=1024:4096");
        assert!(finding.severity == Severity::Failure && !finding.cures[0].needs_root);
        facts.open_files = (Some(332), Some(332));
        let finding = about(&facts, "RLIMIT_NOFILE");
        assert!(
            finding.severity == Severity::Warning && finding.text.contains("about 100 clients"),
            "{finding:?}"
        );
    }

    #[test]
    fn a_limit_of_files_is_as_bad_as_it_is_small() {
        for (bytes, severity) in [
            (0, Severity::Failure),
            (4096, Severity::Failure),
            (1 << 20, Severity::Warning),
        ] {
            let mut facts = healthy();
            facts.file_bytes = (Some(bytes), Some(bytes));
            let finding = about(&facts, "RLIMIT_FSIZE");
            assert_eq!(finding.severity, severity, "{bytes}");
            assert!(finding.cures[0].needs_root, "{finding:?}");
        }
    }

    /// Only root could raise it, it said, of a soft limit.
    #[test]
    fn a_soft_limit_of_files_is_cured_by_anybody() {
        let mut facts = healthy();
        facts.uid = 0;
        for (hard, command) in [
            (None, "prlimit --pid $$ --fsize=unlimited:unlimited"),
            (Some(1 << 30), "prlimit --pid $$ --fsize=1073741824:1073741824"),
        ] {
            facts.file_bytes = (Some(8192), hard);
            let finding = about(&facts, "RLIMIT_FSIZE");
            assert_eq!(finding.cures[0].command, command);
            assert!(!finding.cures[0].needs_root && !finding.text.contains("CAP_SYS_RESOURCE"));
        }
    }

    #[test]
    fn logind_is_a_danger_to_people_only() {
        let mut facts = healthy();
        facts.logind_removes_objects = Some(true);
        let finding = about(&facts, "RemoveIPC");
        assert_eq!(finding.severity, Severity::Warning);
        assert_eq!(finding.cures[1].command, "loginctl enable-linger 1000");
        // What the second cure makes.
        facts.lingers = true;
        assert_eq!(about(&facts, "RemoveIPC").severity, Severity::Fine);
        facts.lingers = false;
        facts.uid = 0;
        assert_eq!(about(&facts, "RemoveIPC").severity, Severity::Fine);
    }

    #[test]
    fn a_container_is_told_how_to_share() {
        let mut facts = healthy();
        facts.container = Some("podman".to_owned());
        assert!(about(&facts, "container").text.contains("--ipc=host"));
        facts.privileges.as_mut().expect("there").is_filtered = true;
        facts.privileges.as_mut().expect("there").is_in_user_namespace = true;
        assert_eq!(about(&facts, "seccomp").severity, Severity::Note);
        assert_eq!(about(&facts, "user namespace").severity, Severity::Note);
    }
}
