//! The cures: one table from (operation, reason) to a sentence that a user can act on.
//!
//! The first row that matches wins. A row's operation is a prefix, so `mq_` means every queue call. Hints
//! read the machine's present limits, so they are made only when somebody asks for one.
//!
//! Not here: System V (`hint_sysv`).

use std::os::unix::fs::MetadataExt;

use rustix::io::Errno;

use crate::posix::shm;
use crate::{Error, hint_sysv, limits, process};

pub(crate) type Text = fn(&Error) -> String;

/// The cure for an error, if there is one.
pub(crate) fn hint(error: &Error) -> Option<String> {
    if let Some(row) = hint_sysv::row(error) {
        return row.cure.map(|text| text(error));
    }
    let errno = error.errno();
    HINTS
        .iter()
        .find(|(operation, reason, _)| *reason == errno && error.operation().starts_with(operation))
        .map(|(_, _, text)| text(error))
}

static HINTS: &[(&str, Errno, Text)] = &[
    ("mq_open", Errno::MFILE, queue_bytes_or_descriptors),
    ("mq_open", Errno::INVAL, queue_attributes),
    ("mq_open", Errno::NOSPC, number_of_queues),
    ("mq_open", Errno::NOSYS, |_| {
        "this kernel is built without POSIX message queues (CONFIG_POSIX_MQUEUE), or a container's filter \
         forbids them"
            .into()
    }),
    ("mq_open", Errno::ACCESS, |error| {
        belongs_to_another(
            error,
            "message queue",
            "its mode (a server started with --group or --public admits others)",
        )
    }),
    ("mq_open", Errno::NOENT, |_| {
        "no such queue in this IPC namespace; a container sees the queues of its host only with --ipc=host"
            .into()
    }),
    ("fchown", Errno::PERM, |_| {
        "only root gives it to another user, or to any group; its owner gives it to groups of which that owner is a \
         member: id -G lists them"
            .into()
    }),
    ("fchmod", Errno::PERM, |error| {
        format!(
            "only its owner and root can change the mode of {}",
            error.object()
        )
    }),
    ("fsetxattr", Errno::OPNOTSUPP, |_| {
        "without access control lists on /dev/shm no other user can be let in: run the server as your own user or \
         as root, or use a kernel with CONFIG_TMPFS_POSIX_ACL"
            .into()
    }),
    ("mq_unlink", Errno::ACCESS, only_the_owner_removes),
    ("mq_unlink", Errno::PERM, only_the_owner_removes),
    ("mq_receive", Errno::MSGSIZE, buffer_too_short),
    ("mq_timedreceive", Errno::MSGSIZE, buffer_too_short),
    ("mq_timedsend", Errno::MSGSIZE, |_| {
        "the message is longer than this queue's mq_msgsize".into()
    }),
    ("posix_fallocate", Errno::NOSPC, shared_memory_full),
    ("shm_", Errno::NOSPC, shared_memory_full),
    ("sem_open", Errno::NOSPC, shared_memory_full),
    ("shm_open", Errno::OPNOTSUPP, shared_memory_missing),
    ("shm_open", Errno::NOTDIR, shared_memory_missing),
    ("shm_open", Errno::ISDIR, shared_memory_missing_or_squatted),
    ("shm_open", Errno::INVAL, squatted),
    ("shm_open", Errno::LOOP, squatted),
    ("shm_open", Errno::NXIO, squatted),
    ("shm_open", Errno::NOENT, missing_if_directory_is_missing),
    ("sem_open", Errno::NOENT, missing_if_directory_is_missing),
    ("shm_open", Errno::EXIST, |error| {
        format!(
            "open it instead of creating it, or take another name; ls -l {}{} shows whose it is",
            shm::DIRECTORY,
            error.object()
        )
    }),
    ("shm_open", Errno::ACCESS, closed_object),
    ("shm_unlink", Errno::NOENT, missing_if_directory_is_missing),
    ("sem_open", Errno::ACCESS, |error| {
        belongs_to_another(error, "semaphore", "its mode")
    }),
    ("sem_open", Errno::INVAL, squatted),
    ("shm_unlink", Errno::ACCESS, only_the_owner_removes),
    ("shm_unlink", Errno::PERM, only_the_owner_removes),
    ("sem_unlink", Errno::ACCESS, only_the_owner_removes),
    ("sem_unlink", Errno::PERM, only_the_owner_removes),
    ("statvfs", Errno::NOENT, missing_if_directory_is_missing),
    ("mmap", Errno::NOBUFS, |_| {
        format!(
            "the SIGBUS guard watches at most {} regions at once",
            crate::sigbus::REGIONS_MAX
        )
    }),
    ("mmap", Errno::NOMEM, |_| {
        "the address space (ulimit -v) or the number of mappings (sysctl vm.max_map_count) is used up".into()
    }),
    ("landlock_restrict_self", Errno::TOOBIG, |_| {
        "this process runs in as many confinements as the kernel allows; --no-sandbox makes no further one"
            .into()
    }),
    ("", Errno::MFILE, |_| descriptors()),
    ("", Errno::NFILE, |_| {
        "the whole system has no descriptors left: see fs.file-nr, raise it with sysctl -w fs.file-max=N"
            .into()
    }),
    ("", Errno::DQUOT, |_| {
        "the disk quota of this user is used up: see quota -s".into()
    }),
    ("", Errno::FBIG, file_size_limit),
    ("", Errno::NOSPC, |_| {
        "no room is left there: see df -h for bytes and df -i for inodes".into()
    }),
];

