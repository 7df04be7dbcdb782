//! The SIGBUS guard: a region that vanishes under our hands becomes zeros instead of death.
//!
//! Named POSIX shared memory can be truncated by whoever may write it. A load or store beyond the new end
//! raises SIGBUS. The guard's handler puts anonymous pages in place of the whole region, marks it as
//! faulted, and returns: the access is repeated and succeeds, the caller then asks
//! [`Mapping::faulted`](crate::mapping::Mapping::faulted) and blames the peer. A lease that was kept alive
//! by the mapping ends there.
//!
//! ```text
//! SLOTS        one per region: version, start, length, faulted. Each slot is a sequence lock:
//! register     claims a free slot (version odd), fills it in, publishes it (version even)
//! handler      reads a slot between two equal even versions, compares the fault address
//! forget       empties the slot; its mapping is removed only afterwards
//! ```
//! A handler can run in any thread at any instruction, so it takes no lock and allocates nothing: atomics
//! and system calls only. Everything else (a foreign address, a signal sent by a process) goes to the
//! handler that was there before.
//!
//! For binaries: a library must not change how signals act. A thread that blocks SIGBUS is not protected,
//! the kernel then kills the process.
//!
//! ```
//! use shmeld_os::{mapping::Mapping, posix::shm::SharedMemory, sigbus};
//!
//! sigbus::install()?;
//! let memory = SharedMemory::create_unnamed()?;
//! memory.reserve(4096)?;
//! let mapping = Mapping::new(&memory, 4096, "the example")?;
//!
//! memory.as_file().set_len(0)?; // what a hostile peer does
//! // SAFETY: the mapping has this byte; where the file was the guard puts a page of zeros.
//! let byte = unsafe { mapping.as_ptr().read_volatile() };
//! assert_eq!(byte, 0);
//! assert!(mapping.faulted()); // so nothing that came from there is believed
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![allow(unsafe_code)] // sigaction(2), and a mapping over an address that only the kernel knows

use std::ptr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, AtomicUsize, Ordering, fence};

use rustix::io::Errno;

use crate::{Error, Result, sys};

/// How many regions are guarded at once. A fixed table, because the handler must not meet a table that
/// is being moved.
pub const REGIONS_MAX: usize = 2048;

struct Slot {
    /// Even: stable. Odd: its owner, or one who claims it, is writing. Grows by two for each change.
    version: AtomicU32,
    /// The first byte of the region; 0 in a free slot. Written by the owner of the slot.
    start: AtomicUsize,
    /// Bytes, a whole number of pages. Written by the owner of the slot.
    len: AtomicUsize,
    /// Set by the handler, cleared by `register`.
    faulted: AtomicBool,
}

impl Slot {
    const fn new() -> Self {
        Slot {
            version: AtomicU32::new(0),
            start: AtomicUsize::new(0),
            len: AtomicUsize::new(0),
            faulted: AtomicBool::new(false),
        }
    }

    /// Takes a free slot for the caller alone; its version stays odd until `publish`.
    fn try_claim(&self) -> bool {
        let version = self.version.load(Ordering::Acquire);
        if !version.is_multiple_of(2) || self.start.load(Ordering::Relaxed) != 0 {
            return false;
        }
        // Success proves that nobody wrote since the version was loaded, so `start` was and is 0.
        let claimed = version.wrapping_add(1);
        let claim = self
            .version
            .compare_exchange(version, claimed, Ordering::AcqRel, Ordering::Relaxed);
        claim.is_ok()
    }

    /// Fills in a claimed slot and makes it stable. Only for the owner.
    fn publish(&self, start: usize, len: usize) {
        // Release: a reader that sees one of the stores below also sees the odd version before them.
        // Pairs with the Acquire fence in `region`.
        fence(Ordering::Release);
        self.faulted.store(false, Ordering::Relaxed);
        self.start.store(start, Ordering::Relaxed);
        self.len.store(len, Ordering::Relaxed);
        let version = self.version.load(Ordering::Relaxed);
        // Release: pairs with the Acquire load in `region` and in `try_claim`.
        self.version.store(version.wrapping_add(1), Ordering::Release);
    }

    /// Empties the slot. Only for the owner.
    fn clear(&self) {
        let version = self.version.load(Ordering::Relaxed);
        self.version.store(version.wrapping_add(1), Ordering::Relaxed);
        self.publish(0, 0);
    }

    /// Start and length as they were together at one moment; `None` for a free slot, or one that changes
    /// just now and so is not the region in which the calling thread faulted.
    fn region(&self) -> Option<(usize, usize)> {
        let before = self.version.load(Ordering::Acquire);
        let start = self.start.load(Ordering::Relaxed);
        let len = self.len.load(Ordering::Relaxed);
        // Acquire: orders the two loads above before the second look at the version. Pairs with the
        // Release fence in `publish`.
        fence(Ordering::Acquire);
        let after = self.version.load(Ordering::Relaxed);
        (before == after && before.is_multiple_of(2) && start != 0).then_some((start, len))
    }
}

