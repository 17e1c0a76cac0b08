//! The `pillion` command; all of it is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    pillion_server::run(std::env::args_os())
}
