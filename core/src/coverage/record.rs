//! What a table covers, as a refresh commits it with the rows.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use super::point::{Cut, Number, Point};
use super::region::{Case, Domains, Region};
use super::set::Set;

/// The coverage of a table. Bytes of a newer version that this one cannot read cover nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CoverageRecord {
    /// The condition as the rules of the table have it: a record of another condition covers nothing.
    pub(crate) condition: String,
    /// The same with the values that its moving parts had, for people.
    pub(crate) constant: String,
    region: Vec<BTreeMap<String, SetRecord>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct SetRecord {
    intervals: Vec<(CutRecord, CutRecord)>,
    null: bool,
    nan: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum CutRecord {
    Min,
    Before(PointRecord),
    After(PointRecord),
    Max,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum PointRecord {
    /// The bytes of a number of 128 bits, the lowest first.
    Int(ByteBuf),
    /// The bits of a float of 64 bits.
    Float(u64),
    Bytes(ByteBuf),
}

impl CoverageRecord {
    #[cfg(any(feature = "sql", test))]
    pub(crate) fn new(condition: &str, constant: String, region: &Region) -> Self {
        let case = |case: &Case| case.iter().map(|(column, set)| (column.clone(), set.into())).collect();
        Self { condition: condition.to_owned(), constant, region: region.cases.iter().map(case).collect() }
    }

    /// The rows that are covered. `None` if the record is not one of a region of these columns.
    pub(crate) fn region(&self, domains: &Domains<'_>) -> Option<Region> {
        let column = |(column, set): (&String, &SetRecord)| {
            let (domain, set) = (domains(column)?, set.decode()?);
            let has_points = set.points().all(|point| domain.has(point));
            has_points.then(|| (column.clone(), set))
        };
        let case = |case: &BTreeMap<String, SetRecord>| case.iter().map(column).collect::<Option<Case>>();
        Some(Region { cases: self.region.iter().map(case).collect::<Option<_>>()? })
    }
}

impl From<&Set> for SetRecord {
    fn from(set: &Set) -> Self {
        let intervals = set.intervals().iter().map(|(low, high)| (low.into(), high.into()));
        Self { intervals: intervals.collect(), null: set.has_null(), nan: set.has_nan() }
    }
}

impl SetRecord {
    fn decode(&self) -> Option<Set> {
        let intervals = self.intervals.iter().map(|(low, high)| Some((low.decode()?, high.decode()?)));
        Set::of_parts(intervals.collect::<Option<_>>()?, self.null, self.nan)
    }
}

impl From<&Cut> for CutRecord {
    fn from(cut: &Cut) -> Self {
        match cut {
            Cut::Min => Self::Min,
            Cut::Before(point) => Self::Before(point.into()),
            Cut::After(point) => Self::After(point.into()),
            Cut::Max => Self::Max,
        }
    }
}

impl CutRecord {
    fn decode(&self) -> Option<Cut> {
        Some(match self {
            Self::Min => Cut::Min,
            Self::Before(point) => Cut::Before(point.decode()?),
            Self::After(point) => Cut::After(point.decode()?),
            Self::Max => Cut::Max,
        })
    }
}

impl From<&Point> for PointRecord {
    fn from(point: &Point) -> Self {
        match point {
            Point::Int(value) => Self::Int(ByteBuf::from(value.to_le_bytes())),
            Point::Float(value) => Self::Float(value.value().to_bits()),
            Point::Bytes(bytes) => Self::Bytes(ByteBuf::from(bytes.as_slice())),
        }
    }
}

impl PointRecord {
    fn decode(&self) -> Option<Point> {
        Some(match self {
            Self::Int(bytes) => Point::Int(i128::from_le_bytes(bytes.as_slice().try_into().ok()?)),
            Self::Float(bits) => Point::Float(Number::new(f64::from_bits(*bits))?),
            Self::Bytes(bytes) => Point::Bytes(bytes.to_vec()),
        })
    }
}
