//! The names that an entry can go on with.

use std::cell::RefCell;

use pillion::{Cache, TableInfo};

use super::command;
use super::words::WORDS;

/// Completes words of SQL, tables, columns and commands.
pub(super) struct Names {
    cache: Cache,
    /// The tables, asked for when a name is completed for the first time in an entry.
    tables: RefCell<Option<Vec<TableInfo>>>,
}

impl Names {
    pub(super) fn new(cache: Cache) -> Self {
        Self { cache, tables: RefCell::default() }
    }

    /// Asks for the tables again next time.
    pub(super) fn forget(&mut self) {
        self.tables = RefCell::default();
    }

    /// Where the word at the cursor begins, and what it could become.
    pub(super) fn complete(&self, line: &str, at: usize) -> (usize, Vec<String>) {
        let Some(before) = line.get(..at) else { return (at, Vec::new()) };
        let mut tables = self.tables.borrow_mut();
        // Without an answer, only the words of SQL are completed.
        let tables = tables.get_or_insert_with(|| self.cache.tables().unwrap_or_default());
        complete(before, tables)
    }
}

fn complete(before: &str, tables: &[TableInfo]) -> (usize, Vec<String>) {
    if let Some(command) = before.strip_prefix('\\') {
        return match command.split_once(' ') {
            None => (1, matching(command, command::NAMES.iter().map(|name| (*name).to_owned()))),
            Some((_, word)) => {
                (at_word(before, word), matching(word, tables.iter().map(|table| quoted(&table.name))))
            }
        };
    }
    let start = before
        .rfind(|ch: char| !is_of_a_name(ch))
        .map_or(0, |at| at + before[at..].chars().next().map_or(0, char::len_utf8));
    let word = &before[start..];
    if let Some((table, column)) = word.rsplit_once('.') {
        let columns = tables.iter().filter(|it| quoted(&it.name) == table).flat_map(columns);
        return (start + table.len() + 1, matching(column, columns));
    }
    let names = tables.iter().map(|table| quoted(&table.name)).chain(tables.iter().flat_map(columns));
    let mut found = matching(word, names);
    if !word.is_empty() {
        let is_lower = !word.contains(|ch: char| ch.is_uppercase());
        let words = WORDS.iter().map(|word| if is_lower { word.to_lowercase() } else { (*word).to_owned() });
        found.extend(words.filter(|known| known.to_lowercase().starts_with(&word.to_lowercase())));
    }
    (start, found)
}

fn at_word(before: &str, word: &str) -> usize {
    before.len() - word.trim_start().len()
}

fn columns(table: &TableInfo) -> impl Iterator<Item = String> {
    table.schema.fields().iter().map(|field| quoted(field.name()))
}

/// The names that begin as `word` does, each once and in order.
fn matching(word: &str, names: impl Iterator<Item = String>) -> Vec<String> {
    let word = word.trim_start();
    let mut found: Vec<String> = names.filter(|name| name.starts_with(word)).collect();
    found.sort();
    found.dedup();
    found
}

/// A name as SQL has to be given it.
fn quoted(name: &str) -> String {
    let is_plain = name.starts_with(|ch: char| ch.is_ascii_lowercase() || ch == '_')
        && name.chars().all(|ch| ch.is_ascii_lowercase() || ch.is_ascii_digit() || ch == '_')
        && !WORDS.contains(&name.to_uppercase().as_str());
    if is_plain { name.to_owned() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
}

fn is_of_a_name(ch: char) -> bool {
    ch.is_alphanumeric() || matches!(ch, '_' | '.' | '"')
}
