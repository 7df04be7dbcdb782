//! One error type for every refused kernel call: the operation, the object, the reason.
//!
//! The reader of a message has a terminal, not the source. So an error prints the C call that failed, the
//! name of the object it failed on, the reason in words and as the symbol that manual pages use; and
//! [`Error::hint`] adds the command that cures it, where there is one.
//!
//! Not here: the texts of the hints (`hint`, `hint_sysv`), and any meaning of a failure beyond this one call.
//!
//! ```
//! use shmeld_os::{Errno, Error, ErrorKind};
//!
//! let error = Error::new("mq_open", "/frames", Errno::MFILE);
//! assert_eq!(error.to_string(), "mq_open /frames: too many open files (EMFILE)");
//! assert_eq!(error.kind(), ErrorKind::Limit);
//! assert!(error.hint().is_some_and(|hint| hint.contains("RLIMIT_MSGQUEUE")));
//! ```

use std::{fmt, io};

use rustix::io::Errno;

use crate::{hint, name};

/// What the functions of this crate return.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The kernel refused one call: which call, on which object, why. See the [module](self).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    operation: &'static str,
    /// Free of control characters: it is printed on terminals and comes from strangers.
    object: String,
    errno: Errno,
    /// What whoever made the call knows better than the table of hints.
    hint: Option<String>,
}

impl Error {
    /// Describes a refused `operation` (its C name) on `object` (its name, as a user would type it).
    ///
    /// Control characters in `object` are escaped, so that a hostile name cannot drive the terminal of
    /// whoever reads the message. Text that went through [`name::escape`] already stays as it is.
    pub fn new(operation: &'static str, object: impl Into<String>, errno: Errno) -> Self {
        Error {
            operation,
            object: name::escape_controls(object.into()),
            errno,
            hint: None,
        }
    }

    /// As [`Error::new`], for what the standard library refused; EIO where that has no number.
    pub fn of_io(operation: &'static str, object: impl Into<String>, error: &io::Error) -> Self {
        Error::new(
            operation,
            object,
            Errno::from_io_error(error).unwrap_or(Errno::IO),
        )
    }

    /// With a cure of its own, where one number stands for several reasons and the caller knows which.
    #[must_use]
    pub fn with_hint(self, hint: String) -> Self {
        Error {
            hint: Some(hint),
            ..self
        }
    }

    /// The C call that was refused, such as `mq_open`.
    pub fn operation(&self) -> &'static str {
        self.operation
    }

    /// The object of the call, printable as it is.
    pub fn object(&self) -> &str {
        &self.object
    }

    /// The reason as the kernel gave it.
    pub fn errno(&self) -> Errno {
        self.errno
    }

    /// The reason, sorted by what the caller can do about it.
    pub fn kind(&self) -> ErrorKind {
        ErrorKind::of(self.errno)
    }

    /// What the user can do about it: a sentence with a limit, its present value and the command that
    /// changes it. `None` where the reason says everything.
    pub fn hint(&self) -> Option<String> {
        self.hint.clone().or_else(|| hint::hint(self))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.operation)?;
        if !self.object.is_empty() {
            write!(formatter, " {}", self.object)?;
        }
        match describe(self.errno) {
            Some(known) => write!(formatter, ": {} ({})", known.text, known.name),
            None => write!(formatter, ": errno {}", self.errno.raw_os_error()),
        }
    }
}

impl std::error::Error for Error {}

impl From<Error> for io::Error {
    /// Keeps the kind and the whole message. The raw number stays reachable through [`Error::errno`] of
    /// the inner error; an `io::Error` holds either a number or a message.
    fn from(error: Error) -> Self {
        io::Error::new(io::Error::from(error.errno).kind(), error)
    }
}

/// Reasons, sorted by what the caller can do about them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// There is nothing of that name, or no process of that number.
    NotFound,
    /// Somebody made an object of that name before.
    AlreadyExists,
    /// The kernel's access rules forbid it.
    PermissionDenied,
    /// It cannot be done at once, and the caller asked not to wait.
    WouldBlock,
    /// The deadline passed.
    TimedOut,
    /// A signal came; the call may be repeated.
    Interrupted,
    /// The device, the memory behind `/dev/shm`, or the quota is used up.
    NoSpace,
    /// A configurable limit is reached: open files, queue bytes, number of objects, file size.
    Limit,
    /// An argument is not acceptable, or the object is of another kind than expected.
    Invalid,
    /// Memory that the call should read or write is not there: a peer took it away.
    Fault,
    /// The object was removed while it was in use (EIDRM).
    Gone,
    /// This kernel, or this file system, does not have the operation.
    Unsupported,
    /// Anything else.
    Other,
}

