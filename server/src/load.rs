//! `pillion load`: files into a table.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use clap::Args;
use pillion::{ErrorCode, FileOptions, Input, TableDefinition};

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

    /// The files; in quotes also patterns with `*`, `?`, `**` and `[…]`
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

    /// How the files are read.
    #[command(flatten)]
    pub reading: ReadingArgs,
}

/// How files are read, where they do not say it themselves.
#[derive(Args, Debug, Default)]
#[command(next_help_heading = "Reading files")]
pub struct ReadingArgs {
    /// The format of all files, whatever their endings: parquet, csv, ndjson or arrow
    #[arg(long, value_name = "FORMAT")]
    pub format: Option<String>,

    /// The character between the fields of CSV, or `tab` [default: the one that the first lines show]
    #[arg(long, value_name = "CHARACTER")]
    pub delimiter: Option<String>,

    /// The first line of CSV is a row, and the columns are called column_1, column_2 and so on
    #[arg(long)]
    pub no_header: bool,

    /// Words of CSV that are null where they are not quoted, such as NA; an empty field always is
    #[arg(long, value_name = "WORD,…", value_delimiter = ',')]
    pub null: Vec<String>,

    /// The character around fields of CSV that contain delimiters, or `off` [default: "]
    #[arg(long, value_name = "CHARACTER")]
    pub quote: Option<String>,

    /// The type of a column, such as zip=Utf8, day=Date32 or price=Decimal(10,2); once for each column
    #[arg(long = "type", value_name = "COLUMN=TYPE")]
    pub types: Vec<String>,

    /// Folders such as year=2013 are no columns
    #[arg(long)]
    pub no_hive: bool,
}

const AFTER_HELP: &str = "\
Examples:
  pillion load --url DIR flights flights-*.parquet --primary-key time_hour,carrier,flight
  pillion load --url DIR events events.csv --sort-by created_at
  pillion load --url DIR events monday.csv --append
  pillion load --url DIR flights flights.parquet --replace
  pillion load --url DIR prices prices.csv.gz --delimiter ';' --null NA --type zip=Utf8 --type price='Decimal(10,2)'
  pillion load --url DIR flights 'flights/**/*.parquet'  # with a column for folders such as year=2013";

/// Loads files into a table.
///
/// # Errors
/// Of reading the files and of opening and writing the cache. The table is then as before.
pub fn load(args: &LoadArgs) -> Result<(), Failure> {
    let options = args.reading.options()?;
    look(args)?;
    let cache = args.connection.write()?;
    let existing = match cache.table(&args.table) {
        Ok(table) => Some(table),
        Err(error) if error.code() == ErrorCode::TableNotFound && !args.changes() => None,
        Err(error) => return Err(error.into()),
    };
    let started = Instant::now();
    let (input, rows) = observed(args, options);
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

impl ReadingArgs {
    /// The options of the library that the arguments stand for.
    ///
    /// # Errors
    /// [`Exit::Usage`] for a value that an option does not take.
    fn options(&self) -> Result<FileOptions, Failure> {
        let texts = [("format", &self.format), ("delimiter", &self.delimiter), ("quote", &self.quote)];
        let mut options = FileOptions::new();
        for (name, value) in texts {
            if let Some(value) = value {
                options = options.option(name, value)?;
            }
        }
        for types in &self.types {
            options = options.option("types", types)?;
        }
        Ok(options
            .header(!self.no_header)
            .nulls(self.null.iter().filter(|word| !word.is_empty()))
            .folders(!self.no_hive))
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
fn observed(args: &LoadArgs, options: FileOptions) -> (Input, Arc<AtomicU64>) {
    let mut progress = Progress::new(format!("loading `{}`", args.table), None);
    let read = Arc::new(AtomicU64::new(0));
    let count = read.clone();
    let input = Input::files_with(&args.files, options).observe(move |rows| {
        progress.at(rows, 0);
        count.store(rows, Ordering::Relaxed);
    });
    (input, read)
}
