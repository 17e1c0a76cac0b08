//! Tests of all of storage together.

mod crash;
