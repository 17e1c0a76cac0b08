//! Stored values as columns of Arrow.

mod calendar;
mod columns;
mod decimal;
mod moments;
mod values;

pub(crate) use self::calendar::date_text;
pub(crate) use self::columns::Columns;
pub(crate) use self::moments::{JULIAN_1970, JULIAN_MAX, position};
pub(crate) use self::values::{Cell, cell_of};

/// Why a value cannot be in its column: the end of a sentence that begins with the column and the row.
pub(crate) type Fault = String;
