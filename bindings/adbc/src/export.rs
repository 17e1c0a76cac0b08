//! The symbols by which a driver manager finds the driver: `AdbcDriverPillionInit` and `AdbcDriverInit`.
#![allow(
    unsafe_code,
    missing_docs,
    clippy::missing_safety_doc,
    reason = "the macro of `adbc_ffi` writes C functions whose contract is that of ADBC"
)]

use crate::database::PillionDriver;

adbc_ffi::export_driver!(AdbcDriverPillionInit, PillionDriver);
