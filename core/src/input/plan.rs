//! The columns of several files together, and how they come from each.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};

use super::csv::InferredType;
use super::folders::Folders;
use super::options::FileOptions;
use super::reading::FileColumns;
use super::reconcile::{Reconciled, holds, is_layout_of};
use super::storable::decoded;
use crate::types::error::{Error, ErrorCode, Result};

/// A file of a plan.
#[derive(Clone, Debug)]
pub struct PlannedFile {
    /// Its path, whose folders may be columns.
    pub path: String,
    /// How errors name it.
    pub name: String,
    /// What it says of its columns.
    pub columns: Arc<FileColumns>,
}

/// Files whose rows belong together, with the columns that they have in common.
///
/// Columns are matched by name, missing ones are null, added ones come last. Integers, floats, decimals, times and timestamps of
/// several widths, units and scales get one that holds all values. Columns in the names of folders come behind those of the files.
#[derive(Debug)]
pub struct FilePlan {
    pub(super) files: Vec<PlannedFile>,
    pub(super) folders: Folders,
    pub(super) schema: SchemaRef,
    /// The types in which columns of files of texts are read.
    pub(super) texts: Schema,
    pub(super) options: FileOptions,
}

impl FilePlan {
    /// # Errors
    /// [`SchemaMismatch`](ErrorCode::SchemaMismatch) for types that have none in common, with the files, the column and both
    /// types; [`UnsupportedType`](ErrorCode::UnsupportedType) for a column that tables cannot hold;
    /// [`ColumnNotFound`](ErrorCode::ColumnNotFound) if `options` name a column that no file has;
    /// [`SourceInvalid`](ErrorCode::SourceInvalid) if there is no column, or folders have other columns than others.
    pub fn new(files: Vec<PlannedFile>, options: FileOptions) -> Result<Self> {
        Self::for_table(files, options, None, false)
    }

    /// A plan for rows that go into a table: columns that lose nothing by it get its types. If the files `may_lack` columns, those
    /// of the table that none has are null.
    ///
    /// # Errors
    /// Those of [`new`](Self::new).
    pub(super) fn for_table(
        files: Vec<PlannedFile>,
        options: FileOptions,
        table: Option<&SchemaRef>,
        may_lack: bool,
    ) -> Result<Self> {
        let paths: Vec<&str> = files.iter().map(|file| file.path.as_str()).collect();
        let folders = Folders::of(&paths, &options, table)?;
        let is_text = |name: &str| options.is_as_text(name) || options.is_left_out(name) || folders.has(name);
        let texts = text_columns(&files, &options, table, &is_text)?;
        let mut reconciled = Reconciled::default();
        for file in &files {
            reconciled.add(&file.name, &of_file(file, &texts), is_text)?;
        }
        let found = reconciled.schema();
        let names = found.fields().iter().chain(folders.schema().fields()).map(|field| field.name().clone());
        let names: Vec<String> = names.collect();
        if files.is_empty() {
            let fields = options.given_types().iter().map(|(name, of)| Field::new(name, of.clone(), true));
            let schema = Schema::new(fields.collect::<Vec<_>>()).into();
            return Ok(Self { files, folders, schema, texts, options });
        }
        options.check_names(&names)?;
        let of_files = found.fields().iter().filter(|field| !folders.has(field.name()));
        let all =
            of_files.chain(folders.schema().fields()).filter(|field| !options.is_left_out(field.name()));
        let mut fields: Vec<FieldRef> =
            all.map(|field| typed(field, &options, table)).collect::<Result<_>>()?;
        if let Some(table) = table.filter(|_| may_lack) {
            let lacks = |field: &&FieldRef| field.is_nullable() && !names.contains(field.name());
            fields.extend(table.fields().iter().filter(lacks).cloned());
        }
        if fields.is_empty() {
            let message = format!("`{}` has no columns", files[0].name);
            return Err(Error::new(ErrorCode::SourceInvalid, message));
        }
        Ok(Self { files, folders, schema: Schema::new(fields).into(), texts, options })
    }

    /// All columns.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The columns that the names of folders give.
    pub fn folder_columns(&self) -> &SchemaRef {
        self.folders.schema()
    }

    /// The values of a file, by its number, in the columns that the names of folders give. Two spellings of one value are equal.
    ///
    /// # Errors
    /// [`Internal`](ErrorCode::Internal).
    pub fn folder_values(&self, file: usize) -> Result<Vec<(String, Option<String>)>> {
        self.folders.texts(file)
    }

