//! What a table covers at a state, and the question whether that is enough.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use serde::Deserialize;

use super::decode::cells;
use super::domain::Domain;
use super::record::CoverageRecord;
use super::region::Region;
use crate::answer::certificate::TableCertificate;
use crate::storage::key::decode::decode_keys;
use crate::storage::{KeyColumn, State, TableShape, TableState, freshness};
use crate::types::error::{Error, ErrorCode};
use crate::types::rules::{OnMiss, WorkingSet, WritePolicy};
use crate::types::version::{Freshness, Tier};

/// What readers need of the record of a refresh.
#[derive(Deserialize)]
struct LastRefresh {
    #[serde(default)]
    coverage: Option<CoverageRecord>,
}

/// The coverage of a table, understood.
#[derive(Debug)]
struct Known {
    /// Number of the table.
    table: u64,
    record: CoverageRecord,
    region: Region,
}

/// A table that holds only some rows of its source, and which these are.
#[derive(Debug)]
pub(crate) struct Held<'a> {
    table: &'a TableState,
    set: &'a WorkingSet,
    /// `None` if nobody knows, so that nothing is covered.
    known: Option<Arc<Option<Known>>>,
}

/// What a table covers; `None` if it holds all rows, or has no source, so that there is nothing to ask. Costs a branch then.
#[inline]
pub(crate) fn held<'a>(state: &State, table: &'a TableState) -> Option<Held<'a>> {
    let set = table.shape.rules.working_set.as_ref()?;
    Some(held_of(state, table, set))
}

fn held_of<'a>(state: &State, table: &'a TableState, set: &'a WorkingSet) -> Held<'a> {
    let position = match &table.shape.rules.write_policy {
        WritePolicy::Source(source) => state.positions.get(source),
        _ => None,
    };
    let shape = &table.shape;
    let known = position.and_then(|position| position.meaning(|bytes| understand(bytes, shape, set)));
    let is_of_table =
        |known: &Arc<Option<Known>>| known.as_ref().as_ref().is_some_and(|it| it.table == shape.id);
    Held { table, set, known: known.filter(is_of_table) }
}

/// The coverage that a refresh committed. `None` if it is of another condition or of other columns.
fn understand(bytes: &[u8], shape: &TableShape, set: &WorkingSet) -> Option<Known> {
    // The positions of other programs are bytes of any form.
    let record = rmp_serde::from_slice::<LastRefresh>(bytes).ok()?.coverage?;
    let region = record.region(&|column| domain_of(shape, column))?;
    (record.condition == set.condition).then_some(Known { table: shape.id, record, region })
}

/// The cells of a column of a table.
pub(crate) fn domain_of(shape: &TableShape, column: &str) -> Option<Domain> {
    Domain::of(shape.schema.field_with_name(column).ok()?)
}

impl Held<'_> {
    fn known(&self) -> Option<&Known> {
        self.known.as_ref()?.as_ref().as_ref()
    }

    /// Whether all rows of a region are held.
    pub(crate) fn covers(&self, asked: &Region) -> bool {
        self.known().is_some_and(|known| known.region.includes(asked))
    }

    /// Whether a row with this key would be held, if the source has it. The key alone must show that.
    pub(crate) fn covers_key(&self, key: &[u8]) -> bool {
        let Some(known) = self.known() else { return false };
        let shape = &self.table.shape;
        let types: Vec<_> =
            shape.primary_key.iter().map(|&column| shape.schema.field(column).data_type()).collect();
        let mut column = KeyColumn::default();
        column.push(key);
        let Ok(arrays) = decode_keys(&column, &types) else { return false };
        let parts = shape.primary_key.iter().zip(&arrays).filter_map(|(&column, array)| {
            Some((shape.schema.field(column).name().as_str(), cells(array.as_ref())?.pop()?))
        });
        known.region.includes(&Region::of_cells(parts))
    }

    /// Whether reads that may need other rows are answered by those that are held.
    pub(crate) fn answers_partially(&self) -> bool {
        self.set.on_miss == OnMiss::Local
    }

    /// Whether reads that may need other rows are answered by the source.
    pub(crate) fn delegates(&self) -> bool {
        self.set.on_miss == OnMiss::Delegate
    }

    /// What is held, for people: the condition with the values that its moving parts had.
    pub(crate) fn coverage(&self) -> Option<&str> {
        self.known().map(|known| known.record.constant.as_str())
    }

    /// The error of a read that may need other rows: `why` says what the read has to do with these.
    pub(crate) fn not_covered(&self, why: impl fmt::Display) -> Error {
        Error::new(ErrorCode::NotCovered, format!("{}, and {why}", self.described()))
    }

    /// What is held, as words.
    fn described(&self) -> String {
        let (name, condition) = (&self.table.shape.name, &self.set.condition);
        match self.coverage() {
            Some(constant) if constant == condition => {
                format!("table `{name}` holds only rows of its source where {constant}")
            }
            Some(constant) => {
                format!("table `{name}` holds only rows of its source where {constant} (`{condition}`)")
            }
            None => format!(
                "table `{name}` holds only rows of its source where {condition}, and which of these is not known until its \
                 next refresh"
            ),
        }
    }

    /// What a read of this table says of it.
    pub(crate) fn certificate(&self, is_complete: bool, reason: String) -> TableCertificate {
        TableCertificate {
            table: self.table.shape.name.clone(),
            tier: Tier::Local,
            is_complete,
            coverage: self.coverage().map(str::to_owned),
            reason,
            freshness: freshness(self.table),
        }
    }
}

/// What a read says of a table whose rows the source gave, as of a moment that may not be known yet; `reason` says why.
pub(crate) fn delegated(
    table: &TableState,
    held: Option<&Held<'_>>,
    reason: String,
    as_of: Option<SystemTime>,
) -> TableCertificate {
    TableCertificate {
        table: table.shape.name.clone(),
        tier: Tier::Delegated,
        is_complete: true,
        coverage: held.and_then(Held::coverage).map(str::to_owned),
        reason,
        freshness: as_of.map(|as_of| Freshness { as_of }),
    }
}

/// The error of a read that the source would have to answer, where nobody reaches it. `wanted` are the rows.
pub(crate) fn out_of_reach(table: &TableState, held: Option<&Held<'_>>, wanted: &str) -> Error {
    let why = format!(
        "the read needs {wanted}: its source has to be asked, which only the process that owns the cache does; connect to its socket"
    );
    match held {
        Some(held) => held.not_covered(why),
        None => Error::new(
            ErrorCode::NotCovered,
            format!("table `{}` is to be read from its source, and {why}", table.shape.name),
        ),
    }
}
