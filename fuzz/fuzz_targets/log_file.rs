//! See `pillion::fuzzing::log_file`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| pillion::fuzzing::log_file(bytes));
