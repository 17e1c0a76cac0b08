//! A TOML file whose values know their lines, so that all problems are reported at once, each with its line.

use std::cell::RefCell;

use toml::de::DeTable;

use super::keys::Key;
use super::section::Section;

/// A value and its line.
#[derive(Clone, Debug)]
pub(super) struct At<T> {
    pub(super) line: usize,
    pub(super) value: T,
}

/// The problems of a file, each with its line.
#[derive(Debug, Default)]
pub(super) struct Problems(RefCell<Vec<At<String>>>);

impl Problems {
    pub(super) fn add(&self, line: usize, message: impl Into<String>) {
        self.0.borrow_mut().push(At { line, value: message.into() });
    }

    /// How many problems were found so far.
    pub(super) fn count(&self) -> usize {
        self.0.borrow().len()
    }

    /// All problems, in the order of their lines.
    pub(super) fn into_sorted(self) -> Vec<At<String>> {
        let mut problems = self.0.into_inner();
        problems.sort_by_key(|problem| problem.line);
        problems
    }
}

/// A file, while it is read.
pub(super) struct Document<'a> {
    text: &'a str,
    /// The environment.
    pub(super) variable: &'a dyn Fn(&str) -> Option<String>,
    pub(super) problems: &'a Problems,
}

impl<'a> Document<'a> {
    pub(super) fn new(
        text: &'a str,
        variable: &'a dyn Fn(&str) -> Option<String>,
        problems: &'a Problems,
    ) -> Self {
        Self { text, variable, problems }
    }

    /// Parses the file; invalid TOML is a problem.
    pub(super) fn parse(&'a self, keys: &'static [Key]) -> Option<Section<'a>> {
        match DeTable::parse(self.text) {
            Ok(table) => Some(Section::new(self, "the file".to_owned(), 1, keys, table.into_inner())),
            Err(error) => {
                let start = error.span().map_or(0, |span| span.start);
                self.problems.add(self.line(start), error.message());
                None
            }
        }
    }

    /// The line of a byte.
    pub(super) fn line(&self, offset: usize) -> usize {
        self.text.as_bytes().iter().take(offset).filter(|byte| **byte == b'\n').count() + 1
    }
}
