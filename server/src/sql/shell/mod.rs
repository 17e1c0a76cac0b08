//! A shell for a person at a terminal: statements are edited, completed, run and interrupted one by one.

mod command;
mod describe;
mod editor;
mod history;
mod interrupt;
mod names;
mod pager;
mod words;

use std::cell::Cell;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use arrow::datatypes::SchemaRef;
use futures::StreamExt;
use pillion::{AsyncCache, BatchStream, Value, modifies};
use rustyline::error::ReadlineError;

use super::splitter::Splitter;
use super::{SqlArgs, changed, parameters, told, unfinished};
use crate::connection::Connection;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::format::Format;
use crate::output::progress::Progress;
use crate::output::rows::write_rows;
use crate::output::target::{Existing, Target};
use crate::output::units;
use command::Command;
use editor::Editor;
use interrupt::Interrupt;
use pager::Pager;

const BANNER: &str = "Statements end with `;`. `\\?` lists the commands of this shell, `\\q` ends it.";
const PROMPT: &str = "pillion> ";

/// Reads statements from the terminal and runs them until the person ends the shell. Statements that fail do not end it.
///
/// # Errors
/// Of opening the cache, and of the terminal.
pub(super) fn shell(args: &SqlArgs) -> Result<(), Failure> {
    let format = args.format.unwrap_or(Format::Table);
    if format.is_binary() && args.output.is_none() {
        return Err(Failure::usage("this format is not text and the answers go to a terminal")
            .hint("name a file with --output, or with `\\o FILE` in the shell"));
    }
    let cache = args.connection.read()?;
    let parameters = args.parameters.iter().map(|text| parameters::value(text)).collect();
    let mut editor = Editor::new(cache.clone())?;
    let mut shell = Shell {
        connection: &args.connection,
        cache: cache.into_async(),
        parameters,
        format,
        file: args.output.clone(),
        timing: true,
        pager: Pager::of_environment(),
        interrupt: Interrupt::watch()?,
    };
    println!("{BANNER}");
    loop {
        let entry = match editor.read(PROMPT) {
            Ok(entry) => entry,
            // Ctrl-C gives the line up, Ctrl-D ends the shell.
            Err(ReadlineError::Interrupted) => continue,
            Err(ReadlineError::Eof) => return Ok(()),
            Err(error) => return Err(Failure::new(Exit::Report, "the terminal failed").because(&error)),
        };
        match shell.entry(&entry) {
            Ok(Then::Go) => {}
            Ok(Then::End) => return Ok(()),
            Err(failure) => failure.print(),
        }
    }
}

/// What a person's entry does to the shell.
enum Then {
    Go,
    End,
}

struct Shell<'a> {
    connection: &'a Connection,
    cache: AsyncCache,
    parameters: Vec<Value>,
    format: Format,
    /// Where the next answers go; the terminal if it is `None`.
    file: Option<PathBuf>,
    timing: bool,
    pager: Pager,
    interrupt: Interrupt,
}

