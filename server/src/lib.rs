//! Pillion as a process: the `pillion` command, each subcommand a function.
//!
//! This crate reads arguments, calls the crate `pillion` and writes answers; it holds no logic of the cache.
//! Answers go to standard output, messages to standard error, and the [exit code](Exit) says what to do.

mod audit;
pub mod cli;
pub mod config;
mod connection;
mod doors;
mod exit;
mod export;
mod failure;
mod health;
mod load;
mod manual;
mod metrics;
mod nearest;
mod output;
mod refresh;
mod serve;
mod sources;
mod sql;
mod status;
mod warm;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser;

pub use audit::{AuditArgs, audit};
pub use config::Config;
pub use connection::Connection;
pub use exit::Exit;
pub use export::{ExportArgs, export};
pub use failure::Failure;
pub use load::{LoadArgs, load};
pub use manual::{CompletionsArgs, ManArgs, completions, man};
pub use output::format::Format;
pub use refresh::{RefreshArgs, refresh};
pub use serve::{ServeArgs, serve, serve_with};
pub use sources::{SourcesArgs, SourcesCommand, sources};
pub use sql::splitter::{Splitter, Statement, Unfinished};
pub use sql::{SqlArgs, sql};
pub use status::{StatusArgs, StatusFormat, status};
pub use warm::{WarmArgs, warm};

use cli::{Cli, Command};

/// Runs the command that `arguments` name, the first of which is the name of the program.
pub fn run(arguments: impl IntoIterator<Item = impl Into<OsString> + Clone>) -> ExitCode {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // Asking for help is not an error. If printing fails, there is no other way to report that.
            let _ = error.print();
            return if error.use_stderr() { Exit::Usage } else { Exit::Done }.into();
        }
    };
    let done = match &cli.command {
        Command::Sql(args) => sql(args),
        Command::Status(args) => status(args),
        Command::Export(args) => export(args),
        Command::Load(args) => load(args),
        Command::Serve(args) => serve(args),
        Command::Config(args) => config::config(args),
        Command::Refresh(args) => refresh(args),
        Command::Audit(args) => audit(args),
        Command::Warm(args) => warm(args),
        Command::Sources(args) => sources(args),
        Command::Completions(args) => completions(args),
        Command::Man(args) => man(args),
    };
    match done {
        Ok(()) => Exit::Done.into(),
        Err(failure) => {
            failure.print();
            failure.exit().into()
        }
    }
}
