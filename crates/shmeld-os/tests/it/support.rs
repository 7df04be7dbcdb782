//! Names, guards, helper processes and other users for the tests.

use std::io::{BufRead, BufReader, Read};
use std::ops::Deref;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Gid, Uid};
use shmeld_os::posix::mqueue::MessageQueue;
use shmeld_os::posix::semaphore::NamedSemaphore;
use shmeld_os::posix::shm::SharedMemory;
use shmeld_os::{ErrorKind, ObjectName, process};

pub use crate::example::skip;

/// Long enough for a loaded machine; nothing that works ever waits so long.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// The uid of nobody.
pub const NOBODY: u32 = 65534;

/// A name that no other test uses; whatever gets it, of any kind, is removed with the guard.
pub struct Name(ObjectName);

impl Name {
    pub fn new(what: &str) -> Self {
        static COUNTER: AtomicU32 = AtomicU32::new(0);
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let name = format!("/shmeld-os-test-{}-{number}-{what}", process::pid());
        Name(ObjectName::new(&name).expect("a valid name"))
    }

    /// The same name in another process, which does not own it.
    pub fn parse(name: &str) -> ObjectName {
        ObjectName::new(name).expect("a valid name")
    }

    pub fn path(&self) -> PathBuf {
        Path::new("/dev/shm").join(self.as_str())
    }
}

impl Deref for Name {
    type Target = ObjectName;

    fn deref(&self) -> &ObjectName {
        &self.0
    }
}

impl Drop for Name {
    fn drop(&mut self) {
        let _ = MessageQueue::unlink(self);
        let _ = NamedSemaphore::unlink(self);
        if SharedMemory::unlink(self).is_err() {
            let _ = std::fs::remove_dir(self.path());
        }
    }
}

/// A directory of its own, removed with everything in it.
pub struct Directory(PathBuf);

impl Directory {
    pub fn new(what: &str) -> Self {
        static COUNTER: AtomicU32 = AtomicU32::new(0);
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("shmeld-os-{}-{number}-{what}", process::pid()));
        std::fs::create_dir(&path).expect("a new directory");
        Directory(path)
    }

    pub fn open(&self) -> OwnedFd {
        shmeld_os::fs::open_directory(&self.0).expect("the directory opens")
    }
}

impl Deref for Directory {
    type Target = Path;