static SLOTS: [Slot; REGIONS_MAX] = [const { Slot::new() }; REGIONS_MAX];

/// One past the highest slot ever used, so that a process with three regions scans three slots.
static SLOTS_USED: AtomicUsize = AtomicUsize::new(0);

static IS_INSTALLED: AtomicBool = AtomicBool::new(false);

/// The handler that was there before, and its flags. Written before ours is installed, then constant.
static PREVIOUS_HANDLER: AtomicUsize = AtomicUsize::new(libc::SIG_DFL);
static PREVIOUS_FLAGS: AtomicI32 = AtomicI32::new(0);

/// A registered region. Not `Clone`: its holder is the one writer of its slot.
#[derive(Debug)]
pub(crate) struct Guarded {
    slot: usize,
}

/// Whether the guard is installed, so that mappings made from now on are guarded.
pub fn is_installed() -> bool {
    // Acquire: pairs with the Release store at the end of `install`.
    IS_INSTALLED.load(Ordering::Acquire)
}

/// `sigaction(SIGBUS, …)`: installs the guard for this process. Doing it again does nothing.
///
/// Mappings made before are not guarded: call it first.
///
/// # Errors
/// Practically never.
///
/// See [sigaction(2)](https://man7.org/linux/man-pages/man2/sigaction.2.html).
#[doc(alias = "sigaction")]
#[doc(alias = "SIGBUS")]
pub fn install() -> Result<()> {
    static INSTALLING: Mutex<()> = Mutex::new(());
    // The lock protects no data that a panic could spoil.
    let _one_at_a_time = INSTALLING.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    if IS_INSTALLED.load(Ordering::Acquire) {
        return Ok(());
    }
    let fail = |errno| Error::new("sigaction", "SIGBUS", errno);
    // The previous handler is known before ours can run, not a moment after.
    let previous = exchange_action(None).map_err(fail)?;
    PREVIOUS_HANDLER.store(previous.sa_sigaction, Ordering::Relaxed);
    // Release: pairs with the Acquire load in `chain`; the handler store above comes with it.
    PREVIOUS_FLAGS.store(previous.sa_flags, Ordering::Release);
    // SAFETY: all bytes zero is a valid `sigaction`: integers and an empty signal set.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = on_sigbus as extern "C" fn(_, _, _) as usize;
    // On the alternate stack, because the previous handler may be one for overflown stacks.
    action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_RESTART;
    exchange_action(Some(&action)).map_err(fail)?;
    IS_INSTALLED.store(true, Ordering::Release);
    Ok(())
}

/// Puts a region into the table; `None` if the guard is not installed. `start` is page aligned, `len` a
/// whole number of pages.
pub(crate) fn register(start: usize, len: usize) -> Result<Option<Guarded>, Errno> {
    if !IS_INSTALLED.load(Ordering::Acquire) {
        return Ok(None);
    }
    // ENOBUFS has a hint of its own that names the size of the table.
    let slot = SLOTS.iter().position(Slot::try_claim).ok_or(Errno::NOBUFS)?;
    SLOTS[slot].publish(start, len);
    // Release: whoever scans up to the new mark sees the slot. Pairs with the Acquire load in `find`. A
    // fault in this region comes from a thread that got the mapping after this call.
    SLOTS_USED.fetch_max(slot + 1, Ordering::Release);
    Ok(Some(Guarded { slot }))
}

impl Guarded {
    /// Whether the region vanished and was replaced by zeros. It stays so.
    pub(crate) fn faulted(&self) -> bool {
        // Acquire: pairs with the Release store in `on_sigbus`. In the faulting thread itself the handler
        // ran in between, in program order.
        SLOTS[self.slot].faulted.load(Ordering::Acquire)
    }

    /// Takes the region out of the table. To be called before it is unmapped: afterwards its addresses
    /// can belong to anybody.
    pub(crate) fn forget(self) {
        SLOTS[self.slot].clear();
    }
}

fn find(address: usize) -> Option<(&'static Slot, usize, usize)> {
    let used = SLOTS_USED.load(Ordering::Acquire);
    SLOTS.iter().take(used).find_map(|slot| {
        let (start, len) = slot.region()?;
        (address.wrapping_sub(start) < len).then_some((slot, start, len))
    })
}

/// The handler. Async-signal-safe: atomics, `mmap`, `sigaction`, `raise`, and the previous handler.
extern "C" fn on_sigbus(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: the kernel passes a valid siginfo to a handler installed with SA_SIGINFO; nobody else has it.
    let details = unsafe { &*info };
    let code = details.si_code;
    let errno = rescue_errno();
    // A code up to 0 means that a process sent the signal: there is no fault address then.
    let is_rescued = code > 0 && {
        // SAFETY: positive codes of SIGBUS come with an address.
        let address = unsafe { details.si_addr() };
        replace_region_of(address.addr())
    };
    if !is_rescued {
        chain(signal, code, info, context);
    }
    restore_errno(errno);
}

