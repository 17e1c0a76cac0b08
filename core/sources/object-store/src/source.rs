//! Files as a source.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use pillion::files::FileReading;
use pillion::source::{Call, Capabilities, Changed, Description, Fetch, Fetched, Relation, Source, Watch};
use pillion::{Error, ErrorCode, Result};

use crate::batches::Batches;
use crate::folder::Folder;
use crate::known::{Known, Looker};
use crate::location::Location;
use crate::marks;
use crate::names::suggestion;
use crate::options::Options;
use crate::pattern::Pattern;
use crate::plan::Plan;
use crate::store::{Found, Store, nothing_matches};

/// The most names that are listed.
const RELATIONS_MAX: usize = 1000;

/// Files on object storage, on an HTTP server or on disk. See the crate for what it reads and how.
#[derive(Debug)]
pub struct ObjectStoreSource {
    folder: Folder,
    known: Known,
}

impl ObjectStoreSource {
    /// A source of the files of a location, which is reached when the source is asked for something.
    ///
    /// # Errors
    /// [`InvalidArgument`](ErrorCode::InvalidArgument) for an unknown kind of URL or option;
    /// [`Unsupported`](ErrorCode::Unsupported) for a kind of URL whose feature this build does not have.
    pub fn new(location: Location) -> Result<Self> {
        Ok(Self { folder: Folder::new(location)?, known: Known::default() })
    }

    /// The files of a relation, from one listing.
    fn list(&self, relation: &Relation, call: &Call) -> Result<(Store, Options, Vec<Arc<Found>>)> {
        if relation.is_statement() {
            return Err(Error::new(
                ErrorCode::Unsupported,
                "files answer no statements: name a pattern of files",
            ));
        }
        let options = Options::of(relation)?;
        let pattern = Pattern::new(relation.text())?;
        let store = self.folder.store()?;
        let files = self.folder.driver().run(call, store.clone().list(pattern.clone()))?;
        if files.is_empty() {
            self.check_empty(&store, &pattern, &options, call)?;
        }
        Ok((store, options, files.into_iter().map(Arc::new).collect()))
    }

    fn plan(&self, relation: &Relation, call: &Call) -> Result<(Store, Plan)> {
        let (store, options, files) = self.list(relation, call)?;
        let readings = files
            .iter()
            .map(|file| FileReading::of(&file.path, &options.files))
            .collect::<Result<Vec<_>>>()?;
        let looker = Looker {
            known: &self.known,
            store: &store,
            driver: self.folder.driver(),
            call,
            options: &options.files,
        };
        let looked = looker.look(&files, &readings)?;
        let plan = Plan::new(&store, files, readings, looked, options)?;
        Ok((store, plan))
    }

    fn check_empty(&self, store: &Store, pattern: &Pattern, options: &Options, call: &Call) -> Result<()> {
        if !options.may_be_empty {
            let top = self.folder.driver().run(call, store.clone().top()).unwrap_or_default();
            return Err(nothing_matches(store, pattern, &top));
        }
        if options.files.given_types().is_empty() {
            let message = format!(
                "no file matches `{}`, so no file says what the columns are: name them in the option `types`",
                store.name_of(pattern.text())
            );
            return Err(Error::new(ErrorCode::SourceNotFound, message));
        }
        Ok(())
    }
}

impl Source for ObjectStoreSource {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            relations: true,
            columns: true,
            marks: true,
            parts: true,
            watch: self.folder.is_watched(),
            ..Capabilities::default()
        }
    }

    fn identity(&self) -> Option<String> {
        Some(self.folder.place())
    }

    /// Files and folders at the top, the latter with `/` at their ends; at most 1,000.
    fn relations(&self, call: &Call) -> Result<Vec<String>> {
        let mut names = self.folder.driver().run(call, self.folder.store()?.top())?;
        names.truncate(RELATIONS_MAX);
        Ok(names)
    }

    /// From one listing: reads no file.
    fn mark(&self, relation: &Relation, call: &Call) -> Result<Option<Vec<u8>>> {
        let (_, _, files) = self.list(relation, call)?;
        Ok(Some(marks::of(files.iter().map(|file| &**file))))
    }

    fn describe(&self, relation: &Relation, call: &Call) -> Result<Description> {
        let (_, plan) = self.plan(relation, call)?;
        let parts = plan.parts()?.into_iter().map(|(part, _)| part).collect();
        let description = Description::new(plan.columns.schema().clone())
            .bytes(plan.bytes())
            .mark(marks::of(plan.files.iter().map(|file| &**file)))
            .parts(parts);
        Ok(match plan.columns.rows() {
            Some(rows) => description.rows(rows),
            None => description,
        })
    }

    fn watch(&self, relation: &Relation, changed: Changed) -> Result<Watch> {
        let pattern = Pattern::new(relation.text())?;
        match pattern.path() {
            Some(file) => {
                let folder = file.rsplit_once('/').map_or("", |(folder, _)| folder);
                self.folder.watch(folder, false, changed)
            }
            None => self.folder.watch(pattern.folder(), true, changed),
        }
    }

    fn fetch(&self, fetch: &Fetch, call: &Call) -> Result<Fetched> {
        let is_of_rows = fetch.wanted_condition().is_some() || fetch.wanted_keys().is_some();
        if is_of_rows || fetch.from_position().is_some() {
            let message =
                "files are fetched as a whole or in parts, not by a condition, by keys or from a position";
            return Err(Error::new(ErrorCode::Unsupported, message));
        }
        let (store, plan) = self.plan(fetch.relation(), call)?;
        let schema = match fetch.wanted_columns() {
            Some(columns) => projected(&plan, columns)?,
            None => plan.columns.schema().clone(),
        };
        let files = match fetch.wanted_parts() {
            Some(parts) => files_of(&plan, parts)?,
            None => (0..plan.files.len()).collect(),
        };
        let mark = marks::of(plan.files.iter().map(|file| &**file));
        let batches = Batches::new(
            Arc::new(plan),
            schema.clone(),
            store,
            self.folder.driver().clone(),
            call.clone(),
            files,
        );
        let fetched = Fetched::new(schema, batches);
        // The mark is that of all rows.
        Ok(if fetch.wanted_parts().is_none() { fetched.mark(mark) } else { fetched })
    }
}

fn projected(plan: &Plan, columns: &[String]) -> Result<SchemaRef> {
    let field = |name: &String| match plan.columns.schema().column_with_name(name) {
        Some((index, _)) => Ok(plan.columns.schema().fields()[index].clone()),
        None => {
            let near =
                suggestion(name, plan.columns.schema().fields().iter().map(|field| field.name().as_str()));
            Err(Error::new(ErrorCode::ColumnNotFound, format!("the files have no column `{name}`{near}")))
        }
    };
    Ok(Arc::new(Schema::new(columns.iter().map(field).collect::<Result<Vec<_>>>()?)))
}

/// The files of parts, in the order of their names.
fn files_of(plan: &Plan, parts: &[String]) -> Result<Vec<usize>> {
    let known = plan.parts()?;
    let mut files = BTreeSet::new();
    for wanted in parts {
        match known.iter().find(|(part, _)| part.name == *wanted) {
            Some((_, of_part)) => files.extend(of_part),
            None => {
                let message = format!("no file is of the part `{wanted}` any more");
                return Err(Error::new(ErrorCode::SourceNotFound, message));
            }
        }
    }
    Ok(files.into_iter().collect())
}
