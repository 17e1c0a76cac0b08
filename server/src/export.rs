//! `pillion export`: a table as a file.

use std::path::PathBuf;

use clap::Args;

use crate::connection::Connection;
use crate::failure::Failure;
use crate::nearest::NearestParser;
use crate::output::format::Format;
use crate::output::progress::{Progress, summary};
use crate::output::rows::write_rows;
use crate::output::target::{Existing, Target};
use crate::output::units;

/// Arguments of `pillion export`.
#[derive(Args, Debug)]
#[command(after_long_help = AFTER_HELP)]
pub struct ExportArgs {
    /// Where the table is.
    #[command(flatten)]
    pub connection: Connection,

    /// The table, by its exact name
    #[arg(value_name = "TABLE")]
    pub table: String,

    /// The file to write
    #[arg(long, short, value_name = "FILE")]
    pub output: PathBuf,

    /// What to write [default: by the ending of FILE]
    #[arg(long, value_name = "FORMAT", value_parser = NearestParser::<Format>::new())]
    pub format: Option<Format>,

    /// Replace FILE if it exists
    #[arg(long)]
    pub force: bool,
}

const AFTER_HELP: &str = "\
Endings and the formats that they stand for:
  .parquet                parquet
  .arrow .feather         feather, an Arrow IPC file
  .arrows                 arrow, an Arrow IPC stream
  .csv                    csv
  .json .jsonl .ndjson    json, one object per line
  .txt                    table

Examples:
  pillion export --url DIR flights --output flights.parquet
  pillion export --url DIR flights --output flights.csv --force
  pillion export --url DIR flights --output /dev/stdout --format csv | gzip > flights.csv.gz";

/// Writes a table to a file.
///
/// # Errors
/// Of opening, finding the table, reading and writing; [`Exit::Usage`](crate::Exit::Usage) if the file exists.
pub fn export(args: &ExportArgs) -> Result<(), Failure> {
    let format = match args.format {
        Some(format) => format,
        None => Format::of(&args.output)?,
    };
    let snapshot = args.connection.read()?.snapshot()?;
    let table = snapshot.table(&args.table)?;
    let mut target = Target::file(&args.output, if args.force { Existing::Replace } else { Existing::Keep })?;
    let mut progress = Progress::new(format!("writing `{}`", args.table), Some(table.info().rows));
    let batches = table.scan()?;
    let schema = batches.schema().clone();
    let rows = write_rows(&schema, batches, format, &mut target, &mut progress)?;
    let bytes = target.sink().bytes();
    target.finish()?;
    let elapsed = units::elapsed(progress.elapsed());
    drop(progress);
    summary(|| {
        let (rows, bytes, version) = (units::rows(rows), units::bytes(bytes), table.info().version);
        format!("{rows} in {bytes} written to `{}` in {elapsed}, version {version}", args.output.display())
    });
    Ok(())
}
