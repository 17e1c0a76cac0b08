//! See `pillion::fuzzing::edits`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| pillion::fuzzing::edits(bytes));
