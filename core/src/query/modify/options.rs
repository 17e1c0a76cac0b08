//! Options of CREATE TABLE that DataFusion does not know.

use datafusion::sql::sqlparser::ast::{
    ColumnOption, CreateTable, CreateTableOptions, Expr, SqlOption, Value,
};

use super::statement::{normal, unsupported};
use crate::types::error::{Error, ErrorCode, Result};

/// The option that names the columns that rows are stored by.
const SORT_BY: &str = "sort_by";

/// Takes `WITH (sort_by = 'a, b')` out of a statement, and returns the columns.
///
/// # Errors
/// [`ErrorCode::Unsupported`] for other options, [`ErrorCode::InvalidSql`] for another value.
pub(super) fn take_sort(create: &mut CreateTable) -> Result<Vec<String>> {
    let options = match std::mem::take(&mut create.table_options) {
        CreateTableOptions::None => return Ok(Vec::new()),
        CreateTableOptions::With(options) => options,
        _ => return Err(unsupported("CREATE TABLE with options other than WITH (sort_by = 'column, …')")),
    };
    let mut sort_by = Vec::new();
    for option in options {
        match option {
            SqlOption::KeyValue { key, value } if normal(&key) == SORT_BY => {
                let Expr::Value(value) = value else { return Err(not_columns()) };
                let Value::SingleQuotedString(columns) = value.value else { return Err(not_columns()) };
                sort_by = columns.split(',').map(|column| column.trim().to_owned()).collect();
            }
            other => return Err(unsupported(format!("the option `{other}` of CREATE TABLE"))),
        }
    }
    Ok(sort_by)
}

/// # Errors
/// [`ErrorCode::Unsupported`] for what a statement says of columns and would be left out.
pub(super) fn refuse_others(create: &CreateTable) -> Result<()> {
    for column in &create.columns {
        for option in &column.options {
            match &option.option {
                // DEFAULT and UNIQUE are refused where the plan is known.
                ColumnOption::Null
                | ColumnOption::NotNull
                | ColumnOption::PrimaryKey(_)
                | ColumnOption::Unique(_)
                | ColumnOption::Default(_) => {}
                other => return Err(unsupported(format!("`{other}`, here of `{}`,", column.name))),
            }
        }
    }
    Ok(())
}

fn not_columns() -> Error {
    Error::new(ErrorCode::InvalidSql, "`sort_by` is a text of column names with commas between them")
}
