//! Bytes of files that are mapped and read in place, and arrays over them.

pub(crate) mod assemble;
pub(crate) mod maps;
pub(crate) mod region;
