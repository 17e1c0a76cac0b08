//! The types of columns that only their texts tell of.
//!
//! A type is inferred only if it holds the value of every text of its column; otherwise the column is one of text. What
//! is lost is how a number was written (`1.50`), and digits of decimals beyond those of a float.

use std::path::Path;

use arrow::array::types::{Date32Type, Float64Type, Int64Type};
use arrow::compute::kernels::cast_utils::Parser;
use arrow::datatypes::{DataType, TimeUnit};

use super::rows::{Column, Field, TextRows};
use super::values::{self, TimeParts};
use crate::types::error::Result;

/// Whole numbers up to here are floats too.
const FLOAT_INTEGER_MAX: u64 = 1 << 53;
/// The time zone of a column of moments, whatever zones they were written in.
const MOMENTS_ZONE: &str = "UTC";
/// Days before and after 1970 that nanoseconds reach.
const NANOSECOND_DAYS: u32 = 106_750;
/// Bytes of a date as `2020-01-31`.
const DATE_LEN: usize = 10;

/// The type of a column of texts, from the texts that were looked at so far: one that holds the value of each, or else text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InferredType {
    text: bool,
    boolean: bool,
    integer: bool,
    /// A whole number that a float does not hold.
    long_integer: bool,
    float: bool,
    date: bool,
    /// A date and time without a time zone.
    local: bool,
    /// A date and time with a time zone.
    moment: bool,
    /// The most digits of a fraction of a second.
    fraction_digits: usize,
    /// A date or time that nanoseconds do not reach.
    far: bool,
}

impl InferredType {
    /// Looks at rows whose fields are `columns`. Errors name the file `path` and the column by its name.
    ///
    /// # Errors
    /// [`SourceInvalid`](crate::ErrorCode::SourceInvalid) for what is not UTF-8.
    pub fn look_at(columns: &mut [Self], names: &[String], path: &Path, rows: &TextRows) -> Result<()> {
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let texts = rows.texts(path, &names)?;
        for (index, column) in columns.iter_mut().enumerate().take(texts.columns()) {
            column.look_at_column(texts.column(index));
        }
        Ok(())
    }

    /// Looks at a text that is not a null.
    pub fn look_at_text(&mut self, text: &str) {
        if !text.is_empty() {
            self.look_at_value(text);
        }
    }

    /// Makes the column one of text.
    pub fn is_text(&mut self) {
        self.text = true;
    }

    /// Adds what was seen elsewhere in the same column.
    pub fn merge(&mut self, other: &Self) {
        self.text |= other.text;
        self.boolean |= other.boolean;
        self.integer |= other.integer;
        self.long_integer |= other.long_integer;
        self.float |= other.float;
        self.date |= other.date;
        self.local |= other.local;
        self.moment |= other.moment;
        self.fraction_digits = self.fraction_digits.max(other.fraction_digits);
        self.far |= other.far;
    }

    fn look_at_column(&mut self, column: Column<'_>) {
        for field in column.fields() {
            if self.text {
                return;
            }
            match field {
                // An empty text does not make a column one of text.
                Field::Text(text) => self.look_at_text(text),
                Field::Null => {}
            }
        }
    }

    fn look_at_value(&mut self, text: &str) {
        let bytes = text.as_bytes();
        let is_known = match bytes.first() {
            _ if begins_as_date(bytes) => self.look_at_date(text),
            Some(b'0'..=b'9' | b'-' | b'.') => self.look_at_number(text),
            _ => match text {
                "NaN" | "nan" | "inf" => {
                    self.float = true;
                    true
                }
                _ => {
                    let is_boolean = values::boolean(text).is_ok();
                    self.boolean |= is_boolean;
                    is_boolean
                }
            },
        };
        self.text |= !is_known;
    }