/// Queue and message sizes that shmeld itself uses, for the numbers in the hints.
const OUR_MESSAGES: u64 = 10;
const OUR_MESSAGE_BYTES: u64 = 1024;

fn or_unlimited(limit: Option<u64>) -> String {
    limit.map_or_else(|| "unlimited".into(), |limit| limit.to_string())
}

pub(crate) fn or_unknown(limit: Option<u64>) -> String {
    limit.map_or_else(|| "unknown".into(), |limit| limit.to_string())
}

/// The kernel says EMFILE for both limits; only one of them is near.
fn queue_bytes_or_descriptors(_: &Error) -> String {
    let (soft, _) = limits::message_queue_rlimit();
    let needed = limits::queue_bytes_charged(OUR_MESSAGES, OUR_MESSAGE_BYTES);
    format!(
        "all message queues of this user together are limited by RLIMIT_MSGQUEUE, now {} bytes; one queue of \
         {OUR_MESSAGES} messages of {OUR_MESSAGE_BYTES} bytes counts {needed}. Raise it: ulimit -q unlimited, or \
         LimitMSGQUEUE=infinity in systemd. (Or {})",
        or_unlimited(soft),
        descriptors(),
    )
}

fn descriptors() -> String {
    let (soft, hard) = limits::open_files();
    format!(
        "this process has no descriptors left: RLIMIT_NOFILE is {} (hard limit {}); raise it: ulimit -n N, or \
         LimitNOFILE= in systemd",
        or_unlimited(soft),
        or_unlimited(hard),
    )
}

fn queue_attributes(_: &Error) -> String {
    format!(
        "queues hold at most {} messages (/proc/sys/fs/mqueue/msg_max) of at most {} bytes \
         (/proc/sys/fs/mqueue/msgsize_max). Raise them: sysctl -w fs.mqueue.msg_max={OUR_MESSAGES} and \
         sysctl -w fs.mqueue.msgsize_max=8192",
        or_unknown(limits::queue_messages_max()),
        or_unknown(limits::queue_message_bytes_max()),
    )
}

fn number_of_queues(_: &Error) -> String {
    format!(
        "there may be {} message queues in this IPC namespace (/proc/sys/fs/mqueue/queues_max). Remove unused \
         ones, or raise it: sysctl -w fs.mqueue.queues_max=1024",
        or_unknown(limits::queues_max()),
    )
}

fn buffer_too_short(_: &Error) -> String {
    "the buffer is shorter than this queue's mq_msgsize; somebody else may have made the queue".into()
}

fn shared_memory_full(_: &Error) -> String {
    let space = match limits::shared_memory_space() {
        Ok((u64::MAX, _)) => {
            return format!(
                "{0} has no limit (size=0): the machine or the control group has no memory left, or {0} no inodes. Remove unused objects, or \
                 remount it with nr_inodes=0",
                shm::DIRECTORY
            );
        }
        Ok((total, free)) => format!("{} has {total} bytes, {free} of them free", shm::DIRECTORY),
        Err(_) => format!("{} is full", shm::DIRECTORY),
    };
    format!(
        "{space}. Remove unused objects, or enlarge it: mount -o remount,size=1G {} (in a container: --shm-size=1g). \
         With bytes free it is out of inodes: remount with nr_inodes=0",
        shm::DIRECTORY
    )
}

fn file_size_limit(_: &Error) -> String {
    match limits::file_bytes_max() {
        Some(bytes) => format!(
            "files and regions of this process are limited by RLIMIT_FSIZE, now {bytes} bytes; raise it: ulimit -f \
             unlimited"
        ),
        None => {
            "RLIMIT_FSIZE is unlimited here, so it is the file system that has no files of such a size".into()
        }
    }
}

fn shared_memory_missing(_: &Error) -> String {
    format!(
        "POSIX shared memory needs a tmpfs on {0}: mount -t tmpfs -o mode=1777,nosuid,nodev tmpfs {0}",
        shm::DIRECTORY
    )
}

fn missing_if_directory_is_missing(error: &Error) -> String {
    if std::path::Path::new(shm::DIRECTORY).is_dir() {
        format!(
            "nothing of that name in {}; containers share it only if it is mounted into both",
            shm::DIRECTORY
        )
    } else {
        shared_memory_missing(error)
    }
}

