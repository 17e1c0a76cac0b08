//! `pillion load`: files into a table.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use clap::Args;
use pillion::{ErrorCode, Input, TableDefinition};

use crate::connection::Connection;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::progress::{Progress, summary};
use crate::output::units;

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

    /// The files, all of the same columns; in quotes also patterns with `*`, `?`, `**` and `[…]`
    #[arg(value_name = "FILE", required = true)]
    pub files: Vec<String>,

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
    look(args)?;
    let cache = args.connection.write()?;
    let existing = match cache.table(&args.table) {
        Ok(table) => Some(table),
        Err(error) if error.code() == ErrorCode::TableNotFound && !args.changes() => None,
        Err(error) => return Err(error.into()),
    };
    let started = Instant::now();
    let (input, rows) = observed(args);
    match existing {
        None => {
            let definition = TableDefinition::new(input);
            let definition = definition.primary_key(&args.primary_key).sort_by(&args.sort_by);
            cache.define_table(&args.table, definition).map(drop)?;
        }
        Some(table) if args.replace => table.replace(input).map(drop)?,
        Some(table) if args.append => table.append(input).map(drop)?,
        Some(_) => {
            return Err(Failure::new(Exit::Failed, format!("table `{}` exists", args.table))
                .hint("say whether to --replace its rows or to --append to them"));
        }
    }
    let table = cache.table(&args.table)?.info()?;
    cache.close()?;
    summary(|| {
        let (rows, elapsed) = (units::rows(rows.load(Ordering::Relaxed)), units::elapsed(started.elapsed()));
        let (all, bytes) = (units::rows(table.rows), units::bytes(table.bytes));
        format!(
            "{rows} loaded in {elapsed}; `{}` has {all} in {bytes}, version {}",
            table.name, table.version
        )
    });
    Ok(())
}

impl LoadArgs {
    /// Whether the table must exist.
    fn changes(&self) -> bool {
        self.replace || self.append
    }
}

/// Checks that the named files and the table to change exist before anything is written, so that a typo creates no
/// cache.
fn look(args: &LoadArgs) -> Result<(), Failure> {
    // Patterns are left to the cache, which knows what they match.
    for file in args.files.iter().filter(|file| !file.contains(['*', '?', '['])) {
        File::open(file).map_err(|error| Failure::file("open", Path::new(file), &error))?;
    }
    if args.changes() {
        args.connection.read()?.table(&args.table)?;
    }
    Ok(())
}

/// The rows of the files, read with a progress line, and the number of rows read so far.
fn observed(args: &LoadArgs) -> (Input, Arc<AtomicU64>) {
    let mut progress = Progress::new(format!("loading `{}`", args.table), None);
    let read = Arc::new(AtomicU64::new(0));
    let count = read.clone();
    let input = Input::files(&args.files).observe(move |rows| {
        progress.at(rows, 0);
        count.store(rows, Ordering::Relaxed);
    });
    (input, read)
}
