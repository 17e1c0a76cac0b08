//! How much a function makes of its arguments, at most.

use arrow::array::{Array, AsArray};
use arrow::datatypes::{DataType, Int64Type};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::ColumnarValue;

/// Bytes per byte of a date format, at the worst: the two bytes of `%c` give 24, and those of `%+` up to 35.
const FORMAT_FACTOR: u64 = 20;
/// Bytes of the longest character.
const CHARACTER_LEN: u64 = 4;

/// What the size of a function's values depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Bound {
    /// The value's type, which may be large.
    Type,
    /// All arguments, one after another.
    Sum,
    /// All arguments, with the first between all others.
    Separated,
    /// No bytes to speak of, but as many steps as the lengths of both texts multiplied.
    Distance,
    /// The first argument, padded to as many characters as the second says.
    Pad,
    /// No bytes to speak of, but a read of the whole first argument.
    Search,
    /// Parts of the first argument, for each group of the pattern in the second.
    Groups,
    /// The first argument with the third in many places, each time with parts of the first in it.
    RegexReplace,
    /// The first argument, as many times as the second says.
    Repeat,
    /// The first argument, with the third in place of each second.
    Replace,
    /// The format in the second argument, with its items written out.
    Format,
    /// Each character of the first argument, or another in its place.
    Translate,
}

/// Upper bounds on what a call takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Cost {
    /// Bytes of its values.
    pub(super) bytes: u64,
    /// Steps, if they are many more than the bytes that are read or made.
    pub(super) steps: u64,
}

impl Bound {
    /// What all rows of a call take together; an estimate from above where an exact figure would take long.
    pub(super) fn all(self, args: &[ColumnarValue], rows: usize) -> Cost {
        let args: Vec<Lens> = args.iter().map(|arg| Lens::all(arg, rows)).collect();
        self.cost(&args, rows as u64, None)
    }

    /// What one row takes.
    pub(super) fn row(self, args: &[ColumnarValue], row: usize) -> Cost {
        let lens: Vec<Lens> = args.iter().map(|arg| Lens::row(arg, row)).collect();
        let matches = if self == Self::Replace { matches(args, row) } else { None };
        self.cost(&lens, 1, matches)
    }

    fn cost(self, args: &[Lens], rows: u64, matches: Option<u64>) -> Cost {
        let at = |index: usize| args.get(index).copied().unwrap_or_default();
        let (first, second, third) = (at(0), at(1), at(2));
        let sum = || args.iter().fold(0_u64, |sum, arg| sum.saturating_add(arg.total));
        let times = u64::saturating_mul;
        let bytes = match self {
            Self::Type | Self::Distance => 0,
            Self::Search => first.total,
            Self::Sum => sum(),
            Self::Separated => sum().saturating_add(times(first.total, args.len() as u64)),
            Self::Pad => first.total.saturating_add(times(times(rows, second.number), CHARACTER_LEN)),
            Self::Groups => times(first.total, second.marks.saturating_add(1)),
            Self::RegexReplace => {
                // Matches do not overlap, so the parts of the text that they contain are together no longer than the
                // text.
                let places = if args.len() > 3 { first.total.saturating_add(rows) } else { rows };
                let parts = times(first.total, third.marks.saturating_add(1));
                times(places, third.longest).saturating_add(parts)
            }
            Self::Repeat => times(first.total, second.number),
            Self::Replace => {
                let places = matches.unwrap_or_else(|| first.total / second.shortest.max(1));
                first.total.saturating_add(times(places, third.longest))
            }
            Self::Format => times(times(rows, second.longest), FORMAT_FACTOR),
            Self::Translate => times(first.total, CHARACTER_LEN),
        };
        let steps = if self == Self::Distance { times(first.total, second.longest) } else { 0 };
        Cost { bytes, steps }
    }
}

/// How long the texts of an argument are, or how large its numbers.
#[derive(Clone, Copy, Debug, Default)]
struct Lens {
    total: u64,
    longest: u64,
    shortest: u64,
    /// Brackets, backslashes and dollar signs in the texts, or an upper bound.
    marks: u64,
    /// The largest number.
    number: u64,
}

impl Lens {
    fn all(arg: &ColumnarValue, rows: usize) -> Self {
        match arg {
            ColumnarValue::Scalar(value) => {
                let one = Self::scalar(value);
                Self { total: one.total.saturating_mul(rows as u64), ..one }
            }
            ColumnarValue::Array(array) => Self::array(array.as_ref()),
        }
    }

