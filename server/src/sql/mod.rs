//! `pillion sql`: statements from the command line, from a pipe, or from a person at a terminal.

mod handles;
mod parameters;
mod shell;
pub(crate) mod splitter;

use std::io::{self, BufRead, IsTerminal, Read, Write};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;
use pillion::{Executed, Freshness, Value, Version, modifies};

use crate::connection::Connection;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::nearest::NearestParser;
use crate::output::format::Format;
use crate::output::progress::{Progress, summary};
use crate::output::rows::write_rows;
use crate::output::target::{Existing, Target};
use crate::output::units;
use handles::Handles;
use splitter::{Splitter, Statement, Unfinished};

/// Longest statement; a longer text is most likely a file that is not SQL.
const STATEMENT_BYTES_MAX: usize = 16 << 20;

/// Some editors begin a file with it.
const BYTE_ORDER_MARK: char = '\u{feff}';

/// Arguments of `pillion sql`.
#[derive(Args, Debug)]
#[command(after_long_help = AFTER_HELP)]
pub struct SqlArgs {
    /// Where to read and write.
    #[command(flatten)]
    pub connection: Connection,

    /// What to write [default: by the ending of --output, otherwise table]
    #[arg(long, value_name = "FORMAT", value_parser = NearestParser::<Format>::new())]
    pub format: Option<Format>,

    /// Write to this file; it is replaced when the answer is complete, and left alone if that fails
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,

    /// The value of $1; again for $2 and so on. It is read as the type that the statement needs there; '\N' is null
    #[arg(long = "param", value_name = "VALUE", allow_hyphen_values = true)]
    pub parameters: Vec<String>,

    /// SQL, one or more statements per argument; without any, standard input is read. At a terminal that is a shell
    #[arg(value_name = "STATEMENT")]
    pub statements: Vec<String>,
}

const AFTER_HELP: &str = "\
Examples:
  pillion sql --url DIR \"SELECT count(*) FROM flights\"
  pillion sql --url DIR --param UA --param 1545 \"SELECT * FROM flights WHERE carrier = $1 AND flight = $2\"
  pillion sql --url DIR --format csv < report.sql
  pillion sql --url DIR \"DELETE FROM flights WHERE year < 2013\"
  pillion sql --url DIR --output report.parquet \"SELECT * FROM flights WHERE origin = 'JFK'\"
  pillion sql --url DIR \"DESCRIBE flights\"
  pillion sql --url DIR                        a shell; `\\?` lists its commands

Several statements:
  table, json  the answers follow one another
  csv          each answer has a header, with an empty line before the second and later ones
  arrow        one complete stream after another
  feather, parquet  hold one answer, so they take one statement";

/// Runs the statements.
///
/// # Errors
/// The first of opening, planning, running and writing.
pub fn sql(args: &SqlArgs) -> Result<(), Failure> {
    if args.statements.is_empty() && io::stdin().is_terminal() && io::stdout().is_terminal() {
        return shell::shell(args);
    }
    let format = match (args.format, &args.output) {
        (Some(format), _) => format,
        (None, Some(path)) => Format::of(path)?,
        (None, None) => Format::Table,
    };
    let target = match &args.output {
        Some(path) => Target::file(path, Existing::Replace)?,
        None => Target::stdout(format)?,
    };
    let parameters = args.parameters.iter().map(|text| parameters::value(text)).collect();
    let handles = Handles::new(&args.connection);
    let to_file = args.output.is_some();
    let mut run = Run { handles, format, target, to_file, parameters, answers: 0, changes: 0 };
    if args.statements.is_empty() {
        run.read(&mut io::stdin().lock())?;
    } else {
        run.arguments(&args.statements)?;
    }
    if run.answers + run.changes == 0 {
        return Err(Failure::usage("there is no statement, only blanks and comments"));
    }
    run.target.finish()
}

/// The statements of one command.
struct Run<'a> {
    handles: Handles<'a>,
    format: Format,
    target: Target,
    /// Whether the target is a file that the caller named.
    to_file: bool,
    parameters: Vec<Value>,
    /// Answers that were written, and statements that changed tables.
    answers: usize,
    changes: usize,
}

