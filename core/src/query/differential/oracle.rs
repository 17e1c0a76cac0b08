//! Plain DataFusion over the same rows, in memory and in one piece. Answers are put in order here, not by DataFusion, whose
//! planner now and then leaves a column out.

use std::sync::Arc;

use arrow::array::{Array, RecordBatch};
use arrow::compute::{SortColumn, SortOptions, concat_batches, lexsort_to_indices, take_record_batch};
use arrow::datatypes::{DataType, SchemaRef};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::datasource::MemTable;
use datafusion::prelude::{SessionConfig, SessionContext};

use super::rows::Rows;
use super::statements::{Order, Statement};

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

    /// All rows, or the wanted ones of the order.
    pub(super) fn answer(&self, statement: &Statement) -> Result<Answer, String> {
        let collected = pollster::block_on(async {
            let frame = self.context.sql(&statement.text).await?;
            let schema: SchemaRef = Arc::new(frame.schema().as_arrow().clone());
            Ok((schema, frame.collect().await?))
        });
        let (schema, batches) =
            collected.map_err(|error: datafusion::error::DataFusionError| error.to_string())?;
        match &statement.order {
            None => Ok(Answer::new(&schema, &batches)),
            Some(order) => Ok(Answer::new(&schema, &[in_order(&schema, &batches, order)])),
        }
    }
}

fn in_order(schema: &SchemaRef, batches: &[RecordBatch], order: &Order) -> RecordBatch {
    let all = concat_batches(batches.first().map_or(schema, |batch| batch.schema_ref()), batches).unwrap();
    // Nulls come first where the order descends, unless it says otherwise.
    let keys = order.columns.iter().map(|(name, direction)| SortColumn {
        values: all.column_by_name(name).unwrap().clone(),
        options: Some(SortOptions {
            descending: direction.starts_with(" DESC"),
            nulls_first: matches!(*direction, " DESC" | " NULLS FIRST"),
        }),
    });
    let rows = lexsort_to_indices(&keys.collect::<Vec<_>>(), None).unwrap();
    let sorted = take_record_batch(&all, &rows).unwrap();
    let offset = order.offset.min(sorted.num_rows());
    sorted.slice(offset, order.limit.min(sorted.num_rows() - offset))
}

/// Columns and rows, so that they can be compared.
#[derive(Debug, PartialEq)]
pub(super) struct Answer {
    pub(super) columns: Vec<(String, DataType)>,
    pub(super) rows: Vec<Vec<String>>,
}

impl Answer {
    pub(super) fn new(schema: &SchemaRef, batches: &[RecordBatch]) -> Self {
        let columns = schema.fields().iter().map(|field| (field.name().clone(), field.data_type().clone()));
        // What a plan says of its columns may differ from what its batches have.
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
            // Which of the two zeros stands for both is left open.
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

    /// Rows in an order that does not depend on who answered.
    pub(super) fn sorted(mut self) -> Self {
        self.rows.sort();
        self
    }
}
