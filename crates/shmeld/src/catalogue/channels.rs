//! Channels of images among the files of shared memory: which of them a requester of ours has made.

use std::collections::HashSet;

use shmeld_os::ObjectName;
use shmeld_os::fs::Stat;
use shmeld_os::listing::SharedMemoryFile;

use super::Belonging;
use super::clean::Outcome;
use super::posix::kind_and_name;
use super::unheld::{IN_USE, alone_with};
use crate::Result;
use crate::image::ChannelName;
use crate::image::mark::Mark;
use crate::image::remains::Remains;

/// The names of those of which that is proven.
#[derive(Debug, Default)]
pub(super) struct Channels(HashSet<Vec<u8>>);

impl Channels {
    /// Among the files in the order of their names. `mark_of` looks into the file of a semaphore.
    pub(super) fn find(listed: &[SharedMemoryFile], mark_of: impl Fn(&[u8]) -> Option<Mark>) -> Self {
        let channel_of = |file: &SharedMemoryFile| {
            let (kind, name) = kind_and_name(&file.name);
            match Belonging::of_name(kind, name, file.stat.bytes) {
                Some(Belonging::Image(channel)) => Some(channel),
                _ => None,
            }
        };
        let named: HashSet<Vec<u8>> = listed.iter().filter_map(channel_of).collect();
        let is_proven = |channel: &Vec<u8>| {
            channel_name(channel).is_some_and(|channel| is_of_one_requester(&channel, listed, &mark_of))
        };
        Self(named.into_iter().filter(is_proven).collect())
    }

    /// Whether it belongs to one of these.
    pub(super) fn have(&self, belongs: Option<&Belonging>) -> bool {
        matches!(belongs, Some(Belonging::Image(channel)) if self.0.contains(channel))
    }
}

fn channel_name(channel: &[u8]) -> Option<ChannelName> {
    ChannelName::new(std::str::from_utf8(channel).ok()?).ok()
}

/// REQ can be missing: it is made last and removed first.
fn is_of_one_requester(
    channel: &ChannelName,
    listed: &[SharedMemoryFile],
    mark_of: impl Fn(&[u8]) -> Option<Mark>,
) -> bool {
    let stat = |name: &ObjectName| -> Option<&Stat> {
        let name = name.as_str().as_bytes();
        let found = listed.binary_search_by(|file| file.name.as_slice().cmp(name));
        Some(&listed.get(found.ok()?)?.stat)
    };
    let segments = (stat(channel.head()), stat(channel.data()));
    let ((Some(head), Some(data)), Some(answer)) = (segments, stat(channel.answer())) else {
        return false;
    };
    let request = stat(channel.request());
    let mark = Some(Mark::of(head, data));
    let is_its = |name: &ObjectName| mark_of(name.as_str().as_bytes()) == mark;
    let is_same_user = |other: &Stat| other.uid == head.uid;
    is_its(channel.answer())
        && request.is_none_or(|stat| is_its(channel.request()) && is_same_user(stat))
        && is_same_user(data)
        && is_same_user(answer)
}

/// Removes what a dead requester left, if nobody came to it meanwhile.
///
/// # Errors
/// What the kernel says.
pub(super) fn remove(channel: &[u8]) -> Result<Outcome> {
    let kept = |why: &str| Ok(Outcome::Kept(why.to_owned()));
    let Some(channel) = channel_name(channel) else {
        return kept("that is no name of a channel");
    };
    let Some(remains) = Remains::open(&channel)? else {
        return kept("it is gone, or somebody is looking at it");
    };
    let label = channel.to_string();
    // Nobody else can open any of them meanwhile.
    match alone_with(&remains.files(), &label, &|| remains.remove())? {
        Some(Ok(true)) => Ok(Outcome::Removed),
        Some(Ok(false)) => kept("somebody came to the channel meanwhile, or made it anew"),
        Some(Err(error)) => Err(error),
        None => kept(IN_USE),
    }
}

#[cfg(test)]
mod tests {
    use shmeld_os::fs;

    use super::*;

    const NAMES: [&str; 4] = ["SEG_c_DATA", "SEG_c_HEAD", "sem.SEM_c_REQ", "sem.SEM_c_RES"];

    fn stat(ino: u64, uid: u32) -> Stat {
        let any = fs::stat_path(std::path::Path::new("/")).expect("a directory");
        Stat { ino, uid, ..any }
    }

    fn files(names: &[&str]) -> Vec<SharedMemoryFile> {
        let file = |name: &&str| SharedMemoryFile {
            name: name.as_bytes().to_vec(),
            stat: stat(name.len() as u64 + u64::from(name.as_bytes()[name.len() - 1]), 5),
            made: None,
        };
        names.iter().map(file).collect()
    }

    fn has_channel(files: &[SharedMemoryFile], mark_of: impl Fn(&[u8]) -> Option<Mark>) -> bool {
        Channels::find(files, mark_of).have(Some(&Belonging::Image(b"c".to_vec())))
    }

    #[test]
    fn a_channel_is_ours_if_both_semaphores_name_its_segments() {
        let all = files(&NAMES);
        let mark = Mark::of(&all[1].stat, &all[0].stat);
        assert!(has_channel(&all, |_| Some(mark)));
        // Killed before REQ was made, or after it was removed.
        assert!(has_channel(&files(&[NAMES[0], NAMES[1], NAMES[3]]), |_| Some(
            mark
        )));
        assert!(!has_channel(&all, |_| None));
        assert!(!has_channel(&all, |name| (name == b"sem.SEM_c_RES").then_some(mark)));
        assert!(!has_channel(&all, |name| (name == b"sem.SEM_c_REQ").then_some(mark)));
        for missing in [0, 1, 3] {
            let mut some = all.clone();
            some.remove(missing);
            assert!(!has_channel(&some, |_| Some(mark)), "without {}", NAMES[missing]);
        }
    }

    #[test]
    fn a_channel_of_which_something_was_replaced_or_is_another_users_is_not_ours() {
        let all = files(&NAMES);
        let mark = Mark::of(&all[1].stat, &all[0].stat);
        for segment in [0, 1] {
            let mut replaced = all.clone();
            replaced[segment].stat.ino += 1;
            assert!(!has_channel(&replaced, |_| Some(mark)));
        }
        for one in 0..4 {
            let mut given = all.clone();
            given[one].stat.uid = 6;
            assert!(!has_channel(&given, |_| Some(mark)), "{}", NAMES[one]);
        }
        assert!(!Channels::default().have(None));
    }
}
