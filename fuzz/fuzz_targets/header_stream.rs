//! Words and slots that change between every two accesses, against either end of a stream of records.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    shmeld::file::fuzzing::header_stream(input);
});
