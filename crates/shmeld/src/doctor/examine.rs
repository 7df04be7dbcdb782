//! From facts to findings. Pure.

use super::{Facts, Finding, host, queues, shared_memory, sysv};

/// Everything that was looked at, in the order in which a server meets it.
#[must_use]
pub fn examine(facts: &Facts) -> Vec<Finding> {
    let mut findings = queues::examine(facts);
    findings.extend(shared_memory::examine(&facts.shared_memory));
    findings.extend(host::resources(facts));
    findings.extend(sysv::examine(&facts.sysv, facts.privileges.is_some()));
    findings.extend(host::surroundings(facts));
    findings
}

#[cfg(test)]
pub(super) mod tests {
    use shmeld_os::limits::SemaphoreLimits;
    use shmeld_os::surroundings::{Privileges, SharedMemoryMount};

    use super::super::{Queues, Severity, SharedMemory, Sysv};
    use super::*;

    /// A machine as distributions make it.
    pub(in super::super) fn healthy() -> Facts {
        Facts {
            uid: 1000,
            privileges: Some(Privileges {
                exceeds_limits: false,
                is_filtered: false,
                is_in_user_namespace: false,
            }),
            queues: Queues {
                messages_max: Some(10),
                message_bytes_max: Some(8192),
                queues_max: Some(256),
                queues: Some(3),
                is_mounted: true,
                bytes: (Some(819_200), Some(819_200)),
                refusal: None,
            },
            shared_memory: SharedMemory {
                mount: Some(SharedMemoryMount {
                    kind: "tmpfs".to_owned(),
                    is_writable: true,
                }),
                space: Some((8 << 30, 8 << 30)),
                inodes: (1_000_000, 999_999),
                page_refusal: None,
                region_refusal: None,
            },
            open_files: (Some(1024), Some(1 << 20)),
            file_bytes: (None, None),
            sysv: Sysv {
                segment_bytes_max: Some(18_446_744_073_692_774_399),
                pages_max: Some(18_446_744_073_692_774_399),
                segments_max: Some(4096),
                semaphores: Some(SemaphoreLimits {
                    in_set: 32_000,
                    in_all_sets: 1_024_000_000,
                    operations: 500,
                    sets: 32_000,
                }),
                segments: 2,
                pages: 17,
                sets: 1,
                semaphores_used: 5,
            },
            has_openat2: true,
            landlock: Some(7),
            sees_all_processes: true,
            container: None,
            logind_removes_objects: None,
            lingers: false,
        }
    }

    /// The one about a subject.
    #[track_caller]
    pub(in super::super) fn about(facts: &Facts, subject: &str) -> Finding {
        let mut found = examine(facts)
            .into_iter()
            .filter(|finding| finding.subject == subject);
        let one = found.next().unwrap_or_else(|| panic!("nothing about {subject}"));
        assert_eq!(found.next(), None, "one finding a subject");
        one
    }

    #[test]
    fn a_healthy_machine_has_nothing_to_complain_about() {
        for finding in examine(&healthy()) {
            assert_eq!(finding.severity, Severity::Fine, "{finding:?}");
            assert!(finding.cures.is_empty(), "{finding:?}");
        }
    }

    #[test]
    fn whatever_fails_has_a_cure_and_a_subject_has_one_finding() {
        let mut facts = healthy();
        facts.queues.bytes = (Some(0), Some(0));
        facts.queues.messages_max = Some(1);
        facts.shared_memory.space = Some((65_536, 65_536));
        facts.shared_memory.region_refusal = Some(shmeld_os::Errno::NOSPC);
        facts.sysv.segments = 4096;
        facts.logind_removes_objects = Some(true);
        let findings = examine(&facts);
        let mut subjects: Vec<&str> = findings.iter().map(|finding| finding.subject).collect();
        let bad = findings
            .iter()
            .filter(|finding| finding.severity >= Severity::Warning);
        assert_eq!({ bad.clone() }.count(), 5);
        assert!({ bad }.all(|finding| !finding.cures.is_empty()));
        let all = subjects.len();
        subjects.sort_unstable();
        subjects.dedup();
        assert_eq!(subjects.len(), all);
    }
}
