//! The sentences of the cures for System V: limits with their present values, and the commands that change them.

use crate::hint::or_unknown;
use crate::{Error, limits, listing};

pub(crate) fn needs_the_file(_: &Error) -> String {
    "ftok makes the key of a file that exists: every process must name the same one, by a path that it may walk".into()
}

pub(crate) fn needs_a_project(_: &Error) -> String {
    "the project is a number that fits a byte, other than zero".into()
}

pub(crate) fn closed(error: &Error) -> String {
    format!(
        "the mode of {} is closed to this user; its owner, its creator and root can change it (ipcs shows who that is)",
        error.object()
    )
}

pub(crate) fn closed_for_writing(error: &Error) -> String {
    format!(
        "the mode of {} does not let this user read and write; where it lets it read, attach it read-only. Its owner or root can change the mode",
        error.object()
    )
}

/// `list` and `remove` are the options of ipcs and ipcrm for this kind of object.
pub(crate) fn taken(error: &Error, list: &str, remove: &str) -> String {
    format!(
        "open it instead of creating it, or take another key; ipcs {list} shows whose it is, ipcrm {remove} {} removes it",
        error.object()
    )
}

pub(crate) fn no_such_key(list: &str) -> String {
    format!(
        "nothing of this kind has this key: ipcs {list} lists what exists in this IPC namespace; a container sees its host's objects only with \
         --ipc=host"
    )
}

pub(crate) fn no_such_number(list: &str) -> String {
    format!(
        "nothing of this kind has this number, or it was removed: ipcs {list} lists what exists in this IPC namespace"
    )
}

pub(crate) fn owners_only(error: &Error, list: &str) -> String {
    format!(
        "only its owner, its creator and root can change or remove {}: see ipcs {list} -c",
        error.object()
    )
}

pub(crate) fn no_bytes(_: &Error) -> String {
    "nothing has this key yet, and a new segment has at least one byte: give a size".into()
}

pub(crate) fn too_many_bytes(_: &Error) -> String {
    format!(
        "a segment has at most {} bytes (kernel.shmmax); raise it: sysctl -w kernel.shmmax=N",
        or_unknown(limits::segment_bytes_max())
    )
}

pub(crate) fn smaller_segment(error: &Error) -> String {
    format!(
        "a segment never grows: ask for its own size or less, or give no size, or remove it and make a larger one: ipcrm -M {}",
        error.object().split(' ').next().unwrap_or_default()
    )
}

pub(crate) fn no_files(_: &Error) -> String {
    "see fs.file-nr, raise it with sysctl -w fs.file-max=N".into()
}

pub(crate) fn no_memory(_: &Error) -> String {
    "choose a smaller size; free shows memory and swap, sysctl vm.overcommit_memory how strictly they are counted".into()
}

pub(crate) fn no_segments(_: &Error) -> String {
    format!(
        "there may be {} segments (kernel.shmmni) of {} pages in all (kernel.shmall), and there are {}. Remove unused ones (ipcs -m, ipcrm -m), or \
         raise what is reached: sysctl -w kernel.shmmni=N kernel.shmall=N",
        or_unknown(limits::segments_max()),
        or_unknown(limits::segment_pages_max()),
        or_unknown(listing::sysv_count("shm")),
    )
}

pub(crate) fn not_on_a_boundary(_: &Error) -> String {
    format!(
        "addresses of segments are multiples of {} bytes (SHMLBA), other than zero; with SHM_RND the kernel rounds down to one",
        crate::sysv::boundary_bytes()
    )
}

pub(crate) fn in_use_there(_: &Error) -> String {
    "choose another address, or none: the kernel then finds one".into()
}

pub(crate) fn no_address_space(_: &Error) -> String {
    "the address may lie beyond the end of the address space; or that (ulimit -v), or the number of mappings (sysctl vm.max_map_count), is used up"
        .into()
}

pub(crate) fn below_the_lowest(_: &Error) -> String {
    "choose a higher address, or none: the kernel then finds one".into()
}

pub(crate) fn no_such_user(_: &Error) -> String {
    "see /proc/self/uid_map and gid_map for the numbers that this user namespace knows".into()
}

pub(crate) fn unknown_owner(_: &Error) -> String {
    "owner, group and mode are set together, and this user namespace does not know what would have to stay: give a new owner and group, or change \
     it outside of this container"
        .into()
}

pub(crate) fn no_semaphores(_: &Error) -> String {
    "nothing has this key yet, and a new set has at least one semaphore".into()
}

pub(crate) fn too_many_semaphores(_: &Error) -> String {
    format!(
        "a set has at most {} semaphores (the first number of kernel.sem); raise it: sysctl -w kernel.sem='N N N N'",
        semaphore_limit(|limits| limits.in_set)
    )
}

pub(crate) fn smaller_set(error: &Error) -> String {
    format!(
        "a set never grows: ask for its own number of semaphores or less, or remove it and make a larger one: ipcrm -S {}",
        error.object().split(' ').next().unwrap_or_default()
    )
}

pub(crate) fn no_sets(_: &Error) -> String {
    format!(
        "there may be {} sets of {} semaphores in all (the fourth and the second number of kernel.sem), and there are {}. Remove unused ones \
         (ipcs -s, ipcrm -s), or raise what is reached: sysctl -w kernel.sem='N N N N'",
        semaphore_limit(|limits| limits.sets),
        semaphore_limit(|limits| limits.in_all_sets),
        or_unknown(listing::sysv_count("sem")),
    )
}

pub(crate) fn too_many_operations(_: &Error) -> String {
    format!(
        "one call does at most {} operations (the third number of kernel.sem); raise it: sysctl -w kernel.sem='N N N N'",
        semaphore_limit(|limits| limits.operations)
    )
}

pub(crate) fn index_beyond(_: &Error) -> String {
    "the semaphores of a set are counted from zero; somebody else may have made a set of fewer".into()
}

pub(crate) fn beyond_the_largest(_: &Error) -> String {
    "a semaphore counts up to 32767 (SEMVMX), which no setting changes".into()
}

pub(crate) fn no_queues(_: &Error) -> String {
    format!(
        "there may be {} queues (kernel.msgmni), and there are {}. Remove unused ones (ipcs -q, ipcrm -q), or raise it: sysctl -w kernel.msgmni=N",
        or_unknown(limits::message_queues_max()),
        or_unknown(listing::sysv_count("msg")),
    )
}

pub(crate) fn type_below_one(_: &Error) -> String {
    "the type of a message is greater than zero".into()
}

pub(crate) fn too_long_a_message(_: &Error) -> String {
    format!(
        "a message has at most {} bytes (kernel.msgmax); raise it: sysctl -w kernel.msgmax=N",
        or_unknown(limits::message_bytes_max())
    )
}

pub(crate) fn larger_buffer(_: &Error) -> String {
    "take it with a larger buffer".into()
}

fn semaphore_limit(which: fn(&limits::SemaphoreLimits) -> u64) -> String {
    or_unknown(limits::semaphores().as_ref().map(which))
}
