//! `pillion load`: files into a table.

mod file_error;
mod files;

use std::path::PathBuf;

use clap::Args;
use pillion::{ErrorCode, Input, TableDefinition};

use crate::connection::Connection;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::progress::{Progress, summary};
use crate::output::units;
use files::Files;

/// Arguments of `pillion load`.
#[derive(Args, Debug)]
#[command(after_long_help = AFTER_HELP)]
pub struct LoadArgs {
    /// Where the table is.
    #[command(flatten)]
    pub connection: Connection,

    /// The table; SQL finds it without quotes if its name is in lower case
    #[arg(value_name = "TABLE")]
    pub table: String,

    /// The files, all of the same columns
    #[arg(value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,

    /// Columns that identify a row: unique together, never null. Lookups by key need them
    #[arg(long, value_name = "COLUMN,…", value_delimiter = ',')]
    pub primary_key: Vec<String>,

    /// Columns that rows are stored by, so that ranges of the first are read alone [default: the primary key]
    #[arg(long, value_name = "COLUMN,…", value_delimiter = ',')]
    pub sort_by: Vec<String>,

    /// Put the rows in the place of all rows of a table that exists
    #[arg(long, conflicts_with_all = ["append", "primary_key", "sort_by"])]
    pub replace: bool,

    /// Add the rows to a table that exists; a primary key that is there already is an error
    #[arg(long, conflicts_with_all = ["primary_key", "sort_by"])]
    pub append: bool,
}

const AFTER_HELP: &str = "\
Examples:
  pillion load --url DIR flights flights-*.parquet --primary-key time_hour,carrier,flight
  pillion load --url DIR events events.csv --sort-by created_at
  pillion load --url DIR events monday.csv --append
  pillion load --url DIR flights flights.parquet --replace";

/// Loads files into a table.
///
/// # Errors
/// Of reading the files and of opening and writing the cache. The table is then as before.
pub fn load(args: &LoadArgs) -> Result<(), Failure> {
    // Files are looked for first: a slip of the finger creates no cache.
    files::check(&args.files)?;
    let cache = args.connection.write()?;
    let existing = match cache.table(&args.table) {
        Ok(table) => Some(table),
        Err(error) if error.code() == ErrorCode::TableNotFound && !(args.replace || args.append) => None,
        Err(error) => return Err(error.into()),
    };
    if existing.is_some() && !(args.replace || args.append) {
        return Err(Failure::new(Exit::Failed, format!("table `{}` exists", args.table))
            .hint("say whether to --replace its rows or to --append to them"));
    }
    let files = Files::open(&args.files, existing.as_ref().map(|table| table.schema().clone()))?;
    let progress = Progress::new(format!("loading `{}`", args.table), None);
    let started = std::time::Instant::now();
    let (reader, counter) = files.reader(progress);
    let input = Input::reader(reader);
    let loaded = match &existing {
        None => {
            let definition = TableDefinition::new(input);
            let definition = definition.primary_key(&args.primary_key).sort_by(&args.sort_by);
            cache.define_table(&args.table, definition).map(drop)
        }
        Some(table) if args.replace => table.replace(input).map(drop),
        Some(table) => table.append(input).map(drop),
    };
    loaded.map_err(file_error::explain)?;
    let table = cache.table(&args.table)?.info()?;
    cache.close()?;
    summary(|| {
        let (rows, elapsed) = (units::rows(counter.rows()), units::elapsed(started.elapsed()));
        let (all, bytes) = (units::rows(table.rows), units::bytes(table.bytes));
        format!(
            "{rows} loaded in {elapsed}; `{}` has {all} in {bytes}, version {}",
            table.name, table.version
        )
    });
    Ok(())
}
