//! See `pillion::fuzzing::segment_directory`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| pillion::fuzzing::segment_directory(bytes));
