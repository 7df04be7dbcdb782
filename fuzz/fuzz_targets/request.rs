//! A queue message, as anybody may send it to a server.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    shmeld::file::fuzzing::request(input);
});