impl Run<'_> {
    fn arguments(&mut self, texts: &[String]) -> Result<(), Failure> {
        let mut all = Vec::new();
        for text in texts {
            let mut splitter = Splitter::default();
            all.extend(splitter.push(text));
            all.extend(splitter.finish().map_err(unfinished)?);
        }
        // Checked beforehand, so that nothing is run in vain.
        if all.iter().filter(|statement| !modifies(&statement.text)).count() > 1 {
            self.refuse_second()?;
        }
        let named = all.len() > 1;
        all.iter().enumerate().try_for_each(|(index, statement)| {
            self.statement(&statement.text).map_err(|failure| match named {
                true => failure.context(format_args!("statement {}", index + 1)),
                false => failure,
            })
        })
    }

    /// Runs statements as they are read, so that their writer can wait for one answer before it sends the next
    /// statement.
    fn read(&mut self, input: &mut impl BufRead) -> Result<(), Failure> {
        let mut splitter = Splitter::default();
        let mut line = Vec::new();
        loop {
            line.clear();
            let limit = STATEMENT_BYTES_MAX as u64;
            let read = (&mut *input).take(limit).read_until(b'\n', &mut line);
            let read = read.map_err(|error| Failure::io("read", "standard input", &error))?;
            if line.len() + splitter.pending() >= STATEMENT_BYTES_MAX {
                let limit = units::bytes(limit);
                return Err(Failure::new(Exit::Failed, format!("a statement is longer than {limit}")));
            }
            let text = std::str::from_utf8(&line).map_err(|error| {
                Failure::new(Exit::Failed, format!("line {} is not UTF-8", splitter.line())).because(&error)
            })?;
            let text = if splitter.line() == 1 { text.trim_start_matches(BYTE_ORDER_MARK) } else { text };
            let complete = match read {
                0 => std::mem::take(&mut splitter).finish().map_err(unfinished)?.into_iter().collect(),
                _ => splitter.push(text),
            };
            for Statement { text, line } in complete {
                self.statement(&text)
                    .map_err(|failure| failure.context(format_args!("statement on line {line}")))?;
            }
            if read == 0 {
                return Ok(());
            }
        }
    }

    fn statement(&mut self, text: &str) -> Result<(), Failure> {
        if modifies(text) {
            return self.change(text);
        }
        if self.answers > 0 {
            self.refuse_second()?;
        }
        let started = Instant::now();
        let batches = self.handles.reader()?.sql(text, &self.parameters)?;
        if self.answers > 0 && self.format == Format::Csv {
            writeln!(self.target.sink().clone()).map_err(|error| self.target.explain(&error))?;
        }
        self.answers += 1;
        let (version, freshness) = (batches.version(), batches.freshness());
        let schema = batches.schema().clone();
        let rows = write_rows(&schema, batches, self.format, &mut self.target, &mut Progress::silent())?;
        summary(|| told(rows, started.elapsed(), version, freshness));
        Ok(())
    }

    /// Runs a statement that changes tables.
    fn change(&mut self, text: &str) -> Result<(), Failure> {
        if self.to_file {
            return Err(Failure::usage("this statement changes tables and has no answer for a file")
                .hint("leave --output out, or run the statement by itself"));
        }
        let started = Instant::now();
        let executed = self.handles.writer()?.execute(text, &self.parameters)?;
        self.changes += 1;
        summary(|| changed(executed, started.elapsed()));
        Ok(())
    }

    fn refuse_second(&self) -> Result<(), Failure> {
        if self.format.holds_several() {
            return Ok(());
        }
        Err(Failure::usage("a file of this format holds one answer, and there are several statements")
            .hint("run them one by one, or choose another --format"))
    }
}

/// What is said of an answer beside its rows.
fn told(rows: u64, took: Duration, version: Version, freshness: Option<Freshness>) -> String {
    let age = freshness.map_or_else(String::new, |it| format!(", {} old", units::age(it.age())));
    format!("{} in {}, version {version}{age}", units::rows(rows), units::elapsed(took))
}

/// What is said of a statement that changed tables.
fn changed(executed: Executed, took: Duration) -> String {
    let (rows, took) = (units::rows(executed.rows), units::elapsed(took));
    format!("{rows} changed in {took}, version {}", executed.version)
}

fn unfinished(Unfinished { what, line }: Unfinished) -> Failure {
    Failure::new(Exit::Failed, format!("{what} that starts on line {line} has no end"))
}
