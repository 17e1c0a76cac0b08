//! A PostgreSQL server as a source.

use std::sync::Arc;

use pillion::source::{
    Call, Capabilities, Changes, Description, FeedCheck, FeedSnapshot, Fetch, Fetched, Follow, Followed,
    Kept, Relation, Source,
};
use pillion::{Error, ErrorCode, Result};
use pillion_connect::Runtime;

use crate::catalog;
use crate::decode::RowDecoder;
use crate::feed;
use crate::options::PostgresOptions;
use crate::plan;
use crate::rows::Rows;
use crate::session::Session;

/// A database on a PostgreSQL server. Clones share a thread for their connections; every call has a connection of its
/// own, which ends with it.
///
/// The [crate's documentation](crate) says what is fetched, and in which types.
#[derive(Clone, Debug)]
pub struct Postgres {
    options: Arc<PostgresOptions>,
    runtime: Arc<Runtime>,
}

impl Postgres {
    /// The database of a [URL](PostgresOptions::from_url). Nothing is connected yet.
    ///
    /// # Errors
    /// [`InvalidArgument`](ErrorCode::InvalidArgument) for a URL that cannot be used, [`Io`](ErrorCode::Io) if the thread of
    /// connections cannot be started.
    pub fn from_url(url: &str) -> Result<Self> {
        PostgresOptions::from_url(url)?.build()
    }

    pub(crate) fn new(options: PostgresOptions) -> Result<Self> {
        Ok(Self { options: Arc::new(options), runtime: Runtime::start("PostgreSQL", "pillion-postgres")? })
    }

    pub(crate) fn options(&self) -> &Arc<PostgresOptions> {
        &self.options
    }

    pub(crate) fn runtime(&self) -> &Arc<Runtime> {
        &self.runtime
    }

    async fn session(self) -> Result<Session> {
        Session::open(self.options, self.runtime).await
    }
}

impl Source for Postgres {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            relations: true,
            columns: true,
            conditions: true,
            positions: true,
            keys: true,
            clock: true,
            changes: true,
            dialect: Some("postgresql"),
            ..Capabilities::default()
        }
    }

    fn identity(&self) -> Option<String> {
        Some(self.options.place())
    }

    fn relations(&self, call: &Call) -> Result<Vec<String>> {
        let source = self.clone();
        self.runtime.run(call, async move {
            let session = source.session().await?;
            let names = catalog::names(&session).await;
            session.done();
            names
        })
    }

    fn describe(&self, relation: &Relation, call: &Call) -> Result<Description> {
        let (source, relation) = (self.clone(), relation.clone());
        self.runtime.run(call, async move {
            let session = source.session().await?;
            let description = describe(&session, &relation).await;
            session.done();
            description
        })
    }

    fn fetch(&self, fetch: &Fetch, call: &Call) -> Result<Fetched> {
        if fetch.wanted_parts().is_some() {
            return Err(Error::new(
                ErrorCode::Unsupported,
                "relations of PostgreSQL have no parts to fetch alone",
            ));
        }
        fetched(self, fetch, None, call)
    }

    fn snapshot(&self, follow: &Follow, call: &Call) -> Result<Box<dyn FeedSnapshot>> {
        feed::snapshot(self, follow, call)
    }

    fn changes(&self, follow: &Follow, columns: &[Followed], after: &[u8], call: &Call) -> Result<Changes> {
        feed::changes(self, follow, columns, after, call)
    }

    fn newest_position(&self, call: &Call) -> Result<Vec<u8>> {
        feed::newest_position(self, call)
    }

    fn behind(&self, position: &[u8], wanted: &[u8]) -> Result<u64> {
        feed::behind(position, wanted)
    }

    fn position_text(&self, position: &[u8]) -> Option<String> {
        feed::position_text(position)
    }

    fn forget(&self, follow: &Follow, call: &Call) -> Result<()> {
        feed::forget(self, follow, call)
    }

    fn kept(&self, call: &Call) -> Result<Vec<Kept>> {
        feed::kept(self, call)
    }

    fn check(
        &self,
        relation: &Relation,
        columns: &[String],
        key: &[String],
        fed: Option<(&[u8], usize)>,
        call: &Call,
    ) -> Result<Box<dyn FeedCheck>> {
        feed::check(self, relation, columns, key, fed, call)
    }
}

/// Begins to fetch rows as they are now, or as they are in a snapshot.
pub(crate) fn fetched(
    source: &Postgres,
    fetch: &Fetch,
    snapshot: Option<String>,
    call: &Call,
) -> Result<Fetched> {
    let (of_work, fetch, of_rows) = (source.clone(), fetch.clone(), call.clone());
    source.runtime.run(call, async move {
        let runtime = of_work.runtime.clone();
        let session = of_work.session().await?;
        match begin(&session, &fetch, snapshot.as_deref()).await {
            Ok(begun) => Ok(begun.fetched(session, &of_rows, runtime)),
            Err(error) => {
                session.done();
                Err(error)
            }
        }
    })
}

async fn describe(session: &Session, relation: &Relation) -> Result<Description> {
    session.begin(None).await?;
    let shape = plan::shape_of(session, relation).await?;
    let mut description = Description::new(shape.select(relation, relation.only_columns())?.schema);
    if let Some(rows) = shape.rows {
        description = description.rows(rows);
    }
    if let Some(bytes) = shape.bytes {
        description = description.bytes(bytes);
    }
    Ok(description)
}

/// A `COPY` that the server began.
struct Begun {
    moment: Option<std::time::SystemTime>,
    selection: plan::Selection,
    stream: tokio_postgres::CopyOutStream,
}

async fn begin(session: &Session, fetch: &Fetch, snapshot: Option<&str>) -> Result<Begun> {
    let moment = session.begin(snapshot).await?;
    let shape = plan::shape_of(session, fetch.relation()).await?;
    let mut selection = shape.select(fetch.relation(), fetch.wanted_columns())?;
    let list = std::mem::take(&mut selection.list);
    let copy = shape.copy(session, &list, fetch).await?;
    let stream = session.client()?.copy_out(&copy).await.map_err(|error| session.failure(error))?;
    Ok(Begun { moment, selection, stream })
}

impl Begun {
    fn fetched(self, session: Session, call: &Call, runtime: Arc<Runtime>) -> Fetched {
        let schema = self.selection.schema;
        let decoder = RowDecoder::new(schema.clone(), self.selection.cells, session.place().into());
        let fetched = Fetched::new(schema, Rows::start(session, self.stream, decoder, call, runtime));
        match self.moment {
            Some(moment) => fetched.as_of(moment),
            None => fetched,
        }
    }
}
