//! Keys of tables. There are primary keys, and no foreign ones.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, RecordBatch, StringArray, new_null_array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow_flight::sql::CommandGetPrimaryKeys;
use pillion::{ErrorCode, TableInfo};
use tonic::{Code, Status};

use super::{CATALOG, SCHEMA};
use crate::status;

/// The columns of primary keys.
pub(super) fn primary_schema() -> SchemaRef {
    let text = |name: &str, is_nullable| Field::new(name, DataType::Utf8, is_nullable);
    Arc::new(Schema::new(vec![
        text("catalog_name", true),
        text("db_schema_name", true),
        text("table_name", false),
        text("column_name", false),
        text("key_name", true),
        Field::new("key_sequence", DataType::Int32, false),
    ]))
}

/// The columns of foreign keys.
pub(super) fn foreign_schema() -> SchemaRef {
    let text = |name: &str, is_nullable| Field::new(name, DataType::Utf8, is_nullable);
    let rule = |name: &str| Field::new(name, DataType::UInt8, false);
    Arc::new(Schema::new(vec![
        text("pk_catalog_name", true),
        text("pk_db_schema_name", true),
        text("pk_table_name", false),
        text("pk_column_name", false),
        text("fk_catalog_name", true),
        text("fk_db_schema_name", true),
        text("fk_table_name", false),
        text("fk_column_name", false),
        Field::new("key_sequence", DataType::Int32, false),
        text("fk_key_name", true),
        text("pk_key_name", true),
        rule("update_rule"),
        rule("delete_rule"),
    ]))
}

/// The primary key of a table.
///
/// # Errors
/// `NOT_FOUND`.
pub(super) fn primary(command: &CommandGetPrimaryKeys, seen: &[TableInfo]) -> Result<RecordBatch, Status> {
    let is_ours = |given: &Option<String>, name: &str| given.as_deref().is_none_or(|given| given == name);
    let table = seen.iter().find(|table| {
        table.name == command.table
            && is_ours(&command.catalog, CATALOG)
            && is_ours(&command.db_schema, SCHEMA)
    });
    let Some(table) = table else {
        let name: String = command.table.chars().take(100).collect();
        let message = format!("there is no table `{name}`");
        return Err(status::with_code(Code::NotFound, ErrorCode::TableNotFound, &message));
    };
    let key = &table.rules.primary_key;
    let texts = |text: &str| Arc::new(StringArray::from(vec![text; key.len()])) as ArrayRef;
    let columns: Vec<ArrayRef> = vec![
        texts(CATALOG),
        texts(SCHEMA),
        texts(&table.name),
        Arc::new(StringArray::from_iter_values(key)),
        new_null_array(&DataType::Utf8, key.len()),
        Arc::new(Int32Array::from_iter_values((1..).take(key.len()))),
    ];
    RecordBatch::try_new(primary_schema(), columns).map_err(|_| status::defect("a key is no batch"))
}