    fn deref(&self) -> &Path {
        &self.0
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A deadline some milliseconds from now.
pub fn within(milliseconds: u64) -> Option<Instant> {
    Some(Instant::now() + Duration::from_millis(milliseconds))
}

/// Waits until something is true; panics when it never becomes so.
pub fn eventually(what: &str, mut is_true: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !is_true() {
        assert!(Instant::now() < end, "never happened: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Whether this process is root; else says so.
pub fn is_root_or_skip() -> bool {
    let is_root = process::effective_uid() == 0;
    if !is_root {
        skip("root");
    }
    is_root
}

/// Runs something in a thread that has the rights of another user and no capabilities.
pub fn as_user<T: Send>(uid: u32, run: impl FnOnce() -> T + Send) -> T {
    let thread = |run: Box<dyn FnOnce() -> T + Send + '_>| {
        let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(uid));
        rustix::thread::set_thread_groups(&[]).expect("root");
        rustix::thread::set_thread_res_gid(gid, gid, gid).expect("root");
        rustix::thread::set_thread_res_uid(uid, uid, uid).expect("root");
        run()
    };
    std::thread::scope(|scope| {
        let outcome = scope.spawn(|| thread(Box::new(run))).join();
        outcome.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// A helper process in one of the [`roles`](crate::roles), killed with the guard.
pub struct Helper {
    child: Child,
    lines: BufReader<std::process::ChildStdout>,
}

impl Helper {
    pub fn start(role: &str, arguments: &[&str]) -> Self {
        Self::start_wrapped(&[], role, arguments)
    }

    /// Starts it by a command of its own, such as `unshare -m --`.
    pub fn start_wrapped(wrapper: &[&str], role: &str, arguments: &[&str]) -> Self {
        let program = std::env::current_exe().expect("the test binary");
        let mut words: Vec<&std::ffi::OsStr> = wrapper.iter().map(|word| word.as_ref()).collect();
        words.push(program.as_ref());
        let mut child = Command::new(words[0])
            .args(&words[1..])
            .args([
                "--exact",
                "roles::play",
                "--ignored",
                "--nocapture",
                "--test-threads=1",
            ])
            .env("SHMELD_OS_TEST_ROLE", role)
            .env("SHMELD_OS_TEST_ARGUMENTS", arguments.join(" "))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the helper starts");
        let lines = BufReader::new(child.stdout.take().expect("piped"));
        Helper { child, lines }
    }

    pub fn pid(&self) -> rustix::process::Pid {
        rustix::process::Pid::from_child(&self.child)
    }

    /// Reads until the helper says `word`.
    pub fn wait_for(&mut self, word: &str) -> &mut Self {
        let mut line = String::new();
        let mut seen = String::new();
        while self.lines.read_line(&mut line).expect("readable") != 0 {
            if line.trim_end() == word {
                return self;
            }
            seen.push_str(&line);
            line.clear();
        }
        panic!("the helper never said {word}: {seen}");
    }

    /// Reads one number that the helper says next.
    pub fn read_number(&mut self) -> i32 {
        let mut line = String::new();
        while line.trim().is_empty() {
            line.clear();
            assert_ne!(
                self.lines.read_line(&mut line).expect("readable"),
                0,
                "the helper said no number"
            );
        }
        line.trim().parse().expect("a number")
    }

    /// Lets the helper go on from [`pause`], and waits for its end.
    pub fn finish(mut self) -> (ExitStatus, String) {
        drop(self.child.stdin.take());
        let mut rest = String::new();
        let _ = self.lines.read_to_string(&mut rest);
        (self.child.wait().expect("waited for"), rest)
    }

    /// Lets the helper go on, and insists that it is content.
    pub fn finish_well(self) {
        let (status, rest) = self.finish();
        assert!(status.success(), "{status}: {rest}");
    }

    pub fn signal(&self, signal: rustix::process::Signal) {
        rustix::process::kill_process(self.pid(), signal).expect("the helper lives");
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// In a helper: says a word to the test.
#[allow(clippy::print_stdout)] // this is how a helper talks
pub fn say(word: &str) {
    // The test harness has begun a line of its own.
    println!("\n{word}");
}

/// Ends a process that a helper left behind.
pub struct Orphan(pub i32);

impl Drop for Orphan {
    fn drop(&mut self) {
        if let Some(pid) = rustix::process::Pid::from_raw(self.0) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
    }
}

/// In a helper: waits until the test lets it go on, or ends.
pub fn pause() {
    let _ = std::io::stdin().read(&mut [0]);
}

/// A mount namespace of its own for a helper, prepared by a shell command. `None` if this is not possible
/// here.
pub fn in_mount_namespace(prepare: &str) -> Option<Vec<String>> {
    let can_mount = Command::new("unshare")
        .args(["-m", "--", "sh", "-c", "mount -t tmpfs tmpfs /mnt"])
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if !can_mount {
        skip("unshare -m and mount");
        return None;
    }
    let script = format!("{prepare} && exec \"$0\" \"$@\"");
    Some(
        ["unshare", "-m", "--", "sh", "-c", &script]
            .map(str::to_owned)
            .to_vec(),
    )
}

/// Insists on the kind of an error.
#[track_caller]
pub fn assert_kind<T: std::fmt::Debug>(outcome: shmeld_os::Result<T>, kind: ErrorKind) -> shmeld_os::Error {
    let error = outcome.expect_err("it should fail");
    assert_eq!(error.kind(), kind, "{error}");
    error
}

/// Insists that a wait ends at its deadline: not before, and not long after.
#[track_caller]
pub fn assert_times_out<T: std::fmt::Debug>(
    milliseconds: u64,
    wait: impl FnOnce(Option<Instant>) -> shmeld_os::Result<T>,
) -> shmeld_os::Error {
    let start = Instant::now();
    let error = assert_kind(wait(within(milliseconds)), ErrorKind::TimedOut);
    let late = start.elapsed().as_millis().checked_sub(milliseconds.into());
    assert!(late.is_some_and(|late| late < 2000), "{late:?} ms late");
    error
}

/// How many signals [`shower`] delivered, for handlers that do nothing else.
static SIGNALS: AtomicU32 = AtomicU32::new(0);

extern "C" fn count_signal(_: libc::c_int) {
    SIGNALS.fetch_add(1, Ordering::Relaxed);
}

/// Runs something in a thread that gets a signal each millisecond, whose handler does not restart calls.
pub fn in_a_shower_of_signals<T: Send>(run: impl FnOnce() -> T + Send) -> T {
    // SAFETY: all bytes zero is a valid `sigaction`.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = count_signal as extern "C" fn(_) as usize;
    // SAFETY: the handler only touches an atomic; without SA_RESTART every blocking call sees EINTR.
    let outcome = unsafe { libc::sigaction(libc::SIGUSR1, &raw const action, std::ptr::null_mut()) };
    assert_eq!(outcome, 0);
    let before = SIGNALS.load(Ordering::Relaxed);
    let thread_id = AtomicU32::new(0);
    let is_done = std::sync::atomic::AtomicBool::new(false);
    let outcome = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_done.load(Ordering::Acquire) {
                let id = thread_id.load(Ordering::Acquire);
                if id != 0 {
                    // SAFETY: no pointers. A thread that has just ended gives ESRCH.
                    unsafe { libc::syscall(libc::SYS_tgkill, process::pid(), id, libc::SIGUSR1) };
                }
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        let outcome = scope.spawn(|| {
            thread_id.store(
                rustix::thread::gettid().as_raw_pid().unsigned_abs(),
                Ordering::Release,
            );
            let outcome = run();
            thread_id.store(0, Ordering::Release);
            outcome
        });
        let outcome = outcome.join();
        is_done.store(true, Ordering::Release);
        outcome
    });
    assert!(SIGNALS.load(Ordering::Relaxed) > before, "no signal came");
    outcome.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Makes a system call fail in this thread, as container filters do: always, or if the low half of one
/// argument has a value. `false`, having said so, if this is not possible here.
pub fn forbid_call(number: libc::c_long, argument: Option<(u32, u32)>, errno: i32) -> bool {
    const RETURN_ERRNO: u32 = 0x0005_0000;
    const RETURN_ALLOW: u32 = 0x7fff_0000;
    // Where `struct seccomp_data` has the number of the call and its arguments.
    const NUMBER_OFFSET: u32 = 0;
    const ARGUMENTS_OFFSET: u32 = 16;
    if cfg!(not(all(target_pointer_width = "64", target_endian = "little"))) {
        skip("a little-endian 64-bit machine");
        return false;
    }
    let load = |offset| libc::sock_filter {
        code: (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16,
        jt: 0,
        jf: 0,
        k: offset,
    };
    // If the loaded word differs, `further` statements are skipped: those up to the permission.
    let equal_or_skip = |value, further| libc::sock_filter {
        code: (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16,
        jt: 0,
        jf: further,
        k: value,
    };
    let answer = |value| libc::sock_filter {
        code: (libc::BPF_RET | libc::BPF_K) as u16,
        jt: 0,
        jf: 0,
        k: value,
    };
    let number = u32::try_from(number).expect("small");
    let refusal = answer(RETURN_ERRNO | errno.unsigned_abs());
    let mut program = match argument {
        None => vec![load(NUMBER_OFFSET), equal_or_skip(number, 1), refusal],
        Some((index, value)) => vec![
            load(NUMBER_OFFSET),
            equal_or_skip(number, 3),
            load(ARGUMENTS_OFFSET + 8 * index),
            equal_or_skip(value, 1),
            refusal,
        ],
    };
    program.push(answer(RETURN_ALLOW));
    let len = u16::try_from(program.len()).expect("short");
    let filter = libc::sock_fprog {
        len,
        filter: program.as_mut_ptr(),
    };
    rustix::thread::set_no_new_privs(true).expect("always allowed");
    // SAFETY: a valid program; it counts for this thread, and those it starts.
    let outcome = unsafe {
        libc::prctl(
            libc::PR_SET_SECCOMP,
            libc::SECCOMP_MODE_FILTER,
            &raw const filter,
            0usize,
            0usize,
        )
    };
    if outcome != 0 {
        skip("seccomp filters");
    }
    outcome == 0
}
