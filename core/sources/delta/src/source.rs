//! Tables of Delta Lake as a source.

use std::sync::Arc;

use delta_kernel::scan::state::ScanFile;
use pillion::source::{Call, Capabilities, Changed, Description, Fetch, Fetched, Relation, Source, Watch};
use pillion::{Error, ErrorCode, Result};
use pillion_object_store::{Files, Folder, Location};

use crate::engine::TableEngine;
use crate::head::{Head, head};
use crate::known::{Known, Wanted};
use crate::options::Options;
use crate::parts::parts;
use crate::paths::{LOG, Paths, in_folder, table_path};
use crate::position::Position;
use crate::ranges::predicate;
use crate::rows::{Reading, Rows};
use crate::table::{Table, bytes_of, rows_of, snapshot};

/// The most names that are listed.
const RELATIONS_MAX: usize = 1000;

/// Tables of Delta Lake in the folders below a location. See the crate for what it reads and how.
#[derive(Debug)]
pub struct DeltaSource {
    folder: Folder,
    known: Known,
}

impl DeltaSource {
    /// A source of the tables below a location, which is reached when the source is asked for something.
    ///
    /// # Errors
    /// [`InvalidArgument`](ErrorCode::InvalidArgument) for an unknown kind of URL or option;
    /// [`Unsupported`](ErrorCode::Unsupported) for a kind of URL whose feature this build does not have, and for servers that
    /// list no files.
    pub fn new(location: Location) -> Result<Self> {
        let folder = Folder::new(location)?;
        if folder.is_plain_http() {
            let message = "the log of a Delta table is found by listing its files, which HTTP servers do not do: \
                           use object storage or a folder";
            return Err(Error::new(ErrorCode::Unsupported, message));
        }
        Ok(Self { folder, known: Known::default() })
    }

    /// The version of a table that a relation means, from one listing.
    fn head(&self, relation: &Relation, call: &Call) -> Result<(Files, Wanted, Head)> {
        if relation.is_statement() {
            let message = "tables of Delta Lake answer no statements: name the folder of a table";
            return Err(Error::new(ErrorCode::Unsupported, message));
        }
        let wanted = (table_path(relation.text())?, Options::of(relation)?.version);
        let files = self.folder.files(call)?;
        let head = head(&files, &wanted.0, wanted.1, self.known.version(&wanted))?;
        self.known.note(&wanted, &head);
        Ok((files, wanted, head))
    }

    fn table(&self, relation: &Relation, call: &Call) -> Result<Table> {
        let (files, wanted, head) = self.head(relation, call)?;
        let shown = files.name_of(&wanted.0).trim_end_matches('/').to_owned();
        let engine = TableEngine { files, paths: Arc::new(Paths::new(&self.folder.url())?) };
        let snapshot = match self.known.snapshot(&wanted, &head) {
            Some(snapshot) => snapshot,
            None => {
                let root = engine.paths.folder_url(&wanted.0);
                let snapshot = snapshot(&engine, &shown, &root, head.version)?;
                self.known.keep(&wanted, &head, snapshot.clone());
                snapshot
            }
        };
        Table::new(engine, snapshot, head, shown, relation)
    }
}

