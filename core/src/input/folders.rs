//! Columns that are in the names of folders: `year=2013/month=1/flights.parquet`.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::util::display::{ArrayFormatter, FormatOptions};

use super::csv::{InferredType, TextColumns, TextRows};
use super::options::FileOptions;
use crate::types::error::{Error, ErrorCode, Result};

/// What Hive writes for a null.
const NULL: &str = "__HIVE_DEFAULT_PARTITION__";

/// The columns in the names of folders, and the values that each file has of them.
#[derive(Debug)]
pub(super) struct Folders {
    schema: SchemaRef,
    /// A row for each file.
    values: RecordBatch,
}

impl Folders {
    /// The columns in the names of the folders of `paths`; `table` has their types if the rows go into a table.
    ///
    /// # Errors
    /// [`ErrorCode::SourceInvalid`] if files are in folders of different columns, or a value is not of the type that its
    /// column is given.
    pub(super) fn of(paths: &[&str], options: &FileOptions, table: Option<&SchemaRef>) -> Result<Self> {
        let none = || {
            Ok(Self {
                schema: Schema::empty().into(),
                values: RecordBatch::new_empty(Schema::empty().into()),
            })
        };
        let Some(first) = paths.first().filter(|_| options.folders) else { return none() };
        let names: Vec<String> = pairs(first).map(|(name, _)| name).collect();
        let mut rows = TextRows::new(names.len());
        for path in paths {
            let found: Vec<(String, Option<String>)> = pairs(path).collect();
            if found.iter().map(|(name, _)| name).ne(&names) {
                return Err(different(first, path));
            }
            rows.push(1, found.iter().map(|(_, value)| value.as_deref()));
        }
        if names.is_empty() {
            return none();
        }
        let mut inferred = vec![InferredType::default(); names.len()];
        InferredType::look_at(&mut inferred, &names, Path::new(first), &rows)?;
        let field = |(name, inferred): (&String, &InferredType)| {
            let held = table.and_then(|table| table.field_with_name(name).ok());
            let told = options.type_of(name).or_else(|| held.map(|field| field.data_type())).cloned();
            let as_text = options.is_as_text(name).then_some(DataType::Utf8);
            let seen =
                Some(inferred.data_type()).filter(|of| matches!(of, DataType::Int64 | DataType::Date32));
            Field::new(name, as_text.or(told).or(seen).unwrap_or(DataType::Utf8), true)
        };
        let schema: SchemaRef =
            Schema::new(names.iter().zip(&inferred).map(field).collect::<Vec<_>>()).into();
        let columns = TextColumns::new(schema.clone())?;
        match columns.convert(Path::new(first), &rows) {
            Ok(values) => Ok(Self { schema, values }),
            Err(error) => Err(first_wrong(&columns, paths).unwrap_or(error)),
        }
    }

    pub(super) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    pub(super) fn has(&self, column: &str) -> bool {
        self.schema.column_with_name(column).is_some()
    }

    /// The value of a file in a column, so many times.
    ///
    /// # Errors
    /// [`ErrorCode::Internal`].
    pub(super) fn column(&self, name: &str, file: usize, rows: usize) -> Result<ArrayRef> {
        let lost = || Error::new(ErrorCode::Internal, format!("the value of `{name}` was lost"));
        let column = self.values.column_by_name(name).ok_or_else(lost)?;
        let index = u32::try_from(file).map_err(|_| lost())?;
        let indices = UInt32Array::from_value(index, rows);
        take(column, &indices, None).map_err(|error| lost().with_source(error))
    }

    /// The values of a file as texts, by column: as the type shows them, so two spellings of one value are equal.
    ///
    /// # Errors
    /// [`ErrorCode::Internal`].
    pub(super) fn texts(&self, file: usize) -> Result<Vec<(String, Option<String>)>> {
        let options = FormatOptions::new();
        let text = |(field, column): (&Arc<Field>, &ArrayRef)| {
            let value = match column.is_null(file) {
                true => None,
                false => Some(ArrayFormatter::try_new(column, &options)?.value(file).try_to_string()?),
            };
            Ok((field.name().clone(), value))
        };
        let texts = self.schema.fields().iter().zip(self.values.columns()).map(text);
        texts.collect::<Result<_, arrow::error::ArrowError>>().map_err(|error| {
            Error::new(ErrorCode::Internal, "the value of a folder cannot be shown").with_source(error)
        })
    }
}

