//! Remote: the cache runs in a sidecar, and every call is a message over its socket.

mod answers;
mod connection;
mod exchange;
mod greeting;
mod refreshes;
mod semaphore;
mod shared_pages;
mod statement;
mod view;
mod writes;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use self::answers::begin_answer;
use self::connection::{Address, Connection, Repeat};
use self::statement::RemoteStatement;
use self::view::{View, wire_values};
use crate::answer::batches::Batches;
use crate::storage::Maps;
use crate::types::error::Result;
use crate::types::options::CacheOptions;
use crate::types::permitted::Permitted;
use crate::types::recorder::{NOBODY, Recording};
use crate::types::value::Value;
use crate::types::version::Version;
use crate::way::change::ChangeRequest;
use crate::way::definition::TableDefinition;
use crate::way::executed::Executed;
use crate::way::refreshing::Refreshing;
use crate::way::status::{Status, Way};
use crate::way::table_info::TableInfo;
use crate::way::{
    Backend, Reader, Served, Statement, Upkeep, Writer, delegate_reads, not_the_owner, refuse_permitted,
};
use crate::wire::{
    Call, Changes, Empty, InfoMessage, Modify, ModifyReply, Name, PositionReply, Source, StatusReply,
    VersionMessage, WriteKind,
};

/// A cache in a sidecar.
#[derive(Debug)]
pub(crate) struct Remote {
    connection: Arc<Connection>,
    newest: View,
    told_dir: Option<PathBuf>,
}

impl Remote {
    /// Connects to a sidecar, waiting for one that is still starting. Also returns where this process finds the
    /// sidecar's directory, if it does: at `dir`, or where the sidecar says. `attach`: the caller will map the
    /// directory, and use this connection for writing only.
    pub(crate) fn connect(
        socket: &Path,
        dir: Option<&Path>,
        attach: bool,
        deadline: Duration,
    ) -> Result<(Self, Option<PathBuf>)> {
        let place = Address { socket: socket.to_owned(), dir: dir.map(Path::to_owned), attach };
        let (connection, greeting) = Connection::open(place, deadline)?;
        let connection = Arc::new(connection);
        let newest = View::newest(connection.clone());
        let found = connection.shares_files().then(|| PathBuf::from(&greeting.dir));
        let told_dir = greeting.identity.map(|_| PathBuf::from(greeting.dir));
        Ok((Self { connection, newest, told_dir }, found))
    }

    /// Where the sidecar says its directory is, if it lets its clients attach.
    pub(crate) fn told_dir(&self) -> Option<&Path> {
        self.told_dir.as_deref()
    }
}

impl Reader for Remote {
    delegate_reads!(newest);

    fn sql(&self, text: &str, parameters: &[Value]) -> Result<Batches> {
        self.newest.sql(text, parameters)
    }
}

impl Writer for Remote {
    fn define_table(&self, name: &str, definition: TableDefinition) -> Result<TableInfo> {
        definition.refuse_origin()?;
        let TableDefinition { input, rules, .. } = definition;
        if let Ok(info) = self.table(name) {
            info.check_definition(&rules)?;
            return Ok(info);
        }
        let kind = WriteKind::Define { name: name.to_owned(), rules: rules.into() };
        writes::upload::<InfoMessage>(&self.connection, kind, input, None, None)?.into_info()
    }

    fn drop_table(&self, name: &str) -> Result<Version> {
        self.connection.check_open()?;
        let request = Name { snapshot: None, name: name.to_owned() };
        let reply: VersionMessage = self.connection.call(Call::DropTable, &request, Repeat::Never)?;
        Ok(self.connection.saw(reply.version))
    }

    fn write(&self, changes: Vec<ChangeRequest>, as_of: SystemTime) -> Result<Version> {
        let reply = writes::write(&self.connection, changes, as_of, &|table| self.newest.schema(table))?;
        Ok(self.connection.saw(reply.version))
    }

    fn execute(&self, text: &str, parameters: &[Value], permitted: Option<&Permitted>) -> Result<Executed> {
        refuse_permitted(permitted)?;
        self.connection.check_open()?;
        let request = Modify { text: text.to_owned(), parameters: wire_values(parameters) };
        let _permit = self.connection.permit_commit()?;
        let reply: ModifyReply = self.connection.call(Call::Modify, &request, Repeat::Never)?;
        Ok(Executed::new(reply.rows, self.connection.saw(reply.version)))
    }
}

impl Upkeep for Remote {
    fn compact(&self) -> Result<()> {
        self.connection.check_open()?;
        let Empty {} = self.connection.call(Call::Compact, &Empty {}, Repeat::Once)?;
        Ok(())
    }

    fn sync(&self) -> Result<()> {
        self.connection.check_open()?;
        let Empty {} = self.connection.call(Call::Sync, &Empty {}, Repeat::Once)?;
        Ok(())
    }

    fn close(&self) -> Result<()> {
        self.connection.close();
        Ok(())
    }

    fn adjust(&self, _: &CacheOptions) -> Result<()> {
        Err(not_the_owner())
    }
}

impl Served for Remote {
    fn maps(&self) -> Option<Arc<Maps>> {
        None
    }

    fn identity(&self) -> Option<(u64, u64)> {
        None
    }

    fn includes(&self, version: Version) -> Result<Option<bool>> {
        Ok(self.version()?.includes(version))
    }
}

impl Backend for Remote {
    fn way(&self) -> Way {
        Way::Remote
    }

    fn messages_sent(&self) -> u64 {
        self.connection.sent()
    }

    fn pin(&self) -> Result<Arc<dyn Reader>> {
        Ok(Arc::new(self.newest.pinned()?))
    }

    fn prepare(self: Arc<Self>, text: &str) -> Result<Arc<dyn Statement>> {
        Ok(Arc::new(RemoteStatement::prepare(self.connection.clone(), text)?))
    }

    fn changes(&self, table: u64, since: Version) -> Result<Batches> {
        let request = Changes { table, since: since.into() };
        let (reply, link) = self.connection.call_on(Call::Changes, &request, Repeat::Once)?;
        begin_answer(self.connection.clone(), link, &reply)
    }

    fn source_position(&self, source: &str) -> Result<Option<Vec<u8>>> {
        let request = Source { source: source.to_owned() };
        let reply: PositionReply = self.connection.call(Call::SourcePosition, &request, Repeat::Once)?;
        Ok(reply.position.map(serde_bytes::ByteBuf::into_vec))
    }

    fn recording(&self) -> &Recording {
        &NOBODY
    }

    fn refreshing(&self) -> Option<&dyn Refreshing> {
        Some(self)
    }

    fn status(&self) -> Result<Status> {
        let reply: StatusReply = self.connection.call(Call::Status, &Empty {}, Repeat::Once)?;
        Ok(Status {
            way: Way::Remote,
            dir: PathBuf::from(reply.dir),
            version: reply.version.into(),
            tables: reply.tables.into_iter().map(InfoMessage::into_info).collect::<Result<_>>()?,
            damage: reply.damage,
            poisoned: reply.poisoned,
            owner: None,
        })
    }
}
