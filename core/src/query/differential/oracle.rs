//! Plain DataFusion over the same rows, in memory and in one piece.

use std::sync::Arc;

use arrow::array::{Array, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, SchemaRef};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::datasource::MemTable;
use datafusion::prelude::{SessionConfig, SessionContext};

use super::rows::Rows;

/// Answers statements.
pub(super) struct Oracle {
    context: SessionContext,
}

impl Oracle {
    pub(super) fn new(tables: &[(&str, &Rows)]) -> Self {
        let context = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(1));
        for (name, table) in tables {
            let rows = MemTable::try_new(table.schema.clone(), vec![vec![table.rows.clone()]]).unwrap();
            context.register_table(*name, Arc::new(rows)).unwrap();
        }
        Self { context }
    }

    /// The whole answer.
    pub(super) fn answer(&self, text: &str) -> Result<Answer, String> {
        let collected = pollster::block_on(async {
            let frame = self.context.sql(text).await?;
            let schema: SchemaRef = Arc::new(frame.schema().as_arrow().clone());
            Ok((schema, frame.collect().await?))
        });
        let (schema, batches) =
            collected.map_err(|error: datafusion::error::DataFusionError| error.to_string())?;
        Ok(Answer::new(&schema, &batches))
    }
}

/// Columns and rows in a form that can be compared.
#[derive(Debug, PartialEq)]
pub(super) struct Answer {
    pub(super) columns: Vec<(String, DataType)>,
    pub(super) rows: Vec<Vec<String>>,
}

impl Answer {
    pub(super) fn new(schema: &SchemaRef, batches: &[RecordBatch]) -> Self {
        let columns = schema.fields().iter().map(|field| (field.name().clone(), field.data_type().clone()));
        // Batches may have other columns than their plan announced.
        let schema = batches.first().map_or_else(|| schema.clone(), RecordBatch::schema);
        let all = concat_batches(&schema, batches).unwrap();
        let options = FormatOptions::new().with_display_error(true).with_null("NULL");
        let formatters: Vec<_> = all
            .columns()
            .iter()
            .map(|column| ArrayFormatter::try_new(column.as_ref(), &options).unwrap())
            .collect();
        let cell = |column: usize, row: usize| {
            if all.column(column).is_null(row) {
                return "null".to_owned();
            }
            let text = format!("{}", formatters[column].value(row));
            // SQL leaves open which of the two zeros stands for both.
            if all.column(column).data_type().is_floating() && text == "-0.0" {
                "0.0".to_owned()
            } else {
                text
            }
        };
        let rows = (0..all.num_rows())
            .map(|row| (0..all.num_columns()).map(|column| cell(column, row)).collect())
            .collect();
        Self { columns: columns.collect(), rows }
    }

    /// Some of the rows.
    pub(super) fn window(mut self, (offset, limit): (usize, usize)) -> Self {
        self.rows = self.rows.into_iter().skip(offset).take(limit).collect();
        self
    }

    /// The rows, in an order that does not depend on who answered.
    pub(super) fn sorted(mut self) -> Self {
        self.rows.sort();
        self
    }
}