    /// How many rows there are, if all files say that.
    pub fn rows(&self) -> Option<u64> {
        let rows = |file: &PlannedFile| match &*file.columns {
            FileColumns::Declared(_, rows) => *rows,
            FileColumns::Texts(columns) if columns.is_empty() => Some(0),
            FileColumns::Texts(_) => None,
        };
        self.files.iter().map(rows).sum()
    }
}

/// The columns that a file itself gives.
pub(super) fn of_file(file: &PlannedFile, texts: &Schema) -> SchemaRef {
    match &*file.columns {
        FileColumns::Declared(schema, _) => schema.clone(),
        FileColumns::Texts(columns) => {
            let fields = columns.iter().filter_map(|(name, _)| texts.field_with_name(name).ok().cloned());
            Arc::new(Schema::new(fields.collect::<Vec<_>>()))
        }
    }
}

/// Columns of all files of texts, with one type for all: the one that it is given, or that the table has, or that files declare
/// which are not texts, or that all texts are of.
fn text_columns(
    files: &[PlannedFile],
    options: &FileOptions,
    table: Option<&SchemaRef>,
    is_text: &dyn Fn(&str) -> bool,
) -> Result<Schema> {
    let (mut columns, mut declared): (Vec<(&str, InferredType)>, _) = (Vec::new(), Reconciled::default());
    for file in files {
        match &*file.columns {
            FileColumns::Declared(schema, _) => declared.add(&file.name, schema, is_text)?,
            FileColumns::Texts(found) => {
                for (name, of) in found {
                    match columns.iter_mut().find(|(known, _)| known == name) {
                        Some((_, known)) => known.merge(of),
                        None => columns.push((name, *of)),
                    }
                }
            }
        }
    }
    let declared = declared.schema();
    let field = |(name, seen): (&str, InferredType)| {
        if options.is_as_text(name) {
            return Field::new(name, DataType::Utf8, true);
        }
        if let Some(told) = options.type_of(name) {
            return Field::new(name, told.clone(), true);
        }
        if let Some(held) = table.and_then(|table| table.field_with_name(name).ok()) {
            return held.clone();
        }
        let declared = declared.field_with_name(name).ok().map(|field| field.data_type().clone());
        Field::new(name, declared.unwrap_or_else(|| seen.data_type()), true)
    };
    Ok(Schema::new(columns.into_iter().map(field).collect::<Vec<_>>()))
}

/// A column with the type that it is given, if that holds what the files have, or with that of the table.
fn typed(field: &FieldRef, options: &FileOptions, table: Option<&SchemaRef>) -> Result<FieldRef> {
    let found = field.data_type();
    let told = options.type_of(field.name()).filter(|_| !options.is_as_text(field.name()));
    let held = table.and_then(|table| table.field_with_name(field.name()).ok()).map(|held| held.data_type());
    // If the table cannot hold it, the load says so, with both types.
    let held = held
        .filter(|held| holds(held, found) || is_layout_of(held, found) || decoded(held) == decoded(found));
    let of = match (told, held) {
        (Some(told), _) if !holds(told, found) => {
            let message = format!(
                "column `{}` is {found} in the files, and not every such value is one of {told}, which it is given as its type",
                field.name()
            );
            return Err(Error::new(ErrorCode::SchemaMismatch, message));
        }
        (_, Some(held)) => held.clone(),
        (Some(told), None) => told.clone(),
        (None, None) => found.clone(),
    };
    if let Some(why) = unstorable(&of) {
        let message = format!(
            "column `{}` has the type {of}, which tables do not have{why}: leave it out, or read it as text",
            field.name()
        );
        return Err(Error::new(ErrorCode::UnsupportedType, message));
    }
    Ok(Arc::new(field.as_ref().clone().with_data_type(of)))
}

/// Whether a table cannot hold a type, and why.
fn unstorable(of: &DataType) -> Option<&'static str> {
    use DataType as T;
    match of {
        T::Union(..) => Some(""),
        T::FixedSizeBinary(..=0) => Some(" because its values have no bytes"),
        T::FixedSizeList(_, ..=0) => Some(" because its lists have no elements"),
        T::Timestamp(_, Some(zone)) if zone.is_empty() => Some(" because its time zone has no name"),
        T::List(field) | T::LargeList(field) | T::FixedSizeList(field, _) | T::Map(field, _) => {
            unstorable(field.data_type())
        }
        T::Struct(fields) => fields.iter().find_map(|field| unstorable(field.data_type())),
        _ => None,
    }
}
