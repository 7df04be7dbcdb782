//! What is wrong with System V objects, which boards and segments need. Pure.

use super::Sysv;
use super::facts::PAGE_BYTES;
use super::finding::{Cure, Finding, Severity};

/// What Linux has by default since 3.16.
const UNLIMITED: &str = "18446744073692774399";
/// What Linux has by default since 4.6.
const USUAL_SEMAPHORES: &str = "32000 1024000000 500 32000";
/// No kernel allows more segments.
const SEGMENTS_LIMIT: u64 = 32_768;
/// Semaphores of a board, and the most that are changed at once.
const BOARD_SEMAPHORES: u64 = 5;
const BOARD_OPERATIONS: u64 = 4;
/// Less than 64 MiB, the largest message of a board.
const SCARCE_PAGES: u64 = 16_384;

pub(super) fn examine(sysv: &Sysv, has_proc: bool) -> Vec<Finding> {
    let (Some(bytes), Some(pages), Some(segments)) =
        (sysv.segment_bytes_max, sysv.pages_max, sysv.segments_max)
    else {
        let (severity, text) = if has_proc {
            let text =
                "this kernel has none (CONFIG_SYSVIPC): shmeld board and sysv: addresses of shmeld ipc fail";
            (Severity::Failure, text)
        } else {
            (Severity::Note, "not known: /proc does not show them")
        };
        return vec![Finding::new("System V objects", severity, text)];
    };
    vec![
        largest(bytes),
        all_pages(pages, sysv.pages),
        number(segments, sysv.segments),
        semaphores(sysv),
    ]
}

fn largest(bytes: u64) -> Finding {
    const SUBJECT: &str = "kernel.shmmax";
    if bytes >= PAGE_BYTES {
        return Finding::fine(SUBJECT, format!("{bytes} bytes a System V segment"));
    }
    let text = format!(
        "{bytes} bytes a System V segment, and a board's has {PAGE_BYTES} or more: none can be posted (EINVAL)"
    );
    Finding::new(SUBJECT, Severity::Failure, text).with(Cure::sysctl(SUBJECT, UNLIMITED))
}

fn all_pages(most: u64, used: u64) -> Finding {
    const SUBJECT: &str = "kernel.shmall";
    let left = most.saturating_sub(used);
    let has = format!("{most} pages of System V segments, {used} in use");
    if left >= SCARCE_PAGES {
        return Finding::fine(SUBJECT, has);
    }
    let (severity, why) = if left == 0 {
        (Severity::Failure, "no segment can be made (ENOSPC)")
    } else {
        (Severity::Warning, "the largest boards do not fit")
    };
    Finding::new(SUBJECT, severity, format!("{has}: {why}")).with(Cure::sysctl(SUBJECT, UNLIMITED))
}

fn number(most: u64, present: u64) -> Finding {
    const SUBJECT: &str = "kernel.shmmni";
    let has = format!("{most} System V segments, {present} are there");
    if present < most {
        return Finding::fine(SUBJECT, has);
    }
    let wanted = 4096.max(present.saturating_mul(2)).min(SEGMENTS_LIMIT);
    Finding::new(
        SUBJECT,
        Severity::Failure,
        format!("{has}: no other can be made (ENOSPC)"),
    )
    .with(Cure::sysctl(SUBJECT, &wanted.to_string()))
}

fn semaphores(sysv: &Sysv) -> Finding {
    const SUBJECT: &str = "kernel.sem";
    let Some(limits) = sysv.semaphores else {
        return Finding::new(SUBJECT, Severity::Note, "not known: /proc does not show it");
    };
    let has = format!(
        "{} semaphores a set, {} in all, {} operations at once, {} sets; {} sets with {} semaphores are there",
        limits.in_set, limits.in_all_sets, limits.operations, limits.sets, sysv.sets, sysv.semaphores_used
    );
    let is_short = limits.in_set < BOARD_SEMAPHORES
        || limits.operations < BOARD_OPERATIONS
        || sysv.sets >= limits.sets
        || sysv.semaphores_used.saturating_add(BOARD_SEMAPHORES) > limits.in_all_sets;
    if !is_short {
        return Finding::fine(SUBJECT, has);
    }
    let text = format!(
        "{has}: a board needs a set of {BOARD_SEMAPHORES} and {BOARD_OPERATIONS} operations at once, so none can be posted (ENOSPC, EINVAL, E2BIG)"
    );
    Finding::new(SUBJECT, Severity::Failure, text).with(Cure::sysctl(SUBJECT, USUAL_SEMAPHORES))
}

#[cfg(test)]
mod tests {
    use super::super::examine::tests::{about, healthy};
    use super::*;

    #[test]
    fn each_limit_is_found_by_what_is_there() {
        let mut facts = healthy();
        facts.sysv.segment_bytes_max = Some(100);
        facts.sysv.pages_max = Some(17);
        facts.sysv.segments = 4096;
        facts.sysv.sets = 32_000;
        let cures = [
            ("kernel.shmmax", "sysctl -w kernel.shmmax=18446744073692774399"),
            ("kernel.shmall", "sysctl -w kernel.shmall=18446744073692774399"),
            ("kernel.shmmni", "sysctl -w kernel.shmmni=8192"),
            (
                "kernel.sem",
                "sysctl -w kernel.sem=\"32000 1024000000 500 32000\"",
            ),
        ];
        for (subject, command) in cures {
            let finding = about(&facts, subject);
            assert_eq!(
                (finding.severity, finding.cures[0].command.as_str()),
                (Severity::Failure, command)
            );
        }
        facts.sysv.pages_max = Some(1000);
        assert_eq!(about(&facts, "kernel.shmall").severity, Severity::Warning);
    }

    #[test]
    fn a_set_that_is_too_small_for_a_board_is_a_failure() {
        for (in_set, operations, in_all_sets) in [(4, 500, 1000), (5, 3, 1000), (5, 4, 9)] {
            let mut facts = healthy();
            if let Some(limits) = &mut facts.sysv.semaphores {
                (limits.in_set, limits.operations, limits.in_all_sets) = (in_set, operations, in_all_sets);
            }
            assert_eq!(about(&facts, "kernel.sem").severity, Severity::Failure);
        }
    }

    #[test]
    fn a_kernel_without_them_is_one_finding() {
        let mut facts = healthy();
        facts.sysv.segment_bytes_max = None;
        assert_eq!(about(&facts, "System V objects").severity, Severity::Failure);
        // Without /proc nobody knows.
        facts.privileges = None;
        assert_eq!(about(&facts, "System V objects").severity, Severity::Note);
    }
}
