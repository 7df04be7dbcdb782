//! How a client learns that its session is over: what it is told must be what happened.

use shmeld::Error;
use shmeld::file::Status;
use shmeld::file::record::Kind;
use shmeld::file::wire::Op;

use crate::invented::{World, query};

/// An idle client whose server had stopped, properly and with ENDED in the state word, was told at its next request that the server had
/// died: it looked at the lease, which was free, and not at the word, which said why.
#[test]
fn idle_client_of_a_server_that_stopped_is_told_so_and_not_of_a_death() {
    let world = World::new(|_| {});
    world.put("file", b"content");
    let mut client = world.client();
    client.submit(&query(Op::Get, "file", 0)).unwrap();
    loop {
        let record = client.next_record().unwrap();
        client.finish(&record).unwrap();
        if record.kind == Kind::Done {
            break;
        }
    }
    drop(world);
    let stopping = u32::from(Status::Stopping.code());
    match client.submit(&query(Op::Get, "file", 0)) {
        Err(Error::Ended { code, .. }) => assert_eq!(code, stopping),
        other => panic!("{other:?}"),
    }
}
