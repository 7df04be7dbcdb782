//! Bytes of files for the caller itself, and a wish to stop that has to be asked for: what bindings of other languages use.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use shmeld::file::wire::{FLAG_VERIFY, Op};
use shmeld::file::{
    Client, ClientOptions, Directory, DirectoryOptions, Event, Interrupt, Job, OutputOptions, Query, Server,
    ServerOptions, Target, Transfer,
};
use shmeld::{Error, ServerName};

/// A directory of its own, removed at the end.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn job(name: &str, flags: u32) -> Job {
    Job {
        query: Query {
            op: Op::Get,
            path: name.as_bytes().to_vec(),
            flags,
            resume: None,
        },
        target: Target::Caller,
    }
}

/// What comes for the caller, put together; the client, for the next transfer.
fn collect(client: Client, flags: u32) -> (Vec<u8>, u64, Client) {
    let jobs = [job("file", flags)].into_iter();
    let mut transfer = Transfer::new(client, jobs, OutputOptions::default());
    let (mut bytes, mut progress, mut delivered) = (Vec::new(), 0, false);
    while let Some(event) = transfer.next_event().unwrap() {
        assert!(!delivered, "nothing comes after the end: {event:?}");
        match event {
            Event::Bytes(more) => bytes.extend(more),
            Event::Zeros { bytes: more } => bytes.resize(bytes.len() + usize::try_from(more).unwrap(), 0),
            Event::Progress { bytes } => progress += bytes,
            Event::Delivered { .. } => delivered = true,
            Event::Begun { .. } => {}
            other => panic!("{other:?}"),
        }
    }
    assert!(delivered);
    let client = transfer
        .into_client()
        .expect("all answers have come: the session can go on");
    (bytes, progress, client)
}

/// Large slots are copied once, small ones are collected, holes come as numbers: in every case the caller sees the file.
#[test]
fn caller_gets_the_bytes_in_order_with_every_size_of_slot() {
    let id = format!("shmeld-caller-{}", std::process::id());
    let scratch = Scratch(std::env::temp_dir().join(&id));
    std::fs::create_dir_all(&scratch.0).unwrap();
    let mut expected: Vec<u8> = (0..1_000_003u32).map(|number| (number * 7 % 251) as u8).collect();
    expected.resize(3_000_000, 0);
    expected.extend(b"the end");
    let file = std::fs::File::create(scratch.0.join("file")).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, &expected[..1_000_003], 0).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, b"the end", 3_000_000).unwrap();
    let name = ServerName::new(&id).unwrap();
    let source = Directory::open(&scratch.0, DirectoryOptions::default()).unwrap();
    let options = ServerOptions {
        name: name.clone(),
        ..ServerOptions::default()
    };
    let server = Server::start(Arc::new(source), options).unwrap();
    let stopper = server.stopper();
    let thread = std::thread::spawn(move || server.run().unwrap());
    for region_bytes in [4096, 65536, 1 << 20] {
        let mut client = Client::connect(ClientOptions {
            name: name.clone(),
            region_bytes,
            ..ClientOptions::default()
        })
        .unwrap();
        for flags in [0, FLAG_VERIFY] {
            let (bytes, progress, again) = collect(client, flags);
            assert!(bytes == expected, "region of {region_bytes} bytes, flags {flags}");
            assert_eq!(progress, expected.len() as u64);
            client = again;
        }
        client.close();
    }
    stopper.stop();
    thread.join().unwrap();
}

/// Python keeps Ctrl-C back until somebody asks. A client that waits for a server that never comes must ask.
#[test]
fn waiting_client_asks_whether_to_stop() {
    let asked = Arc::new(AtomicU32::new(0));
    let options = ClientOptions {
        name: ServerName::new(&format!("shmeld-nobody-{}", std::process::id())).unwrap(),
        wait: Some(Duration::from_secs(60)),
        interrupt: Interrupt::from_question({
            let asked = asked.clone();
            move || asked.fetch_add(1, Ordering::Relaxed) >= 3
        }),
        ..ClientOptions::default()
    };
    assert!(matches!(Client::connect(options), Err(Error::Interrupted)));
    assert_eq!(asked.load(Ordering::Relaxed), 4);
}
