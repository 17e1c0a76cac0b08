//! Sets of the cells that one column can have.

use super::planted::{self, Bug};
use super::point::{Cut, Point};

/// A cell of a column.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Cell {
    Null,
    /// A NaN, whatever its sign and bits are.
    NaN,
    Point(Point),
}

/// Cells of a column. The operations are exact, except that an interval of texts or floats with nothing between its ends does not
/// count as empty: a proof may fail for that, and none succeeds.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Set {
    /// From one cut to another, ascending and apart from each other; none is empty.
    intervals: Vec<(Cut, Cut)>,
    null: bool,
    nan: bool,
}

impl Set {
    /// Nothing.
    pub(super) const EMPTY: Self = Self { intervals: Vec::new(), null: false, nan: false };

    /// Every cell.
    pub(super) fn all() -> Self {
        Self { intervals: vec![(Cut::Min, Cut::Max)], null: true, nan: true }
    }

    /// The null alone.
    pub(super) fn null() -> Self {
        Self { null: true, ..Self::EMPTY }
    }

    /// The points between two cuts.
    pub(super) fn between(low: Cut, high: Cut) -> Self {
        let intervals = if low < high { vec![(low, high)] } else { Vec::new() };
        Self { intervals, ..Self::EMPTY }
    }

    /// One point alone.
    pub(super) fn of_point(point: Point) -> Self {
        Self::between(Cut::Before(point.clone()), Cut::After(point))
    }

    /// The cells of any of some sets.
    #[cfg(any(feature = "sql", test))]
    pub(super) fn union(sets: Vec<Self>) -> Self {
        let (null, nan) = (sets.iter().any(|set| set.null), sets.iter().any(|set| set.nan));
        let mut all: Vec<(Cut, Cut)> = sets.into_iter().flat_map(|set| set.intervals).collect();
        all.sort_by(|a, b| a.0.cmp(&b.0));
        let mut intervals: Vec<(Cut, Cut)> = Vec::with_capacity(all.len());
        for (low, high) in all {
            match intervals.last_mut() {
                // Intervals that meet at a cut leave no point out between them.
                Some(last) if low <= last.1 => {
                    if last.1 < high {
                        last.1 = high;
                    }
                }
                _ => intervals.push((low, high)),
            }
        }
        Self { intervals, null, nan }
    }

    /// The parts of a set that was written down. `None` if it is not one.
    pub(super) fn of_parts(intervals: Vec<(Cut, Cut)>, null: bool, nan: bool) -> Option<Self> {
        let is_apart = intervals.windows(2).all(|pair| matches!(pair, [a, b] if a.1 < b.0));
        let is_set = is_apart && intervals.iter().all(|(low, high)| low < high);
        is_set.then_some(Self { intervals, null, nan })
    }

    #[cfg(any(feature = "sql", test))]
    pub(super) fn with_null(mut self, null: bool) -> Self {
        self.null |= null;
        self
    }

    pub(super) fn with_nan(mut self, nan: bool) -> Self {
        self.nan |= nan;
        self
    }

    pub(super) fn intervals(&self) -> &[(Cut, Cut)] {
        &self.intervals
    }

    /// The points at which its intervals begin and end.
    pub(super) fn points(&self) -> impl Iterator<Item = &Point> {
        let cuts = self.intervals.iter().flat_map(|(low, high)| [low, high]);
        cuts.filter_map(|cut| match cut {
            Cut::Before(point) | Cut::After(point) => Some(point),
            Cut::Min | Cut::Max => None,
        })
    }

    pub(super) fn has_null(&self) -> bool {
        self.null
    }

    pub(super) fn has_nan(&self) -> bool {
        self.nan
    }

    pub(super) fn is_empty(&self) -> bool {
        self.intervals.is_empty() && !self.null && !self.nan
    }

    #[cfg(any(feature = "sql", test))]
    pub(super) fn is_all(&self) -> bool {
        self.null && self.nan && self.intervals == [(Cut::Min, Cut::Max)]
    }

    pub(super) fn contains(&self, cell: &Cell) -> bool {
        match cell {
            Cell::Null => self.null,
            Cell::NaN => self.nan,
            Cell::Point(point) => {
                // The first interval that does not end before the point is the only one that can hold it.
                let at = self.intervals.partition_point(|(_, high)| high.is_before(point));
                self.intervals.get(at).is_some_and(|(low, _)| low.is_before(point))
            }
        }
    }

    pub(super) fn intersect(&self, other: &Self) -> Self {
        let mut intervals = Vec::new();
        let (mut ours, mut theirs) = (self.intervals.iter().peekable(), other.intervals.iter().peekable());
        while let (Some(a), Some(b)) = (ours.peek(), theirs.peek()) {
            let low = (&a.0).max(&b.0);
            let high = (&a.1).min(&b.1);
            if low < high {
                intervals.push((low.clone(), high.clone()));
            }
            if a.1 < b.1 {
                ours.next()
            } else {
                theirs.next()
            };
        }
        Self { intervals, null: self.null && other.null, nan: self.nan && other.nan }
    }

    #[cfg(any(feature = "sql", test))]
    pub(super) fn unite(&self, other: &Self) -> Self {
        Self::union(vec![self.clone(), other.clone()])
    }

    pub(super) fn subtract(&self, other: &Self) -> Self {
        let mut intervals = Vec::new();
        for (low, high) in &self.intervals {
            let mut low = low;
            for hole in &other.intervals {
                if hole.1 <= *low {
                    continue;
                }
                if hole.0 >= *high {
                    break;
                }
                if *low < hole.0 {
                    intervals.push((low.clone(), hole.0.clone()));
                }
                low = &hole.1;
            }
            if low < high {
                intervals.push((low.clone(), high.clone()));
            }
        }
        let null = self.null && !other.null && !planted::has(Bug::NullLeft);
        Self { intervals, null, nan: self.nan && !other.nan }
    }

    /// Whether each cell is one of another set.
    pub(super) fn is_within(&self, other: &Self) -> bool {
        if (self.null && !other.null) || (self.nan && !other.nan) {
            return false;
        }
        // The intervals of a set are apart, so one of them must hold all of an interval.
        self.intervals.iter().all(|(low, high)| {
            let at = other.intervals.partition_point(|theirs| theirs.1 <= *low);
            other.intervals.get(at).is_some_and(|theirs| theirs.0 <= *low && *high <= theirs.1)
        })
    }
}