fn shared_memory_missing_or_squatted(error: &Error) -> String {
    // The object of a creation without a name is the directory itself.
    if error.object().starts_with(shm::DIRECTORY) {
        shared_memory_missing(error)
    } else {
        squatted(error)
    }
}

fn squatted(error: &Error) -> String {
    format!(
        "what has this name is not the kind of object it should be. See: ls -ld {}/*{}; its owner or root can \
         remove it",
        shm::DIRECTORY,
        error.object().trim_start_matches('/'),
    )
}

fn belongs_to_another(error: &Error, kind: &str, what: &str) -> String {
    format!(
        "the {kind} {} belongs to another user, and {what} does not admit this one",
        error.object()
    )
}

fn closed_object(error: &Error) -> String {
    let path = std::path::Path::new(shm::DIRECTORY).join(error.object().trim_start_matches('/'));
    let is_ours = std::fs::symlink_metadata(&path).is_ok_and(|found| found.uid() == process::effective_uid());
    if is_ours {
        format!(
            "its mode shuts out its own owner, who can change it: chmod 600 {}",
            path.display()
        )
    } else {
        belongs_to_another(error, "shared memory object", "its mode")
    }
}

fn only_the_owner_removes(error: &Error) -> String {
    format!("only its owner and root can remove {}", error.object())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hint_for(operation: &'static str, errno: Errno) -> String {
        Error::new(operation, "/frames", errno).hint().unwrap_or_default()
    }

    #[test]
    fn too_many_queue_bytes_names_limit_need_and_command() {
        let hint = hint_for("mq_open", Errno::MFILE);
        assert!(
            hint.contains("RLIMIT_MSGQUEUE") && hint.contains("11200"),
            "{hint}"
        );
        assert!(
            hint.contains("ulimit -q unlimited") && hint.contains("LimitMSGQUEUE="),
            "{hint}"
        );
        assert!(
            hint.contains("RLIMIT_NOFILE"),
            "the kernel uses the same number for descriptors: {hint}"
        );
    }

    #[test]
    fn refused_attributes_name_both_limits_with_their_values() {
        let hint = hint_for("mq_open", Errno::INVAL);
        let value = limits::queue_messages_max().expect("mqueue").to_string();
        assert!(
            hint.contains(&value) && hint.contains("sysctl -w fs.mqueue.msg_max=10"),
            "{hint}"
        );
        assert!(hint.contains("/proc/sys/fs/mqueue/msgsize_max"), "{hint}");
    }

    #[test]
    fn full_shared_memory_names_the_free_bytes_and_the_remount() {
        for operation in ["posix_fallocate", "shm_open", "sem_open"] {
            let hint = hint_for(operation, Errno::NOSPC);
            assert!(
                hint.contains("free") && hint.contains("mount -o remount,size="),
                "{operation}: {hint}"
            );
        }
    }

    #[test]
    fn each_documented_cure_is_there() {
        for (operation, errno, word) in [
            ("mq_open", Errno::NOSPC, "queues_max"),
            ("mq_open", Errno::NOSYS, "CONFIG_POSIX_MQUEUE"),
            ("mq_open", Errno::ACCESS, "another user"),
            ("fchown", Errno::PERM, "id -G"),
            ("fchmod", Errno::PERM, "only its owner"),
            ("fsetxattr", Errno::OPNOTSUPP, "CONFIG_TMPFS_POSIX_ACL"),
            ("mq_unlink", Errno::ACCESS, "only its owner"),
            ("shm_open", Errno::OPNOTSUPP, "mount -t tmpfs"),
            ("shm_open", Errno::NOTDIR, "mount -t tmpfs"),
            ("shm_open", Errno::INVAL, "ls -ld /dev/shm/*frames"),
            ("openat", Errno::MFILE, "RLIMIT_NOFILE"),
            ("posix_fallocate", Errno::FBIG, "RLIMIT_FSIZE"),
            ("write", Errno::FBIG, "RLIMIT_FSIZE"),
            ("write", Errno::NOSPC, "df -h"),
            ("write", Errno::DQUOT, "quota -s"),
            ("openat", Errno::NFILE, "fs.file-max"),
            ("mmap", Errno::NOBUFS, "2048"),
        ] {
            let hint = hint_for(operation, errno);
            assert!(hint.contains(word), "{operation} {errno:?}: {hint}");
        }
    }

    #[test]
    fn a_reason_that_says_everything_has_no_hint() {
        assert_eq!(Error::new("openat", "/x", Errno::NOENT).hint(), None);
        assert_eq!(Error::new("mq_timedsend", "/x", Errno::TIMEDOUT).hint(), None);
    }

    #[test]
    fn no_row_hides_behind_an_earlier_one() {
        for (index, (operation, errno, _)) in HINTS.iter().enumerate() {
            let first = HINTS
                .iter()
                .position(|(prefix, reason, _)| reason == errno && operation.starts_with(prefix));
            assert_eq!(first, Some(index), "{operation} {errno:?}");
        }
    }
}
