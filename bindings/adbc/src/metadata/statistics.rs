//! How many rows tables have.

use std::sync::Arc;

use adbc_core::constants::ADBC_STATISTIC_ROW_COUNT_KEY;
use adbc_core::error::{Result, Status};
use adbc_core::schemas::{
    GET_STATISTIC_NAMES_SCHEMA, GET_STATISTICS_SCHEMA, STATISTIC_VALUE_SCHEMA, STATISTICS_DB_SCHEMA_SCHEMA,
    STATISTICS_SCHEMA,
};
use arrow::array::{
    ArrayRef, BooleanArray, Int16Array, Int64Array, RecordBatch, StringArray, UnionArray, new_empty_array,
    new_null_array,
};
use arrow::datatypes::DataType;
use pillion::TableInfo;

use super::lists::{field_type, lists, structs};
use super::pattern::matches;
use super::{CATALOG, Reader, SCHEMA, reader};
use crate::errors::refusal;

/// Names of statistics that only this driver has: there are none.
pub(crate) fn names() -> Result<Reader> {
    reader(RecordBatch::new_empty(GET_STATISTIC_NAMES_SCHEMA.clone()))
}

/// The exact number of rows of each table that is asked for.
pub(crate) fn statistics(
    catalog: Option<&str>,
    db_schema: Option<&str>,
    table_name: Option<&str>,
    tables: &[TableInfo],
) -> Result<Reader> {
    let catalogs = usize::from(matches(CATALOG, catalog));
    let schemas = if catalogs > 0 { usize::from(matches(SCHEMA, db_schema)) } else { 0 };
    let tables: Vec<&TableInfo> =
        tables.iter().filter(|table| schemas > 0 && matches(&table.name, table_name)).collect();
    let items = structs(
        &STATISTICS_SCHEMA,
        vec![
            Arc::new(StringArray::from_iter_values(tables.iter().map(|table| table.name.as_str()))),
            new_null_array(&DataType::Utf8, tables.len()),
            Arc::new(Int16Array::from_value(ADBC_STATISTIC_ROW_COUNT_KEY, tables.len())),
            counts(&tables)?,
            Arc::new(BooleanArray::from(vec![false; tables.len()])),
        ],
    )?;
    let of_schemas = lists(
        field_type(&STATISTICS_DB_SCHEMA_SCHEMA, "db_schema_statistics")?,
        (0..schemas).map(|_| Some(tables.len())),
        items,
    )?;
    let schema_names: ArrayRef = Arc::new(StringArray::from(vec![SCHEMA; schemas]));
    let of_catalogs = lists(
        GET_STATISTICS_SCHEMA.field(1).data_type(),
        (0..catalogs).map(|_| Some(schemas)),
        structs(&STATISTICS_DB_SCHEMA_SCHEMA, vec![schema_names, of_schemas])?,
    )?;
    let catalog_names: ArrayRef = Arc::new(StringArray::from(vec![CATALOG; catalogs]));
    reader(RecordBatch::try_new(GET_STATISTICS_SCHEMA.clone(), vec![catalog_names, of_catalogs])?)
}

fn counts(tables: &[&TableInfo]) -> Result<ArrayRef> {
    let DataType::Union(fields, _) = &*STATISTIC_VALUE_SCHEMA else {
        return Err(refusal(Status::Internal, "ADBC declares statistics that are no union"));
    };
    let rows = tables.iter().map(|table| i64::try_from(table.rows).unwrap_or(i64::MAX));
    let mut columns: Vec<ArrayRef> = vec![Arc::new(Int64Array::from_iter_values(rows))];
    columns.extend(fields.iter().skip(1).map(|(_, field)| new_empty_array(field.data_type())));
    let offsets: Vec<i32> = (0..tables.len()).map(|at| i32::try_from(at).unwrap_or(i32::MAX)).collect();
    let kinds = vec![0_i8; tables.len()];
    Ok(Arc::new(UnionArray::try_new(fields.clone(), kinds.into(), Some(offsets.into()), columns)?))
}
