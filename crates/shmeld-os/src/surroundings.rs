//! What a process finds around it: its privileges, its container, and which calls the kernel lets it make. For advice, never for decisions
//! about trust.
//!
//! ```
//! use shmeld_os::surroundings;
//!
//! let privileges = surroundings::privileges().ok_or("/proc is missing")?;
//! let mount = surroundings::shared_memory_mount().ok_or("nothing is mounted at /dev/shm")?;
//! assert!(mount.is_writable, "a file system {} that nobody can write", mount.kind);
//! if privileges.is_filtered && !surroundings::has_openat2() {
//!     println!("a filter of {:?} forbids openat2", surroundings::container());
//! }
//! # Ok::<(), &str>(())
//! ```
#![allow(unsafe_code)] // landlock's version has no wrapper

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use rustix::io::retry_on_intr;

use crate::posix::shm;

/// What `/proc/self/status` says of this process's rights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Privileges {
    /// `CAP_SYS_RESOURCE` is effective, and this is the user namespace in which it counts: numbers and sizes of message queues are not
    /// limited for us, and we may raise hard limits.
    pub exceeds_limits: bool,
    /// System calls are filtered (seccomp).
    pub is_filtered: bool,
    /// Users of the machine outside our user namespace have no numbers here.
    pub is_in_user_namespace: bool,
}

/// `/proc/self/status` and `/proc/self/uid_map`. `None` if /proc is missing.
///
/// See [proc_pid_status(5)](https://man7.org/linux/man-pages/man5/proc_pid_status.5.html).
pub fn privileges() -> Option<Privileges> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let map = fs::read_to_string("/proc/self/uid_map").ok()?;
    Some(privileges_in(&status, &map))
}

fn privileges_in(status: &str, uid_map: &str) -> Privileges {
    /// Of <linux/capability.h>.
    const CAP_SYS_RESOURCE: u32 = 24;
    let field = |name: &str| {
        let mut fields = status.lines().filter_map(|line| line.split_once(':'));
        fields
            .find(|(found, _)| *found == name)
            .map(|(_, value)| value.trim())
    };
    let effective = field("CapEff").and_then(|digits| u64::from_str_radix(digits, 16).ok());
    let has_resource = effective.is_some_and(|bits| bits >> CAP_SYS_RESOURCE & 1 == 1);
    // The machine's own namespace maps every number to itself.
    let is_in_user_namespace = uid_map.split_whitespace().collect::<Vec<_>>() != ["0", "0", "4294967295"];
    Privileges {
        exceeds_limits: has_resource && !is_in_user_namespace,
        is_filtered: field("Seccomp").is_some_and(|mode| mode != "0"),
        is_in_user_namespace,
    }
}

/// Which container this process runs in, as far as containers leave signs of themselves: `docker`, `podman`, or what systemd was told.
#[must_use]
pub fn container() -> Option<String> {
    // A manager's own word is better than a sign.
    let told = fs::read_to_string("/run/systemd/container").unwrap_or_default();
    if !told.trim().is_empty() {
        return Some(told.trim().to_owned());
    }
    let signs = [("/run/.containerenv", "podman"), ("/.dockerenv", "docker")];
    let found = signs.into_iter().find(|(path, _)| Path::new(path).exists());
    found.map(|(_, name)| name.to_owned())
}

/// `openat2("/", RESOLVE_BENEATH)`: whether the kernel has the call and lets us make it. Filters of containers forbid it by EPERM.
///
/// See [openat2(2)](https://man7.org/linux/man-pages/man2/openat2.2.html).
#[doc(alias = "openat2")]
#[must_use]
pub fn has_openat2() -> bool {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::NO_MAGICLINKS;
    retry_on_intr(|| rustix::fs::openat2(CWD, "/", flags, Mode::empty(), resolve)).is_ok()
}

/// `landlock_create_ruleset(NULL, 0, LANDLOCK_CREATE_RULESET_VERSION)`: the version of landlock that can be used here; `None` if it is not
/// in this kernel, not enabled, or forbidden.
///
/// See [landlock_create_ruleset(2)](https://man7.org/linux/man-pages/man2/landlock_create_ruleset.2.html).
#[doc(alias = "landlock_create_ruleset")]
#[must_use]
pub fn landlock_version() -> Option<u32> {
    const CREATE_RULESET_VERSION: u32 = 1;
    // SAFETY: with this flag the kernel wants no structure and a length of 0; it makes nothing and returns a number.
    let version = unsafe {
        libc::syscall(
            libc::SYS_landlock_create_ruleset,
            std::ptr::null::<u8>(),
            0_usize,
            CREATE_RULESET_VERSION,
        )
    };
    u32::try_from(version).ok().filter(|version| *version > 0)
}

