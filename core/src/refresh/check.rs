//! Whether a source has what a table needs, found out without its rows.

use std::time::SystemTime;

use super::append::Positions;
use super::covering::Covering;
use super::fetched::{fetch_of, wanted};
use crate::source::{Call, Capabilities, Description, Source, TableSource};
use crate::types::error::{Error, ErrorCode, Result};
use crate::types::rules::TableRules;
use crate::way::embedded::check_table;

/// Refuses what no source can send, and what this one does not do, before it is asked for it.
///
/// # Errors
/// [`ErrorCode::InvalidArgument`] for no columns or the same one twice; [`ErrorCode::Unsupported`].
pub(crate) fn check_capabilities(
    table: &str,
    origin: &TableSource,
    capabilities: Capabilities,
) -> Result<()> {
    check_columns(table, origin.columns.as_deref())?;
    check_working_set(table, origin)?;
    let lacks = [
        (origin.condition.is_some() && !capabilities.conditions, "takes no condition"),
        (origin.append_by.is_some() && !capabilities.positions, "cannot send only the rows after a position"),
        (origin.is_on_change() && !capabilities.watch, "tells no changes"),
        (origin.follows() && !capabilities.changes, "gives out no changes to follow"),
        (origin.relation.is_statement() && capabilities.dialect.is_none(), "answers no statements"),
    ];
    match lacks.into_iter().find(|(is_lacking, _)| *is_lacking) {
        None => Ok(()),
        Some((_, what)) => Err(Error::new(
            ErrorCode::Unsupported,
            format!("the source `{}` {what}, which table `{table}` needs", origin.source),
        )),
    }
}

/// Refuses what a table that follows its source cannot have.
///
/// # Errors
/// [`ErrorCode::InvalidArgument`].
pub(crate) fn check_following(table: &str, origin: &TableSource, rules: &TableRules) -> Result<()> {
    let has = [
        (origin.condition.is_some(), "no condition: changes come of all rows"),
        (origin.working_set.is_some(), "all rows of its source: leave out which rows it holds"),
        (origin.append_by.is_some(), "no `append_by`: every change comes by itself"),
        (origin.relation.is_statement(), "no statement: name a table"),
        (rules.retention.is_some(), "no retention: it has the rows that the source has"),
        (rules.primary_key.is_empty(), "a primary key, by which changed rows are found; define one"),
    ];
    match has.into_iter().find(|(has, _)| *has) {
        None => Ok(()),
        Some((_, what)) => Err(Error::new(
            ErrorCode::InvalidArgument,
            format!("table `{table}` follows its source and has {what}"),
        )),
    }
}

fn check_columns(table: &str, wanted: Option<&[String]>) -> Result<()> {
    let Some(wanted) = wanted else { return Ok(()) };
    let twice = wanted
        .iter()
        .enumerate()
        .find(|(index, name)| wanted.iter().take(*index).any(|other| other == *name));
    let message = match twice {
        Some((_, name)) => format!("`columns` of table `{table}` has `{name}` twice: name each column once"),
        None if wanted.is_empty() => {
            format!(
                "`columns` of table `{table}` is empty: name a column, or leave `columns` out for all of them"
            )
        }
        None => return Ok(()),
    };
    Err(Error::new(ErrorCode::InvalidArgument, message))
}

/// A working set is loaded as a whole, by its condition alone.
fn check_working_set(table: &str, origin: &TableSource) -> Result<()> {
    let Some(set) = &origin.working_set else { return Ok(()) };
    let other = match origin {
        TableSource { append_by: Some(_), .. } => "`append_by`: rows that leave it would stay",
        TableSource { condition: Some(_), .. } => {
            "`condition`: nobody but the source understands which rows that leaves out"
        }
        _ => return Ok(()),
    };
    Err(Error::new(
        ErrorCode::InvalidArgument,
        format!("table `{table}` holds only rows where {} and cannot have {other}", set.condition),
    ))
}

/// What a load of a table would fetch, if the source and the rules of the table allow one.
///
/// # Errors
/// Those that the load would fail with, as far as rows have no part in them.
pub(crate) fn check(
    table: &str,
    origin: &TableSource,
    rules: &TableRules,
    source: &dyn Source,
    call: &Call,
) -> Result<Description> {
    let capabilities = source.capabilities();
    check_capabilities(table, origin, capabilities)?;
    if origin.follows() {
        check_following(table, origin, rules)?;
    }
    let described = source.describe(&origin.relation, call)?;
    let columns = wanted(origin, described.schema())?;
    if let Some(by) = &origin.append_by {
        Positions::new(&columns, by)?;
    }
    check_table(table, &columns, rules)?;
    if let Some(set) = &origin.working_set {
        Covering::new(&set.condition, &columns, SystemTime::now())?;
    }
    if origin.condition.is_some() {
        // Only the source understands it. No row is read before the fetch ends.
        drop(source.fetch(&fetch_of(origin, capabilities), call)?);
    }
    Ok(described.of_columns(columns))
}
