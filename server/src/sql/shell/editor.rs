//! Edits entries of one or more lines.

use pillion::Cache;
use rustyline::completion::Completer;
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::FileHistory;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{CompletionType, Config, Context, Helper};

use super::history;
use super::names::Names;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::sql::splitter::Splitter;

/// Entries that are kept.
const HISTORY_LEN: usize = 10_000;

/// Edits entries and remembers them.
pub(super) struct Editor {
    lines: rustyline::Editor<Assistant, FileHistory>,
}

impl Editor {
    /// An editor that completes the names of a cache.
    pub(super) fn new(cache: Cache) -> Result<Self, Failure> {
        let failed = |error: ReadlineError| Failure::new(Exit::Report, "the terminal failed").because(&error);
        let config = Config::builder()
            .completion_type(CompletionType::List)
            .history_ignore_space(true)
            .max_history_size(HISTORY_LEN)
            .map_err(failed)?
            .build();
        let mut lines = rustyline::Editor::with_config(config).map_err(failed)?;
        lines.set_helper(Some(Assistant { names: Names::new(cache) }));
        if let Some(path) = history::path() {
            // The first shell has none.
            let _ = lines.load_history(&path);
        }
        Ok(Self { lines })
    }

    /// Reads an entry, and remembers it.
    pub(super) fn read(&mut self, prompt: &str) -> Result<String, ReadlineError> {
        if let Some(assistant) = self.lines.helper_mut() {
            assistant.names.forget();
        }
        let entry = self.lines.readline(prompt)?;
        if self.lines.add_history_entry(&entry)?
            && let Some(path) = history::path()
        {
            // A statement that cannot be remembered is still run.
            let _ = history::prepare(&path)
                .and_then(|()| self.lines.append_history(&path).map_err(std::io::Error::other));
        }
        Ok(entry)
    }
}

/// Knows when an entry is complete, and what could come next.
struct Assistant {
    names: Names,
}

impl Completer for Assistant {
    type Candidate = String;

    fn complete(&self, line: &str, at: usize, _: &Context<'_>) -> rustyline::Result<(usize, Vec<String>)> {
        Ok(self.names.complete(line, at))
    }
}

impl Validator for Assistant {
    fn validate(&self, context: &mut ValidationContext<'_>) -> rustyline::Result<ValidationResult> {
        Ok(if is_complete(context.input()) {
            ValidationResult::Valid(None)
        } else {
            ValidationResult::Incomplete
        })
    }
}

impl Hinter for Assistant {
    type Hint = String;
}

impl Highlighter for Assistant {}

impl Helper for Assistant {}

/// Whether an entry is a command, or ends behind the `;` of a statement.
fn is_complete(entry: &str) -> bool {
    if entry.trim_start().starts_with('\\') {
        return true;
    }
    let mut splitter = Splitter::default();
    splitter.push(entry);
    splitter.pending() == 0 && splitter.finish().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_end_behind_a_semicolon_or_are_commands() {
        for complete in ["", " \n", "SELECT 1;", "SELECT ';' ; ", "\\d", "\\d flights", "-- a remark"] {
            assert!(is_complete(complete), "{complete}");
        }
        for more in ["SELECT 1", "SELECT ';", "SELECT $$;", "SELECT 1; SELECT 2", "/* ;", "SELECT \";\""] {
            assert!(!is_complete(more), "{more}");
        }
    }
}