impl Source for DeltaSource {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            relations: true,
            columns: true,
            positions: true,
            ranges: true,
            marks: true,
            parts: true,
            watch: self.folder.is_watched(),
            ..Capabilities::default()
        }
    }

    fn identity(&self) -> Option<String> {
        Some(format!("delta:{}", self.folder.place()))
    }

    /// The folders at the top that have a log, and `.` if the location itself has one; at most 1,000.
    fn relations(&self, call: &Call) -> Result<Vec<String>> {
        let files = self.folder.files(call)?;
        let mut names = files.folders_with(LOG, RELATIONS_MAX)?;
        if files.has_files(LOG)? {
            names.insert(0, ".".to_owned());
        }
        names.truncate(RELATIONS_MAX);
        Ok(names)
    }

    /// From one listing of the log: reads no file.
    fn mark(&self, relation: &Relation, call: &Call) -> Result<Option<Vec<u8>>> {
        Ok(Some(self.head(relation, call)?.2.mark))
    }

    fn describe(&self, relation: &Relation, call: &Call) -> Result<Description> {
        let table = self.table(relation, call)?;
        let schema = table.columns.schema(relation.only_columns())?;
        let files = table.files(&table.scan(|scan| Ok(scan.without_row_transforms()))?)?;
        let parts = parts(&table, &files).into_iter().map(|(part, _)| part).collect();
        let description = Description::new(schema).bytes(bytes_of(&files)).mark(table.head.mark).parts(parts);
        Ok(match rows_of(&files) {
            Some(rows) => description.rows(rows),
            None => description,
        })
    }

    fn fetch(&self, fetch: &Fetch, call: &Call) -> Result<Fetched> {
        if fetch.wanted_condition().is_some() || fetch.wanted_keys().is_some() {
            let message = "tables of Delta Lake are fetched as a whole, in parts or from a position, not by a condition \
                           or by keys";
            return Err(Error::new(ErrorCode::Unsupported, message));
        }
        let table = self.table(fetch.relation(), call)?;
        let schema = table.columns.schema(fetch.wanted_columns())?;
        let position = position(&table, fetch)?;
        let mut names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        if let Some(position) = &position
            && !names.contains(&position.column.as_str())
        {
            names.push(&position.column);
        }
        // All files of a part say what the part is, also those without a wanted row.
        let predicate = match fetch.wanted_parts() {
            None => predicate(&table, position.as_ref(), fetch.wanted_ranges()),
            Some(_) => None,
        };
        let scan = table.scan(|scan| {
            Ok(scan.with_schema(table.columns.table.project(&names)?).with_predicate(predicate))
        })?;
        let stored = schema.fields().iter().map(|field| table.columns.stored(field.name()));
        let stored = stored.collect::<Result<Vec<_>>>()?;
        let mut files = table.files(&scan)?;
        if let Some(wanted) = fetch.wanted_parts() {
            files = files_of(&table, files, wanted)?;
        }
        if position.as_ref().is_some_and(Position::is_beyond_all) {
            files.clear();
        }
        let mark = table.head.mark.clone();
        let (physical, logical) = (scan.physical_schema().clone(), scan.logical_schema().clone());
        let reading = Reading { table, physical, logical, schema: schema.clone(), stored, position };
        Ok(Fetched::new(schema, Rows::new(reading, files)).mark(mark))
    }

    fn watch(&self, relation: &Relation, changed: Changed) -> Result<Watch> {
        self.folder.watch(&in_folder(&table_path(relation.text())?, LOG), false, changed)
    }
}

fn position(table: &Table, fetch: &Fetch) -> Result<Option<Position>> {
    let Some(after) = fetch.from_position() else { return Ok(None) };
    let (data_type, _) = table.columns.stored(&after.column)?;
    Position::new(&after.column, &data_type, &after.value).map(Some)
}

/// The files of parts.
fn files_of(table: &Table, files: Vec<ScanFile>, wanted: &[String]) -> Result<Vec<ScanFile>> {
    let known = parts(table, &files);
    let mut is_wanted = vec![false; files.len()];
    for name in wanted {
        let Some((_, of_part)) = known.iter().find(|(part, _)| part.name == *name) else {
            let message = format!("`{}` has no part `{name}` any more", table.shown);
            return Err(Error::new(ErrorCode::SourceNotFound, message));
        };
        of_part.iter().for_each(|number| is_wanted[*number] = true);
    }
    let wanted = files.into_iter().zip(is_wanted).filter(|(_, is_wanted)| *is_wanted);
    Ok(wanted.map(|(file, _)| file).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A listing is enough for that: the commits are empty files.
    #[test]
    fn a_look_remembers_how_far_the_log_is() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("orders").join(LOG);
        std::fs::create_dir_all(&log).unwrap();
        let commit = |version: u64| std::fs::File::create(log.join(format!("{version:020}.json"))).unwrap();
        let source = DeltaSource::new(Location::new(dir.path().to_str().unwrap())).unwrap();
        let relation = Relation::table("orders");
        let wanted = ("orders".to_owned(), None);
        for version in 0..3 {
            commit(version);
            assert!(source.mark(&relation, &Call::new()).unwrap().is_some());
            assert_eq!(source.known.version(&wanted), Some(version));
        }
        std::fs::remove_dir_all(&log).unwrap();
        std::fs::create_dir_all(&log).unwrap();
        commit(0);
        assert!(source.mark(&relation, &Call::new()).unwrap().is_some());
        assert_eq!(source.known.version(&wanted), Some(0), "made anew");
    }
}
