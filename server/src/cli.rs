//! The command line: subcommands and the texts of `--help`.

use clap::{Parser, Subcommand};

use crate::audit::AuditArgs;
use crate::config::ConfigArgs;
use crate::export::ExportArgs;
use crate::load::LoadArgs;
use crate::manual::{CompletionsArgs, ManArgs};
use crate::refresh::RefreshArgs;
use crate::serve::ServeArgs;
use crate::sources::SourcesArgs;
use crate::sql::SqlArgs;
use crate::status::StatusArgs;
use crate::warm::WarmArgs;

/// An accelerated table cache: load tables from files, look at them, and ask them by SQL.
#[derive(Debug, Parser)]
#[command(name = "pillion", version, arg_required_else_help = true, after_long_help = AFTER_HELP)]
#[command(after_help = "See `pillion --help` for examples and exit codes.")]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run SQL and write the answer as a table, CSV, JSON, Arrow or Parquet
    ///
    /// Statements come from the arguments, or else from standard input, separated by `;`;
    /// quotes, dollar quotes and comments may hold a `;`. They run one after another and the
    /// first that fails ends the command. The dialect is that of DataFusion: names without
    /// quotes are lower-cased, and only statements that read are taken (queries, EXPLAIN,
    /// SHOW, DESCRIBE).
    ///
    /// Without statements, and with a terminal, it is a shell: entries of several lines, history,
    /// completion of names by Tab, `\?` for its commands; Ctrl-C ends a statement.
    ///
    /// Rows are written as they come, whatever their number. The table format aligns its
    /// columns by the first 1,000 rows.
    #[command(verbatim_doc_comment)]
    Sql(SqlArgs),
    /// Show the tables of a cache: rows, size, key, age, and what was found damaged
    ///
    /// Opens the cache for reading, so it works beside the process that owns it. Reads no
    /// rows: a damaged page is found by the query that touches it. If opening found damage,
    /// the exit code is 5.
    #[command(verbatim_doc_comment)]
    Status(StatusArgs),
    /// Write a whole table, at one version, to a file
    ///
    /// All rows are of one version of the cache, also while its owner goes on writing. The
    /// file is written as FILE.tmp and renamed when it is complete and on disk; if that fails
    /// (a full disk), nothing stays.
    ///
    /// Parquet and Arrow keep every type; CSV and JSON write values as text. In CSV, null is
    /// nothing and an empty text is `""`, as `pillion load` reads them. For some rows or
    /// columns, use `pillion sql --output FILE`.
    #[command(verbatim_doc_comment)]
    Export(ExportArgs),
    /// Load Parquet, CSV, JSON or Arrow files into a table
    ///
    /// Defines the table from the files, or changes one that exists with --replace or
    /// --append. All files go in together in one commit, or none of them: who reads meanwhile
    /// sees the table as it was before.
    ///
    /// This makes pillion the owner of the directory while it runs, and creates the directory
    /// if there is none. It fails with exit code 4 if another process owns it. In a new directory,
    /// a load that fails may leave a cache without tables.
    ///
    /// The ending of a file's name tells its format: .parquet, .csv (with a header line), .tsv,
    /// .ndjson or .jsonl (JSON objects, one a line), .arrow, .feather and .arrows; behind those of
    /// texts also .gz and .zst. Columns are matched by name: one that a file lacks is null in its
    /// rows, and types that differ become one that holds all values. Folders such as year=2013 are
    /// columns too.
    ///
    /// The first lines of a CSV file show its delimiter. The types of a new table's CSV columns
    /// are inferred from all lines of all files; for a table that exists, they are the table's. An
    /// empty CSV field is null, and `""` is an empty text. A value that its column cannot hold
    /// exactly is an error that names its line.
    #[command(verbatim_doc_comment)]
    Load(LoadArgs),
    /// Be a sidecar: own a cache, load its tables, and serve it on a Unix socket
    ///
    /// Opens the directory of the configuration, defines the tables that it names, and then
    /// listens; clients that connect earlier wait. A table that the cache has already is kept as
    /// it is, so a restart takes no longer for larger tables; `reload = "start"` loads it anew.
    ///
    /// SIGTERM and SIGINT end it: it stops accepting, lets calls finish, closes the cache and
    /// exits with 0. A second one ends it at once, and loses nothing that was committed. When the
    /// disk fails it ends in the same way, with 5; started again, it recovers what is there. It
    /// logs to standard error; the line with "ready" comes once, when clients are served.
    #[command(verbatim_doc_comment)]
    Serve(ServeArgs),
    /// Look at the configuration of a sidecar
    Config(ConfigArgs),
    /// Refresh tables of a running sidecar from their sources, or pause and resume that
    ///
    /// Waits until the rows are there. The old ones are read meanwhile, and stay if the refresh fails.
    Refresh(RefreshArgs),
    /// Compare a table of a running sidecar with the source that it follows, and mend rows that differ
    ///
    /// Both sides add up digests of all rows at one position, so rows that change meanwhile differ in nothing. Rows that
    /// differ are named, in the log too, and fetched again. The exit code is then 5.
    #[command(verbatim_doc_comment)]
    Audit(AuditArgs),
    /// Load the tables of a configuration once and end, as an init container
    ///
    /// Loads tables that are not there yet, and refreshes those that sources feed. Becomes the owner of the directory
    /// while it runs, so it fails with exit code 4 beside a sidecar.
    Warm(WarmArgs),
    /// Look at the sources of a configuration
    Sources(SourcesArgs),
    /// Write what a shell needs to complete this command
    Completions(CompletionsArgs),
    /// Write a page of the manual
    Man(ManArgs),
}

const AFTER_HELP: &str = "\
Examples:
  export PILLION_URL=/var/lib/pillion

  pillion load flights flights.parquet --primary-key time_hour,carrier,flight
  pillion status
  pillion sql \"SELECT carrier, count(*) AS flights FROM flights GROUP BY carrier\"
  pillion sql --format csv < report.sql | head
  pillion export flights --output flights.arrow

  pillion serve --config pillion.toml
  pillion status --url unix:/run/pillion/pillion.sock

Answers go to standard output; messages, progress and timings go to standard error, the latter two
only when it is a terminal.

`sql`, `status` and `export` open the cache for reading: they work beside the process that owns it
and see its newest commit. `load`, and `sql` for a statement that changes tables, become the owner while they run, `serve` until it is ended. With
the URL of a socket, `unix:/run/pillion/pillion.sock`, `status` asks the sidecar, the others read its
files where they can and ask where they cannot, and `load` sends it the rows.

Environment:
  PILLION_URL  the cache, where --url is not given

Exit codes:
  0  done; also when the reader of a pipe stopped reading
  1  the query or the data is wrong
  2  the command line or the configuration is wrong
  3  no such cache, table or file, or a cache that this version cannot open
  4  try again later: the cache or the socket is owned by another process, no sidecar answers, or
     the disk or the memory is full
  5  damage, a refusal of the operating system or the sidecar, an unknown outcome, or a defect: look into it first";
