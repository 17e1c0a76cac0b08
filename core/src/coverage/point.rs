//! Values of a column in one order, and the places between them.

use std::cmp::Ordering;

/// A value of a column that is neither null nor NaN. The points of one column are all of one variant.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Point {
    /// Integers, dates, times and timestamps in the unit of the column, decimals without their point at the scale of the column, and
    /// truth values as 0 and 1.
    Int(i128),
    Float(Number),
    /// Texts and bytes. DataFusion compares texts by their bytes too.
    Bytes(Vec<u8>),
}

/// A float that is not a NaN. The two zeros are one number.
#[derive(Clone, Copy, Debug)]
pub(super) struct Number(f64);

impl Number {
    /// `None` for a NaN.
    pub(super) fn new(value: f64) -> Option<Self> {
        // Adding a positive zero turns the negative one into it, and changes nothing else.
        (!value.is_nan()).then_some(Self(value + 0.0))
    }

    pub(super) fn value(self) -> f64 {
        self.0
    }
}

impl PartialEq for Number {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Number {}

impl PartialOrd for Number {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Number {
    fn cmp(&self, other: &Self) -> Ordering {
        // Without NaN and with one zero, the total order is that of the numbers.
        self.0.total_cmp(&other.0)
    }
}

/// A place between values, where an interval begins or ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Cut {
    /// Before all values of the column.
    Min,
    Before(Point),
    After(Point),
    /// After all values of the column.
    Max,
}

impl Cut {
    /// The point beside the cut, and on which side of it the cut is.
    fn beside(&self) -> Result<(&Point, bool), Ordering> {
        match self {
            Self::Min => Err(Ordering::Less),
            Self::Max => Err(Ordering::Greater),
            Self::Before(point) => Ok((point, false)),
            Self::After(point) => Ok((point, true)),
        }
    }

    /// Whether a point is after this cut.
    pub(super) fn is_before(&self, point: &Point) -> bool {
        match self {
            Self::Min => true,
            Self::Max => false,
            Self::Before(beside) => beside <= point,
            Self::After(beside) => beside < point,
        }
    }
}

impl PartialOrd for Cut {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Cut {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self.beside(), other.beside()) {
            (Ok(this), Ok(other)) => this.cmp(&other),
            (Err(this), Err(other)) => this.cmp(&other),
            (Err(end), Ok(_)) => end,
            (Ok(_), Err(end)) => end.reverse(),
        }
    }
}
