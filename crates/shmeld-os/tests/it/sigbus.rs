//! The guard against memory that vanishes. Each case has a process of its own: signal handlers belong to
//! whole processes, and some of these end by a signal.

use std::os::unix::process::ExitStatusExt;
use std::ptr;
use std::sync::atomic::{AtomicU32, Ordering};

use shmeld_os::mapping::Mapping;
use shmeld_os::posix::shm::SharedMemory;
use shmeld_os::{ErrorKind, sigbus};

use crate::support::{Helper, assert_kind, say};

const PAGE: usize = 4096;

fn memory_of(pages: usize) -> SharedMemory {
    let memory = SharedMemory::create_unnamed().expect("tmpfs");
    memory.reserve((pages * PAGE) as u64).expect("space");
    memory
}

fn truncate(memory: &SharedMemory, bytes: u64) {
    memory.as_file().set_len(bytes).expect("truncated");
}

fn load(mapping: &Mapping, offset: usize) -> u8 {
    assert!(offset < mapping.len());
    // SAFETY: within the mapping; where the object has shrunk, the guard provides memory.
    let byte = unsafe { mapping.as_ptr().add(offset) };
    // SAFETY: as above; volatile, because others may write it.
    unsafe { byte.read_volatile() }
}

fn store(mapping: &Mapping, offset: usize, value: u8) {
    assert!(offset < mapping.len());
    // SAFETY: as in `load`.
    let byte = unsafe { mapping.as_ptr().add(offset) };
    // SAFETY: as in `load`.
    unsafe { byte.write_volatile(value) };
}

/// Runs a role that must end by itself and say so.
fn expect_content(role: &str) {
    let mut helper = Helper::start(role, &[]);
    helper.wait_for("done");
    helper.finish_well();
}

/// Runs a role that must end by SIGBUS.
fn expect_death(role: &str) {
    let mut helper = Helper::start(role, &[]);
    helper.wait_for("about to fault");
    let (status, rest) = helper.finish();
    assert_eq!(status.signal(), Some(libc::SIGBUS), "{status}: {rest}");
}

#[test]
fn a_guarded_region_that_vanishes_reads_as_zeros_and_is_marked() {
    expect_content("guarded_region_vanishes");
}

pub fn guarded_region_vanishes() {
    sigbus::install().expect("installed");
    sigbus::install().expect("twice is fine");
    let (victim, other) = (memory_of(4), memory_of(4));
    let mapping = Mapping::new(&victim, 4 * PAGE, "victim").expect("mapped");
    let untouched = Mapping::new(&other, 4 * PAGE, "other").expect("mapped");
    store(&mapping, 0, 7);
    store(&mapping, 3 * PAGE, 8);
    store(&untouched, 0, 9);
    truncate(&victim, PAGE as u64);
    assert_eq!(load(&mapping, 0), 7, "what is left can be read");
    assert!(!mapping.faulted(), "nothing has been missed yet");
    set_errno(1234);
    assert_eq!(load(&mapping, 3 * PAGE), 0);
    assert_eq!(
        errno(),
        1234,
        "the interrupted code finds its error number as it was"
    );
    assert!(mapping.faulted() && !untouched.faulted());
    assert_eq!(
        load(&mapping, 0),
        0,
        "the whole region is replaced, not one page of it"
    );
    store(&mapping, 2 * PAGE, 5);
    assert_eq!(load(&mapping, 2 * PAGE), 5);
    assert_eq!(load(&untouched, 0), 9);
    drop(mapping);

    // A store faults like a load, and a read-only region too is replaced.
    truncate(&other, 0);
    store(&untouched, PAGE, 1);
    assert!(untouched.faulted());
    drop(untouched);
    let third = memory_of(1);
    let read_only = Mapping::read_only(&third, PAGE, "third").expect("mapped");
    assert!(!read_only.faulted(), "a slot that is used again is clean");
    truncate(&third, 0);
    assert_eq!(load(&read_only, 17), 0);
    assert!(read_only.faulted());
    // A length that is not a whole number of pages: the rest of the last page belongs to the region.
    let fourth = memory_of(2);
    let odd = Mapping::new(&fourth, PAGE + 1, "fourth").expect("mapped");
    truncate(&fourth, 0);
    assert_eq!(load(&odd, PAGE), 0);
    assert!(odd.faulted());
    say("done");
}

fn errno() -> i32 {
    std::io::Error::last_os_error().raw_os_error().unwrap_or(0)
}

fn set_errno(value: i32) {
    // SAFETY: the C library returns a pointer to this thread's own error number.
    let number = unsafe { libc::__errno_location() };
    // SAFETY: as above.
    unsafe { *number = value };
}

