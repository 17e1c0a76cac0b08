//! Batches as a server sends them, as batches of the columns that were announced.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, RecordBatchOptions, StringBuilder};
use arrow::compute::{CastOptions, can_cast_types, cast_with_options};
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use pillion::{Error, ErrorCode, Result};

/// The most rows of a batch.
const BATCH_ROWS: usize = 8192;
/// About the most bytes of a batch. A larger one is divided.
const BATCH_LEN: usize = 8 << 20;

/// The type in which the values of a column are stored: without dictionaries, runs and views. `None` if there is none.
pub(crate) fn stored(of: &DataType) -> Option<DataType> {
    let decoded = decoded(of);
    (!has_union(&decoded) && (*of == decoded || can_cast_types(of, &decoded))).then_some(decoded)
}

fn decoded(of: &DataType) -> DataType {
    use DataType as T;
    let inner =
        |field: &FieldRef| Arc::new(field.as_ref().clone().with_data_type(decoded(field.data_type())));
    match of {
        T::Dictionary(_, values) => decoded(values),
        T::RunEndEncoded(_, values) => decoded(values.data_type()),
        T::Utf8View => T::Utf8,
        T::BinaryView => T::Binary,
        T::List(field) | T::ListView(field) => T::List(inner(field)),
        T::LargeList(field) | T::LargeListView(field) => T::LargeList(inner(field)),
        T::FixedSizeList(field, len) => T::FixedSizeList(inner(field), *len),
        T::Struct(fields) => T::Struct(fields.iter().map(inner).collect()),
        T::Map(field, is_sorted) => T::Map(inner(field), *is_sorted),
        other => other.clone(),
    }
}

fn has_union(of: &DataType) -> bool {
    match of {
        DataType::Union(..) => true,
        DataType::List(field)
        | DataType::LargeList(field)
        | DataType::FixedSizeList(field, _)
        | DataType::Map(field, _) => has_union(field.data_type()),
        DataType::Struct(fields) => fields.iter().any(|field| has_union(field.data_type())),
        _ => false,
    }
}

/// The columns that are fetched, and how they come from those that the server sends.
#[derive(Clone, Debug)]
pub(crate) struct Columns {
    /// With the types in which they are stored.
    pub(crate) schema: SchemaRef,
    /// Which of them are shown as texts, whatever the server sends.
    as_text: Vec<bool>,
}

impl Columns {
    /// # Errors
    /// What is wrong with a column that has no type in which it can be stored, and its name.
    pub(crate) fn new<'a>(
        fields: impl IntoIterator<Item = &'a Field>,
        as_text: &[String],
    ) -> std::result::Result<Self, (String, DataType)> {
        let (mut columns, mut texts) = (Vec::new(), Vec::new());
        for field in fields {
            let is_text = as_text.contains(field.name());
            let of = if is_text { Some(DataType::Utf8) } else { stored(field.data_type()) };
            let of = of.ok_or_else(|| (field.name().clone(), field.data_type().clone()))?;
            columns.push(Field::new(field.name(), of, field.is_nullable()));
            texts.push(is_text);
        }
        Ok(Self { schema: Arc::new(Schema::new(columns)), as_text: texts })
    }

    /// Succeeds if the server sends these columns. A server that names none at all says nothing.
    ///
    /// # Errors
    /// [`ErrorCode::SourceInvalid`] with the first column that is another.
    pub(crate) fn check(&self, found: &Schema, place: &str) -> Result<()> {
        let differs = |what: String| {
            let message = format!(
                "{place}: the server announced other columns than it sends: {what}; fetch again if the table has just changed, or \
                 name the columns and their types in a statement with CAST"
            );
            Error::new(ErrorCode::SourceInvalid, message)
        };
        let (announced, sent) = (self.schema.fields(), found.fields());
        if announced.len() != sent.len() {
            return Err(differs(format!("{} columns in the place of {}", sent.len(), announced.len())));
        }
        for ((announced, sent), is_text) in announced.iter().zip(sent).zip(&self.as_text) {
            if announced.name() != sent.name() {
                return Err(differs(format!("`{}` in the place of `{}`", sent.name(), announced.name())));
            }
            if !is_text && stored(sent.data_type()).as_ref() != Some(announced.data_type()) {
                let (name, sent, announced) = (sent.name(), sent.data_type(), announced.data_type());
                return Err(differs(format!("`{name}` is {sent} in the place of {announced}")));
            }
        }
        Ok(())
    }

    /// The batch with the announced columns, in pieces of limited size.
    ///
    /// # Errors
    /// [`ErrorCode::SourceInvalid`] for a null in a column that was announced without.
    pub(crate) fn pieces(&self, batch: &RecordBatch, place: &str) -> Result<Vec<RecordBatch>> {
        let invalid = |error: ArrowError| {
            let message = format!("{place}: the server sends rows that do not fit the columns: {error}");
            Error::new(ErrorCode::SourceInvalid, message)
        };
        let columns = batch.columns().iter().zip(self.schema.fields()).zip(&self.as_text);
        let columns = columns.map(|((column, field), is_text)| match is_text {
            true => shown(column),
            false if column.data_type() == field.data_type() => Ok(column.clone()),
            false => {
                // Not `safe`, which would make nulls of values that do not fit.
                let options = CastOptions { safe: false, ..CastOptions::default() };
                cast_with_options(column, field.data_type(), &options)
            }
        });
        let columns = columns.collect::<std::result::Result<Vec<_>, _>>().map_err(invalid)?;
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        let batch = RecordBatch::try_new_with_options(self.schema.clone(), columns, &options);
        Ok(divided(batch.map_err(invalid)?))
    }
}

