//! Row C12 of the fault catalogue: a panic in the thread of a session.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use shmeld::Error;
use shmeld::file::record::Kind;
use shmeld::file::wire::Op;
use shmeld::file::{Client, Status};

use crate::invented::{Invented, World, query};

/// Reads the answer under way to its DONE; returns how many bytes of the file it had.
fn rest_of_answer(client: &mut Client) -> Result<u64, Error> {
    let mut bytes = 0;
    loop {
        let record = client.next_record()?;
        bytes += if record.kind == Kind::Data {
            record.length as u64
        } else {
            0
        };
        client.finish(&record)?;
        if record.kind == Kind::Done {
            return Ok(bytes);
        }
    }
}

/// The source of one server panics for one client, which is told that reading failed. Another one, in the middle of the same file before,
/// during and after that, gets all of it; and so do those who come later. Every panic is counted.
#[test]
fn panic_ends_one_session_and_is_counted() {
    const SIZE: u64 = 400_000;
    const PANICS: u64 = 5;
    let panics = Arc::new(AtomicBool::new(false));
    let asked = panics.clone();
    let world = World::of(Invented {
        size: SIZE,
        read: Arc::new(move |_| {
            assert!(
                !asked.swap(false, Ordering::SeqCst),
                "a source that panics when it is told to"
            );
            Ok(5000)
        }),
        refusals: Vec::new(),
    });
    let mut patient = world.client();
    patient.submit(&query(Op::Get, "file", 0)).unwrap().unwrap();
    let begin = patient.next_record().unwrap();
    patient.finish(&begin).unwrap();
    for _ in 0..PANICS {
        // The patient client does not read: the next to ask the source is this one.
        panics.store(true, Ordering::SeqCst);
        let mut victim = world.client();
        victim.submit(&query(Op::Get, "file", 0)).unwrap().unwrap();
        let error = rest_of_answer(&mut victim).unwrap_err();
        let io = u32::from(Status::Io.code());
        assert!(
            matches!(error, Error::Ended { code, .. } if code == io),
            "{error}"
        );
    }
    assert_eq!(rest_of_answer(&mut patient).unwrap(), SIZE);
    patient.close();
    let mut next = world.client();
    next.submit(&query(Op::Get, "file", 0)).unwrap().unwrap();
    assert_eq!(rest_of_answer(&mut next).unwrap(), SIZE);
    next.close();
    let status = world.status();
    assert_eq!(
        (status.panics_total, status.died_total, status.misbehaved_total),
        (PANICS, 0, 0)
    );
}