    fn row(arg: &ColumnarValue, row: usize) -> Self {
        match arg {
            ColumnarValue::Scalar(value) => Self::scalar(value),
            ColumnarValue::Array(array) => {
                if array.data_type() == &DataType::Int64 {
                    let numbers = array.as_primitive::<Int64Type>();
                    return Self::number(if numbers.is_null(row) { 0 } else { numbers.value(row) });
                }
                text_of(arg, row).map_or_else(|| Self::array(array.slice(row, 1).as_ref()), Self::text)
            }
        }
    }

    fn scalar(value: &ScalarValue) -> Self {
        match value {
            ScalarValue::Int64(Some(number)) => Self::number(*number),
            _ if value.is_null() => Self::default(),
            _ => match scalar_text(value) {
                Some(text) => Self::text(text),
                None => Self::of(value.size() as u64, value.size() as u64),
            },
        }
    }

    fn number(number: i64) -> Self {
        Self { number: u64::try_from(number).unwrap_or(0), ..Self::default() }
    }

    fn text(text: &[u8]) -> Self {
        let len = text.len() as u64;
        let marks = text.iter().filter(|byte| matches!(byte, b'\\' | b'$' | b'(')).count();
        Self { total: len, longest: len, shortest: len, marks: marks as u64, number: 0 }
    }

    /// Texts of which nothing more is known.
    fn of(total: u64, longest: u64) -> Self {
        Self { total, longest, shortest: 0, marks: longest, number: 0 }
    }

    fn array(array: &dyn Array) -> Self {
        match array.data_type() {
            DataType::Int64 => {
                let largest = arrow::compute::max(array.as_primitive::<Int64Type>());
                Self::number(largest.unwrap_or(0))
            }
            DataType::Utf8 | DataType::Binary => {
                let offsets = match array.data_type() {
                    DataType::Utf8 => array.as_string::<i32>().value_offsets(),
                    _ => array.as_binary::<i32>().value_offsets(),
                };
                Self::offsets(offsets.iter().map(|offset| i64::from(*offset)))
            }
            DataType::LargeUtf8 => Self::offsets(array.as_string::<i64>().value_offsets().iter().copied()),
            DataType::LargeBinary => Self::offsets(array.as_binary::<i64>().value_offsets().iter().copied()),
            DataType::Utf8View => Self::each(array.as_string_view().lengths()),
            DataType::BinaryView => Self::each(array.as_binary_view().lengths()),
            _ => {
                let size = array.get_array_memory_size() as u64;
                Self::of(size, size)
            }
        }
    }

    fn offsets(mut offsets: impl Iterator<Item = i64>) -> Self {
        let mut last = offsets.next().unwrap_or(0);
        Self::each(offsets.map(|offset| {
            let len = offset.saturating_sub(last);
            last = offset;
            u32::try_from(len).unwrap_or(u32::MAX)
        }))
    }

    fn each(lens: impl Iterator<Item = u32>) -> Self {
        let (mut total, mut longest) = (0, 0);
        for len in lens {
            total += u64::from(len);
            longest = longest.max(u64::from(len));
        }
        Self::of(total, longest)
    }
}

/// How often the first text contains the second.
fn matches(args: &[ColumnarValue], row: usize) -> Option<u64> {
    let text = |index: usize| std::str::from_utf8(text_of(args.get(index)?, row)?).ok();
    let (text, part) = (text(0)?, text(1)?);
    // An empty text is replaced nowhere.
    Some(if part.is_empty() { 0 } else { text.matches(part).count() as u64 })
}

fn text_of(arg: &ColumnarValue, row: usize) -> Option<&[u8]> {
    let array = match arg {
        ColumnarValue::Scalar(value) => return scalar_text(value),
        ColumnarValue::Array(array) => array,
    };
    if array.is_null(row) {
        return Some(&[]);
    }
    match array.data_type() {
        DataType::Utf8 => Some(array.as_string::<i32>().value(row).as_bytes()),
        DataType::LargeUtf8 => Some(array.as_string::<i64>().value(row).as_bytes()),
        DataType::Utf8View => Some(array.as_string_view().value(row).as_bytes()),
        DataType::Binary => Some(array.as_binary::<i32>().value(row)),
        DataType::LargeBinary => Some(array.as_binary::<i64>().value(row)),
        DataType::BinaryView => Some(array.as_binary_view().value(row)),
        _ => None,
    }
}

fn scalar_text(value: &ScalarValue) -> Option<&[u8]> {
    match value {
        ScalarValue::Utf8(text) | ScalarValue::LargeUtf8(text) | ScalarValue::Utf8View(text) => {
            Some(text.as_deref().unwrap_or_default().as_bytes())
        }
        ScalarValue::Binary(bytes) | ScalarValue::LargeBinary(bytes) | ScalarValue::BinaryView(bytes) => {
            Some(bytes.as_deref().unwrap_or_default())
        }
        _ => None,
    }
}
