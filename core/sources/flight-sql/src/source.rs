//! A Flight SQL server as a source.

use std::sync::{Arc, OnceLock};

use pillion::source::{Call, Capabilities, Description, Fetch, Fetched, Relation, Source};
use pillion::{Error, ErrorCode, Result};
use pillion_connect::Runtime;

use crate::catalog;
use crate::decode::Columns;
use crate::dialect::Quotes;
use crate::options::FlightSqlOptions;
use crate::plan::{Asked, Shape};
use crate::rows::Rows;
use crate::session::schema_of;
use crate::stream::Reader;

/// A Flight SQL server. Clones share a thread for their connections; every call has a connection of its own, which ends with
/// it.
///
/// The [crate's documentation](crate) says what is fetched, and in which types.
#[derive(Clone, Debug)]
pub struct FlightSql {
    options: Arc<FlightSqlOptions>,
    /// How the server quotes names, once it said so.
    quotes: Arc<OnceLock<Quotes>>,
    runtime: Arc<Runtime>,
}

impl FlightSql {
    /// The server of a [URL](FlightSqlOptions::from_url). Nothing is connected yet.
    ///
    /// # Errors
    /// [`InvalidArgument`](ErrorCode::InvalidArgument) for a URL that cannot be used, [`Io`](ErrorCode::Io) if the thread of
    /// connections cannot be started.
    pub fn from_url(url: &str) -> Result<Self> {
        FlightSqlOptions::from_url(url)?.build()
    }

    pub(crate) fn new(options: FlightSqlOptions) -> Result<Self> {
        Ok(Self {
            options: Arc::new(options),
            quotes: Arc::default(),
            runtime: Runtime::start("Flight SQL servers", "pillion-flight")?,
        })
    }

    /// Runs `work` with a connection until the call ends.
    fn run<T, F>(&self, call: &Call, work: impl FnOnce(Self, Reader) -> F + Send + 'static) -> Result<T>
    where
        T: Send + 'static,
        F: Future<Output = Result<T>> + Send + 'static,
    {
        let (source, of_reader) = (self.clone(), call.clone());
        let done = self.runtime.run(call, async move {
            let reader = Reader::open(source.options.clone(), of_reader).await?;
            work(source, reader).await
        });
        done.map_err(|error| match error.code() {
            ErrorCode::Timeout if !error.message().starts_with("Flight SQL at") => {
                error.context(format!("Flight SQL at {}", self.options.address))
            }
            _ => error,
        })
    }

    async fn shape(
        &self,
        reader: &mut Reader,
        relation: &Relation,
        condition: Option<&str>,
    ) -> Result<Shape> {
        let quotes = match self.quotes.get() {
            Some(known) => *known,
            None => match catalog::quotes(reader).await? {
                Some(told) => *self.quotes.get_or_init(|| told),
                None => Quotes::default(),
            },
        };
        Shape::of(reader, quotes, relation, condition).await
    }
}

impl Source for FlightSql {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            relations: true,
            columns: true,
            conditions: true,
            positions: true,
            dialect: Some("sql"),
            ..Capabilities::default()
        }
    }

    fn identity(&self) -> Option<String> {
        Some(self.options.address.to_string())
    }

    fn relations(&self, call: &Call) -> Result<Vec<String>> {
        self.run(call, |_, mut reader| async move { catalog::names(&mut reader).await })
    }

    fn describe(&self, relation: &Relation, call: &Call) -> Result<Description> {
        let relation = relation.clone();
        self.run(call, |source, mut reader| async move {
            let shape = source.shape(&mut reader, &relation, None).await?;
            Ok(Description::new(shape.select(&relation, relation.only_columns())?.schema))
        })
    }

    fn fetch(&self, fetch: &Fetch, call: &Call) -> Result<Fetched> {
        if fetch.wanted_parts().is_some() || fetch.wanted_keys().is_some() {
            let message = "relations of a Flight SQL server are not fetched by parts or by keys";
            return Err(Error::new(ErrorCode::Unsupported, message));
        }
        let (fetch, of_rows) = (fetch.clone(), call.clone());
        self.run(call, |source, mut reader| async move {
            let shape = source.shape(&mut reader, fetch.relation(), fetch.wanted_condition()).await?;
            let columns = shape.select(fetch.relation(), fetch.wanted_columns())?;
            let asked = shape.ask(reader.session(), &columns, &fetch).await?;
            check(&reader, &columns, &asked)?;
            let schema = columns.schema.clone();
            let rows = Rows::start(reader, asked, columns, &of_rows, source.runtime.clone());
            Ok(Fetched::new(schema, rows))
        })
    }
}

/// Compares the columns that the server announces for the rows with those that it announced for the relation.
fn check(reader: &Reader, columns: &Columns, asked: &Asked) -> Result<()> {
    let place = reader.session().failures().place();
    let announced = schema_of(asked.info.schema.clone()).map_err(|error| {
        let message = format!("{place}: the columns of the rows cannot be read");
        Error::new(ErrorCode::SourceInvalid, message).with_source(error)
    })?;
    if announced.fields().is_empty() { Ok(()) } else { columns.check(&announced, place) }
}