impl Shell<'_> {
    /// Runs a command of the shell, or statements.
    fn entry(&mut self, entry: &str) -> Result<Then, Failure> {
        match Command::parse(entry) {
            Some(command) => self.command(command?),
            None => self.statements(entry).map(|()| Then::Go),
        }
    }

    fn statements(&self, text: &str) -> Result<(), Failure> {
        let mut splitter = Splitter::default();
        let mut statements = splitter.push(text);
        statements.extend(splitter.finish().map_err(unfinished)?);
        statements.iter().try_for_each(|statement| self.statement(&statement.text))
    }

    fn statement(&self, text: &str) -> Result<(), Failure> {
        let started = Instant::now();
        self.interrupt.forget();
        let wait = Wait::default();
        if modifies(text) {
            // For each statement anew, so that the shell does not keep the directory from others.
            let writer = self.connection.write()?.into_async();
            let executed = self.interrupt.run(writer.execute(text, &self.parameters), |time| wait.show(time));
            let executed = executed.ok_or_else(interrupted)??;
            wait.end();
            if self.timing {
                println!("{}", changed(executed, started.elapsed()));
            }
            return Ok(());
        }
        let planned = self.interrupt.run(self.cache.sql(text, &self.parameters), |time| wait.show(time));
        let mut stream = match planned {
            None => return Err(interrupted()),
            Some(planned) => planned?,
        };
        let (schema, version, freshness) = (stream.schema().clone(), stream.version(), stream.freshness());
        let rows = self.answer(&schema, &mut stream, &wait)?;
        drop(stream);
        if self.timing {
            println!("{}", told(rows, started.elapsed(), version, freshness));
        }
        Ok(())
    }

    /// Writes an answer to the terminal or the file, and returns the number of its rows.
    fn answer(&self, schema: &SchemaRef, stream: &mut BatchStream, wait: &Wait) -> Result<u64, Failure> {
        let mut next = || {
            let next = self.interrupt.run(stream.next(), |time| wait.show(time));
            next.unwrap_or_else(|| {
                Some(Err(pillion::Error::new(pillion::ErrorCode::Cancelled, "interrupted")))
            })
        };
        // A pager is started when there is something to show.
        let first = next().transpose()?;
        wait.end();
        let batches = first.map(Ok).into_iter().chain(std::iter::from_fn(next));
        if let Some(path) = &self.file {
            let mut target = Target::file(path, Existing::Replace)?;
            let rows =
                write_rows(schema, batches, self.format, &mut target, &mut Progress::new("writing", None))?;
            target.finish()?;
            return Ok(rows);
        }
        let paged = if self.format == Format::Table { self.pager.start() } else { None };
        let Some((mut pager, input)) = paged else {
            let mut target = Target::stdout(self.format)?;
            return write_rows(schema, batches, self.format, &mut target, &mut Progress::silent());
        };
        let mut target = Target::text(input, "the pager");
        let written = write_rows(schema, batches, self.format, &mut target, &mut Progress::silent());
        // The pager sees the end of its input now.
        drop(target);
        let _ = pager.wait();
        match written {
            // Whoever leaves the pager early has seen enough.
            Err(failure) if failure.exit() == Exit::Done => Ok(0),
            written => written,
        }
    }

    fn command(&mut self, command: Command) -> Result<Then, Failure> {
        match command {
            Command::Help => println!("{}", command::HELP),
            Command::Quit => return Ok(Then::End),
            Command::Tables => describe::tables(self.cache.blocking())?,
            Command::Table(name) => describe::table(self.cache.blocking(), &name)?,
            Command::Timing(wanted) => {
                self.timing = wanted.unwrap_or(!self.timing);
                println!("timing is {}", on_or_off(self.timing));
            }
            Command::Pager(wanted) => println!("the pager is {}", on_or_off(self.pager.switch(wanted))),
            Command::Format(format) => {
                if format.is_binary() && self.file.is_none() {
                    return Err(Failure::usage("this format is not text and the answers go to a terminal")
                        .hint("name a file first, with `\\o FILE`"));
                }
                self.format = format;
            }
            Command::Output(None) => {
                self.file = None;
                if self.format.is_binary() {
                    self.format = Format::Table;
                }
            }
            Command::Output(Some(path)) => {
                self.format = Format::of(&path)?;
                println!("each answer replaces `{}`, until `\\o`", path.display());
                self.file = Some(path);
            }
            Command::Include(path) => self.include(&path)?,
        }
        Ok(Then::Go)
    }

    fn include(&self, path: &Path) -> Result<(), Failure> {
        let text = std::fs::read_to_string(path).map_err(|error| Failure::file("read", path, &error))?;
        self.statements(&text)
    }
}

fn on_or_off(is_on: bool) -> &'static str {
    if is_on { "on" } else { "off" }
}

fn interrupted() -> Failure {
    Failure::new(Exit::Failed, "interrupted")
}

/// Says how long a person has waited, until the first rows are shown.
#[derive(Debug, Default)]
struct Wait {
    is_shown: Cell<bool>,
    is_over: Cell<bool>,
}

impl Wait {
    fn show(&self, time: Duration) {
        if !self.is_over.get() {
            self.is_shown.set(true);
            say(&format!("\r\x1b[K{}, Ctrl-C ends it", units::elapsed(time)));
        }
    }

    /// Nothing is said from now on.
    fn end(&self) {
        if !self.is_over.replace(true) && self.is_shown.get() {
            say("\r\x1b[K");
        }
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        self.end();
    }
}

fn say(text: &str) {
    // If it cannot be said, the statement still goes on.
    let _ = std::io::stderr().write_all(text.as_bytes());
}
