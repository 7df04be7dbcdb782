//! Files through exports that die, lie and differ.

use std::time::{Duration, Instant};

use shmeld::file::Status;
use shmeld::file::source::{SourceFile, Span};

use crate::fake::{Lie, Manner, World, content, id, read_all, ready};
use crate::remote_file::RemoteFile;
use crate::wire::{CHUNK_BYTES, Head};

const CHUNK: usize = CHUNK_BYTES as usize;
fn timeout() -> Duration {
    Duration::from_millis(1500)
}

fn file(world: &World) -> RemoteFile {
    RemoteFile::new(world.remote(timeout()), b"f".to_vec())
}

/// What a client gets that fetches `f` while `between` happens.
fn fetch(world: &World, between: impl FnMut(u64)) -> Result<Vec<u8>, Status> {
    read_all(&file(world), between).map_err(|refusal| refusal.status)
}

#[test]
fn files_of_all_sizes_arrive_exactly() {
    for size in [0, 1, 4095, 4096, CHUNK - 1, CHUNK, CHUNK + 1, 9 * CHUNK + 17] {
        let bytes = content(size, 0);
        let world = World::new(1, &bytes);
        assert!(fetch(&world, |_| {}) == Ok(bytes), "{size}");
        world.change(1, |export| {
            assert_eq!(export.asked as usize, size.div_ceil(CHUNK).max(1), "{size}")
        });
    }
}

#[test]
fn refusal_of_an_export_is_that_of_the_file_and_nobody_else_is_asked() {
    let world = World::new(2, b"x");
    let missing = RemoteFile::new(world.remote(timeout()), b"nope".to_vec());
    assert_eq!(ready(&missing, 0).unwrap_err().status, Status::Fnf);
    let asked: u32 = world
        .exports
        .lock()
        .unwrap()
        .iter()
        .map(|export| export.asked)
        .sum();
    assert_eq!(asked, 1);
}

/// The export from which a file came died after some chunks; the other one has the same file, under an identity of its own.
#[test]
fn another_export_goes_on_when_it_has_shown_that_its_file_is_the_same() {
    let bytes = content(6 * CHUNK + 5, 0);
    for answers in [1, 2, 3, 5] {
        let world = World::new(1, &bytes);
        world.change(1, |export| export.answers_left = answers);
        let mut has_other = false;
        let got = fetch(&world, |_| {
            if !std::mem::replace(&mut has_other, true) {
                world.add(2, &bytes);
            }
        });
        assert!(got == Ok(bytes.clone()), "{answers}");
        world.change(2, |export| assert!(export.digests_asked >= 1, "{answers}"));
    }
}

/// Two directories that were meant to be equal differed in one byte, in a part that had been delivered from the first one already.
#[test]
fn export_with_another_file_is_not_mixed_in() {
    let bytes = content(4 * CHUNK, 0);
    for differs_at in [0, CHUNK - 1, CHUNK, 2 * CHUNK - 1] {
        let mut others = bytes.clone();
        others[differs_at] ^= 1;
        let world = World::new(1, &bytes);
        world.change(1, |export| export.answers_left = 2);
        let got = fetch(&world, |at| {
            if at == 258_048 {
                world.add(2, &others);
            }
        });
        assert_eq!(got.unwrap_err(), Status::Changed, "{differs_at}");
    }
    let world = World::new(1, &bytes);
    world.change(1, |export| export.answers_left = 2);
    let got = fetch(&world, |at| {
        if at == 258_048 {
            world.add(2, &bytes[..bytes.len() - 1]);
        }
    });
    assert_eq!(got.unwrap_err(), Status::Changed, "another size");
}

#[test]
fn third_export_goes_on_where_the_second_has_another_file() {
    let bytes = content(5 * CHUNK, 0);
    let world = World::new(1, &bytes);
    world.change(1, |export| export.answers_left = 2);
    let got = fetch(&world, |at| {
        if at == 258_048 {
            world.add(2, &content(5 * CHUNK, 1));
            world.add(3, &bytes);
        }
    });
    assert!(got == Ok(bytes));
}

#[test]
fn file_that_changes_between_chunks_is_refused() {
    let bytes = content(12 * CHUNK, 0);
    let world = World::new(1, &bytes);
    let got = fetch(&world, |at| {
        if at == 2 * 258_048 {
            world.change(1, |export| export.state += 1);
        }
    });
    assert_eq!(got.unwrap_err(), Status::Changed);
    let got = fetch(&world, |at| {
        if at == 2 * 258_048 {
            world.change(1, |export| export.files.clear());
        }
    });
    assert_eq!(got.unwrap_err(), Status::Changed, "removed");
}

