//! What is wrong with /dev/shm. Pure.

use shmeld_os::Errno;
use shmeld_os::posix::shm::DIRECTORY;

use super::SharedMemory;
use super::facts::{PAGE_BYTES, REGION_BYTES};
use super::finding::{Cure, Finding, Severity};

/// Less than this much is enough for one client, and soon for none.
const SCARCE_BYTES: u64 = 64 << 20;
/// What it is enlarged to at least.
const WANTED_BYTES: u64 = 1 << 30;
const LASTING: &str = "a line for /dev/shm in /etc/fstab; in a container --shm-size=1g";

pub(super) fn examine(memory: &SharedMemory) -> Vec<Finding> {
    let mount = mount(memory);
    if mount.severity == Severity::Failure {
        // Sizes of something else say nothing.
        return vec![mount];
    }
    let space = space(memory);
    let inodes = inodes(memory);
    let is_explained = [&space, &inodes]
        .iter()
        .any(|finding| finding.severity == Severity::Failure);
    vec![mount, space, inodes, trial(memory, is_explained)]
}

fn mount(memory: &SharedMemory) -> Finding {
    const SUBJECT: &str = "/dev/shm";
    let make = || {
        Cure::of_root(
            format!("mkdir -p {DIRECTORY} && mount -t tmpfs -o mode=1777,nosuid,nodev tmpfs {DIRECTORY}"),
            "a line for /dev/shm in /etc/fstab",
        )
    };
    if memory.space.is_none() {
        return Finding::new(
            SUBJECT,
            Severity::Failure,
            "there is no such directory: nothing works (ENOENT)",
        )
        .with(make());
    }
    match &memory.mount {
        Some(mount) if mount.kind != "tmpfs" => Finding::new(
            SUBJECT,
            Severity::Failure,
            format!(
                "a file system of type {} and no tmpfs: regions are refused",
                mount.kind
            ),
        )
        .with(make()),
        Some(mount) if !mount.is_writable => {
            Finding::new(SUBJECT, Severity::Failure, "mounted for reading only (EROFS)").with(Cure::of_root(
                format!("mount -o remount,rw {DIRECTORY}"),
                "a line for /dev/shm in /etc/fstab",
            ))
        }
        // The trial knows better than a table that cannot be read.
        _ if memory.page_refusal == Some(Errno::OPNOTSUPP) => {
            Finding::new(SUBJECT, Severity::Failure, "no tmpfs: regions are refused").with(make())
        }
        Some(_) => Finding::fine(SUBJECT, "a tmpfs"),
        None => Finding::fine(SUBJECT, "a directory; what is mounted there cannot be seen"),
    }
}

fn space(memory: &SharedMemory) -> Finding {
    const SUBJECT: &str = "space in /dev/shm";
    let (total, free) = memory.space.unwrap_or_default();
    if free == u64::MAX {
        return Finding::fine(SUBJECT, "as much as the machine has: mounted without a limit");
    }
    let is_full = |refusal: Option<Errno>| refusal == Some(Errno::NOSPC) && memory.inodes_left();
    let size = |bytes: u64| format!("{bytes} bytes");
    let has = format!("{}, {} free", size(total), size(free));
    let (severity, why) = if is_full(memory.page_refusal) || free < PAGE_BYTES {
        (
            Severity::Failure,
            "not even a region of one page fits: no client and no image works (ENOSPC)".to_owned(),
        )
    } else if is_full(memory.region_refusal) || free < REGION_BYTES {
        (
            Severity::Failure,
            format!(
                "images and regions of {} do not fit (ENOSPC); get and cp fall back to one page",
                size(REGION_BYTES)
            ),
        )
    } else if free < SCARCE_BYTES {
        (
            Severity::Warning,
            match free / REGION_BYTES {
                1 => "enough for one client with its usual region".to_owned(),
                clients => format!("enough for {clients} clients with their usual region"),
            },
        )
    } else {
        return Finding::fine(SUBJECT, has);
    };
    let wanted = WANTED_BYTES.max(total.saturating_mul(2));
    let enlarge = Cure::of_root(format!("mount -o remount,size={wanted} {DIRECTORY}"), LASTING);
    let finding = Finding::new(SUBJECT, severity, format!("{has}: {why}")).with(enlarge);
    if total >= WANTED_BYTES {
        // It is large, and somebody has it all.
        return finding.with(Cure {
            command: "shmeld ipc clean; shmeld ipc ls --kind shm --sort used".to_owned(),
            needs_root: false,
            lasting: None,
        });
    }
    finding
}

impl SharedMemory {
    /// The kernel says ENOSPC for want of either.
    fn inodes_left(&self) -> bool {
        let (all, left) = self.inodes;
        all == 0 || left > 0
    }
}