#[test]
fn many_threads_may_fault_at_once_while_others_map_and_unmap() {
    expect_content("many_threads_fault");
}

pub fn many_threads_fault() {
    sigbus::install().expect("installed");
    std::thread::scope(|scope| {
        for thread in 0..8usize {
            scope.spawn(move || {
                for round in 0..200usize {
                    let pages = 1 + (thread + round) % 5;
                    let memory = memory_of(pages);
                    let mapping = Mapping::new(&memory, pages * PAGE, "region").expect("mapped");
                    store(&mapping, 0, 1);
                    if (thread + round).is_multiple_of(2) {
                        truncate(&memory, 0);
                        assert_eq!(load(&mapping, (pages - 1) * PAGE), 0);
                        assert!(mapping.faulted());
                    } else {
                        assert_eq!(load(&mapping, 0), 1);
                        assert!(!mapping.faulted());
                    }
                }
            });
        }
    });
    say("done");
}

#[test]
fn a_full_table_is_an_error_and_a_dropped_mapping_makes_room() {
    expect_content("fill_the_table");
}

pub fn fill_the_table() {
    sigbus::install().expect("installed");
    let memory = memory_of(1);
    let mut mappings: Vec<Mapping> = (0..sigbus::REGIONS_MAX)
        .map(|_| Mapping::new(&memory, PAGE, "region").expect("mapped"))
        .collect();
    let error = assert_kind(Mapping::new(&memory, PAGE, "one more"), ErrorKind::Limit);
    assert_eq!((error.operation(), error.object()), ("mmap", "one more"));
    assert!(error.hint().is_some_and(|hint| hint.contains("2048")), "{error}");
    mappings.swap_remove(1000);
    let last = Mapping::new(&memory, PAGE, "one more").expect("there is room again");
    truncate(&memory, 0);
    assert_eq!(load(&last, 0), 0);
    assert!(last.faulted());
    assert!(mappings.iter().all(|mapping| !mapping.faulted()));
    say("done");
}

/// Maps a page that the guard does not know, and touches it after it is gone.
fn fault_outside_every_region() {
    let memory = memory_of(1);
    // SAFETY: no address is asked for; the mapping is never removed.
    let address = unsafe {
        rustix::mm::mmap(
            ptr::null_mut(),
            PAGE,
            rustix::mm::ProtFlags::READ,
            rustix::mm::MapFlags::SHARED,
            &memory,
            0,
        )
    };
    let address = address.expect("mapped").cast::<u8>();
    truncate(&memory, 0);
    say("about to fault");
    // SAFETY: mapped above; the fault is what this is about.
    unsafe { address.read_volatile() };
}

const EXIT_BY_HANDLER: i32 = 42;

extern "C" fn exit_with_info(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: null or valid: passed on by the guard from the kernel.
    let details = unsafe { info.as_ref() };
    // SAFETY: a fault comes with an address.
    let has_address = details.is_some_and(|details| !unsafe { details.si_addr() }.is_null());
    let is_whole = signal == libc::SIGBUS && has_address && !context.is_null();
    // SAFETY: ends the process; allowed in a handler.
    unsafe { libc::_exit(if is_whole { EXIT_BY_HANDLER } else { 1 }) };
}

extern "C" fn exit_plainly(signal: libc::c_int) {
    // SAFETY: ends the process; allowed in a handler.
    unsafe {
        libc::_exit(if signal == libc::SIGBUS {
            EXIT_BY_HANDLER
        } else {
            1
        })
    };
}

fn set_action(handler: usize, flags: libc::c_int) {
    // SAFETY: all bytes zero is a valid `sigaction`.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = handler;
    action.sa_flags = flags;
    // SAFETY: the handlers of this file are async-signal-safe and fit their flags.
    let outcome = unsafe { libc::sigaction(libc::SIGBUS, &raw const action, ptr::null_mut()) };
    assert_eq!(outcome, 0);
}

#[test]
fn a_foreign_fault_reaches_the_handler_that_was_there_before() {
    for role in ["foreign_fault_with_handler", "foreign_fault_with_plain_handler"] {
        let mut helper = Helper::start(role, &[]);
        helper.wait_for("about to fault");
        let (status, rest) = helper.finish();
        assert_eq!(status.code(), Some(EXIT_BY_HANDLER), "{role}: {status}: {rest}");
    }
}

pub fn foreign_fault_with_handler() {
    set_action(
        exit_with_info as extern "C" fn(_, _, _) as usize,
        libc::SA_SIGINFO,
    );
    install_and_prove_that_it_works();
    fault_outside_every_region();
}