/// What is mounted where segments live.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SharedMemoryMount {
    /// The type of the file system.
    pub kind: String,
    /// It can be written.
    pub is_writable: bool,
}

/// `/proc/self/mountinfo`: the mount at `/dev/shm`, the uppermost one. `None` if there is none, or /proc is missing.
pub fn shared_memory_mount() -> Option<SharedMemoryMount> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    mount_at(&mounts, shm::DIRECTORY)
}

fn mount_at(mounts: &str, place: &str) -> Option<SharedMemoryMount> {
    // A later line covers an earlier one.
    let lines = mounts.lines().rev();
    let mut found = lines.filter_map(|line| {
        let (mount, source) = line.split_once(" - ")?;
        let mut fields = mount.split(' ').skip(4);
        let (at, options) = (fields.next()?, fields.next()?);
        let mut source = source.split(' ');
        let (kind, of_all) = (source.next()?, source.nth(1)?);
        let is_writable = [options, of_all]
            .iter()
            .all(|options| options.split(',').all(|option| option != "ro"));
        (at == place).then(|| SharedMemoryMount {
            kind: kind.to_owned(),
            is_writable,
        })
    });
    found.next()
}

/// Whether logind manages sessions of this machine, and removes the objects of a user whose last one has ended (`RemoveIPC`). `None` if it
/// does not run.
///
/// See [logind.conf(5)](https://man7.org/linux/man-pages/man5/logind.conf.5.html).
#[must_use]
pub fn logind_removes_objects() -> Option<bool> {
    // Both signs: the manager runs, and logind keeps its state.
    let runs = Path::new("/run/systemd/system").is_dir() && Path::new("/run/systemd/seats").is_dir();
    runs.then(|| removes_objects(&logind_files(Path::new("/"))))
}

/// Whether logind keeps a user as one who is always there (`loginctl enable-linger`): then it removes nothing of that user. Users are looked
/// up in /etc/passwd only.
#[must_use]
pub fn lingers(uid: u32) -> bool {
    let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
    names_of(uid, &users).any(|name| Path::new("/var/lib/systemd/linger").join(name).exists())
}

/// A line is `NAME:PASSWORD:UID:...`; several names can have one number.
fn names_of(uid: u32, users: &str) -> impl Iterator<Item = &str> {
    users.lines().filter_map(move |line| {
        let mut fields = line.split(':');
        let name = fields.next().filter(|name| !name.is_empty())?;
        (fields.nth(1)?.parse() == Ok(uid)).then_some(name)
    })
}

/// The texts in the order in which they count: the main file, then additions by name; of one name the one of `/etc` counts.
fn logind_files(root: &Path) -> Vec<String> {
    const PLACES: [&str; 4] = [
        "etc/systemd",
        "run/systemd",
        "usr/local/lib/systemd",
        "usr/lib/systemd",
    ];
    let mut additions: BTreeMap<std::ffi::OsString, PathBuf> = BTreeMap::new();
    for place in PLACES {
        let Ok(entries) = fs::read_dir(root.join(place).join("logind.conf.d")) else {
            continue;
        };
        for entry in entries.flatten() {
            if Path::new(&entry.file_name())
                .extension()
                .is_some_and(|end| end == "conf")
            {
                additions.entry(entry.file_name()).or_insert(entry.path());
            }
        }
    }
    let main = PLACES
        .iter()
        .map(|place| root.join(place).join("logind.conf"))
        .find(|path| path.exists());
    let paths = main.into_iter().chain(additions.into_values());
    paths.filter_map(|path| fs::read_to_string(path).ok()).collect()
}

