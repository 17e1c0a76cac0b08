//! What clients get.

pub(crate) mod info;
pub(crate) mod stream;
