//! A MariaDB or MySQL server as a source.

use std::sync::Arc;
use std::time::SystemTime;

use pillion::source::{Call, Capabilities, Description, Fetch, Fetched, Relation, Source};
use pillion::{Error, ErrorCode, Result};
use pillion_connect::Runtime;

use crate::catalog;
use crate::decode::RowDecoder;
use crate::options::MySqlOptions;
use crate::plan;
use crate::rows::Rows;
use crate::session::Session;

/// A MariaDB or MySQL server. Clones share a thread for their connections; every call has a connection of its own, which
/// ends with it.
///
/// The [crate's documentation](crate) says what is fetched, and in which types.
#[derive(Clone, Debug)]
pub struct MySql {
    options: Arc<MySqlOptions>,
    runtime: Arc<Runtime>,
}

impl MySql {
    /// The server of a [URL](MySqlOptions::from_url). Nothing is connected yet.
    ///
    /// # Errors
    /// [`InvalidArgument`](ErrorCode::InvalidArgument) for a URL that cannot be used, [`Io`](ErrorCode::Io) if the thread of
    /// connections cannot be started.
    pub fn from_url(url: &str) -> Result<Self> {
        MySqlOptions::from_url(url)?.build()
    }

    pub(crate) fn new(options: MySqlOptions) -> Result<Self> {
        Ok(Self { options: Arc::new(options), runtime: Runtime::start("MySQL", "pillion-mysql")? })
    }

    async fn session(self) -> Result<Session> {
        Session::open(self.options, self.runtime).await
    }
}

impl Source for MySql {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            relations: true,
            columns: true,
            conditions: true,
            positions: true,
            clock: true,
            dialect: Some("mysql"),
            ..Capabilities::default()
        }
    }

    fn identity(&self) -> Option<String> {
        Some(self.options.place())
    }

    fn relations(&self, call: &Call) -> Result<Vec<String>> {
        let source = self.clone();
        self.runtime.run(call, async move {
            let mut session = source.session().await?;
            let names = catalog::names(&mut session).await;
            session.done();
            names
        })
    }

    fn describe(&self, relation: &Relation, call: &Call) -> Result<Description> {
        let (source, relation) = (self.clone(), relation.clone());
        self.runtime.run(call, async move {
            let mut session = source.session().await?;
            let description = describe(&mut session, &relation).await;
            session.done();
            description
        })
    }

    fn fetch(&self, fetch: &Fetch, call: &Call) -> Result<Fetched> {
        if fetch.wanted_parts().is_some() || fetch.wanted_keys().is_some() {
            return Err(Error::new(
                ErrorCode::Unsupported,
                "relations of MySQL are not fetched by parts or by keys",
            ));
        }
        let (source, fetch, of_rows) = (self.clone(), fetch.clone(), call.clone());
        self.runtime.run(call, async move {
            let runtime = source.runtime.clone();
            let mut session = source.session().await?;
            match begin(&mut session, &fetch).await {
                Ok(begun) => Ok(begun.fetched(session, &of_rows, runtime)),
                Err(error) => {
                    session.done();
                    Err(error)
                }
            }
        })
    }
}

async fn describe(session: &mut Session, relation: &Relation) -> Result<Description> {
    session.begin().await?;
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

/// A query whose rows the server began to send.
struct Begun {
    moment: Option<SystemTime>,
    selection: plan::Selection,
}

async fn begin(session: &mut Session, fetch: &Fetch) -> Result<Begun> {
    let moment = session.begin().await?;
    let shape = plan::shape_of(session, fetch.relation()).await?;
    let mut selection = shape.select(fetch.relation(), fetch.wanted_columns())?;
    let (list, schema) = (std::mem::take(&mut selection.list), selection.schema.clone());
    let query = shape.query(session, &list, fetch).await?;
    plan::execute(session, &query, &schema).await?;
    Ok(Begun { moment, selection })
}

impl Begun {
    fn fetched(self, session: Session, call: &Call, runtime: Arc<Runtime>) -> Fetched {
        let schema = self.selection.schema;
        let decoder = RowDecoder::new(schema.clone(), self.selection.cells, session.place().clone());
        let fetched = Fetched::new(schema, Rows::start(session, decoder, call, runtime));
        match self.moment {
            Some(moment) => fetched.as_of(moment),
            None => fetched,
        }
    }
}
