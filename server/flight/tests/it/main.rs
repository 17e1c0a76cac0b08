//! The door as its clients see it.
