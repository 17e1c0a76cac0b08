//! See `pillion::fuzzing::manifest`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| pillion::fuzzing::manifest(bytes));
