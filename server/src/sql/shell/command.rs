//! The commands of the shell, which begin with a backslash.

use std::path::PathBuf;

use clap::ValueEnum;
use pillion::nearest;

use crate::failure::Failure;
use crate::output::format::Format;

/// What `\?` prints.
pub(super) const HELP: &str = r"\d             tables
\d TABLE       columns and rules of a table
\timing [on]   rows, time and version below each answer: on, off, or the other of both
\pager [on]    long or wide tables go through PILLION_PAGER or PAGER, otherwise `less`
\format NAME   what answers look like: table, csv, json
\o FILE        answers go to a file, whose ending tells the format: .csv, .json, .arrow, .parquet, …
\o             answers come here again
\i FILE        runs the statements of a file
\q             ends the shell, as Ctrl-D does

Tab completes names. Ctrl-C ends a statement that runs, and gives up one that is edited. Ctrl-R searches
what was entered before; an entry that begins with a blank is not kept.";

/// Their names.
pub(super) const NAMES: [&str; 8] = ["?", "d", "format", "i", "o", "pager", "q", "timing"];

/// A command of the shell.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Command {
    Help,
    Quit,
    Tables,
    Table(String),
    /// On, off, or the other of both.
    Timing(Option<bool>),
    /// On, off, or the other of both.
    Pager(Option<bool>),
    Format(Format),
    /// To a file, or to the terminal.
    Output(Option<PathBuf>),
    Include(PathBuf),
}

impl Command {
    /// The command that an entry is; `None` if it is a statement.
    pub(super) fn parse(entry: &str) -> Option<Result<Self, Failure>> {
        let entry = entry.trim().strip_prefix('\\')?;
        // Who is used to statements ends commands as these.
        let entry = entry.trim_end_matches([';', ' ']);
        let (name, argument) = entry.split_once(char::is_whitespace).unwrap_or((entry, ""));
        Some(Self::of(name, argument.trim()))
    }

    fn of(name: &str, argument: &str) -> Result<Self, Failure> {
        let given = (!argument.is_empty()).then_some(argument);
        Ok(match (name, given) {
            ("?" | "h" | "help", _) => Self::Help,
            ("q" | "quit", None) => Self::Quit,
            ("d" | "dt", None) => Self::Tables,
            ("d", Some(table)) => Self::Table(unquoted(table)),
            ("timing", wanted) => Self::Timing(switch(wanted)?),
            ("pager", wanted) => Self::Pager(switch(wanted)?),
            ("format", Some(format)) => Self::Format(Format::from_str(format, true).map_err(|_| {
                Failure::usage(format!("there is no format `{format}`"))
                    .hint("`\\format table`, `\\format csv` or `\\format json`; other formats need a file, `\\o FILE`")
            })?),
            ("o", path) => Self::Output(path.map(PathBuf::from)),
            ("i", Some(path)) => Self::Include(path.into()),
            ("format" | "i", None) => return Err(Failure::usage(format!("`\\{name}` needs a name behind it"))),
            _ => {
                let near = nearest(name, NAMES).map(|near| format!("; did you mean `\\{near}`?"));
                let message = format!("there is no command `\\{name}`{}", near.unwrap_or_default());
                return Err(Failure::usage(message).hint("`\\?` lists the commands"));
            }
        })
    }
}

fn switch(wanted: Option<&str>) -> Result<Option<bool>, Failure> {
    match wanted {
        None => Ok(None),
        Some("on") => Ok(Some(true)),
        Some("off") => Ok(Some(false)),
        Some(other) => Err(Failure::usage(format!("`{other}` is neither `on` nor `off`"))),
    }
}

/// A name as SQL reads it: without quotes, letters are lower case.
fn unquoted(name: &str) -> String {
    match name.strip_prefix('"').and_then(|name| name.strip_suffix('"')) {
        Some(inner) => inner.replace("\"\"", "\""),
        None => name.to_lowercase(),
    }
}