fn replace_region_of(address: usize) -> bool {
    let Some((slot, start, len)) = find(address) else {
        return false;
    };
    let start_pointer = ptr::without_provenance_mut(start);
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    let flags = libc::MAP_FIXED | libc::MAP_ANONYMOUS | libc::MAP_PRIVATE;
    // SAFETY: [start, start + len) is a whole mapping of this process that its `Mapping` owns: it was read
    // consistently, and the slot is emptied before the mapping is removed. The interrupted thread is in
    // the middle of an access to it, so it still exists. Only volatile and atomic accesses by address are
    // made to it, no reference, and they find memory before and after.
    let outcome = unsafe { libc::mmap(start_pointer, len, protection, flags, -1, 0) };
    if outcome == libc::MAP_FAILED {
        return false;
    }
    // Release: pairs with the Acquire load in `Guarded::faulted`.
    slot.faulted.store(true, Ordering::Release);
    true
}

/// Does what would have happened without the guard.
fn chain(signal: libc::c_int, code: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    type WithInfo = extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void);
    type Plain = extern "C" fn(libc::c_int);

    let flags = PREVIOUS_FLAGS.load(Ordering::Acquire);
    let handler = PREVIOUS_HANDLER.load(Ordering::Relaxed);
    let was_sent = code <= 0;
    if handler == libc::SIG_IGN && was_sent {
        return;
    }
    if handler == libc::SIG_DFL || handler == libc::SIG_IGN {
        // A fault cannot be ignored. Returning repeats the access, which then ends the process with the
        // right address in its core dump; a signal that was sent has to be sent again.
        // SAFETY: all bytes zero is a valid `sigaction`, and SIG_DFL is zero.
        let default: libc::sigaction = unsafe { std::mem::zeroed() };
        let _ = exchange_action(Some(&default));
        if was_sent {
            // SAFETY: no pointers; the signal is blocked here and delivered when the handler returns.
            unsafe { libc::raise(signal) };
        }
        return;
    }
    let handler = ptr::without_provenance::<()>(handler);
    if flags & libc::SA_SIGINFO != 0 {
        // SAFETY: with SA_SIGINFO, what sigaction reported is a function of three arguments; it was the
        // process's handler, so it may be called on this signal.
        let handler: WithInfo = unsafe { std::mem::transmute(handler) };
        handler(signal, info, context);
    } else {
        // SAFETY: without SA_SIGINFO it is a function of one argument.
        let handler: Plain = unsafe { std::mem::transmute(handler) };
        handler(signal);
    }
}

/// Sets the action of SIGBUS, or only asks; returns the one before.
fn exchange_action(action: Option<&libc::sigaction>) -> Result<libc::sigaction, Errno> {
    // SAFETY: all bytes zero is a valid `sigaction`.
    let mut previous: libc::sigaction = unsafe { std::mem::zeroed() };
    let action = action.map_or(ptr::null(), ptr::from_ref);
    // SAFETY: `action` is null or valid, `previous` is valid and exclusive; handlers passed here are
    // async-signal-safe.
    let outcome = unsafe { libc::sigaction(libc::SIGBUS, action, &raw mut previous) };
    sys::check(outcome)?;
    Ok(previous)
}

/// The interrupted code may be between a system call and its look at the error number.
fn rescue_errno() -> libc::c_int {
    // SAFETY: the C library returns a pointer to this thread's own error number.
    let number = unsafe { libc::__errno_location() };
    // SAFETY: as above; it is valid while the thread lives.
    unsafe { *number }
}

fn restore_errno(value: libc::c_int) {
    // SAFETY: as in `rescue_errno`.
    let number = unsafe { libc::__errno_location() };
    // SAFETY: as in `rescue_errno`.
    unsafe { *number = value };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_has_one_owner_and_is_free_again_after_it() {
        let slot = Slot::new();
        assert_eq!(slot.region(), None);
        assert!(slot.try_claim());
        assert!(!slot.try_claim(), "claimed and not yet published");
        assert_eq!(slot.region(), None, "a half-written slot is not a region");
        slot.publish(4096, 8192);
        assert_eq!(slot.region(), Some((4096, 8192)));
        assert!(!slot.try_claim());
        slot.clear();
        assert_eq!(slot.region(), None);
        assert!(slot.try_claim());
    }

    #[test]
    fn readers_never_see_the_start_of_one_region_with_the_length_of_another() {
        let slot = Slot::new();
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for round in 1..=200_000usize {
                    assert!(slot.try_claim());
                    let start = 1 + round % 7;
                    slot.publish(start, start * 1000);
                    slot.clear();
                }
                is_over.store(true, Ordering::Release);
            });
            while !is_over.load(Ordering::Acquire) {
                if let Some((start, len)) = slot.region() {
                    assert_eq!(len, start * 1000);
                }
            }
        });
    }
}