impl ErrorKind {
    /// The kind of a bare error number.
    pub fn of(errno: Errno) -> Self {
        describe(errno).map_or(ErrorKind::Other, |known| known.kind)
    }
}

/// The symbol of an error number, such as `ENOENT`; `errno` for one this crate does not know.
pub fn errno_name(errno: Errno) -> &'static str {
    describe(errno).map_or("errno", |known| known.name)
}

/// The reason in words, such as `no such file or directory`; `unknown error` for a number this crate does
/// not know.
pub fn errno_text(errno: Errno) -> &'static str {
    describe(errno).map_or("unknown error", |known| known.text)
}

fn describe(errno: Errno) -> Option<&'static Known> {
    KNOWN.iter().find(|known| known.errno == errno)
}

struct Known {
    errno: Errno,
    name: &'static str,
    text: &'static str,
    kind: ErrorKind,
}

/// `errno "name" kind, text;`
macro_rules! known {
    ($($errno:ident $name:literal $kind:ident, $text:literal;)*) => {
        &[$(Known {
            errno: Errno::$errno,
            name: $name,
            text: $text,
            kind: ErrorKind::$kind,
        }),*]
    };
}

/// Every reason that the calls of this crate are documented to give. A table of our own, because the
/// C library's texts depend on the locale and its `strerror` is not safe in every thread.
static KNOWN: &[Known] = known! {
    PERM "EPERM" PermissionDenied, "operation not permitted";
    NOENT "ENOENT" NotFound, "no such file or directory";
    SRCH "ESRCH" NotFound, "no such process";
    INTR "EINTR" Interrupted, "interrupted by a signal";
    IO "EIO" Other, "input/output error";
    NXIO "ENXIO" NotFound, "no such device or address";
    TOOBIG "E2BIG" Invalid, "argument list or structure too large";
    NOEXEC "ENOEXEC" Invalid, "not an executable format";
    BADF "EBADF" Invalid, "bad file descriptor";
    CHILD "ECHILD" NotFound, "no child process";
    AGAIN "EAGAIN" WouldBlock, "not possible at once";
    NOMEM "ENOMEM" NoSpace, "out of memory";
    ACCESS "EACCES" PermissionDenied, "permission denied";
    FAULT "EFAULT" Fault, "bad address";
    NOTBLK "ENOTBLK" Invalid, "not a block device";
    BUSY "EBUSY" WouldBlock, "device or resource busy";
    EXIST "EEXIST" AlreadyExists, "it exists already";
    XDEV "EXDEV" Invalid, "it leads to another file system or outside the directory";
    NODEV "ENODEV" Unsupported, "no such device";
    NOTDIR "ENOTDIR" Invalid, "not a directory";
    ISDIR "EISDIR" Invalid, "is a directory";
    INVAL "EINVAL" Invalid, "invalid argument";
    NFILE "ENFILE" Limit, "too many open files in the system";
    MFILE "EMFILE" Limit, "too many open files";
    NOTTY "ENOTTY" Unsupported, "not a terminal, or not possible on this object";
    TXTBSY "ETXTBSY" WouldBlock, "the program file is being executed";
    FBIG "EFBIG" Limit, "file too large";
    NOSPC "ENOSPC" NoSpace, "no space left";
    SPIPE "ESPIPE" Invalid, "a pipe has no position";
    ROFS "EROFS" PermissionDenied, "read-only file system";
    MLINK "EMLINK" Limit, "too many links";
    PIPE "EPIPE" Other, "nobody reads the other end of the pipe";
    DOM "EDOM" Invalid, "argument out of domain";
    RANGE "ERANGE" Limit, "result out of range";
    DEADLK "EDEADLK" WouldBlock, "a deadlock was avoided";
    NAMETOOLONG "ENAMETOOLONG" Invalid, "name too long";
    NOLCK "ENOLCK" Limit, "no locks available";
    NOSYS "ENOSYS" Unsupported, "this kernel does not have the call";
    NOTEMPTY "ENOTEMPTY" AlreadyExists, "directory not empty";
    LOOP "ELOOP" Invalid, "a symbolic link, or too many of them";
    NOMSG "ENOMSG" WouldBlock, "no message of that type";
    IDRM "EIDRM" Gone, "the object was removed";
    NODATA "ENODATA" NotFound, "no data";
    TIME "ETIME" TimedOut, "timer expired";
    NOLINK "ENOLINK" Other, "the link is broken";
    PROTO "EPROTO" Other, "protocol error";
    BADMSG "EBADMSG" Invalid, "bad message";
    OVERFLOW "EOVERFLOW" Invalid, "value too large for its type";
    ILSEQ "EILSEQ" Invalid, "invalid sequence of bytes";
    USERS "EUSERS" Limit, "too many users";
    NOTSOCK "ENOTSOCK" Invalid, "not a socket";
    MSGSIZE "EMSGSIZE" Invalid, "wrong message length for this queue";
    OPNOTSUPP "EOPNOTSUPP" Unsupported, "operation not supported";
    ADDRINUSE "EADDRINUSE" AlreadyExists, "address in use";
    NOBUFS "ENOBUFS" Limit, "no room in a table of fixed size";
    TIMEDOUT "ETIMEDOUT" TimedOut, "timed out";
    CONNREFUSED "ECONNREFUSED" Other, "connection refused";
    STALE "ESTALE" Gone, "stale file handle";
    DQUOT "EDQUOT" NoSpace, "disk quota exceeded";
    CANCELED "ECANCELED" Interrupted, "cancelled";
    OWNERDEAD "EOWNERDEAD" Other, "the owner of the lock died";
    NOTRECOVERABLE "ENOTRECOVERABLE" Other, "the state is not recoverable";
    HWPOISON "EHWPOISON" Other, "the memory page has a hardware error";
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_names_operation_object_and_reason() {
        let error = Error::new("mq_open", "/frames", Errno::MFILE);
        assert_eq!(error.to_string(), "mq_open /frames: too many open files (EMFILE)");
        assert_eq!(
            Error::new("eventfd", "", Errno::NFILE)
                .to_string()
                .find("eventfd:"),
            Some(0)
        );
    }

    #[test]
    fn an_unknown_number_is_printed_as_a_number() {
        let error = Error::new("open", "/x", Errno::from_raw_os_error(4000));
        assert_eq!(error.to_string(), "open /x: errno 4000");
        assert_eq!(error.kind(), ErrorKind::Other);
        assert_eq!(errno_name(error.errno()), "errno");
    }

    #[test]
    fn hostile_object_names_cannot_drive_a_terminal() {
        let error = Error::new("open", "/a\u{1b}[2J\n\u{202e}b", Errno::NOENT);
        assert_eq!(error.object(), "/a\\x1b[2J\\n\\u{202e}b");
        let escaped_before = name::escape(b"/a\x1b\xff\\");
        assert_eq!(
            Error::new("open", escaped_before.clone(), Errno::NOENT).object(),
            escaped_before
        );
    }

    #[test]
    fn the_table_has_no_number_and_no_name_twice() {
        for (index, one) in KNOWN.iter().enumerate() {
            for other in &KNOWN[index + 1..] {
                assert_ne!(one.errno, other.errno);
                assert_ne!(one.name, other.name);
            }
        }
        assert!(KNOWN.len() >= 60);
    }

    #[test]
    fn kinds_tell_apart_what_the_caller_does_next() {
        for (errno, kind) in [
            (Errno::NOENT, ErrorKind::NotFound),
            (Errno::EXIST, ErrorKind::AlreadyExists),
            (Errno::ACCESS, ErrorKind::PermissionDenied),
            (Errno::AGAIN, ErrorKind::WouldBlock),
            (Errno::TIMEDOUT, ErrorKind::TimedOut),
            (Errno::INTR, ErrorKind::Interrupted),
            (Errno::NOSPC, ErrorKind::NoSpace),
            (Errno::MFILE, ErrorKind::Limit),
            (Errno::MSGSIZE, ErrorKind::Invalid),
            (Errno::FAULT, ErrorKind::Fault),
            (Errno::IDRM, ErrorKind::Gone),
            (Errno::NOSYS, ErrorKind::Unsupported),
        ] {
            assert_eq!(ErrorKind::of(errno), kind, "{}", errno_name(errno));
        }
    }

    #[test]
    fn an_io_error_keeps_kind_and_message() {
        let error = io::Error::from(Error::new("open", "/x", Errno::NOENT));
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        assert_eq!(error.to_string(), "open /x: no such file or directory (ENOENT)");
        let back = |error| Error::of_io("open", "/x", &error).errno();
        assert_eq!(back(io::Error::from(Errno::NOENT)), Errno::NOENT);
        assert_eq!(back(error), Errno::IO, "a message has no number");
    }
}
