//! What each reason of each System V call means, and its cure: the table that docs/SYSV.md shows.
//!
//! As in `hint`, a row's call is a prefix, and the first row that matches wins. Where one number has several meanings, the wrapper of the
//! call finds out which (`sysv/refusal.rs`) and tells the cure with the error; such rows are marked `told`.

use rustix::io::Errno;

use crate::Error;
use crate::hint::Text;
use crate::hint_sysv_text::*;

/// One reason of one call.
pub(crate) struct Row {
    /// The beginning of [`Error::operation`].
    pub(crate) call: &'static str,
    pub(crate) errno: Errno,
    /// For the document; `unreachable: …` if no function of this crate can meet it.
    #[cfg_attr(not(test), allow(dead_code))]
    pub(crate) meaning: &'static str,
    pub(crate) cure: Option<Text>,
    /// One of several meanings of this number: only the wrapper knows that it is this one.
    pub(crate) told: bool,
}

/// What the table says of an error, unless only its wrapper could say it.
pub(crate) fn row(error: &Error) -> Option<&'static Row> {
    let matches = |row: &&Row| row.errno == error.errno() && error.operation().starts_with(row.call);
    TABLE.iter().find(|row| matches(row) && !row.told)
}

/// `[TOLD] call errno, meaning[, cure];`
macro_rules! rows {
    ($($($told:ident)? $call:literal $errno:ident, $meaning:expr $(, $cure:expr)?;)*) => {
        &[$(Row {
            call: $call,
            errno: Errno::$errno,
            meaning: $meaning,
            cure: rows!(@cure $($cure)?),
            told: false $(| $told)?,
        }),*]
    };
    (@cure) => { None };
    (@cure $cure:expr) => { Some($cure) };
}

const TOLD: bool = true;

const NO_POINTERS: &str = "unreachable: the buffers of the call are this crate's own";
const REPEATED: &str = "unreachable: a signal came, and the call is repeated";
const REMOVED_MEANWHILE: &str = "it was removed while the call was at work";
const REMOVED_WHILE_WAITING: &str = "it was removed while the call waited on it";
const GONE: &str = "nothing has this number, or not any more";
const MODE: &str = "the mode does not admit this user";
const OWNERS: &str = "this user is neither owner nor creator nor root";
const EXISTS: &str = "the key is taken, and the object was to be new";
const NO_KEY: &str = "nothing has this key";
const KERNEL_MEMORY: &str = "the kernel has no memory for its records";
const TIME_IS_UP: &str = "the deadline passed (the kernel's own word is EAGAIN or ENOMSG)";

