//! Which cells of a column a comparison with a value leaves.

use std::fmt;

use arrow::datatypes::TimeUnit;

use super::domain::{Domain, Kind};
use super::planted::{self, Bug};
use super::point::{Cut, Number, Point};
use super::set::Set;
use crate::types::units::per_second;
use crate::types::value::Value;

/// How two values are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Comparison {
    /// What is true exactly where this is false. Nulls aside, each two values of a column compare one way or the other; NaN is in both
    /// sets, see [`Domain::set`].
    pub(crate) fn opposite(self) -> Self {
        match self {
            Self::Equal => Self::NotEqual,
            Self::NotEqual => Self::Equal,
            Self::Less => Self::GreaterOrEqual,
            Self::LessOrEqual => Self::Greater,
            Self::Greater => Self::LessOrEqual,
            Self::GreaterOrEqual => Self::Less,
        }
    }

    /// The same comparison with its sides exchanged.
    #[cfg(feature = "sql")]
    pub(crate) fn mirrored(self) -> Self {
        match self {
            Self::Equal | Self::NotEqual => self,
            Self::Less => Self::Greater,
            Self::LessOrEqual => Self::GreaterOrEqual,
            Self::Greater => Self::Less,
            Self::GreaterOrEqual => Self::LessOrEqual,
        }
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Equal => "=",
            Self::NotEqual => "<>",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
        })
    }
}

/// Where a value is among the points of a column.
enum Place {
    At(Point),
    /// Between two points: the column cannot have the value, and all of its points are before or after this cut.
    Gap(Cut),
}

impl Domain {
    /// All cells but null.
    pub(super) fn not_null(&self) -> Set {
        Set::between(Cut::Min, Cut::Max).with_nan(self.is_float())
    }

    /// The cells for which a comparison with a value is true. `None` if that is not known; a value of another kind, for one.
    ///
    /// Floats: engines differ in whether a NaN is above all numbers, equal to itself or incomparable, and whether the two zeros are
    /// equal; DataFusion differs from itself between its kernels. So a NaN is in every set, and the zeros are one point that is in each set
    /// that either of them could be in. The sets are those that any reading could give, for filters and for coverages alike: a
    /// filter wants no row outside of its set, and a coverage holds all rows of its own.
    pub(super) fn set(&self, operator: Comparison, value: &Value) -> Option<Set> {
        if let Value::Float(value) = value
            && value.is_nan()
        {
            return None;
        }
        if value == &Value::Null {
            return Some(Set::EMPTY);
        }
        let (before, after) = match self.place(value)? {
            Place::At(point) => (self.before(&point), self.after(&point)),
            Place::Gap(cut) => (cut.clone(), cut),
        };
        // What may be equal may be less or greater too, if it is a zero and the other zero is meant.
        let is_zero = self.is_float()
            && (matches!(value, Value::Int(0) | Value::UInt(0)) || value == &Value::Float(0.0));
        let set = match operator {
            Comparison::Equal => Set::between(before, after),
            Comparison::NotEqual if is_zero => self.not_null(),
            Comparison::NotEqual => Set::between(Cut::Min, before).unite(&Set::between(after, Cut::Max)),
            Comparison::Less if is_zero => Set::between(Cut::Min, after),
            Comparison::Less => Set::between(Cut::Min, before),
            Comparison::LessOrEqual => Set::between(Cut::Min, after),
            Comparison::Greater if is_zero => Set::between(before, Cut::Max),
            Comparison::Greater => Set::between(after, Cut::Max),
            Comparison::GreaterOrEqual => Set::between(before, Cut::Max),
        };
        Some(set.with_nan(self.is_float() && !planted::has(Bug::NaN)))
    }

    /// The texts that begin with `prefix`. `None` for a column of other values.
    pub(super) fn prefix(&self, prefix: &str) -> Option<Set> {
        if self.kind != Kind::Text {
            return None;
        }
        let low = prefix.as_bytes().to_vec();
        // Bytes that begin with these are below the same bytes with the last one increased. Bytes of 255 cannot be increased; texts
        // have none, but nothing here depends on that.
        let mut high = low.clone();
        while high.last() == Some(&u8::MAX) {
            high.pop();
        }
        let high = match high.last_mut() {
            None => Cut::Max,
            Some(last) => {
                *last += 1;
                Cut::Before(Point::Bytes(high))
            }
        };
        let low = if low.is_empty() { Cut::Min } else { Cut::Before(Point::Bytes(low)) };
        Some(Set::between(low, high))
    }

    /// The cut before a point. For whole numbers the cut after 4 is the one before 5, and those before the lowest and after the
    /// highest are the ends, so that sets are equal if they have the same cells.
    fn before(&self, point: &Point) -> Cut {
        match (point, self.whole_numbers()) {
            (Point::Int(value), Some((lowest, _))) if *value <= lowest => Cut::Min,
            (Point::Int(value), Some((_, highest))) if *value > highest => Cut::Max,
            _ => Cut::Before(point.clone()),
        }
    }

    fn after(&self, point: &Point) -> Cut {
        match (point, self.whole_numbers()) {
            (Point::Int(value), Some((_, highest))) if *value >= highest => Cut::Max,
            (Point::Int(value), Some(_)) => self.before(&Point::Int(value + 1)),
            _ => Cut::After(point.clone()),
        }
    }

    /// From the lowest to the highest that a column of whole numbers can have.
    fn whole_numbers(&self) -> Option<(i128, i128)> {
        match self.kind {
            Kind::Bool => Some((0, 1)),
            Kind::Int(lowest, highest) => Some((lowest, highest)),
            // Nothing enforces a decimal's precision.
            Kind::Decimal(_) => Some((i128::MIN, i128::MAX)),
            Kind::Date => Some((i32::MIN.into(), i32::MAX.into())),
            Kind::Time(_) | Kind::Timestamp(..) => Some((i64::MIN.into(), i64::MAX.into())),
            Kind::Float | Kind::Text | Kind::Bytes => None,
        }
    }