#[test]
fn export_that_lies_is_left_out_and_another_one_asked() {
    let lies: [(&str, Manner); 9] = [
        ("digest", Manner::Lying(|head, _| head.digest[3] ^= 1)),
        ("byte", Manner::Lying(|_, body| body[9] ^= 1)),
        ("shorter", Manner::Lying(|_, body| body.truncate(5))),
        ("longer", Manner::Lying(|_, body| body.push(0))),
        ("offset", Manner::Lying(|head, _| head.offset += CHUNK_BYTES)),
        ("size", Manner::Lying(|head, _| head.entry.size = u64::MAX)),
        ("without end", Manner::Lying(|_, body| body.resize(2 * CHUNK, 0))),
        ("unable", Manner::Unable),
        ("dead", Manner::Dead),
    ];
    let bytes = content(2 * CHUNK + 1, 0);
    for (lie, manner) in lies {
        let world = World::new(2, &bytes);
        world.change(1, |export| export.manner = manner);
        // On a busy machine the usual time has gone by before the other one was asked.
        let file = RemoteFile::new(world.remote(Duration::from_secs(8)), b"f".to_vec());
        assert!(read_all(&file, |_| {}) == Ok(bytes.clone()), "{lie}");
    }
}

/// Of 250 ms, 500 ms and one second: whoever was forgiven because its lie had a good form would be asked all the time.
#[test]
fn export_that_goes_on_lying_is_left_out_longer_each_time() {
    let world = World::new(1, b"x");
    world.change(1, |export| {
        export.manner = Manner::Lying(|head, _| head.digest[3] ^= 1)
    });
    assert_eq!(fetch(&world, |_| {}).unwrap_err(), Status::Io);
    world.change(1, |export| assert!(export.asked <= 3, "{}", export.asked));
}

/// The server would take it for a wish of its own client, and tell it nothing that it can believe.
#[test]
fn what_no_name_can_be_refused_with_is_no_answer() {
    for lie in [
        (|head, _| *head = Head::refusal(&Status::Cancelled.into(), false)) as Lie,
        |head, _| *head = Head::refusal(&Status::Misbehaved.into(), false),
        |head, _| *head = Head::refusal(&Status::Stopping.into(), false),
    ] {
        let world = World::new(2, b"x");
        world.change(1, |export| export.manner = Manner::Lying(lie));
        assert_eq!(fetch(&world, |_| {}).unwrap(), b"x", "another one was asked");
        world.change(2, |export| export.manner = Manner::Lying(lie));
        assert_eq!(fetch(&world, |_| {}).unwrap_err(), Status::Io);
    }
}

#[test]
fn file_that_nobody_can_deliver_is_refused_within_the_time_with_the_reason() {
    for (manner, reason) in [
        (Manner::Unable, "no server here"),
        (Manner::Dead, "did not answer"),
        (Manner::Mute, "did not answer"),
    ] {
        let world = World::new(1, b"x");
        world.change(1, |export| export.manner = manner);
        let start = Instant::now();
        let refusal = ready(&file(&world), 0).unwrap_err();
        assert!(start.elapsed() >= timeout() && start.elapsed() < 3 * timeout());
        assert_eq!(refusal.status, Status::Io);
        assert!(refusal.text.contains("no export of fake") && refusal.text.contains("shmeld-bridge export"));
        assert!(refusal.text.contains(reason), "{}", refusal.text);
    }
}

#[test]
fn export_that_comes_within_the_time_is_soon_enough() {
    let world = World::new(0, b"");
    let file = file(&world);
    assert_eq!(file.is_ready(0), Ok(false));
    world.add(1, b"late");
    assert!(read_all(&file, |_| {}) == Ok(b"late".to_vec()));
}

/// What a client leaves undone for an hour is not the exports' fault.
#[test]
fn time_counts_only_while_a_chunk_is_waited_for() {
    let bytes = content(3 * CHUNK, 0);
    let world = World::new(2, &bytes);
    world.change(1, |export| export.answers_left = 1);
    let got = fetch(&world, |at| {
        if at == 258_048 {
            std::thread::sleep(timeout() + Duration::from_millis(300));
        }
    });
    assert!(got == Ok(bytes));
}

#[test]
fn zeros_are_holes_and_cost_no_bytes() {
    let mut bytes = vec![0; 3 * CHUNK];
    bytes[CHUNK..2 * CHUNK].fill(b'x');
    let world = World::new(1, &bytes);
    let file = file(&world);
    for (position, span) in [
        (0, Span::Hole { end: CHUNK_BYTES }),
        (CHUNK_BYTES + 1, Span::Data { end: 2 * CHUNK_BYTES }),
        (2 * CHUNK_BYTES, Span::Hole { end: 3 * CHUNK_BYTES }),
    ] {
        ready(&file, position).unwrap();
        assert_eq!(file.span_at(position), Ok(span));
    }
    assert!(read_all(&file, |_| {}) == Ok(bytes));
}

#[test]
fn load_is_shared_between_exports() {
    let world = World::new(2, b"x");
    for _ in 0..10 {
        assert!(fetch(&world, |_| {}) == Ok(b"x".to_vec()));
    }
    for number in [1, 2] {
        world.change(number, |export| assert_eq!(export.asked, 5, "{:?}", id(number)));
    }
}

#[test]
fn nothing_is_waited_for_when_the_server_stops() {
    let world = World::new(0, b"");
    let remote = world.remote(timeout());
    let file = RemoteFile::new(remote.clone(), b"f".to_vec());
    assert_eq!(file.is_ready(0), Ok(false));
    remote.stop();
    assert_eq!(file.is_ready(0).unwrap_err().status, Status::Stopping);
}