/// The last word of `RemoveIPC=` in section `[Login]`; the default is yes.
fn removes_objects(texts: &[String]) -> bool {
    let mut answer = true;
    for text in texts {
        let mut is_login = false;
        for line in text.lines().map(str::trim) {
            if line.starts_with('[') {
                is_login = line == "[Login]";
            } else if let Some(("RemoveIPC", value)) =
                line.split_once('=').map(|(key, v)| (key.trim_end(), v))
            {
                let value = value.trim().to_ascii_lowercase();
                match value.as_str() {
                    _ if !is_login => {}
                    "no" | "n" | "false" | "f" | "off" | "0" => answer = false,
                    // An empty one is the default again.
                    "" | "yes" | "y" | "true" | "t" | "on" | "1" => answer = true,
                    _ => {}
                }
            }
        }
    }
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str = "         0          0 4294967295\n";

    #[test]
    fn privileges_are_read_from_the_texts_of_the_kernel() {
        let root = "Name:\tx\nCapEff:\t000001ffffffffff\nNoNewPrivs:\t0\nSeccomp:\t0\n";
        let found = privileges_in(root, WHOLE);
        assert!(found.exceeds_limits && !found.is_filtered && !found.is_in_user_namespace);
        // Root of a container's user namespace has the bit, and it does not count.
        let found = privileges_in(root, "0 100000 65536\n");
        assert!(!found.exceeds_limits && found.is_in_user_namespace);
        let docker = "CapEff:\t00000000a80425fb\nSeccomp:\t2\n";
        let found = privileges_in(docker, WHOLE);
        assert!(!found.exceeds_limits && found.is_filtered);
    }

    #[test]
    fn the_uppermost_mount_counts() {
        let mounts = "25 24 0:23 / /dev/shm rw,relatime - tmpfs tmpfs rw,size=64k\n\
                      27 1 254:0 / / rw shared:1 - ext4 /dev/vda rw\n\
                      30 25 0:27 / /dev/shm ro,nosuid - ramfs none rw\n";
        let found = mount_at(mounts, "/dev/shm").expect("mounted");
        assert_eq!((found.kind.as_str(), found.is_writable), ("ramfs", false));
        assert!(mount_at(mounts, "/").expect("mounted").is_writable);
        assert_eq!(mount_at(mounts, "/dev/mqueue"), None);
    }

    #[test]
    fn the_last_word_about_removal_counts() {
        let texts = |texts: &[&str]| {
            removes_objects(&texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>())
        };
        assert!(texts(&[]));
        assert!(texts(&["[Login]\n#RemoveIPC=no\n"]));
        assert!(!texts(&["[Login]\nRemoveIPC=no\n"]));
        assert!(!texts(&[
            "[Login]\nRemoveIPC=yes\n",
            "[Login]\nRemoveIPC = off\n"
        ]));
        assert!(texts(&[
            "[Login]\nRemoveIPC=no\n",
            "[Other]\nRemoveIPC=no\n[Login]\nRemoveIPC=\n"
        ]));
    }

    #[test]
    fn users_are_found_by_their_number() {
        let users =
            "root:x:0:0:root:/root:/bin/sh\nbroken\n:x:7:7::/:\nann:x:1000:1000::/:\nbea:x:1000:5::/:\n";
        assert_eq!(names_of(1000, users).collect::<Vec<_>>(), ["ann", "bea"]);
        assert_eq!(names_of(7, users).count(), 0);
    }

    #[test]
    fn an_addition_of_the_administrator_covers_one_of_the_same_name() {
        let root = std::env::temp_dir().join(format!("shmeld-logind-{}", std::process::id()));
        let put = |path: &str, text: &str| {
            let path = root.join(path);
            fs::create_dir_all(path.parent().expect("inside")).expect("directory");
            fs::write(path, text).expect("file");
        };
        put("usr/lib/systemd/logind.conf.d/50-x.conf", "vendor");
        put("etc/systemd/logind.conf.d/50-x.conf", "administrator");
        put("etc/systemd/logind.conf.d/60-y.conf~", "no addition");
        put("run/systemd/logind.conf.d/10-z.conf", "first");
        put("usr/lib/systemd/logind.conf", "main of the vendor");
        assert_eq!(
            logind_files(&root),
            ["main of the vendor", "first", "administrator"]
        );
        fs::remove_dir_all(&root).expect("ours");
    }

    #[test]
    fn this_kernel_has_what_the_server_prefers_or_says_so() {
        // Nothing to insist on but that asking does no harm.
        let _ = (
            has_openat2(),
            landlock_version(),
            container(),
            logind_removes_objects(),
        );
        assert!(privileges().is_some());
    }
}
