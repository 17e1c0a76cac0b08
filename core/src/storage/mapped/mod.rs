//! Bytes of files that are mapped and read in place, and arrays over them.

#[cfg_attr(not(feature = "sidecar"), allow(dead_code, reason = "rows by reference are for sidecars"))]
pub(crate) mod assemble;
pub(crate) mod maps;
pub(crate) mod region;
