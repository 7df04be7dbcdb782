//! "Leave nothing behind" as a check: objects of ours that outlived the programs that made them.
//!
//! Shared memory and named semaphores are files in `/dev/shm`. Message queues can only be listed through a
//! mounted mqueue file system; where none is mounted, root mounts one for the length of a listing, in a
//! mount namespace of its own, so that the machine stays as it was. System V objects have no names: [`crate::system_v`] compares
//! them with what was there before.

use crate::command::problem;
use crate::system_v::View;
use crate::{command, need};
use std::fs;
use std::path::{Path, PathBuf};

const SHARED_MEMORY: &str = "/dev/shm";
/// A named semaphore `/shmeld...` is the file `sem.shmeld...`.
const PREFIXES: [&str; 2] = ["shmeld", "sem.shmeld"];

/// `leftovers`, or with System V objects: `leftovers --save FILE` before and `leftovers --since FILE` after.
///
/// # Errors
/// What is left, or why that cannot be told.
pub fn run(root: &Path, arguments: &[String]) -> Result<(), String> {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        [] => check(root, None),
        ["--save", file] => {
            let text = system_v()?.as_ref().map(View::save).unwrap_or_default();
            fs::write(file, text).map_err(problem(Path::new(file)))
        }
        ["--since", file] => {
            let text = fs::read_to_string(file).map_err(problem(Path::new(file)))?;
            check(root, Some(&View::load(&text)))
        }
        _ => Err("usage: cargo xtask leftovers [--save FILE | --since FILE]".to_owned()),
    }
}

/// The System V objects of this moment, for [`check`], or `None` if they cannot be listed here.
///
/// # Errors
/// They cannot, and must.
pub fn system_v() -> Result<Option<View>, String> {
    let view = View::of_all();
    if view.is_none() {
        need::skip("/proc/sysvipc, to list System V objects")?;
    }
    Ok(view)
}

/// Fails if an object of ours is there, or a System V object that was not there `before`, naming each.
///
/// # Errors
/// What is left, or why that cannot be told.
pub fn check(root: &Path, before: Option<&View>) -> Result<(), String> {
    let mut count = 0;
    let mut report = |object: String| {
        println!("leftover: {object}");
        count += 1;
    };
    if let (Some(before), Some(now)) = (before, View::of_abandoned(uid())) {
        now.since(before).into_iter().for_each(&mut report);
    }
    // Told at once: the search for queues may fail where a tool is required.
    ours(&list_folder(Path::new(SHARED_MEMORY))?).for_each(|name| report(format!("{SHARED_MEMORY}/{name}")));
    let queues = list_queues(root)?;
    ours(queues.as_deref().unwrap_or_default()).for_each(|name| report(format!("message queue /{name}")));
    if count > 0 {
        let objects = if count == 1 { "object" } else { "objects" };
        return Err(format!(
            "{count} {objects} left behind; end what still runs, or remove what does not"
        ));
    }
    let mut unseen = String::new();
    if queues.is_none() {
        unseen += "; message queues not looked at";
    }
    if before.is_none() {
        unseen += "; System V objects not compared (--save before, --since after)";
    }
    println!("leftovers: none{unseen}");
    Ok(())
}

fn ours(names: &[String]) -> impl Iterator<Item = &String> {
    names
        .iter()
        .filter(|name| PREFIXES.iter().any(|prefix| name.starts_with(prefix)))
}

/// The names in `folder`, sorted; none if it does not exist.
fn list_folder(folder: &Path) -> Result<Vec<String>, String> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(problem(folder)(error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        names.push(
            entry
                .map_err(problem(folder))?
                .file_name()
                .to_string_lossy()
                .into_owned(),
        );
    }
    names.sort();
    Ok(names)
}

/// The names of all message queues, or `None` if they cannot be listed here.
fn list_queues(root: &Path) -> Result<Option<Vec<String>>, String> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").map_err(|error| format!("mountinfo: {error}"))?;
    if let Some(folder) = mqueue_mount(&mounts) {
        return list_folder(&folder).map(Some);
    }
    if !is_root() {
        need::skip(
            "a mounted mqueue file system (mount -t mqueue none /dev/mqueue), or root, to list message queues",
        )?;
        return Ok(None);
    }
    // The mount namespace dies with the shell, and /tmp is covered only inside it.
    let script = "mount -t mqueue none /tmp && ls -A /tmp";
    match command::output(root, "unshare", &["-m", "sh", "-c", script]) {
        Ok(listing) => Ok(Some(
            String::from_utf8_lossy(&listing)
                .lines()
                .map(str::to_owned)
                .collect(),
        )),
        Err(reason) => {
            need::skip(&format!(
                "a mounted mqueue file system, or the right to mount one ({reason})"
            ))?;
            Ok(None)
        }
    }
}

/// Where a mqueue file system is mounted, by the text of `/proc/self/mountinfo`: the fifth field of a line
/// is the mount point, the first after the lone `-` the type.
fn mqueue_mount(mounts: &str) -> Option<PathBuf> {
    mounts.lines().find_map(|line| {
        let (place, kind) = line.split_once(" - ")?;
        let point = place.split(' ').nth(4)?;
        (kind.split(' ').next() == Some("mqueue")).then(|| PathBuf::from(unescape(point)))
    })
}

/// Undoes mountinfo's octal spelling of blanks: `\040` is a space.
fn unescape(field: &str) -> String {
    [(r"\040", " "), (r"\011", "\t"), (r"\012", "\n"), (r"\134", r"\")]
        .iter()
        .fold(field.to_owned(), |text, (escape, character)| {
            text.replace(escape, character)
        })
}

fn is_root() -> bool {
    uid() == 0
}

/// Our user. Where that cannot be told, nobody's objects are ours.
fn uid() -> u32 {
    use std::os::unix::fs::MetadataExt;
    fs::metadata("/proc/self").map_or(u32::MAX, |itself| itself.uid())
}

#[cfg(test)]
mod tests {
    use super::{list_folder, mqueue_mount, ours};
    use std::path::{Path, PathBuf};

    #[test]
    fn only_our_names_are_leftovers() {
        let names = [
            "shmeld.gate",
            "sem.shmeld-x",
            "sem.other",
            "not-shmeld",
            "shm-demo",
        ]
        .map(str::to_owned);
        assert_eq!(ours(&names).collect::<Vec<_>>(), ["shmeld.gate", "sem.shmeld-x"]);
    }

    #[test]
    fn queue_mount_is_found_by_type_and_not_by_path() {
        let none = "25 24 0:23 / /dev/mqueue rw,relatime - tmpfs mqueue rw";
        assert_eq!(mqueue_mount(none), None);
        let some = "25 24 0:23 / /dev/shm rw shared:3 - tmpfs shm rw\n26 24 0:20 / /mnt/my\\040queues rw - mqueue none rw";
        assert_eq!(mqueue_mount(some), Some(PathBuf::from("/mnt/my queues")));
    }

    #[test]
    fn mangled_mount_lines_are_passed_over() {
        assert_eq!(mqueue_mount("\n - \nx - mqueue\n1 2 3 4"), None);
    }

    #[test]
    fn absent_folder_holds_no_leftovers() {
        assert_eq!(list_folder(Path::new("/nonexistent/folder")), Ok(Vec::new()));
    }
}
