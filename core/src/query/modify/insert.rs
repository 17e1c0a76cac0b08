//! What an INSERT does where the table has a key already.

use datafusion::sql::sqlparser::ast::{
    Assignment, AssignmentTarget, ConflictTarget, DoUpdate, Expr, Insert, OnConflict, OnConflictAction,
    OnInsert, SetExpr, SqliteOnConflict,
};

use super::statement::{last_name, normal, unsupported};
use crate::storage::TableShape;
use crate::types::error::{Error, ErrorCode, Result};
use crate::types::mode::WriteMode;

/// The pseudo table of the row that could not be inserted.
const EXCLUDED: &str = "excluded";

/// Takes the clauses about existing keys out of an INSERT, and returns how its rows are written and whether rows with
/// existing keys are left out.
pub(super) fn take_mode(insert: &mut Insert, shape: &TableShape) -> Result<(WriteMode, bool)> {
    let replaces = insert.replace_into || matches!(insert.or, Some(SqliteOnConflict::Replace));
    if insert.overwrite {
        return Ok((WriteMode::Replace, false));
    }
    if replaces {
        need_key(shape)?;
        return Ok((WriteMode::Upsert, false));
    }
    let conflict = match insert.on.take() {
        None => return Ok((WriteMode::Append, false)),
        Some(OnInsert::OnConflict(conflict)) => conflict,
        Some(_) => return Err(unsupported("INSERT with this clause")),
    };
    need_key(shape)?;
    let OnConflict { conflict_target, action } = conflict;
    match conflict_target {
        None => {}
        Some(ConflictTarget::OnConstraint(_)) => return Err(unsupported("ON CONFLICT ON CONSTRAINT")),
        Some(ConflictTarget::Columns(columns)) => {
            let mut named: Vec<String> = columns.iter().map(normal).collect();
            let mut key = shape.rules.primary_key.clone();
            named.sort_unstable();
            key.sort_unstable();
            if named != key {
                return Err(Error::new(
                    ErrorCode::InvalidSql,
                    format!(
                        "ON CONFLICT names ({}), and the primary key of `{}` is ({})",
                        columns.iter().map(normal).collect::<Vec<_>>().join(", "),
                        shape.name,
                        shape.rules.primary_key.join(", ")
                    ),
                ));
            }
        }
    }
    match action {
        OnConflictAction::DoNothing => Ok((WriteMode::Append, true)),
        OnConflictAction::DoUpdate(update) => {
            check_update(insert, shape, &update)?;
            Ok((WriteMode::Upsert, false))
        }
    }
}

/// Whether the rows come from a query, and not from VALUES alone.
///
/// # Errors
/// [`ErrorCode::Unsupported`] for clauses of an INSERT that would be left out then.
pub(super) fn is_query(insert: &Insert) -> Result<bool> {
    let Some(source) = &insert.source else { return Ok(false) };
    if source.with.is_none() && matches!(*source.body, SetExpr::Values(_)) {
        return Ok(false);
    }
    let is_plain = insert.partitioned.is_none()
        && insert.after_columns.is_empty()
        && insert.returning.is_none()
        && !insert.ignore
        && insert.table_alias.is_none()
        && insert.priority.is_none()
        && insert.insert_alias.is_none()
        && insert.assignments.is_empty()
        && insert.settings.is_none()
        && insert.format_clause.is_none()
        && insert.output.is_none()
        && insert.multi_table_insert_type.is_none()
        && matches!(insert.or, None | Some(SqliteOnConflict::Replace));
    if is_plain { Ok(true) } else { Err(unsupported("INSERT with such clauses")) }
}

/// The new row takes the place of the old one as a whole, so every other column must be given and assigned.
fn check_update(insert: &Insert, shape: &TableShape, update: &DoUpdate) -> Result<()> {
    if update.selection.is_some() {
        return Err(unsupported("ON CONFLICT DO UPDATE … WHERE"));
    }
    let assigned = update.assignments.iter().map(assigned).collect::<Result<Vec<_>>>()?;
    let given = insert.columns.iter().map(last_name).collect::<Result<Vec<_>>>()?;
    for field in shape.schema.fields() {
        let name = field.name();
        let is_given = given.is_empty() || given.contains(name);
        if !is_given || (!shape.rules.primary_key.contains(name) && !assigned.contains(name)) {
            return Err(Error::new(
                ErrorCode::Unsupported,
                format!(
                    "ON CONFLICT DO UPDATE replaces the whole row here, and `{name}` would keep its old value: insert \
                     it and add `{name} = EXCLUDED.{name}`, or use UPDATE for rows that exist"
                ),
            ));
        }
    }
    if let Some(unknown) = assigned.iter().find(|name| shape.schema.index_of(name).is_err()) {
        return Err(Error::new(
            ErrorCode::ColumnNotFound,
            format!("table `{}` has no column `{unknown}`", shape.name),
        ));
    }
    Ok(())
}

/// The column of an assignment `column = EXCLUDED.column`.
fn assigned(assignment: &Assignment) -> Result<String> {
    let AssignmentTarget::ColumnName(name) = &assignment.target else {
        return Err(unsupported("an assignment of several columns at once"));
    };
    let column = last_name(name)?;
    match &assignment.value {
        Expr::CompoundIdentifier(parts) => match parts.as_slice() {
            [table, value] if normal(table) == EXCLUDED && normal(value) == column => Ok(column),
            _ => Err(not_excluded(&column)),
        },
        _ => Err(not_excluded(&column)),
    }
}

fn not_excluded(column: &str) -> Error {
    unsupported(format!("ON CONFLICT DO UPDATE SET {column} to anything but EXCLUDED.{column}"))
}

fn need_key(shape: &TableShape) -> Result<()> {
    if shape.primary_key.is_empty() { Err(shape.no_primary_key()) } else { Ok(()) }
}
