//! Walks through exports.

use std::time::{Duration, Instant};

use shmeld::file::record::EntryKind;
use shmeld::file::source::Walk;
use shmeld::file::{Refusal, Status};

use crate::fake::{Lie, Manner, World, content, entry, ready};
use crate::list_wire::push_listed;
use crate::remote_walk::RemoteWalk;
use crate::wire::Head;

fn timeout() -> Duration {
    Duration::from_millis(500)
}

fn world() -> World {
    let world = World::new(2, b"x");
    for number in [1, 2] {
        world.change(number, |export| {
            for (index, name) in ["a", "d/b", "d/c", "d/e/g", "d/z", "h/i"].iter().enumerate() {
                export
                    .files
                    .insert(name.as_bytes().to_vec(), content(index * 100, 0));
            }
        });
    }
    world
}

/// The names that a walk meets, in their order; files are opened and read if `opens`.
fn walk(world: &World, start: &[u8], levels_max: usize, opens: bool) -> Result<Vec<String>, Refusal> {
    let mut walk = RemoteWalk::new(world.remote(timeout()), start.to_vec(), levels_max);
    if opens {
        walk.will_open_files();
    }
    let mut names = Vec::new();
    let end = Instant::now() + Duration::from_secs(10);
    loop {
        while !walk.is_ready()? {
            assert!(Instant::now() < end);
        }
        let Some(item) = walk.next_item() else {
            return Ok(names);
        };
        names.push(String::from_utf8_lossy(&item.entry.name).into_owned());
        if opens && item.entry.kind == EntryKind::File {
            let file = walk.open_last()?;
            ready(&*file, 0)?;
            assert_eq!(file.entry().size, item.entry.size, "{names:?}");
        }
        if let Some(refusal) = item.refusal {
            names.push(refusal.status.name().to_owned());
        }
    }
}

#[test]
fn directories_come_before_what_they_hold() {
    let all = [
        ".", "a", "d", "d/b", "d/c", "d/e", "d/e/g", "d/z", "f", "h", "h/i",
    ];
    for opens in [false, true] {
        assert_eq!(walk(&world(), b"", 128, opens).unwrap(), all);
    }
    assert_eq!(
        walk(&world(), b"d/", 128, true).unwrap(),
        [".", "b", "c", "e", "e/g", "z"]
    );
}

#[test]
fn a_walk_goes_no_deeper_than_it_should() {
    assert_eq!(walk(&world(), b"", 1, false).unwrap(), [".", "a", "d", "f", "h"]);
    assert_eq!(
        walk(&world(), b"", 2, false).unwrap(),
        [".", "a", "d", "d/b", "d/c", "d/e", "d/z", "f", "h", "h/i"]
    );
    assert_eq!(walk(&world(), b"", 0, false).unwrap(), ["."]);
}

#[test]
fn a_walk_that_begins_at_a_file_meets_only_that() {
    assert_eq!(walk(&world(), b"d/b", 128, true).unwrap(), ["."]);
    assert_eq!(
        walk(&world(), b"nope", 128, true).unwrap_err().status,
        Status::Fnf
    );
}

#[test]
fn another_export_goes_on_with_a_walk() {
    let world = world();
    world.change(1, |export| export.answers_left = 1);
    assert_eq!(walk(&world, b"", 128, true).unwrap().len(), 11);
}

#[test]
fn directory_that_nobody_lists_within_the_time_is_refused_and_the_walk_goes_on() {
    let world = world();
    world.change(2, |export| export.manner = Manner::Unable);
    world.change(1, |export| export.answers_left = 1);
    let names = walk(&world, b"", 128, false).unwrap();
    assert_eq!(names, [".", "a", "d", "IO", "f", "h", "IO"]);
}

/// Its digest is right: a program wrote it that knows no better, or means harm.
#[test]
fn list_that_is_none_is_asked_for_at_another_export() {
    let lie = |head: &mut Head, body: &mut Vec<u8>| {
        body.push(0);
        (head.len, head.digest) = (body.len() as u32, blake3::hash(body).into());
    };
    let cancelled = |head: &mut Head, body: &mut Vec<u8>| {
        let entry = entry(EntryKind::File, b"a", 1);
        assert!(push_listed(body, Status::Cancelled, &entry));
        (head.len, head.digest) = (body.len() as u32, blake3::hash(body).into());
    };
    for lie in [lie as Lie, cancelled] {
        let world = world();
        world.change(1, |export| export.manner = Manner::Lying(lie));
        assert_eq!(walk(&world, b"", 1, false).unwrap(), [".", "a", "d", "f", "h"]);
        world.change(2, |export| export.manner = Manner::Lying(lie));
        assert_eq!(walk(&world, b"", 1, false).unwrap_err().status, Status::Io);
    }
}

/// A key can say no such name, and no export can be blamed for that: it is refused at once, and what stands beside it is not.
#[test]
fn names_too_long_for_a_question_are_refused_and_not_asked_for() {
    let world = world();
    let parts = vec!["p".repeat(255); 4].join("/");
    let (deep, file) = (
        format!("{parts}/x"),
        format!("{}/{}", &parts[..767], "q".repeat(250)),
    );
    for number in [1, 2] {
        world.change(number, |export| {
            for name in [&deep, &file] {
                export.files.insert(name.as_bytes().to_vec(), b"x".to_vec());
            }
        });
    }
    let outcome = walk(&world, b"d", 128, true).and_then(|_| walk(&world, b"", 128, false));
    let names = outcome.unwrap();
    let refused: Vec<&String> = names.iter().filter(|name| name.starts_with("NAME")).collect();
    assert_eq!(refused.len(), 1, "the directory: {names:?}");
    assert!(names.contains(&file) && names.contains(&"h/i".to_owned()));
    assert_eq!(
        walk(&world, b"", 128, true).unwrap_err().status,
        Status::NameTooLong
    );
}
