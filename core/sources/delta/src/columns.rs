//! The columns of a table as Arrow has them.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef};
use delta_kernel::engine::arrow_conversion::TryIntoArrow;
use delta_kernel::schema::{DataType as DeltaType, PrimitiveType, SchemaRef as DeltaSchemaRef, StructField};
use pillion::source::Relation;
use pillion::{Error, ErrorCode, Result};

use crate::names::suggestion;

/// The columns of a relation, in the order of its table.
#[derive(Clone, Debug)]
pub(crate) struct Columns {
    shown: String,
    /// Those of the table.
    pub(crate) table: DeltaSchemaRef,
    columns: Vec<Column>,
}

#[derive(Clone, Debug)]
struct Column {
    name: String,
    data_type: std::result::Result<DataType, String>,
    is_nullable: bool,
    is_text: bool,
}

impl Columns {
    /// # Errors
    /// [`ErrorCode::ColumnNotFound`] for names of columns that the table does not have.
    pub(crate) fn new(shown: &str, table: &DeltaSchemaRef, relation: &Relation) -> Result<Self> {
        let column = |field: &StructField| {
            let is_text = relation.read_as_text().contains(field.name());
            Column {
                name: field.name().clone(),
                data_type: arrow_type(field.data_type()),
                is_nullable: field.is_nullable(),
                is_text,
            }
        };
        let columns = table.fields().map(column).collect();
        let mut all = Self { shown: shown.to_owned(), table: table.clone(), columns };
        for name in relation.left_out().iter().chain(relation.read_as_text()) {
            all.column(name)?;
        }
        all.columns.retain(|column| !relation.left_out().contains(&column.name));
        Ok(all)
    }

    /// The columns as they are fetched, all or those that are named.
    ///
    /// # Errors
    /// [`ErrorCode::ColumnNotFound`]; [`ErrorCode::UnsupportedType`].
    pub(crate) fn schema(&self, names: Option<&[String]>) -> Result<SchemaRef> {
        let field = |column: &Column| {
            let data_type = self.data_type(column)?;
            let data_type = if column.is_text { DataType::Utf8 } else { data_type };
            Ok(Field::new(&column.name, data_type, column.is_nullable))
        };
        let fields: Result<Vec<Field>> = match names {
            None => self.columns.iter().map(field).collect(),
            Some(names) => names.iter().map(|name| field(self.column(name)?)).collect(),
        };
        Ok(Arc::new(Schema::new(fields?)))
    }

    /// The type in which the table has a column, and whether it is read as text.
    ///
    /// # Errors
    /// As [`schema`](Self::schema).
    pub(crate) fn stored(&self, name: &str) -> Result<(DataType, bool)> {
        let column = self.column(name)?;
        Ok((self.data_type(column)?, column.is_text))
    }

    fn data_type(&self, column: &Column) -> Result<DataType> {
        column.data_type.clone().map_err(|why| {
            let message = format!("column `{}` of `{}` {why}: leave it out", column.name, self.shown);
            Error::new(ErrorCode::UnsupportedType, message)
        })
    }

    fn column(&self, name: &str) -> Result<&Column> {
        self.columns.iter().find(|column| column.name == name).ok_or_else(|| {
            let near = suggestion(name, self.columns.iter().map(|column| column.name.as_str()));
            Error::new(ErrorCode::ColumnNotFound, format!("`{}` has no column `{name}`{near}", self.shown))
        })
    }
}

/// The type of a column without what only the log of its table means.
fn arrow_type(data_type: &DeltaType) -> std::result::Result<DataType, String> {
    if let Some(refused) = refused(data_type) {
        return Err(format!("contains {refused}, which cannot be read"));
    }
    let data_type: std::result::Result<DataType, _> = data_type.try_into_arrow();
    data_type.map(|data_type| bare(&data_type)).map_err(|error| format!("cannot be read ({error})"))
}

/// What of a type has no counterpart here.
fn refused(data_type: &DeltaType) -> Option<&'static str> {
    match data_type {
        DeltaType::Variant(_) => Some("a Variant"),
        DeltaType::Primitive(PrimitiveType::IntervalYearMonth | PrimitiveType::IntervalDayTime) => {
            Some("an interval")
        }
        DeltaType::Primitive(_) => None,
        DeltaType::Array(list) => refused(list.element_type()),
        DeltaType::Struct(fields) => fields.fields().find_map(|field| refused(field.data_type())),
        DeltaType::Map(map) => refused(map.key_type()).or_else(|| refused(map.value_type())),
    }
}

/// A type without the metadata of its fields.
fn bare(data_type: &DataType) -> DataType {
    let field =
        |field: &Field| Arc::new(Field::new(field.name(), bare(field.data_type()), field.is_nullable()));
    match data_type {
        DataType::Struct(fields) => {
            DataType::Struct(fields.iter().map(|inner| field(inner)).collect::<Fields>())
        }
        DataType::List(inner) => DataType::List(field(inner)),
        DataType::Map(inner, is_sorted) => DataType::Map(field(inner), *is_sorted),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use delta_kernel::schema::{ArrayType, StructType};

    use super::*;

    fn columns(relation: &Relation) -> Result<Columns> {
        let tags = ArrayType::new(DeltaType::unshredded_variant(), true);
        let fields = [
            StructField::not_null("id", DeltaType::LONG).with_metadata([("delta.columnMapping.id", 1_i64)]),
            StructField::nullable("at", DeltaType::TIMESTAMP_NTZ),
            StructField::nullable("tags", DeltaType::from(tags)),
        ];
        let table = Arc::new(StructType::try_new(fields).unwrap());
        Columns::new("s3://b/t", &table, relation)
    }

    #[test]
    fn columns_are_those_of_arrow() {
        let all = columns(&Relation::table("t").leave_out(["tags"]).as_text(["at"])).unwrap();
        let schema = all.schema(None).unwrap();
        assert_eq!(schema.fields().len(), 2);
        assert_eq!(*schema.field(0), Field::new("id", DataType::Int64, false));
        assert_eq!(*schema.field(1), Field::new("at", DataType::Utf8, true));
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let all = columns(&Relation::table("t")).unwrap();
        let refused = all.schema(None).unwrap_err();
        assert_eq!(refused.code(), ErrorCode::UnsupportedType);
        assert!(refused.message().contains("`tags`") && refused.message().contains("Variant"), "{refused}");
        assert!(all.schema(Some(&["id".to_owned()])).is_ok(), "nobody asks for the others");
        let missing = columns(&Relation::table("t").leave_out(["idd"])).unwrap_err();
        assert_eq!(missing.code(), ErrorCode::ColumnNotFound);
        assert!(missing.message().contains("did you mean `id`?"));
    }
}
