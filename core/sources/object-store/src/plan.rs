//! What a relation is at the moment: its files, its columns, and how they come from the files.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::compute::can_cast_types;
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use pillion::source::Part;
use pillion::texts::InferredType;
use pillion::{Error, ErrorCode, Result};

use crate::formats::{Looked, Reading};
use crate::hive::Folders;
use crate::marks;
use crate::options::Options;
use crate::reconcile::{Reconciled, decoded, holds};
use crate::store::{Found, Store};

/// Files and columns of a relation.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) files: Vec<Arc<Found>>,
    pub(crate) readings: Vec<Reading>,
    pub(crate) looked: Vec<Arc<Looked>>,
    pub(crate) folders: Folders,
    /// All columns.
    pub(crate) schema: SchemaRef,
    /// The types in which columns of files of texts are read.
    pub(crate) texts: Schema,
    pub(crate) options: Options,
}

impl Plan {
    /// # Errors
    /// [`ErrorCode::SchemaMismatch`], [`ErrorCode::UnsupportedType`], [`ErrorCode::ColumnNotFound`].
    pub(crate) fn new(
        store: &Store,
        files: Vec<Arc<Found>>,
        readings: Vec<Reading>,
        looked: Vec<Arc<Looked>>,
        options: Options,
    ) -> Result<Self> {
        let paths: Vec<&str> = files.iter().map(|file| file.path.as_str()).collect();
        let folders = Folders::of(&paths, &options)?;
        let texts = text_columns(&looked, &options);
        let mut reconciled = Reconciled::default();
        for (file, looked) in files.iter().zip(&looked) {
            let is_text =
                |name: &str| options.is_as_text(name) || options.is_left_out(name) || folders.has(name);
            let name = store.name_of(&file.path);
            match &**looked {
                Looked::Declared(schema, _) => reconciled.add(&name, schema, is_text)?,
                Looked::Texts(columns) => {
                    let fields =
                        columns.iter().filter_map(|(name, _)| texts.field_with_name(name).ok().cloned());
                    reconciled.add(&name, &Schema::new(fields.collect::<Vec<_>>()), is_text)?;
                }
            }
        }
        let found = reconciled.schema();
        let names = found.fields().iter().chain(folders.schema().fields()).map(|field| field.name().clone());
        let names: Vec<String> = names.collect();
        if files.is_empty() {
            let fields = options.types.iter().map(|(name, of)| Field::new(name, of.clone(), true));
            let schema = Schema::new(fields.collect::<Vec<_>>()).into();
            return Ok(Self { files, readings, looked, folders, schema, texts, options });
        }
        options.check_names(&names)?;
        let of_files = found.fields().iter().filter(|field| !folders.has(field.name()));
        let all =
            of_files.chain(folders.schema().fields()).filter(|field| !options.is_left_out(field.name()));
        let fields: Vec<FieldRef> = all.map(|field| typed(field, &options)).collect::<Result<_>>()?;
        if fields.is_empty() {
            let message = format!("`{}` has no columns", store.name_of(&files[0].path));
            return Err(Error::new(ErrorCode::SourceInvalid, message));
        }
        Ok(Self { files, readings, looked, folders, schema: Schema::new(fields).into(), texts, options })
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.meta.size).sum()
    }

    /// How many rows there are, if all files say that.
    pub(crate) fn rows(&self) -> Option<u64> {
        let rows = |looked: &Arc<Looked>| match &**looked {
            Looked::Declared(_, rows) => *rows,
            Looked::Texts(columns) if columns.is_empty() => Some(0),
            Looked::Texts(_) => None,
        };
        self.looked.iter().map(rows).sum()
    }

    /// The parts, each with the numbers of its files: the files of equal values in the names of folders, or each file.
    ///
    /// # Errors
    /// [`ErrorCode::Internal`].
    pub(crate) fn parts(&self) -> Result<Vec<(Part, Vec<usize>)>> {
        let is_shown =
            !self.folders.schema().fields().iter().any(|field| self.options.is_left_out(field.name()));
        let mut groups: BTreeMap<String, Group> = BTreeMap::new();
        for (index, file) in self.files.iter().enumerate() {
            let values = self.folders.texts(index)?;
            let name = if values.is_empty() { file.path.clone() } else { name_of(&values) };
            let values = if is_shown { values } else { Vec::new() };
            groups.entry(name).or_insert_with(|| (values, Vec::new())).1.push(index);
        }
        let part = |(name, (values, files)): (String, Group)| {
            let mark = marks::of(files.iter().map(|index| &*self.files[*index]));
            (Part { name, mark, values }, files)
        };
        Ok(groups.into_iter().map(part).collect())
    }
}

/// Values of columns that the names of folders give, and the files with them.
type Group = (Vec<(String, Option<String>)>, Vec<usize>);

/// The name of a part, such as `year=2013/month=1`. A null differs from every text.
fn name_of(values: &[(String, Option<String>)]) -> String {
    let pair = |(name, value): &(String, Option<String>)| match value {
        Some(value) => format!("{name}={}", value.replace('%', "%25").replace('/', "%2F")),
        None => format!("{name}=%"),
    };
    values.iter().map(pair).collect::<Vec<_>>().join("/")
}

/// Columns of all files of texts, with one type for all.
fn text_columns(looked: &[Arc<Looked>], options: &Options) -> Schema {
    let mut columns: Vec<(&str, InferredType)> = Vec::new();
    for looked in looked {
        let Looked::Texts(found) = &**looked else { continue };
        for (name, of) in found {
            match columns.iter_mut().find(|(known, _)| known == name) {
                Some((_, known)) => known.merge(of),
                None => columns.push((name, *of)),
            }
        }
    }
    let field = |(name, seen): (&str, InferredType)| {
        let as_text = options.is_as_text(name).then_some(DataType::Utf8);
        let of = as_text.or_else(|| options.type_of(name).cloned()).unwrap_or_else(|| seen.data_type());
        Field::new(name, of, true)
    };
    Schema::new(columns.into_iter().map(field).collect::<Vec<_>>())
}

/// A column with the type that the definition gives it, if that holds what the files have.
fn typed(field: &FieldRef, options: &Options) -> Result<FieldRef> {
    let found = field.data_type();
    let told = options.type_of(field.name()).filter(|_| !options.is_as_text(field.name()));
    let of = match told {
        Some(told) if !holds(told, found) => {
            let message = format!(
                "column `{}` is {found} in the files, and not every such value is one of {told}, which the option `types` gives",
                field.name()
            );
            return Err(Error::new(ErrorCode::SchemaMismatch, message));
        }
        Some(told) => told.clone(),
        None => found.clone(),
    };
    if let Some(why) = unstorable(&of) {
        let message = format!(
            "column `{}` has the type {of}, which tables do not have{why}: leave it out, or read it as text",
            field.name()
        );
        return Err(Error::new(ErrorCode::UnsupportedType, message));
    }
    Ok(Arc::new(Field::new(field.name(), of, field.is_nullable())))
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

/// Whether values of one type are read as another. Dictionaries, runs and views are decoded on the way.
pub(crate) fn is_readable(from: &DataType, to: &DataType) -> bool {
    from == to || can_cast_types(from, to) || can_cast_types(&decoded(from), to)
}
