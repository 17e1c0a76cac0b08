//! See `pillion::fuzzing::layout`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| pillion::fuzzing::layout(bytes));