    fn place(&self, value: &Value) -> Option<Place> {
        match (self.kind, value) {
            (Kind::Bool, Value::Bool(value)) => Some(self.whole((*value).into())),
            (Kind::Int(..), Value::Int(_) | Value::UInt(_) | Value::Decimal { .. }) => self.decimal(value, 0),
            (Kind::Int(..), Value::Float(value)) => self.of_float(*value),
            (Kind::Decimal(scale), Value::Int(_) | Value::UInt(_) | Value::Decimal { .. }) => {
                self.decimal(value, scale)
            }
            (Kind::Float, Value::Float(value)) => Number::new(*value).map(|it| Place::At(Point::Float(it))),
            (Kind::Float, Value::Int(value)) => exact_float((*value).into()),
            (Kind::Float, Value::UInt(value)) => exact_float((*value).into()),
            (Kind::Text, Value::Str(text)) => Some(Place::At(Point::Bytes(text.clone().into_bytes()))),
            (Kind::Bytes, Value::Bytes(bytes)) => Some(Place::At(Point::Bytes(bytes.clone()))),
            (Kind::Date, Value::Date(days)) => Some(self.whole((*days).into())),
            // A date is compared with a time as its midnight.
            (Kind::Date, Value::Timestamp { value, unit }) => {
                Some(self.scaled((*value).into(), per_day(*unit), 1))
            }
            (Kind::Time(unit), Value::Time(nanoseconds)) => {
                Some(self.rescaled(*nanoseconds, TimeUnit::Nanosecond, unit))
            }
            (Kind::Timestamp(unit, _), Value::Timestamp { value, unit: from }) => {
                Some(self.rescaled(*value, *from, unit))
            }
            (Kind::Timestamp(unit, false), Value::Date(days)) => {
                Some(self.whole(i128::from(*days) * per_day(unit)))
            }
            _ => None,
        }
    }

    /// The place of a whole number.
    fn whole(&self, value: i128) -> Place {
        match self.whole_numbers() {
            Some((lowest, _)) if value < lowest => Place::Gap(Cut::Min),
            Some((_, highest)) if value > highest => Place::Gap(Cut::Max),
            _ => Place::At(Point::Int(value)),
        }
    }

    fn rescaled(&self, value: i64, from: TimeUnit, to: TimeUnit) -> Place {
        self.scaled(value.into(), per_second(from).into(), per_second(to).into())
    }

    /// The place of `value * to / from`, where one of the two divides the other. Whole numbers of 64 bits times units of time stay
    /// below the limits of 128.
    fn scaled(&self, value: i128, from: i128, to: i128) -> Place {
        let value = value * to;
        let floor = value.div_euclid(from);
        if value.rem_euclid(from) == 0 || planted::has(Bug::Rounded) {
            self.whole(floor)
        } else {
            self.gap_after(floor)
        }
    }

    /// The place between a whole number and the next.
    fn gap_after(&self, floor: i128) -> Place {
        match floor.checked_add(1) {
            Some(next) => Place::Gap(self.before(&Point::Int(next))),
            None => Place::Gap(Cut::Max),
        }
    }

    /// The place of a whole or decimal number among numbers of a scale.
    fn decimal(&self, value: &Value, scale: i8) -> Option<Place> {
        let (unscaled, from) = match value {
            Value::Int(value) => (i128::from(*value), 0),
            Value::UInt(value) => (i128::from(*value), 0),
            Value::Decimal { unscaled, scale } => (*unscaled, *scale),
            _ => return None,
        };
        let shift = i32::from(scale) - i32::from(from);
        let factor = 10_i128.checked_pow(shift.unsigned_abs());
        Some(match factor {
            _ if unscaled == 0 => self.whole(0),
            Some(factor) if shift >= 0 => match unscaled.checked_mul(factor) {
                Some(value) => self.whole(value),
                // Beyond every number that the column can have.
                None => Place::Gap(if unscaled < 0 { Cut::Min } else { Cut::Max }),
            },
            Some(factor) => {
                let floor = unscaled.div_euclid(factor);
                if unscaled.rem_euclid(factor) == 0 { self.whole(floor) } else { self.gap_after(floor) }
            }
            None if shift >= 0 => Place::Gap(if unscaled < 0 { Cut::Min } else { Cut::Max }),
            // Nearer to zero than every other number that the column can have.
            None => self.gap_after(if unscaled < 0 { -1 } else { 0 }),
        })
    }

    /// The place of a float among whole numbers.
    fn of_float(&self, value: f64) -> Option<Place> {
        if value.is_nan() {
            return None;
        }
        // No column of whole numbers reaches so far.
        if value.abs() > 1e30 {
            return Some(Place::Gap(if value < 0.0 { Cut::Min } else { Cut::Max }));
        }
        let floor = value.floor();
        #[expect(clippy::cast_possible_truncation, reason = "below 10^30 and whole")]
        let whole = floor as i128;
        Some(if floor == value { self.whole(whole) } else { self.gap_after(whole) })
    }
}

/// A whole number that is a float of 64 bits exactly. DataFusion rounds others, and nothing is known of them.
fn exact_float(value: i128) -> Option<Place> {
    if value.unsigned_abs() > 1 << 53 {
        return None;
    }
    #[expect(clippy::cast_precision_loss, reason = "at most 2^53")]
    let number = Number::new(value as f64);
    number.map(|number| Place::At(Point::Float(number)))
}

fn per_day(unit: TimeUnit) -> i128 {
    i128::from(86_400 * per_second(unit))
}
