//! Whether a source has what a table needs, found out without its rows.

use super::append::Positions;
use super::fetched::{fetch_of, wanted};
use crate::source::{Call, Capabilities, Description, Source, TableSource};
use crate::types::error::{Error, ErrorCode, Result};
use crate::types::rules::TableRules;
use crate::way::embedded::check_table;

/// Refuses what a source does not do, before it is asked for it.
pub(super) fn check_capabilities(
    table: &str,
    origin: &TableSource,
    capabilities: Capabilities,
) -> Result<()> {
    let lacks = [
        (origin.condition.is_some() && !capabilities.conditions, "takes no condition"),
        (origin.append_by.is_some() && !capabilities.positions, "cannot send only the rows after a position"),
        (origin.is_on_change() && !capabilities.watch, "tells no changes"),
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
    let described = source.describe(&origin.relation, call)?;
    let columns = wanted(origin, described.schema())?;
    if let Some(by) = &origin.append_by {
        Positions::new(&columns, by)?;
    }
    check_table(table, &columns, rules)?;
    if origin.condition.is_some() {
        // Only the source understands it. No row is read before the fetch ends.
        drop(source.fetch(&fetch_of(origin, capabilities), call)?);
    }
    Ok(described.of_columns(columns))
}
