//! Pillion for C: the library behind `include/pillion.h`.

mod border;
pub mod cache;
pub mod error;
pub mod rows;
pub mod table;
pub mod value;