fn inodes(memory: &SharedMemory) -> Finding {
    const SUBJECT: &str = "objects in /dev/shm";
    let (all, left) = memory.inodes;
    if memory.inodes_left() {
        let text = if all == 0 {
            "not limited".to_owned()
        } else {
            format!("{left} more of {all}")
        };
        return Finding::fine(SUBJECT, text);
    }
    Finding::new(
        SUBJECT,
        Severity::Failure,
        format!("all {all} are there: no other can be made (ENOSPC)"),
    )
    .with(Cure::of_root(
        format!("mount -o remount,nr_inodes=0 {DIRECTORY}"),
        LASTING,
    ))
}

/// What became of regions that were made for a moment.
fn trial(memory: &SharedMemory, is_explained: bool) -> Finding {
    const SUBJECT: &str = "a region";
    let Some(errno) = memory.page_refusal.or(memory.region_refusal) else {
        return Finding::fine(SUBJECT, "made and removed");
    };
    if is_explained && errno == Errno::NOSPC {
        return Finding::new(
            SUBJECT,
            Severity::Note,
            "cannot be made in its usual size: see above",
        );
    }
    // A limit of this process, which has a finding of its own.
    if errno == Errno::FBIG {
        return Finding::new(
            SUBJECT,
            Severity::Note,
            "cannot be made in its usual size: see RLIMIT_FSIZE",
        );
    }
    let finding = |why: String| Finding::new(SUBJECT, Severity::Failure, format!("cannot be made: {why}"));
    if errno == Errno::ACCESS {
        return finding(format!("this user may not write in {DIRECTORY} (EACCES)")).with(Cure::of_root(
            format!("chmod 1777 {DIRECTORY}"),
            "mode=1777 for /dev/shm in /etc/fstab",
        ));
    }
    let error = shmeld_os::Error::new("shm_open", DIRECTORY, errno);
    let hint = error.hint().map(|hint| format!("; {hint}")).unwrap_or_default();
    finding(format!("{error}{hint}"))
}

#[cfg(test)]
mod tests {
    use super::super::examine::tests::{about, healthy};
    use super::*;

    #[test]
    fn little_room_is_told_by_what_still_works_in_it() {
        let mut facts = healthy();
        let memory = &mut facts.shared_memory;
        memory.space = Some((65_536, 65_536));
        memory.region_refusal = Some(Errno::NOSPC);
        let finding = about(&facts, "space in /dev/shm");
        assert_eq!(finding.severity, Severity::Failure);
        assert!(
            finding.text.contains("65536 free") || finding.text.contains("65536 bytes free"),
            "{finding:?}"
        );
        assert_eq!(
            finding.cures[0].command,
            "mount -o remount,size=1073741824 /dev/shm"
        );
        assert_eq!(about(&facts, "a region").severity, Severity::Note);
        facts.shared_memory.space = Some((65_536, 0));
        facts.shared_memory.page_refusal = Some(Errno::NOSPC);
        assert!(about(&facts, "space in /dev/shm").text.contains("not even"));
        facts = healthy();
        facts.shared_memory.space = Some((64 << 20, 32 << 20));
        assert_eq!(about(&facts, "space in /dev/shm").severity, Severity::Warning);
        facts.shared_memory.space = Some((u64::MAX, u64::MAX));
        let finding = about(&facts, "space in /dev/shm");
        assert!(
            finding.severity == Severity::Fine && finding.text.contains("without a limit"),
            "{finding:?}"
        );
    }

    #[test]
    fn a_large_one_that_is_full_is_cleaned_or_enlarged() {
        let mut facts = healthy();
        facts.shared_memory.space = Some((8 << 30, 0));
        let finding = about(&facts, "space in /dev/shm");
        assert_eq!(finding.cures.len(), 2);
        assert!(
            finding.cures[0].command.contains("size=17179869184"),
            "{finding:?}"
        );
        assert!(finding.cures[1].command.starts_with("shmeld ipc clean"));
    }

    #[test]
    fn no_room_for_names_is_not_taken_for_no_room_for_bytes() {
        let mut facts = healthy();
        facts.shared_memory.inodes = (100, 0);
        facts.shared_memory.page_refusal = Some(Errno::NOSPC);
        assert_eq!(about(&facts, "space in /dev/shm").severity, Severity::Fine);
        assert_eq!(
            about(&facts, "objects in /dev/shm").cures[0].command,
            "mount -o remount,nr_inodes=0 /dev/shm"
        );
    }

    #[test]
    fn what_is_no_shared_memory_at_all_is_one_finding() {
        let mut facts = healthy();
        facts.shared_memory.space = None;
        assert!(
            about(&facts, "/dev/shm").cures[0]
                .command
                .contains("mount -t tmpfs")
        );
        facts = healthy();
        if let Some(mount) = &mut facts.shared_memory.mount {
            mount.kind = "ext4".to_owned();
        }
        assert!(about(&facts, "/dev/shm").text.contains("ext4"));
        facts = healthy();
        facts.shared_memory.page_refusal = Some(Errno::ACCESS);
        assert_eq!(about(&facts, "a region").cures[0].command, "chmod 1777 /dev/shm");
    }
}
