//! A SQLite file as a source.

use std::path::PathBuf;
use std::sync::Arc;

use pillion::source::{Call, Capabilities, Description, Fetch, Fetched, Relation, Source};
use pillion::{Error, ErrorCode, Result};

use crate::catalog;
use crate::options::SqliteOptions;
use crate::rows;
use crate::session::Session;
use crate::shape;
use crate::worker::{self, Watch};

/// A SQLite file. Every call opens it on a thread of its own, reads one state of it, and closes it.
///
/// The [crate's documentation](crate) says what is fetched, and in which types.
#[derive(Clone, Debug)]
pub struct Sqlite {
    options: Arc<SqliteOptions>,
}

impl Sqlite {
    /// The tables of a file. It is opened when the source is asked for something.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        SqliteOptions::new(path).build()
    }

    /// The tables of the file of a [URL](SqliteOptions::from_url).
    ///
    /// # Errors
    /// [`InvalidArgument`](ErrorCode::InvalidArgument) for a URL that cannot be used.
    pub fn from_url(url: &str) -> Result<Self> {
        Ok(SqliteOptions::from_url(url)?.build())
    }

    pub(crate) fn with_options(options: SqliteOptions) -> Self {
        Self { options: Arc::new(options) }
    }

    /// Does something with one state of the file.
    fn read<T: Send + 'static>(
        &self,
        call: &Call,
        work: impl FnOnce(&Session) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let options = self.options.clone();
        worker::run(call, move |watch: &Watch| {
            let session = Session::open(&options, watch)?;
            let result = work(&session).map_err(|error| match watch.check() {
                // Whatever a call that ended was in the middle of.
                Err(end) => end,
                Ok(()) => session.explained(error),
            })?;
            session.check_unchanged()?;
            Ok(result)
        })
    }
}

impl Source for Sqlite {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            relations: true,
            columns: true,
            conditions: true,
            positions: true,
            marks: true,
            clock: true,
            dialect: Some("sqlite"),
            ..Capabilities::default()
        }
    }

    fn identity(&self) -> Option<String> {
        Some(self.options.place())
    }

    fn relations(&self, call: &Call) -> Result<Vec<String>> {
        self.read(call, catalog::names)
    }

    fn describe(&self, relation: &Relation, call: &Call) -> Result<Description> {
        let relation = relation.clone();
        self.read(call, move |session| {
            let shape = shape::shape_of(session, &relation)?;
            let mut description = Description::new(shape.schema(relation.only_columns())?);
            if let Some(rows) = shape.rows {
                description = description.rows(rows);
            }
            if !shape.is_changing {
                description = description.mark(session.mark());
            }
            Ok(description)
        })
    }

    fn fetch(&self, fetch: &Fetch, call: &Call) -> Result<Fetched> {
        if fetch.wanted_parts().is_some() || fetch.wanted_keys().is_some() {
            let message = "relations of SQLite are not fetched by parts or by keys";
            return Err(Error::new(ErrorCode::Unsupported, message));
        }
        rows::fetch(self.options.clone(), fetch.clone(), call)
    }
}
