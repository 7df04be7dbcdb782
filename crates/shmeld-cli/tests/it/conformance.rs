//! The vectors of the document (docs/vectors.txt) against every client there is: ours, and the examples in Python and C. A server that
//! answers with them, byte by byte, must be understood, or seen to lie, by each of them alike.

#[path = "../../../shmeld/tests/it/vectors.rs"]
mod vectors;

use crate::content;
use crate::examples::{example_c, sanitized_or_skip};
use crate::fake_server::{FakeServer, SLOT_BYTES, Victim};
use crate::outcome::Outcome;
use crate::peers::{example, python_or_skip};
use crate::processes::{Program, Running};
use crate::world::World;
use vectors::{Answer, Vectors};

/// The file that every vector is about.
const NAME: &str = "hi.txt";

#[test]
fn our_client_understands_the_vectors() {
    let world = World::new("vectors");
    conform(&world, || world.client().arg("-o").arg(world.output(NAME)));
    world.finish();
}

/// Takes its time: Python starts anew for each vector, because a client that saw a lie has ended.
#[test]
fn python_example_understands_the_vectors() {
    let Some(python) = python_or_skip() else { return };
    let world = World::new("vectors-python");
    conform(&world, || example(&world, &python, &world.output("")));
    world.finish();
}

#[test]
fn c_example_understands_the_vectors() {
    let world = World::new("vectors-c");
    let Some(binary) = sanitized_or_skip(&world) else {
        return;
    };
    conform(&world, || example_c(&world, &binary));
    world.finish();
}

#[track_caller]
fn conform(world: &World, client: impl Fn() -> Program) {
    let server = FakeServer::start(world);
    let vectors = Vectors::read();
    assert!(vectors.answers.len() > 65);
    let mut differences = String::new();
    for answer in &vectors.answers {
        let client = client().arg(NAME).start();
        let victim = server.accept();
        check_offer(&victim, &vectors);
        victim.attach();
        send(&victim, &client, answer);
        let outcome = client.finish();
        server.drain();
        if let Err(difference) = judge(world, answer, &outcome) {
            differences += &format!("{}: {difference}; {}", answer.name, outcome.stderr);
        }
    }
    assert!(differences.is_empty(), "\n{differences}");
    server.stop();
}

/// The request and the region are those of the document, but for what is random and what has gone on meanwhile.
#[track_caller]
fn check_offer(victim: &Victim, vectors: &Vectors) {
    let mut message = victim.message.clone();
    let nonce = message[32..48].to_vec();
    message[16..32].fill(0x11);
    message[32..48].fill(0x22);
    assert_eq!(message, vectors.messages[0].bytes);
    let mut page = vec![0; vectors.region.len()];
    victim.memory.read_at(&mut page, 0).unwrap();
    assert_eq!(page[24..40], nonce);
    page[24..40].fill(0x22);
    // The client's CPU, and its sleep on `filled`.
    page[132..136].fill(0);
    page[196..200].fill(0);
    assert_eq!(page, vectors.region);
}

/// Publishes the slots, and dies: a client that still waits for more would not say that the protocol was broken.
fn send(victim: &Victim, client: &Running, answer: &Answer) {
    let is_gone = || !client.is_running();
    for slot in &answer.slots {
        let mut slot = slot.clone();
        // What lies behind a STOP is undefined.
        slot.resize(SLOT_BYTES, 0xa5);
        victim.publish(&slot);
        if !victim.wait_for_free(is_gone) {
            return;
        }
    }
    victim.die();
}

fn judge(world: &World, answer: &Answer, outcome: &Outcome) -> Result<(), String> {
    let (code, said) = match answer.result.split_once(' ') {
        Some((_, status)) => (1, status),
        None if answer.result == "file" => (0, ""),
        None => (4, "broke the protocol"),
    };
    // What a server says of a refusal is shown to people, and may not drive their terminal.
    if outcome.stderr.chars().any(|c| c.is_control() && c != '\n') {
        return Err("said control characters".to_owned());
    }
    let is_there = answer.result == "file" || !answer.content.is_empty();
    let names = content::names_below(&world.output(""));
    let bytes = std::fs::read(world.output(NAME)).ok();
    let _ = std::fs::remove_file(world.output(NAME));
    if outcome.code != Some(code) || !outcome.stderr.contains(said) {
        return Err(format!(
            "ended with {:?} in the place of {code} {said}",
            outcome.code
        ));
    }
    if names.len() != usize::from(is_there) || bytes != is_there.then(|| answer.content.clone()) {
        return Err(format!("left {names:?} with {bytes:?}"));
    }
    Ok(())
}
