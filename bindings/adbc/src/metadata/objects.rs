//! The catalog, its schema, the tables in it and their columns.

use std::sync::Arc;

use adbc_core::error::Result;
use adbc_core::options::ObjectDepth;
use adbc_core::schemas::{
    COLUMN_SCHEMA, CONSTRAINT_SCHEMA, GET_OBJECTS_SCHEMA, OBJECTS_DB_SCHEMA_SCHEMA, TABLE_SCHEMA,
};
use arrow::array::{ArrayRef, Int16Array, Int32Array, RecordBatch, StringArray, new_null_array};
use arrow::datatypes::{DataType, Field};
use pillion::TableInfo;

use super::lists::{field_type, lists, structs};
use super::pattern::matches;
use super::{CATALOG, Reader, SCHEMA, TABLE_TYPE, reader};

/// Patterns of the names that are wanted.
pub(crate) struct Wanted<'a> {
    pub(crate) catalog: Option<&'a str>,
    pub(crate) db_schema: Option<&'a str>,
    pub(crate) table_name: Option<&'a str>,
    pub(crate) table_type: Option<Vec<&'a str>>,
    pub(crate) column_name: Option<&'a str>,
}

/// What of it is wanted, as deep as is asked for.
pub(crate) fn objects(depth: ObjectDepth, wanted: &Wanted<'_>, tables: &[TableInfo]) -> Result<Reader> {
    let catalogs = usize::from(matches(CATALOG, wanted.catalog));
    let is_listed = |deepest: &[ObjectDepth]| !deepest.contains(&depth);
    let has_schemas = is_listed(&[ObjectDepth::Catalogs]);
    let has_tables = is_listed(&[ObjectDepth::Catalogs, ObjectDepth::Schemas]);
    let has_columns = is_listed(&[ObjectDepth::Catalogs, ObjectDepth::Schemas, ObjectDepth::Tables]);
    let schemas =
        if has_schemas && catalogs > 0 { usize::from(matches(SCHEMA, wanted.db_schema)) } else { 0 };
    let is_wanted_type = wanted.table_type.as_ref().is_none_or(|types| types.contains(&TABLE_TYPE));
    let tables: Vec<&TableInfo> = if has_tables && schemas > 0 && is_wanted_type {
        tables.iter().filter(|table| matches(&table.name, wanted.table_name)).collect()
    } else {
        Vec::new()
    };
    let table_items = table_structs(&tables, has_columns, wanted.column_name)?;
    let lists_of_tables = lists(
        field_type(&OBJECTS_DB_SCHEMA_SCHEMA, "db_schema_tables")?,
        (0..schemas).map(|_| has_tables.then_some(tables.len())),
        table_items,
    )?;
    let schema_items =
        structs(&OBJECTS_DB_SCHEMA_SCHEMA, vec![texts((0..schemas).map(|_| SCHEMA)), lists_of_tables])?;
    let lists_of_schemas = lists(
        GET_OBJECTS_SCHEMA.field(1).data_type(),
        (0..catalogs).map(|_| has_schemas.then_some(schemas)),
        schema_items,
    )?;
    let names = texts((0..catalogs).map(|_| CATALOG));
    reader(RecordBatch::try_new(GET_OBJECTS_SCHEMA.clone(), vec![names, lists_of_schemas])?)
}

fn table_structs(tables: &[&TableInfo], has_columns: bool, column: Option<&str>) -> Result<ArrayRef> {
    let mut columns: Vec<(usize, &Field)> = Vec::new();
    let (mut column_lens, mut keys) = (Vec::new(), Vec::new());
    for table in tables.iter().filter(|_| has_columns) {
        let before = columns.len();
        let fields = table.schema.fields().iter().enumerate();
        columns.extend(
            fields.filter(|(_, field)| matches(field.name(), column)).map(|(at, field)| (at, field.as_ref())),
        );
        column_lens.push(columns.len() - before);
        keys.push(table.rules.primary_key.as_slice());
    }
    let len_of = |lens: &[usize], at: usize| has_columns.then(|| lens.get(at).copied().unwrap_or_default());
    let column_lists = lists(
        field_type(&TABLE_SCHEMA, "table_columns")?,
        (0..tables.len()).map(|at| len_of(&column_lens, at)),
        column_structs(&columns)?,
    )?;
    let key_lens: Vec<usize> = keys.iter().map(|key| usize::from(!key.is_empty())).collect();
    keys.retain(|key| !key.is_empty());
    let constraint_lists = lists(
        field_type(&TABLE_SCHEMA, "table_constraints")?,
        (0..tables.len()).map(|at| len_of(&key_lens, at)),
        constraint_structs(&keys)?,
    )?;
    let names = texts(tables.iter().map(|table| table.name.as_str()));
    let types = texts(tables.iter().map(|_| TABLE_TYPE));
    structs(&TABLE_SCHEMA, vec![names, types, column_lists, constraint_lists])
}

fn column_structs(columns: &[(usize, &Field)]) -> Result<ArrayRef> {
    let DataType::Struct(fields) = &*COLUMN_SCHEMA else { return structs(&COLUMN_SCHEMA, Vec::new()) };
    let made = fields.iter().map(|field| -> ArrayRef {
        match field.name().as_str() {
            "column_name" => texts(columns.iter().map(|(_, column)| column.name().as_str())),
            "ordinal_position" => {
                let positions = columns.iter().map(|(at, _)| i32::try_from(at + 1).unwrap_or(i32::MAX));
                Arc::new(Int32Array::from_iter_values(positions))
            }
            "xdbc_type_name" => {
                let types = columns.iter().map(|(_, column)| column.data_type().to_string());
                Arc::new(StringArray::from_iter_values(types))
            }
            // 0 is not null, 1 is nullable.
            "xdbc_nullable" => Arc::new(Int16Array::from_iter_values(
                columns.iter().map(|(_, column)| i16::from(column.is_nullable())),
            )),
            "xdbc_is_nullable" => {
                texts(columns.iter().map(|(_, column)| if column.is_nullable() { "YES" } else { "NO" }))
            }
            _ => new_null_array(field.data_type(), columns.len()),
        }
    });
    structs(&COLUMN_SCHEMA, made.collect())
}

fn constraint_structs(keys: &[&[String]]) -> Result<ArrayRef> {
    let names = new_null_array(field_type(&CONSTRAINT_SCHEMA, "constraint_name")?, keys.len());
    let types = texts(keys.iter().map(|_| "PRIMARY KEY"));
    let columns = lists(
        field_type(&CONSTRAINT_SCHEMA, "constraint_column_names")?,
        keys.iter().map(|key| Some(key.len())),
        texts(keys.iter().flat_map(|key| key.iter().map(String::as_str))),
    )?;
    let usage = new_null_array(field_type(&CONSTRAINT_SCHEMA, "constraint_column_usage")?, keys.len());
    structs(&CONSTRAINT_SCHEMA, vec![names, types, columns, usage])
}

fn texts<'a>(values: impl Iterator<Item = &'a str>) -> ArrayRef {
    // Arrow asks iterators how many values they have at most.
    Arc::new(StringArray::from(values.collect::<Vec<&str>>()))
}
