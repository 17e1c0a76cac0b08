//! Changes of tables, as Pillion asks a source for them.

mod catalog;
mod changes;
mod check;
mod kept;
mod position;
mod publish;
mod pump;
mod row_changes;
mod snapshot;
mod table;

use std::sync::Arc;
use std::time::Duration;

use pillion::source::{Call, Changes, FeedSnapshot, Follow, Followed, Relation};
use pillion::{Error, ErrorCode, Result};

use self::changes::PostgresChanges;
pub(crate) use self::check::check;
pub(crate) use self::kept::kept;
use self::position::LogPosition;
use self::snapshot::{Exported, PostgresSnapshot};
use self::table::FollowedTable;
use crate::replication::{Connection, PublicationName, SlotName, Started};
use crate::session::Session;
use crate::source::Postgres;

/// From this version on a server sends values in binary form, the only one in which they are read.
const VERSION_MIN: u32 = 14;
/// How long a server may take until a slot is there. It is less than the call allows, so that there is time to say what it waits for.
const SLOT_TIMEOUT: Duration = Duration::from_secs(60);

/// The end of the log that is on the server's disk: every transaction that was committed durably is before it.
const NEWEST: &str = "SELECT (CASE WHEN pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_last_wal_replay_lsn() \
    ELSE pg_catalog.pg_current_wal_flush_lsn() END)::pg_catalog.text";

/// The names of a follower at the server.
#[derive(Clone, Debug)]
struct Names {
    slot: SlotName,
    publication: PublicationName,
    /// Somebody else made the publication, and looks after it.
    is_given: bool,
}

impl Names {
    fn of(follow: &Follow) -> Result<Self> {
        if follow.relations().is_empty() {
            return Err(Error::new(ErrorCode::InvalidArgument, "no relation is to be followed"));
        }
        Ok(Self {
            slot: SlotName::new(follow.name())?,
            publication: PublicationName::new(follow.given_publication().unwrap_or_else(|| follow.name()))?,
            is_given: follow.given_publication().is_some(),
        })
    }
}

/// See [`Source::snapshot`](pillion::source::Source::snapshot).
pub(crate) fn snapshot(source: &Postgres, follow: &Follow, call: &Call) -> Result<Box<dyn FeedSnapshot>> {
    let (names, follow, of_work) = (Names::of(follow)?, follow.clone(), source.clone());
    let limit = call.remaining().map_or(SLOT_TIMEOUT, |left| left.mul_f64(0.75).min(SLOT_TIMEOUT));
    let made = source.runtime().run(call, async move {
        let session = Session::open(of_work.options().clone(), of_work.runtime().clone()).await?;
        let moment = session.clock().await?;
        // The locks stay until the rows are fetched: a table that is rewritten meanwhile would seem empty.
        let tables = match table::lock_and_describe(&session, follow.relations()).await {
            Ok(tables) => tables,
            Err(error) => {
                session.done();
                return Err(error);
            }
        };
        publish::ensure(of_work.options(), of_work.runtime(), &names, &tables).await?;
        let mut connection = open(&of_work).await?;
        let system = connection.system().await?;
        connection.drop_slot(&names.slot).await?;
        let created = connection.create_slot(&names.slot, limit, of_work.options()).await;
        let created = created?;
        let numbers = tables.iter().map(|table| table.table.oid).collect();
        let position =
            LogPosition { identifier: system.identifier, lsn: created.consistent, tables: numbers };
        let snapshot = Exported { locks: session, exporter: connection, name: created.snapshot, moment };
        Ok(PostgresSnapshot::new(of_work, snapshot, follow, tables, &position))
    })?;
    Ok(Box::new(made))
}