pub fn foreign_fault_with_plain_handler() {
    set_action(exit_plainly as extern "C" fn(_) as usize, 0);
    install_and_prove_that_it_works();
    fault_outside_every_region();
}

/// The previous handler must not see a fault that the guard repairs.
fn install_and_prove_that_it_works() {
    sigbus::install().expect("installed");
    let memory = memory_of(1);
    let mapping = Mapping::new(&memory, PAGE, "region").expect("mapped");
    truncate(&memory, 0);
    assert_eq!(load(&mapping, 0), 0);
    assert!(mapping.faulted());
}

#[test]
fn a_foreign_fault_without_a_handler_ends_the_process_by_sigbus() {
    expect_death("foreign_fault_by_default");
}

pub fn foreign_fault_by_default() {
    set_action(libc::SIG_DFL, 0);
    install_and_prove_that_it_works();
    fault_outside_every_region();
}

#[test]
fn a_sent_sigbus_ends_the_process_as_it_would_have_without_the_guard() {
    expect_death("sent_signal_by_default");
}

pub fn sent_signal_by_default() {
    set_action(libc::SIG_DFL, 0);
    install_and_prove_that_it_works();
    say("about to fault");
    // SAFETY: no pointers.
    unsafe { libc::raise(libc::SIGBUS) };
}

#[test]
fn a_sent_sigbus_that_was_ignored_stays_ignored_and_faults_are_still_repaired() {
    expect_content("sent_signal_ignored");
}

pub fn sent_signal_ignored() {
    set_action(libc::SIG_IGN, 0);
    sigbus::install().expect("installed");
    // SAFETY: no pointers.
    unsafe { libc::raise(libc::SIGBUS) };
    let memory = memory_of(1);
    let mapping = Mapping::new(&memory, PAGE, "region").expect("mapped");
    store(&mapping, 0, 7);
    send_with_address(mapping.as_ptr().addr());
    assert!(!mapping.faulted(), "only the kernel's own addresses are believed");
    assert_eq!(load(&mapping, 0), 7);
    install_and_prove_that_it_works();
    say("done");
}

/// Sends SIGBUS to this thread as any process of the same user can: with an address of its choice.
fn send_with_address(address: usize) {
    /// The beginning of `siginfo_t` on 64-bit machines.
    #[repr(C, align(8))]
    struct Forged {
        signal: i32,
        errno: i32,
        code: i32,
        padding: i32,
        address: usize,
        rest: [u8; 128 - 24],
    }
    let forged = Forged {
        signal: libc::SIGBUS,
        errno: 0,
        code: libc::SI_QUEUE,
        padding: 0,
        address,
        rest: [0; 128 - 24],
    };
    let thread = rustix::thread::gettid().as_raw_pid();
    // SAFETY: `forged` has the size and layout of a `siginfo_t`, and is valid for the call.
    let outcome = unsafe {
        libc::syscall(
            libc::SYS_rt_tgsigqueueinfo,
            std::process::id(),
            thread,
            libc::SIGBUS,
            &raw const forged,
        )
    };
    assert_eq!(outcome, 0, "{}", std::io::Error::last_os_error());
}

#[test]
fn a_sent_sigbus_reaches_the_handler_that_was_there_and_leaves_the_error_number_alone() {
    expect_content("sent_signal_with_handler");
}

static SIGNALS_SEEN: AtomicU32 = AtomicU32::new(0);

extern "C" fn count_and_spoil_errno(_: libc::c_int) {
    SIGNALS_SEEN.fetch_add(1, Ordering::Relaxed);
    set_errno(77);
}

pub fn sent_signal_with_handler() {
    set_action(count_and_spoil_errno as extern "C" fn(_) as usize, 0);
    install_and_prove_that_it_works();
    assert_eq!(SIGNALS_SEEN.load(Ordering::Relaxed), 0);
    set_errno(1234);
    // SAFETY: no pointers.
    unsafe { libc::raise(libc::SIGBUS) };
    assert_eq!(errno(), 1234);
    assert_eq!(SIGNALS_SEEN.load(Ordering::Relaxed), 1);
    say("done");
}

#[test]
fn without_the_guard_a_region_that_vanishes_ends_the_process() {
    expect_death("unguarded_region_vanishes");
}

pub fn unguarded_region_vanishes() {
    let memory = memory_of(1);
    let mapping = Mapping::new(&memory, PAGE, "region").expect("mapped");
    assert!(!mapping.faulted());
    truncate(&memory, 0);
    say("about to fault");
    load(&mapping, 0);
}
