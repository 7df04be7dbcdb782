//! Which errors each system call is made to return.

use nix::errno::Errno;
use syscalls::Sysno;

/// Every call can be denied, run out of memory or fail for no good reason.
const ALWAYS: [Errno; 3] = [Errno::EPERM, Errno::ENOMEM, Errno::EIO];

/// The errors for one call: those that every call gets, then those that its manual page adds and that a machine in trouble really gives.
pub fn errnos_of(call: Sysno) -> impl Iterator<Item = Errno> {
    let always = if cannot_fail(call) { &[][..] } else { &ALWAYS };
    always.iter().chain(own_errnos(call)).copied()
}

/// Calls whose manual pages know no error; brk answers with an address in any case, and what follows from a wrong one is nobody's fault;
/// without rseq the C library ends the process itself, and the standard library believes that only a signal ends a sleep.
fn cannot_fail(call: Sysno) -> bool {
    matches!(
        call,
        Sysno::exit
            | Sysno::exit_group
            | Sysno::brk
            | Sysno::rseq
            | Sysno::clock_nanosleep
            | Sysno::umask
            | Sysno::getpid
            | Sysno::gettid
            | Sysno::getuid
            | Sysno::geteuid
            | Sysno::getgid
            | Sysno::getegid
            | Sysno::set_tid_address
            | Sysno::rt_sigreturn
    )
}

fn own_errnos(call: Sysno) -> &'static [Errno] {
    use Errno::{
        EACCES, EAGAIN, EDQUOT, EEXIST, EFBIG, EINTR, EINVAL, EMFILE, ENFILE, ENOENT, ENOLCK, ENOSPC, ENOSYS,
        EOPNOTSUPP, EROFS,
    };
    match call {
        _ if cannot_fail(call) => &[],
        Sysno::open | Sysno::openat => &[EMFILE, ENFILE, EACCES, ENOENT, ENOSPC, EROFS, EINTR],
        Sysno::openat2 => &[EMFILE, ENFILE, EACCES, ENOSYS, EAGAIN, EINTR],
        Sysno::mq_open => &[EMFILE, ENFILE, EACCES, ENOENT, ENOSPC, EEXIST, EINVAL],
        Sysno::mq_timedsend | Sysno::mq_timedreceive => &[EAGAIN, EINTR],
        Sysno::read | Sysno::pread64 => &[EINTR, EAGAIN],
        Sysno::write | Sysno::pwrite64 | Sysno::writev => &[EINTR, ENOSPC, EDQUOT, EFBIG],
        Sysno::fallocate | Sysno::ftruncate => &[ENOSPC, EINTR, EOPNOTSUPP, EFBIG],
        Sysno::fcntl => &[EAGAIN, ENOLCK, EMFILE, EINTR],
        Sysno::mmap | Sysno::clone | Sysno::clone3 => &[EAGAIN, ENOSYS],
        Sysno::futex | Sysno::poll | Sysno::ppoll => &[EINTR, EAGAIN],
        Sysno::linkat | Sysno::renameat | Sysno::renameat2 | Sysno::mkdirat => {
            &[EEXIST, ENOSPC, EDQUOT, EROFS, EACCES]
        }
        Sysno::fsync | Sysno::fdatasync | Sysno::close => &[ENOSPC, EDQUOT, EINTR],
        Sysno::getrandom => &[ENOSYS, EINTR],
        Sysno::copy_file_range | Sysno::sync_file_range | Sysno::fadvise64 | Sysno::statx => {
            &[ENOSYS, EINVAL]
        }
        _ => &[EINTR],
    }
}