/// See [`Source::changes`](pillion::source::Source::changes).
pub(crate) fn changes(
    source: &Postgres,
    follow: &Follow,
    columns: &[Followed],
    after: &[u8],
    call: &Call,
) -> Result<Changes> {
    let names = Names::of(follow)?;
    let after = LogPosition::decode(after)?;
    if [columns.len(), after.tables.len()] != [follow.relations().len(); 2] {
        let message = "the position and the columns are those of other relations than are followed";
        return Err(Error::new(ErrorCode::InvalidArgument, message));
    }
    let (of_work, relations, columns) = (source.clone(), follow.relations().to_vec(), columns.to_vec());
    let (place, position) = (names.slot.as_str().to_owned(), after.clone());
    let (tables, started) = source.runtime().run(call, async move {
        let session = Session::open(of_work.options().clone(), of_work.runtime().clone()).await?;
        let tables = compare(&session, &names, &relations, &columns, &after.tables).await;
        session.done();
        let tables = tables?;
        let connection = open(&of_work).await?;
        let started = connection.start(&names.slot, &names.publication, after.identifier, after.lsn).await?;
        Ok((tables, started))
    })?;
    Ok(match started {
        Started::Lost(why) => Changes::Lost(why),
        Started::Stream(stream) => {
            let runtime = source.runtime().clone();
            Changes::Feed(Box::new(PostgresChanges::start(stream, tables, position, place, runtime)))
        }
    })
}

/// See [`Source::newest_position`](pillion::source::Source::newest_position). A text: it is of this server, whichever that is.
pub(crate) fn newest_position(source: &Postgres, call: &Call) -> Result<Vec<u8>> {
    let of_work = source.clone();
    source.runtime().run(call, async move {
        let session = Session::open(of_work.options().clone(), of_work.runtime().clone()).await?;
        let row = session.client()?.query_typed_one(NEWEST, &[]).await;
        let text = row.and_then(|row| row.try_get::<_, String>(0)).map_err(|error| session.failure(error));
        session.done();
        text.map(String::into_bytes)
    })
}

/// See [`Source::behind`](pillion::source::Source::behind).
pub(crate) fn behind(position: &[u8], wanted: &[u8]) -> Result<u64> {
    let (of_position, position) = position::read(position)?;
    let (of_wanted, wanted) = position::read(wanted)?;
    if let (Some(one), Some(other)) = (of_position, of_wanted)
        && one != other
    {
        return Err(Error::new(ErrorCode::InvalidArgument, "the positions are of two servers"));
    }
    Ok(wanted.0.saturating_sub(position.0))
}

/// See [`Source::position_text`](pillion::source::Source::position_text).
pub(crate) fn position_text(position: &[u8]) -> Option<String> {
    position::read(position).ok().map(|(_, lsn)| lsn.to_string())
}

/// See [`Source::forget`](pillion::source::Source::forget).
pub(crate) fn forget(source: &Postgres, follow: &Follow, call: &Call) -> Result<()> {
    let (names, of_work) = (Names::of(follow)?, source.clone());
    source.runtime().run(call, async move {
        let mut connection = Connection::open(of_work.options().clone()).await?;
        connection.drop_slot(&names.slot).await?;
        if names.is_given {
            return Ok(());
        }
        publish::remove(of_work.options(), of_work.runtime(), &names.publication).await
    })
}

/// A connection for streaming, with its settings.
async fn open(source: &Postgres) -> Result<Connection> {
    let mut connection = Connection::open(source.options().clone()).await?;
    if connection.version() < VERSION_MIN {
        return Err(Error::new(
            ErrorCode::Unsupported,
            format!(
                "{} has version {}, and changes are followed from version {VERSION_MIN} on",
                connection.place(),
                connection.version()
            ),
        ));
    }
    connection.prepare().await?;
    Ok(connection)
}

/// Compares tables with what is held of them, and with what the publication gives out.
async fn compare(
    session: &Session,
    names: &Names,
    relations: &[Relation],
    columns: &[Followed],
    numbers: &[u32],
) -> Result<Vec<Comparison>> {
    let mut compared = Vec::new();
    let published = publish::published(session, names.publication.as_str()).await?;
    for ((relation, held), number) in relations.iter().zip(columns).zip(numbers) {
        let table = match table::compare(session, relation, held).await? {
            Ok(table) if table.table.oid != *number => Err("it was dropped and made anew".to_owned()),
            Ok(table) => publish::lack(names.publication.as_str(), &table, &published).map_or(Ok(table), Err),
            Err(why) => Err(why),
        };
        compared.push(table);
    }
    Ok(compared)
}

/// The tables of a feed, by their place.
type Tables = Vec<FollowedTable>;

/// Why a table is not followed any more, or what is followed of it.
type Comparison = std::result::Result<Arc<FollowedTable>, String>;
