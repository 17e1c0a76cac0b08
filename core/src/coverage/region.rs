//! Plain sets of rows.

use std::collections::BTreeMap;

use super::domain::Domain;
use super::set::{Cell, Set};

/// Rows that are alike: all those whose cell of each of these columns is in its set. Other columns may have any cell.
pub(super) type Case = BTreeMap<String, Set>;

/// A set of rows: those of any of its cases.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Region {
    pub(super) cases: Vec<Case>,
}

/// Finds the cells of a column by its name.
pub(crate) type Domains<'a> = dyn Fn(&str) -> Option<Domain> + 'a;

impl Region {
    /// The rows that have a key: of each column one cell.
    pub(super) fn of_cells<'a>(cells: impl IntoIterator<Item = (&'a str, Cell)>) -> Self {
        let case = cells.into_iter().map(|(column, cell)| {
            let set = match cell {
                Cell::Null => Set::null(),
                Cell::NaN => Set::EMPTY.with_nan(true),
                Cell::Point(point) => Set::of_point(point),
            };
            (column.to_owned(), set)
        });
        Self { cases: vec![case.collect()] }
    }

    /// All rows there could be.
    pub(crate) fn everything() -> Self {
        Self { cases: vec![Case::new()] }
    }

    /// Whether it has all rows there could be.
    pub(crate) fn is_everything(&self) -> bool {
        self.cases.iter().any(Case::is_empty)
    }

    /// The columns that decide whether a row is in it.
    pub(super) fn columns(&self) -> impl Iterator<Item = &str> {
        self.cases.iter().flat_map(|case| case.keys().map(String::as_str))
    }
}

/// Whether each row of a case is one of another.
pub(super) fn is_within(case: &Case, other: &Case) -> bool {
    other.iter().all(|(column, set)| case.get(column).is_some_and(|own| own.is_within(set)))
}
