//! What a relation is at the moment: its files, its columns, and how they come from the files.

use std::collections::BTreeMap;
use std::sync::Arc;

use pillion::Result;
use pillion::files::{FileColumns, FilePlan, FileReading, PlannedFile};
use pillion::source::Part;

use crate::marks;
use crate::options::Options;
use crate::store::{Found, Store};

/// Files and columns of a relation.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) files: Vec<Arc<Found>>,
    pub(crate) readings: Vec<FileReading>,
    pub(crate) columns: Arc<FilePlan>,
    /// Whether all columns in the names of folders are columns of the relation.
    shows_folders: bool,
}

impl Plan {
    /// # Errors
    /// [`SchemaMismatch`](pillion::ErrorCode::SchemaMismatch), [`UnsupportedType`](pillion::ErrorCode::UnsupportedType),
    /// [`ColumnNotFound`](pillion::ErrorCode::ColumnNotFound), [`SourceInvalid`](pillion::ErrorCode::SourceInvalid).
    pub(crate) fn new(
        store: &Store,
        files: Vec<Arc<Found>>,
        readings: Vec<FileReading>,
        looked: Vec<Arc<FileColumns>>,
        options: Options,
    ) -> Result<Self> {
        let planned = files.iter().zip(looked).map(|(file, columns)| PlannedFile {
            path: file.path.clone(),
            name: store.name_of(&file.path),
            columns,
        });
        let columns = Arc::new(FilePlan::new(planned.collect(), options.files)?);
        let folders = columns.folder_columns().fields().iter();
        let shows_folders =
            folders.into_iter().all(|folder| columns.schema().column_with_name(folder.name()).is_some());
        Ok(Self { files, readings, columns, shows_folders })
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.meta.size).sum()
    }

    /// The parts, each with the numbers of its files: the files of equal values in the names of folders, or each file.
    ///
    /// # Errors
    /// [`Internal`](pillion::ErrorCode::Internal).
    pub(crate) fn parts(&self) -> Result<Vec<(Part, Vec<usize>)>> {
        let mut groups: BTreeMap<String, Group> = BTreeMap::new();
        for (index, file) in self.files.iter().enumerate() {
            let values = self.columns.folder_values(index)?;
            let name = if values.is_empty() { file.path.clone() } else { name_of(&values) };
            let values = if self.shows_folders { values } else { Vec::new() };
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
