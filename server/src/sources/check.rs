//! `pillion sources check`: connects to sources, and says what a load would fetch.

use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use pillion::ErrorCode;
use pillion::source::{Call, Description};

use super::open;
use crate::config::{Config, SourceConfig, TableConfig};
use crate::failure::Failure;
use crate::output::format::Format;
use crate::output::layout::printable;
use crate::output::target::Target;
use crate::output::units;

/// How many relations of a source are named.
const RELATIONS_MAX: usize = 20;

/// Arguments of `pillion sources`.
#[derive(Args, Debug)]
pub struct SourcesArgs {
    /// What to do with them.
    #[command(subcommand)]
    pub command: SourcesCommand,
}

/// What to do with the sources of a configuration.
#[derive(Debug, Subcommand)]
pub enum SourcesCommand {
    /// Connect to the sources, list what they have, and say what a load of each table would fetch
    ///
    /// Checks columns, key, order, retention, `append_by` and condition of each table as the load would.
    ///
    /// Reads no rows, writes nothing, and needs no cache.
    #[command(after_long_help = AFTER_HELP)]
    Check {
        /// The configuration
        #[arg(long, value_name = "FILE")]
        config: PathBuf,

        /// Only these sources
        #[arg(value_name = "SOURCE")]
        sources: Vec<String>,

        /// How long a source may take to answer a question, in seconds
        #[arg(long, value_name = "SECONDS", default_value_t = 30)]
        deadline: u64,
    },
}

const AFTER_HELP: &str = "\
Examples:
  pillion sources check --config pillion.toml
  pillion sources check --config pillion.toml shop

Exit codes:
  0  every source answered, and has what the tables need
  1  a source cannot be reached, refuses the credentials, or lacks what a table needs
  2  the configuration is wrong
  3  the configuration, or a relation of a source, is not there
  4  a source did not answer in time";

/// Looks at the sources of a configuration.
///
/// # Errors
/// Everything that was found wrong, with the exit code of the first.
pub fn sources(args: &SourcesArgs) -> Result<(), Failure> {
    let SourcesCommand::Check { config, sources: chosen, deadline } = &args.command;
    let config = Config::read(config)?;
    for name in chosen {
        if config.sources.iter().all(|source| source.name != *name) {
            return Err(Failure::usage(format!("the configuration has no source `{name}`")));
        }
    }
    let limit = Duration::from_secs(*deadline);
    let target = Target::stdout(Format::Table)?;
    let mut out = target.sink().clone();
    let mut problems: Vec<Failure> = Vec::new();
    for source in config.sources.iter().filter(|source| chosen.is_empty() || chosen.contains(&source.name)) {
        let mut say = |line: String| writeln!(out, "{line}").map_err(|error| target.explain(&error));
        let tables = config.tables.iter().filter(|table| feeds(source, table));
        look_at(source, tables, limit, &mut say, &mut problems)?;
    }
    target.finish()?;
    for problem in &problems[..problems.len().saturating_sub(1)] {
        problem.print();
    }
    problems.pop().map_or(Ok(()), Err)
}

fn feeds(source: &SourceConfig, table: &TableConfig) -> bool {
    table.source.as_ref().is_some_and(|fed| fed.source() == source.name)
}

fn look_at<'a>(
    config: &SourceConfig,
    tables: impl Iterator<Item = &'a TableConfig>,
    limit: Duration,
    say: &mut dyn FnMut(String) -> Result<(), Failure>,
    problems: &mut Vec<Failure>,
) -> Result<(), Failure> {
    let named =
        |error: pillion::Error| Failure::from(error).context(format_args!("source `{}`", config.name));
    let source = match open(config) {
        Ok(source) => source,
        Err(problem) => {
            problems.push(problem);
            return Ok(());
        }
    };
    if source.capabilities().relations {
        match source.relations(&Call::within(limit)) {
            Ok(relations) => {
                let shown: Vec<String> =
                    relations.iter().take(RELATIONS_MAX).map(|name| printable(name)).collect();
                let more = relations.len().saturating_sub(RELATIONS_MAX);
                let more = if more > 0 { format!(", and {more} more") } else { String::new() };
                say(format!("source         {}: {}{more}", config.name, shown.join(", ")))?;
            }
            // An HTTP server that lists nothing has files all the same.
            Err(error) if error.code() == ErrorCode::Unsupported => {
                say(format!("note           {}: {}", config.name, printable(error.message())))?;
            }
            Err(error) => {
                problems.push(named(error));
                return Ok(());
            }
        }
    }
    for table in tables {
        let Some(definition) = table.fed_definition() else { continue };
        match definition.check_source(&table.name, &*source, &Call::within(limit)) {
            Ok(fetched) => say(format!("table          {}: {}", table.name, what(&fetched)))?,
            Err(error) => {
                let problem = Failure::from(error).context(format_args!("table `{}`", table.name));
                problems.push(problem);
            }
        }
    }
    Ok(())
}

/// What would be fetched, in words.
fn what(described: &Description) -> String {
    let columns = described.schema().fields().iter();
    let columns: Vec<String> =
        columns.map(|field| format!("{} {}", printable(field.name()), field.data_type())).collect();
    let rows = described.expected_rows().map(|rows| format!("about {}, ", units::rows(rows)));
    let bytes = described.expected_bytes().map(|bytes| format!("{}, ", units::bytes(bytes)));
    let parts = described.all_parts().len();
    let parts = if parts > 1 { format!("{parts} parts, ") } else { String::new() };
    format!("{}{}{parts}columns {}", rows.unwrap_or_default(), bytes.unwrap_or_default(), columns.join(", "))
}