/// The error of the first file whose folders do not have values of their types.
fn first_wrong(columns: &TextColumns, paths: &[&str]) -> Option<Error> {
    paths.iter().find_map(|path| {
        let found: Vec<(String, Option<String>)> = pairs(path).collect();
        let mut rows = TextRows::new(found.len());
        rows.push(1, found.iter().map(|(_, value)| value.as_deref()));
        columns.convert(Path::new(path), &rows).err()
    })
}

/// Names and values of the folders of a file that have both.
fn pairs(path: &str) -> impl Iterator<Item = (String, Option<String>)> {
    let folders = path.rsplit_once('/').map_or("", |(folders, _)| folders);
    folders.split('/').filter_map(|folder| {
        let (name, value) = folder.split_once('=').filter(|(name, _)| !name.is_empty())?;
        Some((unescaped(name), (value != NULL).then(|| unescaped(value))))
    })
}

/// Hive escapes bytes as `%2F`. What is not such an escape stands for itself.
fn unescaped(text: &str) -> String {
    let digit = |byte: Option<&u8>| {
        byte.and_then(|byte| char::from(*byte).to_digit(16)).and_then(|digit| u8::try_from(digit).ok())
    };
    let (bytes, mut plain, mut at) = (text.as_bytes(), Vec::with_capacity(text.len()), 0);
    while let Some(byte) = bytes.get(at) {
        match (byte, digit(bytes.get(at + 1)), digit(bytes.get(at + 2))) {
            (b'%', Some(high), Some(low)) => {
                plain.push(high << 4 | low);
                at += 3;
            }
            _ => {
                plain.push(*byte);
                at += 1;
            }
        }
    }
    String::from_utf8(plain).unwrap_or_else(|_| text.to_owned())
}

fn different(first: &str, path: &str) -> Error {
    let names = |path: &str| {
        let names: Vec<String> = pairs(path).map(|(name, _)| name).collect();
        if names.is_empty() { "none".to_owned() } else { names.join(", ") }
    };
    let message = format!(
        "`{first}` and `{path}` have other columns in the names of their folders ({} and {}): narrow the pattern, or set \
         the option `hive` to `off`, so that folders are no columns",
        names(first),
        names(path)
    );
    Error::new(ErrorCode::SourceInvalid, message)
}

#[cfg(test)]
mod tests {
    use arrow::array::StringArray;

    use super::*;

    fn folders(paths: &[&str], options: &FileOptions) -> Result<Folders> {
        Folders::of(paths, options, None)
    }

    #[test]
    fn types_follow_from_all_values() {
        let paths = [
            "year=2013/day=2013-01-01/code=01/city=New%20York/a.csv",
            "year=__HIVE_DEFAULT_PARTITION__/day=2013-01-02/code=2/city=%zz/a.csv",
        ];
        let found = folders(&paths, &FileOptions::new()).unwrap();
        let types: Vec<&DataType> = found.schema().fields().iter().map(|field| field.data_type()).collect();
        assert_eq!(types, [&DataType::Int64, &DataType::Date32, &DataType::Utf8, &DataType::Utf8]);
        let texts = |file| found.texts(file).unwrap().into_iter().map(|(_, text)| text).collect::<Vec<_>>();
        assert_eq!(texts(0), ["2013", "2013-01-01", "01", "New York"].map(|text| Some(text.to_owned())));
        assert_eq!(
            texts(1),
            [None, Some("2013-01-02"), Some("2"), Some("%zz")].map(|text| text.map(str::to_owned))
        );
        assert_eq!(found.column("city", 0, 3).unwrap().as_ref(), &StringArray::from(vec!["New York"; 3]));
    }

    #[test]
    fn a_definition_gives_types_and_files_agree_on_columns() {
        let typed = FileOptions::new().types([("m", DataType::Int32)]);
        let found = folders(&["m=01/a.csv", "m=1/b.csv"], &typed).unwrap();
        assert_eq!(found.texts(0).unwrap(), found.texts(1).unwrap());
        assert_eq!(folders(&["m=x/a.csv"], &typed).unwrap_err().code(), ErrorCode::SourceInvalid);
        let error = folders(&["m=1/a.csv", "b.csv"], &typed).unwrap_err();
        assert_eq!(error.code(), ErrorCode::SourceInvalid);
        assert!(error.message().contains("(m and none)"), "{error}");
        let off = FileOptions::new().folders(false);
        assert!(folders(&["m=1/a.csv", "b.csv"], &off).unwrap().schema().fields().is_empty());
    }
}
