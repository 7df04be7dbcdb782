//! Names and links that become directories and files on the client's disk.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    shmeld::file::fuzzing::tree_name(input);
});
