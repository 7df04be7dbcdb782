//! Zenoh by itself: the chunks that the bridge moves, as many under way, and nothing else.

use std::collections::VecDeque;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::time::Instant;

use shmeld_zenoh::ahead::AHEAD_MAX;
use shmeld_zenoh::wire::CHUNK_BYTES;
use zenoh::{Config, Session, Wait};

const KEY: &str = "plain";

fn open(config: &str) -> Session {
    zenoh::open(Config::from_file(config).unwrap()).wait().unwrap()
}

/// Answers `plain/NUMBER` with that chunk of a file; without one, with as many bytes of memory.
pub fn serve(config: &str, file: &str) -> ! {
    let session = open(config);
    let file = (!file.is_empty()).then(|| File::open(file).unwrap());
    let answer = move |query: zenoh::query::Query| {
        let number = query.key_expr().as_str().rsplit('/').next().unwrap();
        let offset = number.parse::<u64>().unwrap() * CHUNK_BYTES;
        let mut bytes = vec![7; CHUNK_BYTES as usize];
        if let Some(file) = &file {
            let len = file.read_at(&mut bytes, offset).unwrap();
            bytes.truncate(len);
        }
        query.reply(query.key_expr().clone(), bytes).wait().unwrap();
    };
    let key = format!("{KEY}/*");
    let _queryable = session.declare_queryable(key).callback(answer).wait().unwrap();
    eprintln!("serving");
    loop {
        std::thread::park();
    }
}

/// Gets `size` bytes into a file, or nowhere; prints the seconds that it took.
pub fn get(config: &str, output: &str, size: u64) -> ! {
    let session = open(config);
    // The first answer says that the other side is known.
    while session.get(format!("{KEY}/0")).wait().unwrap().recv().is_err() {}
    let output = (!output.is_empty()).then(|| File::create(output).unwrap());
    let start = Instant::now();
    let mut asked = VecDeque::new();
    let mut next = 0;
    let mut offset = 0;
    while offset < size {
        while asked.len() < AHEAD_MAX && next * CHUNK_BYTES < size {
            asked.push_back(session.get(format!("{KEY}/{next}")).wait().unwrap());
            next += 1;
        }
        let reply = asked.pop_front().unwrap().recv().unwrap().into_result().unwrap();
        let wanted = (size - offset).min(CHUNK_BYTES);
        assert!(reply.payload().len() as u64 >= wanted, "a short answer");
        if let Some(output) = &output {
            for slice in reply.payload().slices() {
                output.write_all_at(slice, offset).unwrap();
                offset += slice.len() as u64;
            }
        } else {
            offset += wanted;
        }
    }
    println!("{}", start.elapsed().as_secs_f64());
    std::process::exit(0)
}