/// A column as texts, in the form in which Arrow shows its values.
fn shown(column: &ArrayRef) -> std::result::Result<ArrayRef, ArrowError> {
    let options = FormatOptions::new().with_display_error(false);
    let formatter = ArrayFormatter::try_new(column, &options)?;
    let (mut builder, mut text) = (StringBuilder::new(), String::new());
    let nulls = column.logical_nulls();
    for row in 0..column.len() {
        if nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)) {
            builder.append_null();
            continue;
        }
        text.clear();
        formatter.value(row).write(&mut text)?;
        builder.append_value(&text);
    }
    Ok(Arc::new(builder.finish()))
}

fn divided(batch: RecordBatch) -> Vec<RecordBatch> {
    let (rows, len) = (batch.num_rows(), batch.get_array_memory_size());
    if rows <= BATCH_ROWS && len <= 2 * BATCH_LEN {
        return if rows == 0 { Vec::new() } else { vec![batch] };
    }
    let of_row = len / rows.max(1);
    let piece = (BATCH_LEN / of_row.max(1)).clamp(1, BATCH_ROWS);
    (0..rows).step_by(piece).map(|start| batch.slice(start, piece.min(rows - start))).collect()
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int32Array, StringArray};

    use super::*;

    #[test]
    fn dictionaries_runs_and_views_are_decoded_at_any_depth() {
        use DataType as T;
        let dictionary = T::Dictionary(Box::new(T::Int8), Box::new(T::Utf8View));
        let list = |inner| T::List(Arc::new(Field::new("item", inner, true)));
        assert_eq!(stored(&dictionary), Some(T::Utf8));
        assert_eq!(stored(&list(dictionary)), Some(list(T::Utf8)));
        assert_eq!(
            stored(&T::ListView(Arc::new(Field::new("item", T::BinaryView, true)))),
            Some(list(T::Binary))
        );
        let union = T::Union(
            arrow::datatypes::UnionFields::from_fields(vec![Field::new("a", T::Int8, true)]),
            arrow::datatypes::UnionMode::Dense,
        );
        assert_eq!(stored(&union), None);
        assert_eq!(stored(&list(union)), None);
    }

    #[test]
    fn other_columns_than_announced_are_named() {
        let (id, name) = (Field::new("id", DataType::Int32, false), Field::new("name", DataType::Utf8, true));
        let columns = Columns::new([&id, &name], &["name".to_owned()]).unwrap();
        let check = |fields: Vec<Field>| columns.check(&Schema::new(fields), "Flight SQL at db:1");
        let of = |field: &Field, of| field.clone().with_data_type(of);
        assert!(check(vec![id.clone(), name.clone()]).is_ok());
        let dictionary = DataType::Dictionary(Box::new(DataType::Int8), Box::new(DataType::Int32));
        assert!(check(vec![of(&id, dictionary), of(&name, DataType::Date32)]).is_ok());
        for (fields, why) in [
            (vec![id.clone()], "1 columns in the place of 2"),
            (vec![name.clone(), id.clone()], "`name` in the place of `id`"),
            (vec![of(&id, DataType::Int64), name], "`id` is Int64 in the place of Int32"),
        ] {
            let error = check(fields).unwrap_err();
            assert_eq!(error.code(), ErrorCode::SourceInvalid);
            assert!(error.message().contains(why), "{error}");
        }
    }

    #[test]
    fn a_large_batch_is_divided_and_a_forbidden_null_is_named() {
        let schema =
            |is_nullable| Arc::new(Schema::new(vec![Field::new("id", DataType::Int32, is_nullable)]));
        let rows = i32::try_from(BATCH_ROWS * 2 + 1).unwrap();
        let ids: ArrayRef = Arc::new(Int32Array::from_iter_values(0..rows));
        let batch = RecordBatch::try_new(schema(true), vec![ids]).unwrap();
        let columns = Columns::new([schema(false).field(0)], &[]).unwrap();
        let pieces = columns.pieces(&batch, "here").unwrap();
        assert_eq!(pieces.iter().map(RecordBatch::num_rows).collect::<Vec<_>>(), [BATCH_ROWS, BATCH_ROWS, 1]);
        let null: ArrayRef = Arc::new(Int32Array::from(vec![None]));
        let batch = RecordBatch::try_new(schema(true), vec![null]).unwrap();
        let error = columns.pieces(&batch, "here").unwrap_err();
        assert!(error.code() == ErrorCode::SourceInvalid && error.message().contains("id"), "{error}");
        let texts = Columns::new([schema(true).field(0)], &["id".to_owned()]).unwrap();
        let number: ArrayRef = Arc::new(Int32Array::from(vec![Some(-7), None]));
        let batch = RecordBatch::try_new(schema(true), vec![number]).unwrap();
        let shown = texts.pieces(&batch, "here").unwrap();
        assert_eq!(shown[0].column(0).as_ref(), &StringArray::from(vec![Some("-7"), None]));
    }
}
