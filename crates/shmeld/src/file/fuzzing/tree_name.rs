//! Names and links that become directories and files on the client's disk.
//!
//! The input is a tree as a server might tell it, one entry a line: `name`, or `name -> target` for a symbolic link. What the client
//! accepts is created in a tree of the imagination, as `tree` would on a disk, and nothing may come to lie outside.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path};

use shmeld_os::name::escape;

use super::super::path::{NameError, base_name, check_relative, link_stays_inside};
use super::super::record::NAME_BYTES_MAX;
use super::record::assert_is_printable;

/// Entries of one tree: each is resolved against all others.
const ENTRIES_MAX: usize = 32;
/// How many links the kernel follows.
const LINKS_FOLLOWED_MAX: u32 = 40;
/// The longest component of a path on Linux.
const COMPONENT_BYTES_MAX: usize = 255;
const ARROW: &[u8] = b" -> ";

type Links<'i> = BTreeMap<Vec<&'i [u8]>, &'i [u8]>;

/// Takes a tree's names and links as they come.
pub fn tree_name(input: &[u8]) -> &'static str {
    assert_is_printable(&escape(input));
    let mut links = Links::new();
    let mut first_refusal = None;
    for line in input.split(|byte| *byte == b'\n').take(ENTRIES_MAX) {
        let (name, target) = parts(line);
        let verdict = check_relative(name);
        assert_eq!(verdict.is_ok(), is_sound(name), "{}", name.escape_ascii());
        if let Err(error) = verdict {
            first_refusal.get_or_insert(refusal(error));
            continue;
        }
        check_accepted(name);
        let Some(target) = target else { continue };
        if !link_stays_inside(name, target) {
            first_refusal.get_or_insert("link refused");
            continue;
        }
        assert!(!target.is_empty() && !target.contains(&0) && target[0] != b'/');
        let place: Vec<&[u8]> = name.split(|byte| *byte == b'/').collect();
        // A link is made in a real directory: nothing is ever created behind a link that is there already, nor in the place of one.
        let is_behind_link = (1..=place.len()).any(|depth| links.contains_key(&place[..depth]));
        let is_directory = links.keys().any(|link| link.starts_with(&place));
        if !is_behind_link && !is_directory {
            links.insert(place, target);
        }
    }
    for place in links.keys() {
        let mut followed = 0;
        let end = resolve(&[], place, &links, &mut followed);
        assert!(end.is_some(), "{links:?} leaves the tree");
    }
    match (first_refusal, links.is_empty()) {
        (Some(refusal), _) => refusal,
        (None, true) => "names",
        (None, false) => "links",
    }
}

fn parts(line: &[u8]) -> (&[u8], Option<&[u8]>) {
    let arrow = line.windows(ARROW.len()).position(|window| window == ARROW);
    arrow.map_or((line, None), |at| (&line[..at], Some(&line[at + ARROW.len()..])))
}

/// The rule of docs/PROTOCOL.md for names, written down a second time.
fn is_sound(name: &[u8]) -> bool {
    let bad =
        |part: &[u8]| part.is_empty() || part == b"." || part == b".." || part.len() > COMPONENT_BYTES_MAX;
    name.len() <= NAME_BYTES_MAX && !name.contains(&0) && !name.split(|byte| *byte == b'/').any(bad)
}

/// What the standard library makes of an accepted name: as many steps down as it has components, and no other step.
fn check_accepted(name: &[u8]) {
    let root = Path::new("/output/tree");
    let path = root.join(OsStr::from_bytes(name));
    let below = path
        .strip_prefix(root)
        .expect("an accepted name stays below its root");
    let steps = below.components().count();
    assert_eq!(steps, name.split(|byte| *byte == b'/').count());
    assert!(
        below
            .components()
            .all(|step| matches!(step, Component::Normal(_)))
    );
    let base = base_name(name);
    assert_eq!(Some(OsStr::from_bytes(base)), path.file_name());
    assert!(!base.is_empty() && !base.contains(&b'/'));
}

/// Follows a path from the directory `at` as a kernel would; `None` if it climbs above the root.
fn resolve<'i>(
    at: &[&'i [u8]],
    path: &[&'i [u8]],
    links: &Links<'i>,
    followed: &mut u32,
) -> Option<Vec<&'i [u8]>> {
    let mut here = at.to_vec();
    for part in path {
        match *part {
            b"" | b"." => {}
            b".." => {
                here.pop()?;
            }
            name => {
                here.push(name);
                let Some(target) = links.get(&here) else { continue };
                *followed += 1;
                if *followed > LINKS_FOLLOWED_MAX {
                    // ELOOP: it leads nowhere.
                    return Some(here);
                }
                here.pop();
                let steps: Vec<&[u8]> = target.split(|byte| *byte == b'/').collect();
                here = resolve(&here, &steps, links, followed)?;
            }
        }
    }
    Some(here)
}

fn refusal(error: NameError) -> &'static str {
    match error {
        NameError::Empty => "empty",
        NameError::Absolute => "absolute",
        NameError::Dots => "dots",
        NameError::Nul => "nul",
        NameError::TooLong => "too long",
    }
}