    fn look_at_number(&mut self, text: &str) -> bool {
        let number = text.strip_prefix('-').unwrap_or(text);
        let digits = |part: &str| part.bytes().take_while(u8::is_ascii_digit).count();
        let (whole, rest) = number.split_at(digits(number));
        // As text, `007` is not 7.
        if whole.len() > 1 && whole.starts_with('0') {
            return false;
        }
        if rest.is_empty() {
            return self.look_at_integer(text);
        }
        if text == "-inf" {
            self.float = true;
            return true;
        }
        let behind = rest.strip_prefix('.').unwrap_or(rest);
        let (fraction, exponent) = match behind.len() == rest.len() {
            true => ("", rest),
            false => behind.split_at(digits(behind)),
        };
        let power = match exponent.strip_prefix(['e', 'E']) {
            Some(power) => power.strip_prefix(['+', '-']).unwrap_or(power),
            None if exponent.is_empty() => "0",
            None => return false,
        };
        let is_number = whole.len() + fraction.len() > 0 && !power.is_empty() && digits(power) == power.len();
        let is_held = is_number && values::float::<Float64Type>(text).is_ok();
        self.float |= is_held;
        is_held
    }

    fn look_at_integer(&mut self, text: &str) -> bool {
        match Int64Type::parse(text) {
            // `-0`, whose sign only a float keeps.
            Some(0) if text.len() > 1 => self.float = true,
            Some(number) if number.unsigned_abs() > FLOAT_INTEGER_MAX => self.long_integer = true,
            Some(_) => self.integer = true,
            None => return false,
        }
        true
    }

    fn look_at_date(&mut self, text: &str) -> bool {
        if text.len() == DATE_LEN {
            let Some(days) = Date32Type::parse(text) else { return false };
            self.date = true;
            self.far |= days.unsigned_abs() > NANOSECOND_DAYS;
            return true;
        }
        let TimeParts { fraction, zone, .. } = TimeParts::of(text);
        let read_in = if zone.is_empty() { None } else { values::UTC.as_ref() };
        let is_held = |unit| values::timestamp(unit, read_in, text).is_ok();
        // Such a text as `2020-01-31 100000` may just as well be something else.
        let is_known = text.as_bytes().get(13) == Some(&b':');
        let is_near = is_known && is_held(TimeUnit::Nanosecond);
        let is_far = !is_near && is_known && is_held(TimeUnit::Microsecond);
        if !is_near && !is_far {
            return false;
        }
        self.far |= is_far;
        self.moment |= !zone.is_empty();
        self.local |= zone.is_empty();
        self.fraction_digits = self.fraction_digits.max(fraction.len());
        true
    }

    /// The type.
    #[must_use]
    pub fn data_type(&self) -> DataType {
        let is_number = self.integer || self.long_integer || self.float;
        let is_time = self.date || self.local || self.moment;
        let unit = match self.fraction_digits {
            0 => TimeUnit::Second,
            1..=3 => TimeUnit::Millisecond,
            4..=6 => TimeUnit::Microsecond,
            _ => TimeUnit::Nanosecond,
        };
        match (self.boolean, is_number, is_time) {
            _ if self.text => DataType::Utf8,
            (true, false, false) => DataType::Boolean,
            (false, true, false) if !self.float => DataType::Int64,
            (false, true, false) if !self.long_integer => DataType::Float64,
            (false, false, true) if !self.local && !self.moment => DataType::Date32,
            // A time with a time zone is a moment, one without is not: they do not share a type.
            (false, false, true) if self.moment && (self.local || self.date) => DataType::Utf8,
            (false, false, true) if self.far && unit == TimeUnit::Nanosecond => DataType::Utf8,
            (false, false, true) => DataType::Timestamp(unit, self.moment.then(|| MOMENTS_ZONE.into())),
            _ => DataType::Utf8,
        }
    }
}

fn begins_as_date(bytes: &[u8]) -> bool {
    matches!(bytes.first_chunk::<5>(), Some([year @ .., b'-']) if year.iter().all(u8::is_ascii_digit))
}
