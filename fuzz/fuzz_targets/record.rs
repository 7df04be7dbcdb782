//! Whatever a server can put into a slot, against the client.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    shmeld::file::fuzzing::record(input);
});