pub(crate) static TABLE: &[Row] = rows! {
    "ftok" NOENT, "there is no such file", needs_the_file;
    "ftok" ACCESS, "a directory on the way is closed to this user", needs_the_file;
    "ftok" INVAL, "project 0, or a path with a NUL", needs_a_project;
    "shmget" ACCESS, MODE, closed;
    "shmget" EXIST, EXISTS, |error| taken(error, "-m", "-M");
    TOLD "shmget" INVAL, "a new segment of 0 bytes", no_bytes;
    TOLD "shmget" INVAL, "a new segment of more than kernel.shmmax bytes", too_many_bytes;
    TOLD "shmget" INVAL, "the segment that has this key is smaller", smaller_segment;
    "shmget" NFILE, "the whole system has no file left", no_files;
    "shmget" NOENT, NO_KEY, |_| no_such_key("-m");
    "shmget" NOMEM, "more than memory and swap have", no_memory;
    "shmget" NOSPC, "kernel.shmmni segments, or kernel.shmall pages", no_segments;
    "shmget" PERM, "unreachable: this crate asks for no huge pages";
    TOLD "shmat" ACCESS, "the mode does not let this user read", closed;
    "shmat" ACCESS, "the mode does not admit this user, or for reading only", closed_for_writing;
    "shmat" IDRM, REMOVED_MEANWHILE;
    TOLD "shmat" INVAL, GONE, |_| no_such_number("-m");
    TOLD "shmat" INVAL, "the address is no multiple of SHMLBA, or rounds down to 0", not_on_a_boundary;
    TOLD "shmat" INVAL, "memory is in use at the address", in_use_there;
    "shmat" NOMEM, "no room in the address space, or not at this address", no_address_space;
    "shmat" PERM, "the address is below vm.mmap_min_addr", below_the_lowest;
    "shmdt" INVAL, "no segment is attached there, or not any more";
    "shmctl(IPC_STAT" ACCESS, "the mode does not let this user read", closed;
    "shmctl" FAULT, NO_POINTERS;
    "shmctl" IDRM, REMOVED_MEANWHILE;
    TOLD "shmctl(IPC_SET" INVAL, "no user or group of this namespace has this number", no_such_user;
    TOLD "shmctl(IPC_SET" OVERFLOW, "who would have to stay owner or group is not known in this namespace", unknown_owner;
    "shmctl" INVAL, GONE, |_| no_such_number("-m");
    "shmctl(IPC_STAT" OVERFLOW, "unreachable: the kernel's record has room for every user";
    "shmctl" PERM, OWNERS, |error| owners_only(error, "-m");
    "semget" ACCESS, MODE, closed;
    "semget" EXIST, EXISTS, |error| taken(error, "-s", "-S");
    TOLD "semget" INVAL, "a new set of no semaphores", no_semaphores;
    TOLD "semget" INVAL, "a new set of more semaphores than kernel.sem allows", too_many_semaphores;
    TOLD "semget" INVAL, "the set that has this key has fewer semaphores", smaller_set;
    "semget" NOENT, NO_KEY, |_| no_such_key("-s");
    "semget" NOMEM, KERNEL_MEMORY;
    "semget" NOSPC, "as many sets, or semaphores, as kernel.sem allows", no_sets;
    "semtimedop" TOOBIG, "more operations at once than kernel.sem allows", too_many_operations;
    "semtimedop" ACCESS, MODE, closed;
    "semtimedop" AGAIN, "it would have to wait, and was not to";
    "semtimedop" FAULT, NO_POINTERS;
    "semtimedop" FBIG, "an index beyond the set", index_beyond;
    "semtimedop" IDRM, REMOVED_WHILE_WAITING;
    "semtimedop" INTR, REPEATED;
    "semtimedop" INVAL, "nothing has this number, or no operation was given", |_| no_such_number("-s");
    "semtimedop" NOMEM, "the kernel has no memory to note what is to be undone";
    "semtimedop" RANGE, "a value, or what is to be undone, beyond 32767", beyond_the_largest;
    "semtimedop" TIMEDOUT, TIME_IS_UP;
    "semctl" ACCESS, MODE, closed;
    "semctl" FAULT, NO_POINTERS;
    "semctl" IDRM, REMOVED_MEANWHILE;
    TOLD "semctl(IPC_SET" INVAL, "no user or group of this namespace has this number", no_such_user;
    TOLD "semctl(IPC_SET" OVERFLOW, "who would have to stay owner or group is not known in this namespace", unknown_owner;
    "semctl" INVAL, "nothing has this number, or an index beyond the set", |_| no_such_number("-s");
    "semctl(GETALL" NOMEM, KERNEL_MEMORY;
    "semctl" PERM, OWNERS, |error| owners_only(error, "-s");
    "semctl(SETVAL" RANGE, "a value beyond 32767", beyond_the_largest;
    "msgget" ACCESS, MODE, closed;
    "msgget" EXIST, EXISTS, |error| taken(error, "-q", "-Q");
    "msgget" NOENT, NO_KEY, |_| no_such_key("-q");
    "msgget" NOMEM, KERNEL_MEMORY;
    "msgget" NOSPC, "kernel.msgmni queues", no_queues;
    "msgsnd" ACCESS, MODE, closed;
    "msgsnd" FAULT, NO_POINTERS;
    "msgsnd" IDRM, REMOVED_WHILE_WAITING;
    "msgsnd" INTR, REPEATED;
    TOLD "msgsnd" INVAL, "a type below 1", type_below_one;
    TOLD "msgsnd" INVAL, "a message of more than kernel.msgmax bytes", too_long_a_message;
    "msgsnd" INVAL, GONE, |_| no_such_number("-q");
    "msgsnd" NOMEM, KERNEL_MEMORY;
    "msgsnd" TIMEDOUT, TIME_IS_UP;
    "msgrcv" TOOBIG, "the message is longer than the buffer, and stays", larger_buffer;
    "msgrcv" ACCESS, MODE, closed;
    "msgrcv" FAULT, NO_POINTERS;
    "msgrcv" IDRM, REMOVED_WHILE_WAITING;
    "msgrcv" INTR, REPEATED;
    TOLD "msgrcv" INVAL, "a type below 1", type_below_one;
    "msgrcv" INVAL, GONE, |_| no_such_number("-q");
    "msgrcv" NOSYS, "unreachable: this crate copies no message without taking it";
    "msgrcv" TIMEDOUT, TIME_IS_UP;
    "msgctl" ACCESS, "the mode does not let this user read", closed;
    "msgctl" FAULT, NO_POINTERS;
    "msgctl" IDRM, REMOVED_MEANWHILE;
    TOLD "msgctl(IPC_SET" INVAL, "no user or group of this namespace has this number", no_such_user;
    TOLD "msgctl(IPC_SET" OVERFLOW, "who would have to stay owner or group is not known in this namespace", unknown_owner;
    "msgctl" INVAL, GONE, |_| no_such_number("-q");
    "msgctl" PERM, OWNERS, |error| owners_only(error, "-q");
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;
    use crate::error::errno_name;

    /// The machine's own numbers differ from those of the machine on which the document was written.
    fn without_numbers(text: &str) -> String {
        let mut shown = String::new();
        for character in text.chars() {
            match character {
                '0'..='9' if shown.ends_with('N') => {}
                '0'..='9' => shown.push('N'),
                _ => shown.push(character),
            }
        }
        shown
    }

    fn line(row: &Row) -> String {
        let call = match row.call {
            "shmctl(IPC_STAT" | "shmctl(IPC_SET" | "semctl(IPC_SET" | "semctl(GETALL" | "semctl(SETVAL"
            | "msgctl(IPC_SET" => {
                format!("{})", row.call)
            }
            call => call.to_owned(),
        };
        let error = Error::new("a call", "OBJECT", row.errno);
        let hint = row
            .cure
            .map(|text| without_numbers(&text(&error)))
            .unwrap_or_default();
        let kind = ErrorKind::of(row.errno);
        format!(
            "| {call} | {} | {kind:?} | {} | {hint} |",
            errno_name(row.errno),
            row.meaning
        )
    }

    #[test]
    fn the_document_shows_this_table() {
        if !std::path::Path::new("../../docs").exists() {
            return; // the crate alone comes without documents
        }
        let document = std::fs::read_to_string("../../docs/SYSV.md").expect("the document");
        let shown: Vec<&str> = document
            .lines()
            .filter(|line| line.starts_with("| ") && line.contains(" | E"))
            .collect();
        let table: Vec<String> = TABLE.iter().map(line).collect();
        assert!(
            shown == table,
            "docs/SYSV.md should have these lines:\n{}\n",
            table.join("\n")
        );
    }

    #[test]
    fn every_reason_is_one_that_this_crate_knows_by_name() {
        for row in TABLE {
            assert_ne!(errno_name(row.errno), "errno", "{}", row.call);
            assert_ne!(ErrorKind::of(row.errno), ErrorKind::Other, "{}", row.call);
        }
    }

    #[test]
    fn no_row_hides_behind_an_earlier_one() {
        for (index, row) in TABLE.iter().enumerate().filter(|(_, row)| !row.told) {
            let first = TABLE.iter().position(|other| {
                !other.told && other.errno == row.errno && row.call.starts_with(other.call)
            });
            assert_eq!(first, Some(index), "{} {:?}", row.call, row.errno);
        }
    }
}
