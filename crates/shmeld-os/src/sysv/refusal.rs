//! Which of its meanings EINVAL has: the kernel has one number for an argument of zero, one beyond a limit, one beyond what exists, and an
//! object that is gone.
//!
//! The decisions are pure; what they need to know is asked for once the call has failed. Another process may change it meanwhile: the
//! answer is for people.

use rustix::io::Errno;

use super::message_queue::MessageQueue;
use super::semaphore::SemaphoreSet;
use super::shared_memory::Segment;
use super::{How, Key, boundary_bytes};
use crate::hint::Text;
use crate::{Error, hint_sysv_text as text, limits};

/// Why a size (bytes of a segment, semaphores of a set) is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Size {
    /// What has the key has less than was asked for: this much.
    Smaller(u64),
    /// Something new was to have nothing.
    Zero,
    /// Something new was to have more than this limit.
    BeyondMax(u64),
}

fn why(wanted: u64, existing: Option<u64>, max: Option<u64>) -> Option<Size> {
    match (existing, max) {
        (Some(existing), _) if wanted > existing => Some(Size::Smaller(existing)),
        (Some(_), _) => None,
        (None, _) if wanted == 0 => Some(Size::Zero),
        (None, Some(max)) if wanted > max => Some(Size::BeyondMax(max)),
        (None, _) => None,
    }
}

/// What `shmget(key, bytes)` was refused with.
pub(super) fn of_shmget(key: Key, bytes: usize, errno: Errno) -> Error {
    of_get("shmget", key, bytes as u64, "bytes", errno, || {
        why(bytes as u64, Segment::bytes_of(key), limits::segment_bytes_max())
    })
}

/// What `semget(key, semaphores)` was refused with.
pub(super) fn of_semget(key: Key, semaphores: u16, errno: Errno) -> Error {
    of_get("semget", key, semaphores.into(), "semaphores", errno, || {
        let max = limits::semaphores().map(|limits| limits.in_set);
        why(semaphores.into(), SemaphoreSet::semaphores_of(key), max)
    })
}

fn of_get(
    call: &'static str,
    key: Key,
    wanted: u64,
    unit: &str,
    errno: Errno,
    why: impl FnOnce() -> Option<Size>,
) -> Error {
    let Some(size) = (errno == Errno::INVAL).then(why).flatten() else {
        return Error::new(call, key.to_string(), errno);
    };
    let is_segment = call == "shmget";
    let (detail, cure): (String, Text) = match size {
        Size::Smaller(existing) if is_segment => (format!(", it has {existing}"), text::smaller_segment),
        Size::Smaller(existing) => (format!(", it has {existing}"), text::smaller_set),
        Size::Zero if is_segment => (String::new(), text::no_bytes),
        Size::Zero => (String::new(), text::no_semaphores),
        Size::BeyondMax(max) if is_segment => (format!(", at most {max} are allowed"), text::too_many_bytes),
        Size::BeyondMax(max) => (format!(", at most {max} are allowed"), text::too_many_semaphores),
    };
    told(
        call,
        format!("{key} ({wanted} {unit} wanted{detail})"),
        errno,
        cure,
    )
}

/// What `shmat(segment)` was refused with.
pub(super) fn of_shmat(segment: &Segment, how: How, label: &str, errno: Errno) -> Error {
    let object = how
        .address
        .map_or_else(|| label.to_owned(), |address| format!("{label} at {address:#x}"));
    if errno == Errno::ACCESS && how.read_only {
        return told("shmat", object, errno, text::closed);
    }
    if errno != Errno::INVAL {
        return Error::new("shmat", object, errno);
    }
    let cure: Text = match how.address {
        Some(address) if !is_on_a_boundary(address, how.round) => text::not_on_a_boundary,
        Some(_) if segment.stat_of_any().is_ok() => text::in_use_there,
        _ => |_| text::no_such_number("-m"),
    };
    told("shmat", object, errno, cure)
}

/// Whether a segment can be attached there. Address 0 means "anywhere" to the kernel, and after rounding it would mean page 0.
pub(super) fn is_on_a_boundary(address: usize, round: bool) -> bool {
    let boundary = boundary_bytes();
    address >= boundary && (round || address.is_multiple_of(boundary))
}

/// What `msgsnd(queue, kind, message)` was refused with.
pub(super) fn of_msgsnd(error: Error, queue: &MessageQueue, kind: i64, bytes: usize) -> Error {
    if error.errno() != Errno::INVAL {
        return error;
    }
    if kind < 1 {
        return of_type("msgsnd", error.object(), kind);
    }
    // Whoever may send need not be allowed to read.
    if queue
        .stat_of_any()
        .is_err_and(|error| error.errno() != Errno::ACCESS)
    {
        return error;
    }
    let object = format!("{} ({bytes} bytes)", error.object());
    told("msgsnd", object, Errno::INVAL, text::too_long_a_message)
}

/// A type that no message has.
pub(super) fn of_type(call: &'static str, label: &str, kind: i64) -> Error {
    told(
        call,
        format!("{label} (type {kind})"),
        Errno::INVAL,
        text::type_below_one,
    )
}

/// What an IPC_SET of owner or group was refused with, right after an IPC_STAT of the same object.
pub(super) fn of_owner(error: Error, uid: Option<u32>, gid: Option<u32>) -> Error {
    if error.errno() != Errno::INVAL {
        return error;
    }
    let shown =
        |number: Option<u32>| number.map_or_else(|| "as it is".to_owned(), |number| number.to_string());
    let object = format!("{} (uid {}, gid {})", error.object(), shown(uid), shown(gid));
    told(error.operation(), object, Errno::INVAL, text::no_such_user)
}

/// An IPC_SET that would have to keep an owner or group which is not known here.
pub(super) fn of_unknown_owner(call: &'static str, label: &str, which: &str, id: u32) -> Error {
    let object = format!("{label} ({which} {id} stands for all that this namespace does not know)");
    told(call, object, Errno::OVERFLOW, text::unknown_owner)
}

fn told(call: &'static str, object: String, errno: Errno, cure: Text) -> Error {
    let error = Error::new(call, object, errno);
    let hint = cure(&error);
    error.with_hint(hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_meanings_of_a_refused_size_are_told_apart() {
        assert_eq!(why(0, None, Some(10)), Some(Size::Zero));
        assert_eq!(why(11, None, Some(10)), Some(Size::BeyondMax(10)));
        assert_eq!(why(6, Some(5), Some(10)), Some(Size::Smaller(5)));
        assert_eq!(why(11, Some(5), Some(10)), Some(Size::Smaller(5)));
        // It has changed since the call, or the reason is one that is not known here.
        assert_eq!(why(5, Some(5), Some(10)), None);
        assert_eq!(why(10, None, Some(10)), None);
        assert_eq!(why(11, None, None), None);
    }

    #[test]
    fn page_zero_is_no_place_for_a_segment() {
        let page = boundary_bytes();
        assert!(!is_on_a_boundary(0, true) && !is_on_a_boundary(page - 1, true));
        assert!(is_on_a_boundary(page, false) && is_on_a_boundary(page + 1, true));
        assert!(!is_on_a_boundary(page + 1, false));
    }
}
